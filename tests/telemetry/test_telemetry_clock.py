from __future__ import annotations

import asyncio

import pytest

from telemetry.clock import ManualClock, Pace, SystemClock


async def test_sleepers_wake_in_order_at_their_own_time(clock: ManualClock) -> None:
    woken: list[tuple[str, float, int]] = []
    start = clock.now_ns()

    async def sleeper(name: str, *durations: float) -> None:
        for duration in durations:
            await clock.sleep(duration)
            woken.append((name, clock.monotonic(), clock.now_ns() - start))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper("a", 2, 2))
        tasks.create_task(sleeper("b", 1, 1, 1))
        await clock.advance(2.5)
        assert [(name, at) for name, at, _ in woken] == [("b", 1), ("a", 2), ("b", 2)]
        assert clock.monotonic() == 2.5
        await clock.advance(1.5)
    assert woken[3:] == [("b", 3, 3_000_000_000), ("a", 4, 4_000_000_000)]


async def test_a_sleep_that_is_not_positive_takes_one_turn(clock: ManualClock) -> None:
    async with asyncio.timeout(5):
        await clock.sleep(0)
        await clock.sleep(-1)
        await SystemClock().sleep(-1)


async def test_a_cancelled_sleeper_is_passed_over(clock: ManualClock) -> None:
    async with asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(clock.sleep(1))
        stays = tasks.create_task(clock.sleep(2))
        await clock.advance(0.5)
        gone.cancel()
        await clock.advance(2)
        assert stays.done()


async def test_the_wall_may_step_monotonic_time_may_not(clock: ManualClock) -> None:
    clock.set_wall(5)
    assert (clock.now_ns(), clock.monotonic()) == (5, 0)
    await clock.advance(1)
    assert (clock.now_ns(), clock.monotonic()) == (1_000_000_005, 1)
    with pytest.raises(ValueError, match="cannot be advanced by -1"):
        await clock.advance(-1)


def test_the_system_clock_moves_forward() -> None:
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.now_ns() > 1_700_000_000_000_000_000


REAL = 1_795_500_000_000_000_000
START = 1_768_296_000_000_000_000


def test_clocks_of_one_pace_share_one_time() -> None:
    pace = Pace(60.0, START, REAL)
    assert pace.at(REAL) == START
    assert pace.at(REAL + 10**9) == START + 60 * 10**9
    a, b = SystemClock(pace), SystemClock(pace)
    first, second = a.now_ns(), b.now_ns()
    assert 0 <= second - first < 60 * 10**9
    assert a.pace == b.pace == pace


async def test_a_faster_clock_waits_less_and_does_not_jump_when_it_changes() -> None:
    clock = SystemClock(Pace(1e6, START, REAL))
    before = clock.monotonic()
    async with asyncio.timeout(5):
        await clock.sleep(3600)
    assert clock.monotonic() - before >= 3599
    wall, elapsed = clock.now_ns(), clock.monotonic()
    clock.set_speed(1.0)
    assert clock.pace.speed == 1.0
    assert clock.monotonic() >= elapsed
    assert clock.now_ns() >= wall
    assert clock.now_ns() - wall < 3600 * 10**9 * 1000


async def test_a_change_of_speed_waits_for_its_moment_and_then_does_not_jump() -> None:
    clock = SystemClock()
    clock.set_speed(1000.0, after_s=0.05)
    assert (clock.pace.speed, clock.upcoming.speed) == (1.0, 1000.0)
    before = clock.monotonic()
    async with asyncio.timeout(5):
        await clock.sleep(0.06)
    assert clock.pace.speed == 1000.0
    assert clock.upcoming == clock.pace
    assert clock.monotonic() > before
    # both run on from the moment of the change: wall and monotonic time tell the same
    wall, elapsed = clock.now_ns(), clock.monotonic()
    async with asyncio.timeout(5):
        await clock.sleep(100)
    assert (clock.now_ns() - wall) / 1e9 == pytest.approx(clock.monotonic() - elapsed, abs=20)


def test_a_later_wish_takes_the_place_of_one_that_waits() -> None:
    clock = SystemClock()
    clock.set_speed(10.0, after_s=60)
    clock.set_speed(5.0)
    assert (clock.pace.speed, clock.upcoming.speed) == (5.0, 5.0)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="not above 0"):
        Pace(speed, START, REAL)
