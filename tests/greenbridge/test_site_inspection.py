from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from adapters.metrics import ROUND_TRIP
from alerts.schedules import ScheduleBook
from greenbridge.inspection import Inspected, Inspection, round_trips, tolerances
from greenbridge.settings import load
from ingest.audit import AuditLog
from ingest.audit_chain import Act
from ingest.config import DeadLetterSettings, JournalSettings
from ingest.deadletters import DeadLetters
from ingest.fakes import FakeStore
from ingest.journal.journal import Journal
from ingest.live import LiveTable
from ingest.ports import DeadLetter, JournalRecord
from ingest.supervision import Supervisor
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from telemetry.quality import Quality
from telemetry.registry import PointRegistry
from telemetry.site import Site

S = 1_000_000_000
DEVICE = "SHY-TAS_SHY_main"


@pytest.fixture(scope="module")
def site() -> Site:
    configuration = load("corridor", {})
    return configuration.site(PointRegistry(configuration.keys()))


def explained(asset: str) -> Mapping[str, float | str]:
    return {"Explanation": f"{asset}: a tap"}


async def test_the_inside_of_a_site(
    site: Site, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load("corridor", {}).settings
    points = [point.index for point in site.points_of(DEVICE)]
    # half an hour of readings a second, then nothing for a minute, then ten minutes of bad ones
    end = clock.now_ns() // (60 * S) * 60 * S
    good = np.arange(end - 41 * 60 * S, end - 11 * 60 * S, S)
    bad = np.arange(end - 10 * 60 * S, end, S)
    times = np.concatenate([good, bad])
    quality = np.array([0] * len(good) + [Quality.STALE] * len(bad), np.uint8)
    batch = ReadingBatch.of(
        *("modbus/SHY", 1, 1, end + S),
        point=np.full(len(times), points[0]),
        t_source=times,
        value=np.full(len(times), 1.0),
        quality=quality,
    )
    # it tells far more than it must for one minute
    eager = next(iter(site.points_of("MGC-SAM_SAM_main"))).index
    crowd = np.linspace(end - 60 * S, end - S, 8000).astype(np.int64)
    flood = ReadingBatch.of(
        *("modbus/SAM", 1, 1, end + S),
        point=np.full(len(crowd), eager),
        t_source=crowd,
        value=np.full(len(crowd), 1.0),
        quality=np.zeros(len(crowd), np.uint8),
    )
    store = FakeStore()
    await store.apply([JournalRecord(1, end + S, 0, batch), JournalRecord(2, end + S, len(batch), flood)])
    monkeypatch.setattr("greenbridge.inspection._ROWS", 1)
    async with (
        Journal(tmp_path / "journal", JournalSettings(), clock) as journal,
        DeadLetters(tmp_path / "deadletters.sqlite", DeadLetterSettings()) as letters,
        AuditLog(tmp_path / "audit.sqlite", clock) as audit,
    ):
        await journal.append(batch)
        table = LiveTable(journal)
        table.take(await journal.read(0))
        await letters.add([DeadLetter(end, "mqtt/main", "a/b", "not_json", "no JSON", b"x", 1)])
        await audit.append(Act("anna", "acknowledge", "R6-SHY-TAS-1", "done", {"comment": "calling"}))
        await audit.append(Act("berik", "shelve", "R6/MGC-SAM", "refused"))
        journal.cursors.register("embedded")
        parts = Inspected(
            tmp_path,
            journal,
            letters,
            table,
            store,
            Supervisor(clock),
            ScheduleBook(site.grid),
            lambda: settings.alerts,
            explained,
        )
        inspection = Inspection(lambda: site, parts, clock)

        report = await inspection.quality()
        found = {device.device: device for device in report.devices}
        mine = found[DEVICE]
        # the site is new: nothing was due before the first whole minute of its first reading
        assert mine.minutes == [60] * 29 + [0] * 11
        assert (mine.gaps, mine.completeness_pct, mine.good) == (1, 72.5, 0)
        assert (mine.t_source, mine.t_received) == (int(bad[-1]), end + S)
        other = found["SHY-TAS_TAS_main"]
        assert (other.t_source, other.gaps, other.completeness_pct) == (None, 1, 0.0)
        assert found["MGC-SAM_SAM_main"].minutes == [0] * 39 + [8000]
        assert [(c.source, c.reason, c.count) for c in report.letters] == [("mqtt/main", "not_json", 1)]
        assert report.newest_letters[0].detail == "no JSON"
        # it is not put together anew for every page that is open
        assert await inspection.quality() is report

        # had it read anything before, the silence at the beginning would be a gap
        first = min(next(iter(site.points_of(device.device))).index for device in report.devices)
        earlier = ReadingBatch.of(
            *("modbus/SHY", 1, 2, end - 86400 * S),
            point=np.array([first]),
            t_source=np.array([end - 86400 * S]),
            value=np.ones(1),
            quality=np.zeros(1, np.uint8),
        )
        await store.apply([JournalRecord(3, end + S, len(batch) + len(flood), earlier)])
        again = {d.device: d for d in (await Inspection(lambda: site, parts, clock).quality()).devices}
        assert again[DEVICE].minutes == [0] * 19 + [60] * 30 + [0] * 11
        assert (again[DEVICE].gaps, again[DEVICE].completeness_pct) == (2, 50.0)

        machinery = await inspection.machinery()
        assert (machinery.head, machinery.first, machinery.queued, machinery.trouble) == (1, 1, 0, "")
        assert [(c.name, c.behind) for c in machinery.cursors] == [("embedded", 1)]
        assert {"journal", "audit.sqlite"} <= {file.name for file in machinery.files}
        assert 0 < machinery.disk_free <= machinery.disk_total

        page = await inspection.audit(1)
        assert (page.total, page.fault, page.entries[0].who) == (2, "", "berik")
        assert (await inspection.audit(10, before=2)).entries[0].details == {"comment": "calling"}
        assert inspection.agreed(end, end + S)["MGC-SAM"] == [(end, -620.0), (end + S, -620.0)]
        assert inspection.explained("KZ") == {"Explanation": "KZ: a tap"}
    with sqlite3.connect(tmp_path / "audit.sqlite") as database:
        database.execute("update entry set who = 'nobody' where number = 1")
    database.close()
    assert "entry 1 is not what was written" in (await inspection.audit(10)).fault


def test_deviations_are_judged_by_the_limits_of_the_rules(site: Site) -> None:
    found = tolerances(site, load("corridor", {}).settings.alerts)
    assert "SHY-TAS" not in found, "a ring tie is judged by the net positions of its areas"
    assert found["MGC-SAM"] == pytest.approx(max(25.0, 0.05 * 700))
    assert found["KZ"] == 50.0
    assert found[next(area.sync_area for area in site.grid.area)] == 0.05


def test_round_trips_come_from_the_metrics_of_each_link() -> None:
    for seconds in [0.004] * 95 + [0.2] * 5:
        ROUND_TRIP.labels("modbus/test-of-round-trips").observe(seconds)
    found = next(trip for trip in round_trips() if trip.link == "modbus/test-of-round-trips")
    assert (found.polls, found.p95_s) == (100, 0.005)
    assert found.mean_s == pytest.approx(0.0138)
