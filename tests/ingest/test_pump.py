from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ingest.conservation import conservation
from ingest.fakes import FakeCursors, FakeEventLog, FakeJournal, FakeStore
from ingest.ports import EventRecord, Position, Totals
from ingest.pump import EventPump, StorePump
from ingest.retry import RetryLaterError
from telemetry.clock import ManualClock, settle
from telemetry.errors import StorageError, UnavailableError
from tests.ingest.batches import batch


@asynccontextmanager
async def running(run: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(run())
    await settle()
    yield task
    task.cancel()
    await asyncio.wait({task})


async def test_records_reach_the_store_and_its_position_the_cursors(clock: ManualClock) -> None:
    journal, store, cursors = FakeJournal(clock), FakeStore(), FakeCursors()
    journal.append(batch([1.0, 2.0]))
    pump = StorePump(journal, store, clock, cursors=cursors)
    assert pump.status.state == "starting"
    async with running(pump.run):
        assert pump.position == Position(1, 0, Totals(stored=2))
        journal.append(batch([3.0], at=1))
        await settle()
        assert pump.position.offset == 2
        assert cursors.positions["fake"] == pump.position
        assert (pump.status.state, pump.status.lag) == ("running", 0)
        assert (await conservation(journal, store)).holds


async def test_an_unavailable_store_is_tried_again_and_shown(clock: ManualClock) -> None:
    journal, store = FakeJournal(clock), FakeStore()
    journal.append(batch())
    store.failures = [
        UnavailableError("connection refused"),
        RetryLaterError("token", "unauthorized", after_s=30),
    ]
    pump = StorePump(journal, store, clock)
    async with running(pump.run):
        assert (pump.status.state, pump.status.error, pump.status.lag) == (
            "unavailable",
            "connection refused",
            1,
        )
        await clock.advance(1)
        assert pump.status.state == "unauthorized"
        await clock.advance(29)
        assert pump.status.state == "unauthorized"
        await clock.advance(1)
        assert (pump.status.state, pump.status.lag, pump.status.error) == ("running", 0, "")


async def test_applications_are_spaced_but_a_backlog_is_not_held_back(clock: ManualClock) -> None:
    journal, store = FakeJournal(clock), FakeStore()
    pump = StorePump(journal, store, clock, every_s=0.5, max_readings=10)
    for at in range(5):
        journal.append(batch([0.0] * 10, at=at))
    async with running(pump.run):
        assert pump.position.offset == 5
        journal.append(batch([1.0], at=10))
        await settle()
        journal.append(batch([1.0], at=11))
        await settle()
        assert pump.position.offset == 6
        await clock.advance(0.5)
        assert pump.position.offset == 7


async def test_a_store_ahead_of_the_journal_is_an_error_that_names_the_fix(clock: ManualClock) -> None:
    journal, store = FakeJournal(clock), FakeStore()
    journal.append(batch())
    await store.apply(await journal.read(0))
    with pytest.raises(StorageError, match="restore both from one backup"):
        await StorePump(FakeJournal(clock), store, clock).run()


async def test_records_of_another_journal_are_refused(clock: ManualClock) -> None:
    journal, store = FakeJournal(clock), FakeStore()
    journal.append(batch([1.0, 2.0]))
    await store.apply(await journal.read(0))
    other = FakeJournal(clock)
    other.append(batch())
    other.append(batch())
    with pytest.raises(StorageError, match="different states"):
        await StorePump(other, store, clock).run()


async def test_events_follow_with_their_own_position(clock: ManualClock) -> None:
    log, store = FakeEventLog(), FakeStore()
    log.append(EventRecord("alarm", "a", 1, {}, {"value": 1.0}))
    store.failures = [UnavailableError("down")]
    pump = EventPump(log, store, clock)
    async with running(pump.run):
        assert (pump.status.state, pump.status.lag) == ("unavailable", 1)
        await clock.advance(1)
        log.append(EventRecord("alarm", "b", 2, {}, {"value": 2.0}))
        await settle()
        assert (pump.status.state, pump.status.lag) == ("running", 0)
        assert [e.key for e in await store.events("alarm", 0, 10)] == ["b", "a"]
    assert (await store.position()).event == 2
