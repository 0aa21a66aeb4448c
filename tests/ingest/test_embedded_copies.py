"""Backup and export of the embedded store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import duckdb
import numpy as np
import pytest

from ingest.config import EmbeddedSettings
from ingest.fakes import FakeJournal
from ingest.ports import EventRecord
from ingest.stores.embedded.copies import ExportedPoint, ExportFormat
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.clock import ManualClock
from telemetry.errors import StorageError, UnavailableError
from telemetry.quality import Quality
from tests.ingest.batches import T0, batch

SETTINGS = EmbeddedSettings(compact_readings=20)
LABELS = [ExportedPoint(0, 'SHY, "main"', "TotW", "MW"), ExportedPoint(1, "SHY", "Hz", "Hz")]


async def test_a_backup_taken_while_writing_is_a_whole_store_of_one_moment(
    tmp_path: Path, clock: ManualClock
) -> None:
    journal = FakeJournal(clock)
    for at in range(200):
        journal.append(batch([float(at), -1.0], at=at))
    copy = tmp_path / "it's a copy.duckdb"
    async with EmbeddedStore(tmp_path / "store.duckdb", SETTINGS) as store:
        await store.apply((await journal.read(0))[:30])
        await store.apply_events([(5, EventRecord("alarm", "a", T0, {}, {}))])
        backup = asyncio.create_task(store.query.back_up(copy))
        for record in (await journal.read(0))[30:]:
            await store.apply([record])
        await backup
        with pytest.raises(StorageError, match="exists"):
            await store.query.back_up(copy)
    async with EmbeddedStore(copy, SETTINGS) as restored:
        position = await restored.position()
        assert 30 <= position.offset <= 200
        assert position.event == 5
        assert await restored.count() == position.totals.stored == 2 * position.offset
        await restored.apply(await journal.read(position.offset))
        everything = await restored.query.range([0, 1], T0, T0 + 200)
        assert len(everything) == 400
        np.testing.assert_array_equal((await restored.query.last([0])).value, [199.0])


@pytest.mark.parametrize("form", list(ExportFormat))
async def test_an_export_names_points_and_qualities(
    tmp_path: Path, clock: ManualClock, form: ExportFormat
) -> None:
    journal = FakeJournal(clock)
    for at in range(15):
        journal.append(batch([at / 8, 50.0, 7.0], at=at))
    lost = int(Quality.LINK_LOST)
    journal.append(batch([float("nan")], at=99))
    journal.records[-1].batch.quality[:] = lost
    path = tmp_path / f"it's.{form}"
    async with EmbeddedStore(tmp_path / "store.duckdb", SETTINGS) as store:
        for record in await journal.read(0):
            await store.apply([record])
        assert await store.query.export(path, form, LABELS, T0 + 1, T0 + 100) == 2 * 14 + 1
        with pytest.raises(UnavailableError, match="nowhere"):
            await store.query.export(tmp_path / "nowhere" / "x", form, LABELS, T0, T0 + 100)
    with duckdb.connect() as reader:
        read = reader.read_parquet if form is ExportFormat.PARQUET else reader.read_csv
        rows = read(str(path)).fetchall()
    assert [row[:3] for row in rows] == [("SHY", "Hz", "Hz")] * 14 + [('SHY, "main"', "TotW", "MW")] * 15
    assert [row[4:] for row in rows[-2:]] == [(14 / 8, "good", 0), (None, "link_lost", lost)]
    assert {str(row[3])[:19] for row in rows} == {"2023-11-14 22:13:20"}


async def test_csv_times_keep_their_nanoseconds(tmp_path: Path, clock: ManualClock) -> None:
    journal = FakeJournal(clock)
    journal.append(batch([1.5], at=7))
    path = tmp_path / "out.csv"
    async with EmbeddedStore(tmp_path / "store.duckdb", SETTINGS) as store:
        await store.apply(await journal.read(0))
        await store.query.export(path, ExportFormat.CSV, LABELS, T0, T0 + 100)
    assert path.read_text().splitlines() == [
        "device,point,unit,time,value,quality,code",
        '"SHY, ""main""",TotW,MW,2023-11-14T22:13:20.000000007Z,1.5,good,0',
    ]
