"""Virtual time: it stands while there is work, jumps when there is none, and has no threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbridge.scenarios.virtual import VirtualClock, VirtualLoop, whole
from ingest.threads import OwnerThread

T = TypeVar("T")
START_NS = 1_768_298_400 * 10**9


def played(loop: VirtualLoop, work: Coroutine[None, None, T]) -> T:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work)


def test_sleepers_wake_in_order_and_a_week_is_exact() -> None:
    loop = VirtualLoop()
    clock = VirtualClock(loop, START_NS)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper("late", 2.5))
            group.create_task(sleeper("early", 0.25))
            group.create_task(sleeper("at once", -1.0))
        for _ in range(7 * 86400 // 600):
            await clock.sleep(600.0 / 3)
            await clock.sleep(600.0 * 2 / 3)

    played(loop, work())
    assert woken == [("at once", 0.0), ("early", 0.25), ("late", 2.5)]
    assert clock.now_ns() == START_NS + round((2.5 + 7 * 86400) * 1e9)


def test_what_a_database_does_in_a_thread_is_done_before_time_moves() -> None:
    loop = VirtualLoop()
    where: list[object] = []

    async def work() -> float:
        thread = OwnerThread("elsewhere")
        await thread.call(lambda: where.append(threading.current_thread()))
        with pytest.raises(ZeroDivisionError):
            await thread.call(lambda: 1 // 0)
        await thread.close()
        return loop.time()

    assert played(loop, work()) == 0.0
    assert where == [threading.main_thread()]


def test_a_wait_that_nothing_can_end_is_told() -> None:
    loop = VirtualLoop()

    async def work() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="cannot come in virtual time"):
        loop.run_until_complete(work())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(loop), return_exceptions=True))
    loop.close()


def test_nothing_answers_at_an_unknown_address() -> None:
    loop = VirtualLoop()

    async def work() -> None:
        await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", 502)

    with pytest.raises(ConnectionRefusedError, match="nothing answers at"):
        played(loop, work())


@given(st.floats(0, 1e7), st.floats(1e-12, 1e5))
def test_a_wait_ends_on_a_later_whole_microsecond(now_s: float, seconds: float) -> None:
    now_s = round(now_s, 6)
    end_s = whole(now_s, seconds)
    assert end_s > now_s
    assert end_s >= now_s + seconds - 1e-8
    assert end_s - (now_s + seconds) < 2.1e-6
