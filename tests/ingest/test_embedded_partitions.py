"""Partitions, roll-ups and retention of the embedded store, against the plain statement of their meaning."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.config import EmbeddedSettings
from ingest.conservation import conservation
from ingest.fakes import FakeJournal, FakeStore
from ingest.ports import EventRecord, Series, Totals
from ingest.stores.embedded.compaction import compact
from ingest.stores.embedded.database import open_store, transaction
from ingest.stores.embedded.partitions import DAY, LEVELS, RAW, SECOND, catalogue, horizon
from ingest.stores.embedded.resolution import stretches
from ingest.stores.embedded.retention import retain
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from telemetry.quality import Quality

T0 = 1_700_000_000_000_000_000 // DAY * DAY
POINTS = 3
CODES = [int(Quality.GOOD), int(Quality.GOOD), int(Quality.CLOCK_SUSPECT), int(Quality.LINK_LOST)]
STEPS = [1, 7, 10, 23, 45, 60, 130, 172.8, 900, 1801, 3600, 5003, 63_072]
"""[s]; most are no multiple of a roll-up's interval."""


def readings(draw: random.Random, number: int, span: int) -> ReadingBatch:
    """Readings around midnight, some with the same key, some from a wrong clock."""
    times = [T0 + draw.randrange(-span, span) // SECOND * SECOND for _ in range(number)]
    times = [draw.choice([t, t, t, 1_000 * SECOND]) if draw.random() < 0.02 else t for t in times]
    value = [draw.choice([float("nan"), draw.uniform(-500, 500)]) for _ in range(number)]
    return ReadingBatch.of(
        "modbus/SHY",
        1,
        1,
        T0,
        point=[draw.randrange(POINTS) for _ in range(number)],
        t_source=times,
        value=value,
        quality=[draw.choice(CODES) if not np.isnan(v) else int(Quality.NOT_A_NUMBER) for v in value],
    )


def assert_same(found: Series, wanted: Series) -> None:
    np.testing.assert_array_equal(found.t, wanted.t)
    np.testing.assert_array_equal(found.count, wanted.count)
    np.testing.assert_array_equal(found.worst, wanted.worst)
    for name in ("low", "high", "last"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
async def test_queries_do_not_depend_on_what_is_compacted(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311  test data
    journal, plain = FakeJournal(ManualClock(T0)), FakeStore()
    settings = EmbeddedSettings(compact_readings=draw.choice([1, 150, 400]))
    async with EmbeddedStore(tmp_path / "store.duckdb", settings) as store:
        for _ in range(12):
            journal.append(readings(draw, draw.randrange(1, 200), draw.choice([50, 3000, 90_000]) * SECOND))
        after = 0
        while records := await journal.read(after, 300):
            assert await store.apply(records) == await plain.apply(records)
            after = records[-1].offset
        assert (await conservation(journal, store)).holds
        everything = await store.query.range(range(POINTS), 0, T0 + 10 * DAY)
        wanted = await plain.range(range(POINTS), 0, T0 + 10 * DAY)
        np.testing.assert_array_equal(everything.t_source, wanted.t_source)
        np.testing.assert_array_equal(everything.value, wanted.value)
        np.testing.assert_array_equal(everything.quality, wanted.quality)
        newest = await store.query.last(range(POINTS))
        assert sorted(zip(newest.point.tolist(), newest.t_source.tolist(), strict=True)) == sorted(
            zip(
                *[getattr(await plain.last(range(POINTS)), c).tolist() for c in ("point", "t_source")],
                strict=True,
            )
        )
        for _ in range(40):
            start = T0 + draw.randrange(-100_000, 100_000) * SECOND
            end = start + draw.randrange(1, 100_000) * SECOND
            step = round(draw.choice(STEPS) * SECOND)
            query = (draw.randrange(POINTS), start, end, step)
            assert_same(await store.query.series(*query), await plain.series(*query))


async def test_newest_and_position_are_those_of_before_a_restart(tmp_path: Path) -> None:
    draw = random.Random(7)  # noqa: S311  test data
    journal = FakeJournal(ManualClock(T0))
    settings = EmbeddedSettings(compact_readings=250)
    journal.append(readings(draw, 240, 5000 * SECOND))
    journal.append(readings(draw, 240, 5000 * SECOND))
    records = await journal.read(0)
    async with EmbeddedStore(tmp_path / "store.duckdb", settings) as store:
        for record in records:  # the first stays fresh, the second brings the compaction; then one more
            await store.apply([record])
        # a revision of a compacted newest reading
        (top,) = (await store.query.last([1])).t_source
        revised = ReadingBatch.of("m", 1, 2, T0, point=[1], t_source=[top], value=[-9.0], quality=[0])
        journal.append(revised)
        await store.apply(await journal.read(records[-1].offset))
        before, position = await store.query.last(range(POINTS)), await store.position()
    async with EmbeddedStore(tmp_path / "store.duckdb", settings) as store:
        after = await store.query.last(range(POINTS))
        np.testing.assert_array_equal(after.value, before.value)
        np.testing.assert_array_equal(after.t_source, before.t_source)
        assert after.value[1] == -9.0
        assert await store.position() == position


@pytest.fixture
async def aged(tmp_path: Path) -> AsyncIterator[tuple[EmbeddedStore, FakeJournal, ManualClock]]:
    settings = EmbeddedSettings(
        compact_readings=1, keep_days=3, keep_10s_days=5, keep_1min_days=20, keep_15min_days=200
    )
    clock = ManualClock(T0)
    async with EmbeddedStore(tmp_path / "store.duckdb", settings) as store:
        yield store, FakeJournal(clock), clock


def at(times: Sequence[int], value: float = 1.0) -> ReadingBatch:
    n = len(times)
    return ReadingBatch.of("m", 1, 1, T0, point=[0] * n, t_source=times, value=[value] * n, quality=[0] * n)


async def test_old_readings_go_and_their_rollups_stay(
    aged: tuple[EmbeddedStore, FakeJournal, ManualClock],
) -> None:
    store, journal, clock = aged
    for day in range(8):
        await clock.advance(DAY / SECOND if day else 0)
        journal.append(at([T0 + day * DAY + s * SECOND for s in range(0, 40, 2)], float(day)))
        await store.apply(await journal.read(journal.head - 1))
    now = T0 + 7 * DAY
    kept = await store.query.range([0], 0, now + DAY)
    assert sorted(set(((kept.t_source - T0) // DAY).tolist())) == [4, 5, 6, 7]
    fine = await store.query.series(0, T0, now + DAY, 10 * SECOND)
    # days 0 and 1 are there in intervals of 1 min only: each counts as one interval of 10 s
    assert np.bincount((fine.t - T0) // DAY).tolist() == [1, 1, 4, 4, 4, 4, 4, 4]
    coarse = await store.query.series(0, T0, now + DAY, DAY)
    assert coarse.count.tolist() == [20] * 8
    assert coarse.mean.tolist() == [float(day) for day in range(8)]
    report = await conservation(journal, store)
    assert report.holds
    assert report.totals.stored == 8 * 20


async def test_readings_older_than_what_is_kept_are_counted_as_expired(
    aged: tuple[EmbeddedStore, FakeJournal, ManualClock],
) -> None:
    store, journal, clock = aged
    journal.append(at([T0]))
    await store.apply(await journal.read(0))
    await clock.advance(10 * DAY / SECOND)
    journal.append(at([T0 + 10 * DAY]))
    await store.apply(await journal.read(1))
    journal.append(at([T0, T0 + SECOND, T0 + 8 * DAY, 5 * SECOND]))
    position = await store.apply(await journal.read(2))
    assert position.totals == Totals(stored=4, expired=2)
    assert (await conservation(journal, store)).holds
    assert len(await store.query.range([0], 0, T0)) == 1, "a wrong clock's reading is kept, whatever its time"


async def test_size_drops_the_oldest_days_first(tmp_path: Path) -> None:
    clock = ManualClock(T0)
    journal = FakeJournal(clock)
    noise = np.random.default_rng(1)
    settings = EmbeddedSettings(compact_readings=1, max_mb=64)
    n = 400_000
    async with EmbeddedStore(tmp_path / "store.duckdb", settings) as store:
        for day in range(15):
            times = T0 + day * DAY + np.arange(n) * 200_000_000
            journal.append(
                ReadingBatch.of(
                    "m",
                    1,
                    1,
                    T0,
                    point=np.zeros(n),
                    t_source=times,
                    value=noise.random(n),
                    quality=np.zeros(n),
                )
            )
            await clock.advance(DAY / SECOND)
            await store.apply(await journal.read(journal.head - 1))
        first = (await store.query.range([0], 0, T0 + 20 * DAY, limit=1)).t_source[0]
        assert T0 < first < T0 + 14 * DAY
        assert first % DAY == 0
        whole = await store.query.series(0, T0, T0 + 15 * DAY, DAY)
        assert whole.count.tolist() == [n] * 15
        assert (await conservation(journal, store)).holds


def test_a_query_under_way_holds_up_the_size_but_not_the_writing(tmp_path: Path) -> None:
    settings = EmbeddedSettings()
    connection = open_store(tmp_path / "store.duckdb", settings)
    for day in range(4):
        connection.execute("INSERT INTO hot VALUES (0, ?, 1.0, 0, ?)", [T0 + day * DAY, day + 1])
        with transaction(connection):
            compact(connection, T0 + day * DAY)
    connection.execute("CHECKPOINT")  # until then the data are in the log, and the file has no size
    nothing_fits = settings.model_copy(update={"max_mb": 0})
    reader = connection.cursor()
    with transaction(reader):
        reader.execute(f"SELECT count(*) FROM {catalogue(connection, RAW)[0].table}").fetchall()  # noqa: S608
        retain(connection, nothing_fits, T0 + 3 * DAY)
        assert [p.slot for p in catalogue(connection, RAW)] == [T0 // DAY + day for day in (1, 2, 3)]
    retain(connection, nothing_fits, T0 + 3 * DAY)
    assert [p.slot for p in catalogue(connection, RAW)] == [T0 // DAY + 3]
    assert horizon(connection, RAW) == T0 + 3 * DAY
    connection.close()


async def test_events_older_than_the_coarsest_rollup_go(
    aged: tuple[EmbeddedStore, FakeJournal, ManualClock],
) -> None:
    store, journal, clock = aged
    old = EventRecord("alarm", "a", T0, {}, {})
    new = EventRecord("alarm", "b", T0 + 150 * DAY, {}, {})
    await store.apply_events([(1, old), (2, new)])
    await clock.advance(201 * DAY / SECOND)
    journal.append(at([T0 + 201 * DAY]))
    await store.apply(await journal.read(0))
    assert list(await store.query.events("alarm", 0, T0 + 300 * DAY)) == [new]


@given(
    st.integers(-200_000, 200_000),
    st.integers(1, 400_000),
    st.sampled_from(STEPS),
    st.lists(st.integers(-3, 3), min_size=4, max_size=4),
)
def test_stretches_cover_each_time_once_with_what_is_kept(
    start_s: int, length_s: int, step: int, days: list[int]
) -> None:
    start, end = T0 + start_s * SECOND, T0 + (start_s + length_s) * SECOND
    horizons = sorted((T0 + day * DAY for day in days), reverse=True)
    found = stretches(start, end, step, horizons)
    assert all(one.start < one.end for one in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    assert all(one.start >= horizons[one.level.number] for one in found)
    covered = sum(one.end - one.start for one in found)
    assert covered == max(0, end - max(start, horizons[-1])), "only what no level keeps is missing"
    for one in found:
        if one.start >= horizons[RAW.number]:
            assert one.level is RAW or (
                step % one.level.width == 0 and one.start % one.level.width == one.end % one.level.width == 0
            )
            finest = [
                level for level in LEVELS if level.number > one.level.number and step % level.width == 0
            ]
            assert not finest or one.end - one.start < 2 * finest[0].width
