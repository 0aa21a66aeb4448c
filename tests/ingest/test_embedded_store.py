from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import duckdb
import pytest

from ingest.config import EmbeddedSettings
from ingest.conservation import conservation
from ingest.fakes import FakeJournal
from ingest.ports import EventRecord, Totals
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.clock import ManualClock
from telemetry.errors import StorageError, UnavailableError
from tests.ingest.batches import T0, batch

SETTINGS = EmbeddedSettings()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.duckdb"


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 20_000)


async def test_position_marks_and_rows_survive_reopening(path: Path, clock: ManualClock) -> None:
    journal = FakeJournal(clock)
    for at in (1, 2, 2):
        journal.append(batch([1.0, 2.0], at=at))
    records = await journal.read(0)
    async with EmbeddedStore(path, SETTINGS) as store:
        await store.apply(records[:2])
        await store.apply_events([(1, EventRecord("alarm", "a", T0, {}, {"value": float("nan")}))])
    async with EmbeddedStore(path, SETTINGS) as store:
        position = await store.apply(records)
        assert position.totals == Totals(stored=4, duplicates=2)
        assert position.event == 1
        assert (await conservation(journal, store)).holds
        assert (await store.query.events("alarm", T0, T0 + 1))[0].fields == {}


async def test_rows_that_are_not_those_stored_break_the_sum(path: Path, clock: ManualClock) -> None:
    journal = FakeJournal(clock)
    journal.append(batch([1.0, 2.0]))
    async with EmbeddedStore(path, SETTINGS) as store:
        await store.apply(await journal.read(0))
    with duckdb.connect(str(path)) as connection:
        connection.execute("DELETE FROM hot WHERE point = 1")
    async with EmbeddedStore(path, SETTINGS) as store:
        report = await conservation(journal, store)
        assert (report.rows, report.totals.stored, report.holds) == (1, 2, False)


async def test_a_failed_application_leaves_nothing_and_can_be_repeated(
    path: Path, clock: ManualClock
) -> None:
    journal = FakeJournal(clock)
    journal.append(batch([1.0]))
    async with EmbeddedStore(path, SETTINGS) as store:
        await store.apply(await journal.read(0))
        journal.append(batch([2.0], at=1))
        records = await journal.read(1)
    with duckdb.connect(str(path)) as connection:  # the last statement of the transaction will fail
        connection.execute("ALTER TABLE state RENAME COLUMN missed TO gone")
    async with EmbeddedStore(path, SETTINGS) as store:
        with pytest.raises(UnavailableError, match="missed"):
            await store.apply(records)
        assert await store.count() == 1
        assert (await store.position()).offset == 1


async def test_a_damaged_file_stops_the_start_with_the_recovery(path: Path) -> None:
    async with EmbeddedStore(path, SETTINGS):
        pass
    damage(path)
    with pytest.raises(StorageError, match=r"stop greenbridge, run `mkdir .*` and start again") as refused:
        await EmbeddedStore(path, SETTINGS).__aenter__()
    process = await asyncio.create_subprocess_shell(str(refused.value).split("`")[1])
    assert await process.wait() == 0
    assert (path.parent / "damaged" / path.name).exists()
    async with EmbeddedStore(path, SETTINGS) as store:
        assert (await store.position()).offset == 0


async def test_a_newer_or_foreign_file_is_refused(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE x (y INTEGER)")
    with pytest.raises(StorageError, match="something else"):
        await EmbeddedStore(path, SETTINGS).__aenter__()
    os.unlink(path)
    async with EmbeddedStore(path, SETTINGS):
        pass
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE state SET version = 99")
    with pytest.raises(StorageError, match="version 99"):
        await EmbeddedStore(path, SETTINGS).__aenter__()


async def test_a_file_in_use_by_another_process_is_named(path: Path) -> None:
    async with EmbeddedStore(path, SETTINGS):
        script = (
            "import asyncio, pathlib, sys\n"
            "from ingest.config import EmbeddedSettings\n"
            "from ingest.stores.embedded.store import EmbeddedStore\n"
            "asyncio.run(EmbeddedStore(pathlib.Path(sys.argv[1]), EmbeddedSettings()).__aenter__())\n"
        )
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(path), stderr=asyncio.subprocess.PIPE
        )
        _, errors = await other.communicate()
        assert b"is in use by another process" in errors


async def test_a_closed_store_says_so(path: Path) -> None:
    async with EmbeddedStore(path, SETTINGS) as store:
        pass
    with pytest.raises(StorageError, match="not open"):
        await store.query.last([1])
