"""A detached store gets what the journal no longer has, from one that has it, and never an old value."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest

from ingest.config import EmbeddedSettings, InfluxSettings
from ingest.conservation import conservation
from ingest.fakes import FakeCursors, FakeJournal, FakeLetters, FakeStore
from ingest.ports import Gap, Position, Store, WrittenHistory
from ingest.pump import StorePump
from ingest.refill import Refill
from ingest.retry import RetryLaterError
from ingest.stores.embedded.store import EmbeddedStore
from ingest.stores.influx.store import InfluxStore
from telemetry.clock import ManualClock, settle
from telemetry.errors import UnavailableError
from telemetry.registry import PointRegistry
from telemetry.site import Site
from tests.ingest.batches import T0, batch
from tests.support.influx import InfluxBench

RECORDS = 30


class Outage:
    """A source with all records, a store that has the first five, and a journal that begins at record 21."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.journal = FakeJournal(clock)
        self.cursors = FakeCursors()
        for seq in range(RECORDS):
            self.journal.append(batch([float(seq), -float(seq)], seq=seq, at=seq))
        self.journal.append(batch([99.0], at=9))  # a revision of what record 10 said

    async def detach(self, source: Store, store: Store) -> None:
        records = await self.journal.read(0, 1 << 30)
        await store.apply(records[:5])
        await source.apply(records)
        self.journal.delete(20)
        self.cursors.gaps_of[store.name] = [Gap(6, 20, 30)]


@pytest.fixture
def outage(clock: ManualClock) -> Outage:
    return Outage(clock)


async def test_what_was_deleted_comes_from_the_other_store(outage: Outage) -> None:
    source, store = FakeStore("embedded"), FakeStore("influx")
    await outage.detach(source, store)
    store.failures = [UnavailableError("down"), RetryLaterError("full", "overloaded")]
    refill = Refill(outage.cursors, source, store, chunk=7)
    pump = StorePump(outage.journal, store, outage.clock, refill=refill)
    task = asyncio.create_task(pump.run())
    await outage.clock.advance(60)
    assert store.rows == source.rows
    assert outage.cursors.gaps("influx") == [Gap(6, 20, 30, 20)]
    assert pump.position.totals.missed == 30
    report = await conservation(outage.journal, store)
    assert (report.received, report.totals.accounted, report.pending, report.detached) == (61, 61, 0, 0)
    outage.journal.append(batch([1.5], at=1000))
    await settle()
    assert pump.position.offset == RECORDS + 2
    task.cancel()
    await asyncio.wait({task})


async def test_a_refill_waits_until_its_source_knows_every_revision_that_the_store_has(
    outage: Outage,
) -> None:
    source, store = FakeStore("embedded"), FakeStore("influx")
    await outage.detach(source, store)
    outage.journal.append(batch([7.0], at=9))
    refill = Refill(outage.cursors, source, store)
    assert not await refill.step(await store.position()), "the store has not passed the gap"
    position = await store.apply(await outage.journal.read(5))
    assert not await refill.step(position), "the source does not know the newest revision"
    assert store.rows[0, T0 + 9] == (7.0, 0)
    await source.apply(await outage.journal.read((await source.position()).offset))
    assert await refill.step(position)
    assert store.rows == source.rows
    assert not await refill.step(position)


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    async with EmbeddedStore(tmp_path / "store.duckdb", EmbeddedSettings()) as store:
        yield store


@pytest.mark.parametrize("chunk", [1, 7, 1000])
async def test_the_embedded_store_is_read_in_the_order_of_the_journal(
    outage: Outage, embedded: EmbeddedStore, chunk: int
) -> None:
    fake = FakeStore()
    records = await outage.journal.read(0, 1 << 30)
    sources: list[WrittenHistory] = [embedded, fake]
    for store in (embedded, fake):
        await store.apply(records)
    after = 5
    while after < 31:
        theirs, ours = [await source.written(after, 31, chunk) for source in sources]
        assert theirs.through == ours.through > after
        for name in ("point", "t_source", "value", "quality"):
            assert np.array_equal(getattr(theirs.columns, name), getattr(ours.columns, name))
        after = theirs.through
    assert len((await embedded.written(31, 40)).columns) == 0


@pytest.mark.system("influxd")
async def test_influxdb_is_refilled_from_the_embedded_store(
    outage: Outage, embedded: EmbeddedStore, influx: InfluxBench, site: Site, registry: PointRegistry
) -> None:
    settings = InfluxSettings(url=influx.url, org=influx.org, bucket=influx.bucket, token_env="TOKEN")
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            InfluxStore(
                settings,
                site,
                registry,
                cursors=outage.cursors,
                letters=FakeLetters(),
                clock=outage.clock,
                environment={"TOKEN": influx.token},
            )
        )
        await outage.detach(embedded, store)
        position: Position = await store.apply(await outage.journal.read(5))
        assert position.totals.missed == 30
        refill = Refill(outage.cursors, embedded, store, chunk=8)
        while await refill.step(position):
            pass
        theirs = await store.query.range([0, 1], T0, T0 + 1000)
        ours = await embedded.query.range([0, 1], T0, T0 + 1000)
    assert theirs.t_source.tolist() == ours.t_source.tolist()
    assert theirs.value.tolist() == ours.value.tolist()
    assert 99.0 in theirs.value
