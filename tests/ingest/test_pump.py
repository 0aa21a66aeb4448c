from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ingest.conservation import conservation
from ingest.fakes import FakeCursors, FakeEventLog, FakeJournal, FakeStore
from ingest.ports import EventRecord, JournalRecord, Position, Totals
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


class AheadStore(FakeStore):
    """Works ahead; applies only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Semaphore(0)
        self.steps: list[tuple[str, list[int]]] = []
        self.falls_back = False

    async def prepare(self, records: Sequence[JournalRecord]) -> None:
        self.steps.append(("prepare", [record.offset for record in records]))

    async def apply(self, records: Sequence[JournalRecord]) -> Position:
        self.steps.append(("begin", [record.offset for record in records]))
        await self.let.acquire()
        if self.falls_back:
            self.falls_back = False
            return await self.position()
        self.steps.append(("end", [record.offset for record in records]))
        return await super().apply(records)


@asynccontextmanager
async def ahead(clock: ManualClock, records: int) -> AsyncIterator[AheadStore]:
    journal, store = FakeJournal(clock), AheadStore()
    for at in range(records):
        journal.append(batch([0.0] * 10, at=at))
    pump = StorePump(journal, store, clock, max_readings=20)
    async with running(pump.run):
        yield store
        store.let.release()
        await settle()
    assert (await conservation(journal, store)).holds


async def test_the_next_records_are_prepared_while_a_store_waits(clock: ManualClock) -> None:
    async with ahead(clock, 6) as store:
        assert store.steps == [("begin", [1, 2]), ("prepare", [3, 4])]
        store.let.release()
        await settle()
        store.let.release()
        await settle()
        assert store.steps[2:] == [
            ("end", [1, 2]),
            ("begin", [3, 4]),
            ("prepare", [5, 6]),
            ("end", [3, 4]),
            ("begin", [5, 6]),
        ]


async def test_a_trickle_is_not_prepared_in_small_pieces(clock: ManualClock) -> None:
    async with ahead(clock, 2) as store:
        assert store.steps == [("begin", [1, 2])]


async def test_what_was_prepared_is_tried_with_what_failed_before_it(clock: ManualClock) -> None:
    async with ahead(clock, 4) as store:
        store.failures = [RetryLaterError("down", "unreachable")]
        store.let.release()
        await settle()
        await clock.advance(2)
        store.let.release()
        await settle()
        assert [step for step in store.steps if step[0] != "prepare"] == [
            ("begin", [1, 2]),
            ("end", [1, 2]),
            ("begin", [1, 2]),
            ("end", [1, 2]),
            ("begin", [3, 4]),
        ]


async def test_a_store_that_goes_back_gets_the_records_again(clock: ManualClock) -> None:
    async with ahead(clock, 4) as store:
        store.falls_back = True
        store.let.release()
        await settle()
        store.let.release()
        await settle()
        assert [step for step in store.steps if step[0] == "begin"] == [
            ("begin", [1, 2]),
            ("begin", [1, 2]),
            ("begin", [3, 4]),
        ]
