"""Trends and newest values of the embedded store: its partitions against one table in order of arrival."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import duckdb
import numpy as np

from benchmarks.harness import Benchmark, Contenders, Sample, Size, repeated
from ingest.config import EmbeddedSettings
from ingest.ports import JournalRecord
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.batch import POINT_DTYPE, QUALITY_DTYPE, ReadingBatch

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
START = 1_700_000_000 // 86_400 * DAY
POINTS = 1160
"""Points with one reading a second: 100 million readings a day."""
_FULL_S, _SMALL_S = 86_400, 600
_RECORDS = 60
_POINT = np.arange(POINTS, dtype=POINT_DTYPE)
_GOOD = np.zeros(POINTS, QUALITY_DTYPE)


def _records(first: int) -> list[JournalRecord]:
    noise = np.random.default_rng(first)
    records = []
    for second in range(first, first + _RECORDS):
        t = START + second * SECOND
        value = np.round(noise.normal(300, 20, POINTS), 2)
        times = t + noise.integers(0, 1000, POINTS) * 1_000_000
        batch = ReadingBatch("bench", 1, second, t, _POINT, times, value, _GOOD)
        records.append(JournalRecord(second + 1, t, second * POINTS, batch))
    return records


async def _fill(path: Path, plain: duckdb.DuckDBPyConnection, seconds: int) -> None:
    async with EmbeddedStore(path, EmbeddedSettings()) as store:
        for first in range(0, seconds, _RECORDS):
            records = _records(first)
            await store.apply(records)
            columns = {
                name: np.concatenate([getattr(record.batch, name) for record in records])
                for name in ("point", "t_source", "value", "quality")
            }
            plain.register("fresh", columns)
            plain.execute("INSERT INTO reading SELECT * FROM fresh")
            plain.unregister("fresh")


def _intervals(span: int) -> int:
    """500 for a day; fewer for a short time, so that each holds readings."""
    return min(500, span // (6 * SECOND))


async def _asked(path: Path, what: str, span: int, seconds: float) -> Sample:
    async with EmbeddedStore(path, EmbeddedSettings()) as store:
        loop = asyncio.get_running_loop()

        def trend() -> int:
            question = store.query.series(POINTS // 2, START, START + span, span // _intervals(span))
            found = asyncio.run_coroutine_threadsafe(question, loop).result()
            assert 0 <= len(found.t) - _intervals(span) <= 1
            return 1

        def newest() -> int:
            found = asyncio.run_coroutine_threadsafe(store.query.last(range(10_000)), loop).result()
            assert len(found) == POINTS
            return 1

        return await asyncio.to_thread(repeated, {"trend": trend, "newest": newest}[what], seconds)


def _plain_trend(plain: duckdb.DuckDBPyConnection, span: int) -> int:
    step = span // _intervals(span)
    rows = plain.execute(
        "SELECT t // ? AS i, min(value), max(value), avg(value), count(value), max(quality) FROM reading "
        "WHERE point = ? AND t >= ? AND t < ? GROUP BY i ORDER BY i",
        [step, POINTS // 2, START, START + span],
    ).fetchnumpy()
    assert 0 <= len(rows["i"]) - _intervals(span) <= 1
    return 1


def _plain_newest(plain: duckdb.DuckDBPyConnection) -> int:
    rows = plain.execute(
        "SELECT point, max(t), arg_max(value, t) FROM reading WHERE point < 10000 GROUP BY point"
    ).fetchnumpy()
    assert len(rows["point"]) == POINTS
    return 1


@contextmanager
def _filled(what: str, size: Size) -> Iterator[Contenders]:
    seconds = _FULL_S if what == "trend" and size.seconds >= 1 else _SMALL_S
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.duckdb"
        with duckdb.connect(str(Path(folder) / "plain.duckdb"), config={"threads": 2}) as plain:
            plain.execute("CREATE TABLE reading (point UINTEGER, t BIGINT, value DOUBLE, quality UTINYINT)")
            asyncio.run(_fill(path, plain, seconds))
            span = seconds * SECOND
            bare = partial(_plain_trend, plain, span) if what == "trend" else partial(_plain_newest, plain)
            yield {
                "embedded store": lambda: asyncio.run(_asked(path, what, span, size.seconds)),
                "one table in order of arrival": partial(repeated, bare, size.seconds),
            }


TREND = Benchmark(
    "trend-of-a-day",
    "One point over one day out of 100 million readings in 500 intervals",
    "query",
    partial(_filled, "trend"),
    target_per_s=50,
    note="the smoke size asks for ten minutes out of 700,000 readings",
)
NEWEST = Benchmark(
    "newest-values",
    "The newest reading of each of 10,000 points asked for, 1160 of which exist, out of 700,000 readings",
    "query",
    partial(_filled, "newest"),
    target_per_s=50,
)
