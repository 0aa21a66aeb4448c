"""Readings made durable and stored: the pipeline against a bare loop of SQLite and DuckDB."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import tempfile
import time
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
PACE_PER_S = 100
"""Batches handed over in a second when their delay is measured."""
_START_NS = 1_700_000_000_000_000_000
_POINT = np.arange(READINGS, dtype=POINT_DTYPE)
_VALUE = np.linspace(0.0, 500.0, READINGS)
_GOOD = np.zeros(READINGS, QUALITY_DTYPE)


def _times(number: int) -> NDArray[np.int64]:
    """Times of a batch [ns, UTC]: a second after those of the one before."""
    return np.full(READINGS, _START_NS + number * 1_000_000_000, TIME_DTYPE)


def _batch(number: int, points: int) -> ReadingBatch:
    """One second of 1000 of so many points, the next 1000 in the next batch."""
    second, block = divmod(number, points // READINGS)
    times = _times(second)
    point = _POINT + np.uint32(block * READINGS)
    return ReadingBatch("bench", 1, number, int(times[0]), point, times, _VALUE, _GOOD)


async def _through_journal(folder: Path, seconds: float, points: int, *, weighed: bool = False) -> Sample:
    """``weighed``: the memory of the process is among the figures."""
    clock = SystemClock()
    async with (
        Journal(folder / "journal", JournalSettings(), clock) as journal,
        EmbeddedStore(folder / "store.duckdb", EmbeddedSettings()) as store,
    ):
        journal.cursors.register(store.name)  # else the journal would be full at its size cap
        pump = asyncio.create_task(StorePump(journal, store, clock, cursors=journal.cursors).run())
        watch, memory_mb = Watch(), [0.0]

        async def weigh() -> None:
            while watch.seconds < seconds:
                memory_mb.append(_resident_mb())
                await clock.sleep(0.2)

        async def source(worker: int) -> None:
            number = worker
            while number == worker or watch.seconds < seconds:
                await journal.append(_batch(number, points))
                number += BATCHES

        async with asyncio.TaskGroup() as group:
            if weighed:
                group.create_task(weigh())
            for worker in range(BATCHES):
                group.create_task(source(worker))
        while (await store.position()).offset < journal.head:
            await clock.sleep(0.001)
        figures = {"RSS [MB]": max(memory_mb)} if weighed else {}
        sample = watch.sample((await store.position()).totals.accounted, figures=figures)
        assert await store.count() == sample.count
        assert sample.count == journal.readings
        pump.cancel()
        await asyncio.wait([pump])
    return sample


def _resident_mb() -> float:
    """Resident memory of this process [MB] (proc(5), /proc/pid/statm)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


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


async def _paced(folder: Path, seconds: float) -> Sample:
    """Hands over a batch every 10 ms, whether or not the ones before are durable."""
    clock, delays = SystemClock(), list[float]()
    async with (
        Journal(folder / "journal", JournalSettings(), clock) as journal,
        EmbeddedStore(folder / "store.duckdb", EmbeddedSettings()) as store,
    ):
        journal.cursors.register(store.name)
        pump = asyncio.create_task(
            StorePump(journal, store, clock, cursors=journal.cursors, every_s=0.2).run()
        )
        watch, due = Watch(), clock.monotonic()

        async def hand_over(number: int, due: float) -> None:
            await journal.append(_batch(number, READINGS))
            delays.append(1e3 * (clock.monotonic() - due))  # what is late in coming counts

        async with asyncio.TaskGroup() as group:
            for number in range(round(seconds * PACE_PER_S)):
                await clock.sleep(max(0.0, due - clock.monotonic()))
                group.create_task(hand_over(number, due))
                due += 1 / PACE_PER_S
        sample = watch.sample(journal.readings, figures=_delays(delays))
        pump.cancel()
        await asyncio.wait([pump])
    return sample


def _bare_paced(folder: Path, seconds: float) -> Sample:
    """Commits a batch every 10 ms, or what has become due since, and does nothing else."""
    delays: list[float] = []
    with closing(sqlite3.connect(folder / "bare.sqlite", isolation_level=None)) as journal:
        journal.execute("PRAGMA journal_mode=WAL")
        journal.execute("PRAGMA synchronous=FULL")
        journal.execute("CREATE TABLE record (offset INTEGER PRIMARY KEY, data BLOB)")
        watch, number, last = Watch(), 0, round(seconds * PACE_PER_S)
        while number < last:
            time.sleep(max(0.0, number / PACE_PER_S - watch.seconds))
            due = min(last, int(watch.seconds * PACE_PER_S) + 1)
            journal.execute("BEGIN")
            for offset in range(number, due):
                batch = _batch(offset, READINGS)
                columns = (batch.t_source, batch.value, batch.point, batch.quality)
                data = b"".join(column.tobytes() for column in columns)
                journal.execute("INSERT INTO record VALUES (?, ?)", (offset, data))
            journal.execute("COMMIT")
            now = watch.seconds
            delays += [1e3 * (now - offset / PACE_PER_S) for offset in range(number, due)]
            number = due
        return watch.sample(number * READINGS, figures=_delays(delays))


def _delays(found: list[float]) -> dict[str, float]:
    return {"p50 [ms]": float(np.percentile(found, 50)), "p99 [ms]": float(np.percentile(found, 99))}


def _paced_sample(seconds: float) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_paced(Path(folder), seconds))


def _bare_paced_sample(seconds: float) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        return _bare_paced(Path(folder), seconds)


def _journal_sample(seconds: float, points: int = READINGS) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_through_journal(Path(folder), seconds, points))


def _weighed_sample(seconds: float) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_through_journal(Path(folder), seconds, READINGS, weighed=True))


def _bare_sample(seconds: float) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        return _bare_loop(Path(folder), seconds)


@contextmanager
def _stored(size: Size) -> Iterator[Contenders]:
    yield {
        "journal and embedded store": partial(_journal_sample, size.seconds),
        "bare SQLite and DuckDB loop": partial(_bare_sample, size.seconds),
    }


@contextmanager
def _sustained(size: Size) -> Iterator[Contenders]:
    yield {
        "journal and embedded store": partial(_weighed_sample, size.seconds),
        "bare SQLite and DuckDB loop": partial(_bare_sample, size.seconds),
    }


@contextmanager
def _wide(size: Size) -> Iterator[Contenders]:
    yield {
        "100,000 points": partial(_journal_sample, size.seconds, 100_000),
        "1,000 points": partial(_journal_sample, size.seconds, READINGS),
    }


@contextmanager
def _durable(size: Size) -> Iterator[Contenders]:
    yield {
        "journal with the store beside it": partial(_paced_sample, size.seconds),
        "bare SQLite commits": partial(_bare_paced_sample, size.seconds),
    }


STORED = Benchmark(
    "readings-stored",
    "Readings committed to the journal, then deduplicated and stored in DuckDB, in batches of 1000",
    "reading",
    _stored,
    rate_ratio=0.6,
    note="both write with synchronous=FULL; the bare loop packs, checks nothing and keeps no cursor",
)
SUSTAINED = Benchmark(
    "readings-sustained",
    "The same for 60 s: the store compacts meanwhile, and what it has not taken at the end is waited for",
    "reading",
    _sustained,
    target_per_s=1_500_000,
    rate_ratio=0.6,
    limits={"RSS [MB]": 1000.0},
    longer=30.0,
    note="the target is for two cores that do nothing else; baseline as in readings-stored",
)
WIDE = Benchmark(
    "readings-stored-wide",
    "The same readings of 100,000 points and of 1,000: the cost of one must not grow with their number",
    "reading",
    _wide,
    cpu_ratio=0.8,
)
DURABLE = Benchmark(
    "readings-durable",
    "100,000 readings/s in batches of 1000: from hand-over to durable, while the store takes them",
    "reading",
    _durable,
    limits={"p99 [ms]": 120.0},
    note="what a busy machine hands over late counts as delay",
)
