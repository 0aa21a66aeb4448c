from __future__ import annotations

import asyncio
import itertools

import pytest

from ingest.supervision import Run, Supervisor
from telemetry.clock import ManualClock, settle
from telemetry.errors import UnavailableError


async def test_a_failed_task_is_restarted_and_the_others_are_not_touched(clock: ManualClock) -> None:
    starts: list[str] = []

    async def steady() -> None:
        starts.append("steady")
        await asyncio.Event().wait()

    async def failing() -> None:
        starts.append("failing")
        await clock.sleep(1)
        raise UnavailableError("the gateway is gone")

    async def short() -> None:
        starts.append("short")

    supervisor = Supervisor(clock)
    for name, run in (("steady", steady), ("failing", failing), ("short", short)):
        supervisor.add(name, run)
    assert {status.state for status in supervisor.status} == {"waiting"}
    with pytest.raises(ValueError, match="steady already"):
        supervisor.add("steady", steady)
    task = asyncio.create_task(supervisor.run())
    await clock.advance(10)
    states = {status.name: status for status in supervisor.status}
    assert states["steady"].state == "running"
    assert states["steady"].restarts == 0
    assert states["short"].state == "ended"
    assert states["failing"].restarts == starts.count("failing") - (states["failing"].state == "running")
    assert 3 <= starts.count("failing") <= 6
    assert states["failing"].error == "UnavailableError: the gateway is gone"
    assert starts.count("steady") == starts.count("short") == 1
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_a_task_that_held_for_long_begins_again_with_the_shortest_wait(clock: ManualClock) -> None:
    starts: list[float] = []

    async def fails_hourly() -> None:
        starts.append(clock.monotonic())
        await clock.sleep(3600)
        raise UnavailableError("again")

    supervisor = Supervisor(clock)
    supervisor.add("hourly", fails_hourly)
    task = asyncio.create_task(supervisor.run())
    await clock.advance(20 * 3601)
    assert len(starts) >= 20
    assert all(b - a <= 3600.5 for a, b in itertools.pairwise(starts))
    task.cancel()
    await asyncio.wait({task})


async def test_cancelling_ends_every_task_and_lets_it_clean_up(clock: ManualClock) -> None:
    cleaned: list[str] = []

    async def tidy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # noqa: TID251  cleaning up takes a turn
            cleaned.append("tidy")

    supervisor = Supervisor(clock)
    supervisor.add("tidy", tidy)
    task = asyncio.create_task(supervisor.run())
    await settle()
    task.cancel()
    await asyncio.wait({task})
    assert cleaned == ["tidy"]


async def test_a_task_that_is_cancelled_from_inside_is_restarted(clock: ManualClock) -> None:
    starts = 0

    async def gives_up() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise asyncio.CancelledError

    supervisor = Supervisor(clock)
    supervisor.add("x", gives_up)
    task = asyncio.create_task(supervisor.run())
    await clock.advance(5)
    await task
    assert (starts, supervisor.status[0].restarts) == (2, 1)


async def test_tasks_come_and_go_while_the_others_run_on(clock: ManualClock) -> None:
    starts: list[str] = []
    ended: list[str] = []

    def steady(name: str) -> Run:
        async def run() -> None:
            starts.append(name)
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        return run

    supervisor = Supervisor(clock)
    supervisor.add("first", steady("first"))
    task = asyncio.create_task(supervisor.run())
    await settle()
    supervisor.add("second", steady("second"))
    await settle()
    assert starts == ["first", "second"]
    await supervisor.remove("second")
    assert ended == ["second"]
    assert [status.name for status in supervisor.status] == ["first"]
    supervisor.add("second", steady("again"))
    await settle()
    assert starts == ["first", "second", "again"]
    with pytest.raises(KeyError):
        await supervisor.remove("third")
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})
    assert sorted(ended) == ["again", "first", "second"]


async def test_a_task_that_waits_to_be_restarted_can_be_taken_out(clock: ManualClock) -> None:
    async def failing() -> None:
        raise UnavailableError("the gateway is gone")

    supervisor = Supervisor(clock)
    supervisor.add("failing", failing)
    supervisor.add("steady", asyncio.Event().wait)  # type: ignore[arg-type]
    task = asyncio.create_task(supervisor.run())
    await clock.advance(0.1)
    await supervisor.remove("failing")
    await clock.advance(100)
    assert [status.state for status in supervisor.status] == ["running"]
    task.cancel()
    await asyncio.wait({task})
