"""Readings made durable and stored: the pipeline against a bare loop of SQLite and DuckDB."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Benchmark, Contenders, Sample, Size, Watch
from ingest.config import EmbeddedSettings, JournalSettings
from ingest.journal.journal import Journal
from ingest.pump import StorePump
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.batch import POINT_DTYPE, QUALITY_DTYPE, TIME_DTYPE, ReadingBatch
from telemetry.clock import SystemClock

READINGS = 1000
"""Readings in a batch, each of another point."""
BATCHES = 20
"""Batches handed over at the same time, or in one commit of the bare loop."""
_START_NS = 1_700_000_000_000_000_000
_POINT = np.arange(READINGS, dtype=POINT_DTYPE)
_VALUE = np.linspace(0.0, 500.0, READINGS)
_GOOD = np.zeros(READINGS, QUALITY_DTYPE)


def _times(number: int) -> NDArray[np.int64]:
    """Times of a batch [ns, UTC]: a second after those of the one before."""
    return np.full(READINGS, _START_NS + number * 1_000_000_000, TIME_DTYPE)


async def _through_journal(folder: Path, seconds: float) -> Sample:
    clock = SystemClock()
    async with (
        Journal(folder / "journal", JournalSettings(), clock) as journal,
        EmbeddedStore(folder / "store.duckdb", EmbeddedSettings()) as store,
    ):
        journal.cursors.register(store.name)  # else the journal would be full at its size cap
        pump = asyncio.create_task(StorePump(journal, store, clock, cursors=journal.cursors).run())
        watch = Watch()

        async def source(worker: int) -> None:
            number = worker
            while number == worker or watch.seconds < seconds:
                times = _times(number)
                batch = ReadingBatch("bench", 1, number, int(times[0]), _POINT, times, _VALUE, _GOOD)
                await journal.append(batch)
                number += BATCHES

        async with asyncio.TaskGroup() as group:
            for worker in range(BATCHES):
                group.create_task(source(worker))
        while (await store.position()).offset < journal.head:
            await clock.sleep(0.001)
        sample = watch.sample(await store.count())
        assert sample.count == journal.readings
        pump.cancel()
        await asyncio.wait([pump])
    return sample


def _bare_loop(folder: Path, seconds: float) -> Sample:
    with (
        closing(sqlite3.connect(folder / "bare.sqlite", isolation_level=None)) as journal,
        closing(duckdb.connect(str(folder / "bare.duckdb"), config={"threads": 2})) as store,
    ):
        journal.execute("PRAGMA journal_mode=WAL")
        journal.execute("PRAGMA synchronous=FULL")
        journal.execute("CREATE TABLE record (offset INTEGER PRIMARY KEY, data BLOB)")
        store.execute("CREATE TABLE reading (point UINTEGER, t BIGINT, value DOUBLE, quality UTINYINT)")
        watch, number = Watch(), 0
        while not number or watch.seconds < seconds:
            journal.execute("BEGIN")
            times = [_times(number + i) for i in range(BATCHES)]
            for t in times:
                data = b"".join((t.tobytes(), _VALUE.tobytes(), _POINT.tobytes(), _GOOD.tobytes()))
                data += zlib.crc32(data).to_bytes(4, "little")
                journal.execute("INSERT INTO record VALUES (?, ?)", (number, data))
                number += 1
            journal.execute("COMMIT")
            columns = {
                "point": np.tile(_POINT, BATCHES),
                "t": np.concatenate(times),
                "value": np.tile(_VALUE, BATCHES),
                "quality": np.tile(_GOOD, BATCHES),
            }
            store.register("fresh", columns)
            store.execute("INSERT INTO reading SELECT * FROM fresh")
            store.unregister("fresh")
        return watch.sample(number * READINGS)


def _journal_sample(seconds: float) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_through_journal(Path(folder), seconds))


def _bare_sample(seconds: float) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        return _bare_loop(Path(folder), seconds)


@contextmanager
def _stored(size: Size) -> Iterator[Contenders]:
    yield {
        "journal and embedded store": partial(_journal_sample, size.seconds),
        "bare SQLite and DuckDB loop": partial(_bare_sample, size.seconds),
    }


STORED = Benchmark(
    "readings-stored",
    "Readings committed to the journal, then deduplicated and stored in DuckDB, in batches of 1000",
    "reading",
    _stored,
    note="both write with synchronous=FULL; the bare loop packs, checks nothing and keeps no cursor",
)
