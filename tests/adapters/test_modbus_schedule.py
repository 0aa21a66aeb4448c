from __future__ import annotations

import math
from itertools import pairwise

import pytest

from adapters.modbus.patience import FULL_EVERY_S, Patience
from adapters.modbus.schedule import Schedule, Taken
from telemetry.backoff import Backoff


def make(periods: list[float], now: float = 100.0, first_s: float = 1.0) -> Schedule:
    backoffs = {i: Backoff(first_s, 16.0, lambda: 1.0) for i in range(len(periods))}
    return Schedule({i: [period] for i, period in enumerate(periods)}, backoffs, now)


def take(schedule: Schedule, now: float) -> Taken:
    taken = schedule.take(now)
    assert taken is not None
    return taken


def run(schedule: Schedule, until: float, cost: float = 0.0) -> list[tuple[float, int]]:
    """Times and units of every poll, each answered after ``cost`` seconds."""
    now = 100.0
    polls: list[tuple[float, int]] = []
    while True:
        now += schedule.wait_s(now)
        if now >= until:
            return polls
        taken = take(schedule, now)
        polls.append((round(now, 6), taken.unit))
        now += cost
        schedule.answered(taken.turn, now)


def after_wait(schedule: Schedule, now: float) -> tuple[Taken, float]:
    """The next turn, and when it begins."""
    now += schedule.wait_s(now)
    return take(schedule, now), now


def test_polls_are_staggered_over_the_period() -> None:
    polls = run(make([1.0, 1.0, 1.0, 1.0]), until=102.0)
    assert polls == [(100 + k * 0.25, k % 4) for k in range(8)]


def test_units_keep_their_own_periods() -> None:
    polls = run(make([1.0, 5.0]), until=110.0)
    assert [t for t, unit in polls if unit == 0] == [100.0 + k for k in range(10)]
    assert [t for t, unit in polls if unit == 1] == [102.5, 107.5]


def test_one_unit_may_have_several_periods_which_never_overlap() -> None:
    schedule = Schedule({0: [1.0, 10.0, 900.0]}, {0: Backoff(1.0, 16.0, lambda: 1.0)}, 100.0)
    seen: dict[float, list[float]] = {}
    now = 100.0
    while now < 2000.0:
        taken, now = after_wait(schedule, now)
        assert schedule.take(now) is None, "the unit is busy, whatever else of it is due"
        seen.setdefault(taken.period_s, []).append(now)
        now += 0.05
        assert schedule.answered(taken.turn, now) == 0
    assert [len(seen[period]) for period in (1.0, 10.0, 900.0)] == [1901, 190, 2]
    for period, times in seen.items():
        assert all(two - one == pytest.approx(period, abs=0.11) for one, two in pairwise(times))


def test_a_failing_unit_is_paused_with_all_its_periods() -> None:
    schedule = Schedule({0: [1.0, 10.0]}, {0: Backoff(4.0, 16.0, lambda: 1.0)}, 100.0)
    taken = take(schedule, 100.0)
    schedule.failed(taken.turn, 100.0)
    assert schedule.wait_s(100.0) == pytest.approx(4.0)
    again, now = after_wait(schedule, 100.0)
    schedule.answered(again.turn, now)
    assert schedule.wait_s(now) == pytest.approx(1.0), "after its return both periods have their own slots"


def test_a_slow_poll_never_overlaps_and_missed_slots_are_counted() -> None:
    schedule = make([1.0])
    taken = take(schedule, 100.0)
    assert schedule.wait_s(103.0) == math.inf, "it is being polled"
    assert schedule.answered(taken.turn, 103.2) == 3
    taken, now = after_wait(schedule, 103.2)
    assert now == pytest.approx(104.0)
    assert schedule.answered(taken.turn, 104.1) == 0


def test_polling_returns_after_a_long_outage_in_its_own_phases() -> None:
    schedule = make([1.0, 1.0])
    schedule.resume(90_000.3)
    taken, now = after_wait(schedule, 90_000.3)
    assert taken.unit == 1
    assert now == pytest.approx(90_000.5)
    schedule.answered(taken.turn, now)
    taken, now = after_wait(schedule, now)
    assert taken.unit == 0
    assert now == pytest.approx(90_001.0)


def test_a_failing_unit_waits_longer_each_time_and_returns_to_its_period() -> None:
    schedule = make([1.0])
    now, pauses = 100.0, []
    for _ in range(6):
        taken = take(schedule, now)
        pause = schedule.failed(taken.turn, now)
        pauses.append(round(pause, 6))
        now += pause
    assert pauses == [1, 2, 4, 8, 16, 16]
    schedule.answered(take(schedule, now).turn, now)
    assert schedule.wait_s(now) == pytest.approx(1.0)
    taken, now = after_wait(schedule, now)
    assert schedule.failed(taken.turn, now) == pytest.approx(1.0)


def test_broken_devices_do_not_starve_healthy_ones_nor_are_they_forgotten() -> None:
    schedule = make([1.0, 1.0], first_s=0.001)
    schedule.failed(take(schedule, 100.0).turn, 100.0)
    schedule.answered(take(schedule, 100.5).turn, 100.5)
    taken = take(schedule, 101.6)
    assert taken.unit == 1, "due later than unit 0, but healthy"
    schedule.answered(taken.turn, 101.6)
    assert take(schedule, 101.6).unit == 0


def test_a_failing_unit_has_its_turn_even_when_the_healthy_ones_take_all_the_time() -> None:
    schedule = make([1.0, 1.0], first_s=0.001)
    schedule.failed(take(schedule, 100.0).turn, 100.0)
    units, now = [], 100.0
    for _ in range(6):
        taken, now = after_wait(schedule, now)
        now += 1.5
        units.append(taken.unit)
        if taken.unit == 0:
            schedule.failed(taken.turn, now)
        else:
            schedule.answered(taken.turn, now)
    assert {0, 1} == set(units)


def test_a_turn_that_was_not_polled_after_all_is_put_back() -> None:
    schedule = make([1.0])
    taken = take(schedule, 100.0)
    schedule.postponed(taken.turn, 100.3)
    assert schedule.wait_s(100.1) == pytest.approx(0.2)
    assert schedule.answered(take(schedule, 100.4).turn, 100.4) == 0


def test_thingsboard_932_a_silent_unit_gets_no_more_time_than_the_others_leave() -> None:
    patience = Patience(1.0)

    def wait(unit: int, free_s: float, now: float, failing: bool = True) -> float:
        return patience.of(unit, failing=failing, period_s=1.0, free_s=free_s, now=now)

    assert wait(0, 0.1, 0.0) == 1.0, "never asked before"
    assert wait(0, 0.1, 1.0) == 1.0, "never heard: one full wait now and then, in case that it is slow"
    assert [wait(0, free_s, 2.0) for free_s in (0.0, 0.02, 0.3, 9.0)] == [0.05, 0.05, 0.3, 1.0]
    assert wait(0, 0.1, 1.0 + FULL_EVERY_S) == 1.0
    patience.heard(1, 0.2)
    assert wait(1, 0.0, 2.0, failing=False) == 1.0
    assert wait(1, 0.0, 3.0) == pytest.approx(0.6), "a slow one is given what it used to take"
