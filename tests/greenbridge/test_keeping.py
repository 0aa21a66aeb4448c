"""Backup, restore, export and replay of a site, stopped and running."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from greenbridge.backup import JOURNAL, REGISTRY, STORE, back_up_running, restore
from greenbridge.claim import claimed
from greenbridge.cli import app
from greenbridge.control import SOCKET
from ingest.config import EmbeddedSettings, JournalSettings
from ingest.conservation import conservation
from ingest.fakes import FakeStore
from ingest.journal.journal import Journal
from ingest.journal.points import declare
from ingest.ports import Gap, OnFull, Position
from ingest.pump import StorePump
from ingest.refill import Refill
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock, SystemClock
from telemetry.errors import StorageError
from telemetry.points import PointKey
from tests.greenbridge.test_site_settings import DEVICE, GRID, MAIN

T0 = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
KEYS = [PointKey("old-meter", "TotW", "MW"), PointKey("old-meter", "Hz", "Hz")]
SMALL = JournalSettings(segment_bytes=1 << 16, max_bytes=1 << 17)
GUARD_S = 60.0


def batch(second: int, points: int = 2) -> ReadingBatch:
    return ReadingBatch.of(
        "modbus/SHY",
        1,
        second,
        T0 + second * SECOND,
        point=range(points),
        t_source=[T0 + second * SECOND] * points,
        value=np.arange(points) + second,
        quality=[0] * points,
    )


async def fill(state: Path, seconds: int) -> None:
    declare(state / REGISTRY, KEYS)
    clock = SystemClock()
    async with (
        Journal(state / JOURNAL, JournalSettings(), clock) as journal,
        EmbeddedStore(state / STORE, EmbeddedSettings()) as store,
    ):
        for second in range(seconds):
            await journal.append(batch(second))
        while records := await journal.read((await store.position()).offset):
            await journal.cursors.save(store.name, await store.apply(records))


@pytest.fixture
async def site(tmp_path: Path) -> Path:
    """Configuration and state of a stopped site with a hundred seconds of readings."""
    state = tmp_path / "state"
    state.mkdir()
    main = MAIN.replace('"state"', f'"{state}"')
    (tmp_path / "greenbridge.toml").write_text(f"{main}\n[console]\nport = 0\n")
    (tmp_path / "grid.toml").write_text(GRID)
    (tmp_path / "devices.toml").write_text(DEVICE)
    await fill(state, 100)
    return tmp_path


def cli(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


async def test_a_backup_of_a_site_at_work_holds_all_that_was_confirmed_before(tmp_path: Path) -> None:
    state, target = tmp_path / "state", tmp_path / "copy"
    state.mkdir()
    declare(state / REGISTRY, KEYS)
    clock = SystemClock()
    async with (
        Journal(state / JOURNAL, SMALL, clock) as journal,
        EmbeddedStore(state / STORE, EmbeddedSettings(compact_readings=5000)) as store,
        asyncio.TaskGroup() as group,
    ):
        pump = group.create_task(StorePump(journal, store, clock, cursors=journal.cursors).run())
        journal.cursors.register(store.name, OnFull.STOP)

        async def produce() -> None:
            for second in range(4000):
                await journal.append(batch(second))

        producing = group.create_task(produce())
        while journal.head < 500:
            await journal.wait(journal.head)
        confirmed = journal.head
        await back_up_running(state, store, journal.cursors, target, T0)
        after = journal.head
        await producing
        pump.cancel()
    assert after < 4000, "the backup ended after the traffic: the run proves nothing"
    restore(target, tmp_path / "restored")
    async with (
        Journal(tmp_path / "restored" / JOURNAL, SMALL, clock) as journal,
        EmbeddedStore(tmp_path / "restored" / STORE, EmbeddedSettings()) as store,
    ):
        assert journal.head >= (await store.position()).offset
        while records := await journal.read((await store.position()).offset):
            await store.apply(records)
        assert confirmed <= journal.head <= 4000
        report = await conservation(journal, store)
        assert report.holds
        assert report.totals.missed == 0
        assert report.totals.stored == 2 * journal.head


async def test_a_stopped_site_comes_back_from_its_backup(site: Path) -> None:
    code, output = await asyncio.to_thread(cli, "backup", site, site / "copy")
    assert (code, "files in" in output) == (0, True), output
    assert sorted(path.name for path in (site / "copy").iterdir()) == [
        "backup.json",
        "journal",
        "points.sqlite",
        "store.duckdb",
    ]
    code, output = await asyncio.to_thread(cli, "restore", site / "copy", "--state", site / "again")
    assert code == 0, output
    async with EmbeddedStore(site / "again" / STORE, EmbeddedSettings()) as store:
        assert await store.count() == 200


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda copy: (copy / STORE).write_bytes(b"x"), "store.duckdb was altered; nothing was restored"),
        (lambda copy: (copy / REGISTRY).unlink(), "points.sqlite is missing; nothing was restored"),
        (lambda copy: (copy / "backup.json").unlink(), "is no backup"),
        (lambda copy: (copy / "backup.json").write_text("{"), "backup.json cannot be read"),
    ],
)
async def test_a_damaged_backup_restores_nothing(site: Path, damage: object, reason: str) -> None:
    assert callable(damage)
    cli("backup", site, site / "copy")
    damage(site / "copy")
    code, output = await asyncio.to_thread(cli, "restore", site / "copy", "--state", site / "again")
    assert code == 1
    assert reason in " ".join(output.split())
    assert not (site / "again").exists()


async def test_nothing_is_overwritten(site: Path) -> None:
    await asyncio.to_thread(cli, "backup", site, site / "copy")
    for arguments in (
        ("backup", site, site / "copy"),
        ("restore", site / "copy", "--state", site / "state"),
        ("export", site, site / "copy" / "backup.json"),
    ):
        code, output = await asyncio.to_thread(cli, *arguments)
        assert code != 0, output
    (site / "out.csv").write_text("mine")
    code, output = await asyncio.to_thread(cli, "export", site, site / "out.csv")
    assert (code, "--force" in output) == (1, True)
    assert (site / "out.csv").read_text() == "mine"


async def test_a_stopped_site_exports_what_is_asked_for(site: Path) -> None:
    file = site / "out.csv"
    code, output = await asyncio.to_thread(
        cli, "export", site, file, "--point", "old-*/TotW", "--from", "2023-11-14T22:13:30", "--json"
    )
    assert (code, json.loads(output)["readings"]) == (0, 90)
    first = file.read_text().splitlines()[1]
    assert first == "old-meter,TotW,MW,2023-11-14T22:13:30.000000000Z,10.0,good,0"
    code, output = await asyncio.to_thread(cli, "export", site, site / "out.xls")
    assert code != 0
    assert ".parquet or .csv" in output
    code, output = await asyncio.to_thread(cli, "export", site, site / "no.csv", "--point", "x/*")
    assert "no point matches x/*" in output


@asynccontextmanager
async def running(site: Path) -> AsyncIterator[None]:
    """greenbridge on the site, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenbridge", "run", str(site)),
        cwd=site,
        env={**os.environ, "GREENBRIDGE_SIGNIN_TOKEN": "t" * 40},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    lines = []
    try:
        async with asyncio.timeout(GUARD_S):
            while line := await process.stdout.readline():
                lines.append(line)
                if b"greenbridge_started" in line:
                    break
        assert (site / "state" / SOCKET).exists(), b"".join(lines)
        reading = asyncio.create_task(process.stdout.read())
        yield
    finally:
        process.terminate()
        await process.wait()
    await reading


async def test_a_running_site_is_copied_and_exported_too(site: Path, clock: ManualClock) -> None:
    async with running(site):
        code, output = await asyncio.to_thread(
            cli, "export", site, site / "out.parquet", "--point", "old-*", "--json"
        )
        assert (code, json.loads(output)["readings"]) == (0, 200), output
        code, output = await asyncio.to_thread(cli, "backup", site, site / "copy", "--json")
        assert code == 0, output
        assert {STORE, REGISTRY, "alarms.sqlite", "audit.sqlite"} <= set(json.loads(output)["files"])
        code, output = await asyncio.to_thread(cli, "backup", site, site / "copy")
        assert (code, "overwrites nothing" in output) == (1, True)
    restore(site / "copy", site / "again")
    async with (
        Journal(site / "again" / JOURNAL, JournalSettings(), clock) as journal,
        EmbeddedStore(site / "again" / STORE, EmbeddedSettings()) as store,
    ):
        assert journal.head >= 100
        assert await store.count() >= 200


async def test_a_backup_names_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is no backup"):
        restore(tmp_path, tmp_path / "state")


async def test_a_store_that_lost_its_data_is_given_them_again(site: Path) -> None:
    state, wanted = site / "state", ("--from", "2023-11-14T22:13:30", "--to", "2023-11-14T22:13:40")

    async def replayed(*arguments: str) -> tuple[int, str]:
        return await asyncio.to_thread(cli, "replay", site, *arguments)

    code, output = await replayed("--store", "influx", *wanted)
    assert (code, "not come to these readings yet" in output) == (1, True), output
    async with Journal(state / JOURNAL, SMALL, ManualClock(T0)) as journal:
        await journal.cursors.save("influx", Position(90))
    with claimed(state):
        code, output = await replayed("--store", "influx")
        assert (code, "stop it" in output) == (1, True), output
    for arguments, words in (
        (("--store", "oracle"), "give influx or victoria"),
        (("--store", "influx", "--to", "2001-01-01"), "no readings of that time"),
        (("--store", "influx", *reversed(wanted)), ""),
    ):
        code, output = await replayed(*arguments)
        assert (code > 0, words in output) == (True, True), output
    code, output = await replayed("--store", "influx", *wanted, "--json")
    assert (code, json.loads(output)) == (0, {"store": "influx", "first": 11, "last": 20, "readings": 20})
    assert (await replayed("--store", "influx"))[0] == 0
    given = FakeStore("influx")
    async with (
        Journal(state / JOURNAL, SMALL, ManualClock(T0)) as journal,
        EmbeddedStore(state / STORE, EmbeddedSettings()) as store,
    ):
        assert journal.cursors.gaps("influx") == (Gap(1, 90, 0), Gap(11, 20, 0))
        refill = Refill(journal.cursors, store, given)
        while await refill.step(Position(90)):
            pass
        assert refill.next_gap is None
    assert len(given.rows) == 2 * 90
