"""One suite for every implementation of Store and QueryPort: the in-memory fake, DuckDB, InfluxDB."""

from __future__ import annotations

import math
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ingest.config import EmbeddedSettings, InfluxSettings
from ingest.conservation import CountingStore, conservation
from ingest.fakes import FakeCursors, FakeJournal, FakeLetters, FakeStore
from ingest.ports import EventRecord, QueryPort, Totals
from ingest.stages.deadband import Deadbands
from ingest.stores.embedded.store import EmbeddedStore
from ingest.stores.influx.store import InfluxStore
from telemetry.batch import Columns, ReadingBatch
from telemetry.clock import ManualClock
from telemetry.quality import Quality
from telemetry.registry import PointRegistry
from telemetry.site import Site
from tests.support.influx import InfluxBench

T0 = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
NAN = math.nan
GOOD = int(Quality.GOOD)
LOST = int(Quality.LINK_LOST)

Reading = tuple[int, int, float, int]
"""Point, second after T0, value, quality."""


def batch(*readings: Reading) -> ReadingBatch:
    return ReadingBatch.of(
        "modbus/SHY",
        1,
        1,
        T0,
        point=[r[0] for r in readings],
        t_source=[T0 + r[1] * SECOND for r in readings],
        value=[r[2] for r in readings],
        quality=[r[3] for r in readings],
    )


def rows(columns: Columns) -> list[tuple[int, int, float | None, int]]:
    return [
        (int(p), int(t - T0) // SECOND, None if math.isnan(v) else float(v), int(q))
        for p, t, v, q in zip(columns.point, columns.t_source, columns.value, columns.quality, strict=True)
    ]


@dataclass
class Bench:
    store: CountingStore
    query: QueryPort
    journal: FakeJournal

    async def put(self, *batches: ReadingBatch) -> Totals:
        before = self.journal.head
        for one in batches:
            self.journal.append(one)
        return (await self.store.apply(await self.journal.read(before))).totals

    async def all(self, points: list[int]) -> list[tuple[int, int, float | None, int]]:
        return rows(await self.query.range(points, T0 - 1000 * SECOND, T0 + 1000 * SECOND))


@pytest.fixture(scope="module", autouse=True)
def _influxd_first(request: pytest.FixtureRequest) -> None:
    """Started before any test, the server is no leftover of one."""
    if shutil.which("influxd"):
        request.getfixturevalue("influxd")


@pytest.fixture
def its_site(site: Site) -> Site:
    """The site of the stores; a test that wants deadbands has another."""
    return site


@pytest.fixture
async def fake_bench(its_site: Site) -> Bench:
    bands = {
        index: (band.width(point.spec), round(band.max_silence_s * SECOND))
        for index, point in its_site.points.items()
        if (band := point.spec.deadband) is not None
    }
    store = FakeStore(bands=bands)
    return Bench(store, store, FakeJournal())


@pytest.fixture
async def embedded_bench(tmp_path: Path, its_site: Site) -> AsyncIterator[Bench]:
    deadbands = Deadbands.of_site(its_site)
    async with EmbeddedStore(tmp_path / "readings.duckdb", EmbeddedSettings(), deadbands) as store:
        yield Bench(store, store.query, FakeJournal())


@pytest.fixture
async def compacted_bench(tmp_path: Path, its_site: Site) -> AsyncIterator[Bench]:
    """Sorts every reading into its partition at once."""
    settings = EmbeddedSettings(compact_readings=1)
    deadbands = Deadbands.of_site(its_site)
    async with EmbeddedStore(tmp_path / "readings.duckdb", settings, deadbands) as store:
        yield Bench(store, store.query, FakeJournal(ManualClock(T0)))


@pytest.fixture
async def influx_bench(influx: InfluxBench, its_site: Site, registry: PointRegistry) -> AsyncIterator[Bench]:
    settings = InfluxSettings(url=influx.url, org=influx.org, bucket=influx.bucket, token_env="TOKEN")
    environment = {"TOKEN": influx.token}
    async with InfluxStore(
        settings,
        its_site,
        registry,
        cursors=FakeCursors(),
        letters=FakeLetters(),
        clock=ManualClock(),
        environment=environment,
    ) as store:
        yield Bench(store, store.query, FakeJournal())


@pytest.fixture(
    params=["fake", "embedded", "compacted", pytest.param("influx", marks=pytest.mark.system("influxd"))]
)
def bench(request: pytest.FixtureRequest) -> Bench:
    found: Bench = request.getfixturevalue(f"{request.param}_bench")
    return found


async def test_stored_readings_come_back_ordered_by_point_and_time(bench: Bench) -> None:
    totals = await bench.put(
        batch((2, 0, 5.5, GOOD), (0, 0, -1.25, GOOD)), batch((2, 1, NAN, LOST), (0, 1, 1e22, GOOD))
    )
    assert totals == Totals(stored=4)
    assert await bench.all([0, 2]) == [
        (0, 0, -1.25, GOOD),
        (0, 1, 1e22, GOOD),
        (2, 0, 5.5, GOOD),
        (2, 1, None, LOST),
    ]
    assert await bench.all([1]) == []
    assert rows(await bench.query.range([0, 2], T0 + SECOND, T0 + 2 * SECOND)) == [
        (0, 1, 1e22, GOOD),
        (2, 1, None, LOST),
    ]
    assert rows(await bench.query.range([0, 2], T0, T0 + 2 * SECOND, limit=3)) == [
        (0, 0, -1.25, GOOD),
        (0, 1, 1e22, GOOD),
        (2, 0, 5.5, GOOD),
    ]


async def test_applying_records_twice_changes_nothing(bench: Bench) -> None:
    await bench.put(batch((0, 0, 1.0, GOOD)), batch((0, 1, 2.0, GOOD)))
    before = await bench.store.position()
    assert await bench.store.apply(await bench.journal.read(0)) == before
    assert await bench.store.apply([]) == before
    assert await bench.all([0]) == [(0, 0, 1.0, GOOD), (0, 1, 2.0, GOOD)]


async def test_same_key_is_a_duplicate_or_a_revision(bench: Bench) -> None:
    await bench.put(batch((0, 0, 1.0, GOOD), (1, 0, NAN, LOST), (2, 0, 3.0, GOOD), (3, 0, 4.0, GOOD)))
    totals = await bench.put(
        batch((0, 0, 1.0, GOOD), (1, 0, NAN, LOST), (2, 0, 9.0, GOOD), (3, 0, 4.0, LOST))
    )
    assert totals == Totals(stored=4, revised=2, duplicates=2)
    assert await bench.all([0, 1, 2, 3]) == [
        (0, 0, 1.0, GOOD),
        (1, 0, None, LOST),
        (2, 0, 9.0, GOOD),
        (3, 0, 4.0, LOST),
    ]


async def test_a_revision_can_withdraw_a_value_and_bring_one_back(bench: Bench) -> None:
    await bench.put(batch((0, 0, 1.0, GOOD)))
    await bench.put(batch((0, 0, NAN, LOST)))
    assert await bench.all([0]) == [(0, 0, None, LOST)]
    totals = await bench.put(batch((0, 0, 2.0, GOOD)))
    assert await bench.all([0]) == [(0, 0, 2.0, GOOD)]
    assert totals == Totals(stored=1, revised=2)


async def test_repetitions_within_one_application_count_one_by_one_and_the_last_wins(bench: Bench) -> None:
    totals = await bench.put(
        batch((0, 0, 1.0, GOOD), (0, 0, 1.0, GOOD), (0, 0, 2.0, GOOD)),
        batch((0, 0, NAN, LOST), (0, 0, 3.0, GOOD)),
    )
    assert totals == Totals(stored=1, revised=3, duplicates=1)
    assert await bench.all([0]) == [(0, 0, 3.0, GOOD)]


async def test_late_readings_below_the_mark_are_new(bench: Bench) -> None:
    await bench.put(batch((0, 10, 10.0, GOOD)))
    totals = await bench.put(batch((0, 5, 5.0, GOOD), (0, 10, 10.0, GOOD), (0, -3, 0.5, GOOD)))
    assert totals == Totals(stored=3, duplicates=1)
    assert await bench.all([0]) == [(0, -3, 0.5, GOOD), (0, 5, 5.0, GOOD), (0, 10, 10.0, GOOD)]
    assert rows(await bench.query.last([0])) == [(0, 10, 10.0, GOOD)]


async def test_last_is_the_newest_by_source_time_revisions_included(bench: Bench) -> None:
    await bench.put(batch((0, 1, 1.0, GOOD), (0, 0, 7.0, GOOD), (4, 0, NAN, LOST)))
    assert sorted(rows(await bench.query.last([4, 3, 0]))) == [(0, 1, 1.0, GOOD), (4, 0, None, LOST)]
    await bench.put(batch((0, 1, 8.0, GOOD), (4, 2, 2.0, GOOD)))
    assert sorted(rows(await bench.query.last([0, 4]))) == [(0, 1, 8.0, GOOD), (4, 2, 2.0, GOOD)]
    assert rows(await bench.query.last([])) == []


async def test_series_sums_up_usable_readings_and_shows_the_worst_quality(bench: Bench) -> None:
    suspect = int(Quality.CLOCK_SUSPECT)
    await bench.put(
        batch(
            (0, 0, 1.0, GOOD),
            (0, 1, 3.0, suspect),
            (0, 9, 100.0, LOST),
            (0, 10, NAN, LOST),
            (0, 30, 5.0, GOOD),
            (1, 0, 77.0, GOOD),
        )
    )
    series = await bench.query.series(0, T0, T0 + 31 * SECOND, 10 * SECOND)
    assert ((series.t - T0) // SECOND).tolist() == [0, 10, 30]
    np.testing.assert_array_equal(series.low, [1.0, NAN, 5.0])
    np.testing.assert_array_equal(series.high, [3.0, NAN, 5.0])
    np.testing.assert_array_equal(series.mean, [2.0, NAN, 5.0])
    np.testing.assert_array_equal(series.last, [3.0, NAN, 5.0])
    assert series.count.tolist() == [2, 0, 1]
    assert series.worst.tolist() == [LOST, LOST, GOOD]
    empty = await bench.query.series(5, T0, T0 + 31 * SECOND, 10 * SECOND)
    assert len(empty.t) == 0


def event(key: str, t: int, kind: str = "alarm", **fields: float | int | str | bool) -> EventRecord:
    return EventRecord(kind, key, T0 + t * SECOND, {"area": "KZ", "asset": "SHY-TAS, both ends"}, fields)


async def test_events_replace_by_key_and_come_newest_first(bench: Bench) -> None:
    text = 'say "30 MW", then\nC:\\x, a=b'
    one = event("R6/1", 1, value=29.5, text=text, raised=True, count=3)
    position = await bench.store.apply_events([(1, one), (2, event("R6/2", 2, value=1.5, count=4))])
    assert position.event == 2
    newer = event("R6/1", 1, value=30.5, text="", raised=False, count=4)
    await bench.store.apply_events(
        [(2, event("R6/2", 2, value=9.5)), (3, newer), (4, event("I/1", 1, "interval", mwh=1.5))]
    )
    found = await bench.query.events("alarm", T0, T0 + 10 * SECOND)
    assert list(found) == [event("R6/2", 2, value=1.5, count=4), newer]
    assert list(await bench.query.events("alarm", T0, T0 + 10 * SECOND, limit=1)) == [
        event("R6/2", 2, value=1.5, count=4)
    ]
    assert list(await bench.query.events("alarm", T0, T0 + 2 * SECOND)) == [newer]
    assert list(await bench.query.events("nothing", T0, T0 + 10 * SECOND)) == []
    assert (await bench.store.position()).event == 4


async def test_events_and_readings_do_not_disturb_each_others_position(bench: Bench) -> None:
    await bench.store.apply_events([(7, event("R6/1", 1, value=1.5))])
    await bench.put(batch((0, 0, 1.0, GOOD)))
    position = await bench.store.position()
    assert (position.offset, position.event) == (1, 7)


async def test_readings_of_skipped_records_are_counted_as_missed(bench: Bench) -> None:
    for second in range(4):
        bench.journal.append(batch((0, second, 1.0, GOOD), (1, second, 1.0, GOOD)))
    records = await bench.journal.read(0)
    await bench.store.apply([records[1]])
    await bench.store.apply([records[3]])
    report = await conservation(bench.journal, bench.store)
    assert report.totals == Totals(stored=4, missed=4)
    assert report.holds


async def test_pending_readings_are_part_of_the_sum(bench: Bench) -> None:
    await bench.put(batch((0, 0, 1.0, GOOD)), batch())
    bench.journal.append(batch((0, 1, 1.0, GOOD), (0, 1, 1.0, GOOD)))
    report = await conservation(bench.journal, bench.store)
    assert (report.received, report.pending, report.holds) == (3, 2, True)


class TestDeadband:
    """Points 0 and 4 have one of 0.5 and 10 s, the others none."""

    @pytest.fixture
    def its_site(self, thin_site: Site) -> Site:
        return thin_site

    async def test_what_says_nothing_new_is_left_out_and_counted(self, bench: Bench) -> None:
        await bench.put(batch((0, 0, 1.0, GOOD), (1, 0, 1.0, GOOD), (0, 1, 1.5, GOOD), (1, 1, 1.0, GOOD)))
        totals = await bench.put(
            batch((0, 2, 0.5, GOOD), (0, 3, 2.0, GOOD)), batch((0, 4, 2.0, LOST), (0, 5, 2.0, LOST))
        )
        assert totals == Totals(stored=5, suppressed=3)
        assert await bench.all([0, 1]) == [
            (0, 0, 1.0, GOOD),
            (0, 3, 2.0, GOOD),
            (0, 4, 2.0, LOST),
            (1, 0, 1.0, GOOD),
            (1, 1, 1.0, GOOD),
        ]
        report = await conservation(bench.journal, bench.store)
        assert report.holds
        assert (report.received, report.totals.accounted) == (8, 8)

    async def test_a_silence_ends(self, bench: Bench) -> None:
        for second in range(25):
            await bench.put(batch((0, second, 1.0, GOOD)))
        assert [t for _, t, _, _ in await bench.all([0])] == [0, 10, 20]

    async def test_repetitions_and_revisions_of_what_is_stored_pass(self, bench: Bench) -> None:
        await bench.put(batch((0, 0, 1.0, GOOD)))
        totals = await bench.put(batch((0, 0, 1.0, GOOD)), batch((0, 0, 1.2, GOOD)), batch((0, 1, 1.6, GOOD)))
        assert totals == Totals(stored=1, revised=1, duplicates=1, suppressed=1)
        totals = await bench.put(batch((0, -5, 1.2, GOOD)), batch((0, 2, 1.8, GOOD)))
        assert totals == Totals(stored=3, revised=1, duplicates=1, suppressed=1)
        assert await bench.all([0]) == [(0, -5, 1.2, GOOD), (0, 0, 1.2, GOOD), (0, 2, 1.8, GOOD)]
