"""The command verify, on the state of a real run of journal and store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from greenbridge.cli import EXIT_CANNOT_RUN, EXIT_FAILED, app
from greenbridge.settings import Configuration, load
from ingest.config import EmbeddedSettings, JournalSettings
from ingest.journal.journal import Journal
from ingest.journal.points import declare
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock

SECOND = 1_000_000_000
EXAMPLE = Path("examples/first-site")


@pytest.fixture
async def config(tmp_path: Path, clock: ManualClock) -> Path:
    """A configuration with a minute of readings of one device, of which the seventh is missing."""
    site = tmp_path / "site"
    shutil.copytree(EXAMPLE, site)
    main = site / "greenbridge.toml"
    state = tmp_path / "state"
    lines = [x for x in main.read_text().splitlines() if not x.startswith("state_dir")]
    main.write_text("\n".join([f'state_dir = "{state}"', *lines]))
    configuration = load(str(main), {"PATH": ""})
    await a_minute(configuration, state, clock)
    return main


async def a_minute(configuration: Configuration, state: Path, clock: ManualClock) -> None:
    registry = declare_in(state, configuration)
    async with (
        Journal(state / "journal", JournalSettings(), clock) as journal,
        EmbeddedStore(state / "store.duckdb", EmbeddedSettings()) as store,
    ):
        start = clock.now_ns()
        for second in range(60):
            if second != 6:
                t = start + second * SECOND
                one = ReadingBatch.of("s", 1, second, t, point=[0], t_source=[t], value=[1.0], quality=[0])
                await journal.append(one)
            await clock.advance(1)
        await store.apply(await journal.read(0, 1 << 30))
    assert registry


def declare_in(state: Path, configuration: Configuration) -> int:
    state.mkdir()
    return len(declare(state / "points.sqlite", configuration.keys()))


def test_the_report_names_the_point_with_the_gap(config: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["verify", str(config), "--every", "60"])
    assert done.exit_code == 0, done.output
    assert "is in the store exactly once" in done.stdout
    document = json.loads(runner.invoke(app, ["verify", str(config), "--every", "60", "--json"]).stdout)
    assert document["holds"] is True
    point = document["points"][0]["point"]
    rows = [row for row in document["points"] if row["point"] == point]
    assert sum(row["received"] for row in rows) == 59
    only = json.loads(runner.invoke(app, ["verify", str(config), "--point", point, "--json"]).stdout)
    assert {row["point"] for row in only["points"]} == {point}


def test_what_cannot_be_verified_is_named(config: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["verify", str(config), "--point", "nothing/*"])
    assert (done.exit_code, "no point matches" in done.stderr) == (EXIT_CANNOT_RUN, True)
    done = runner.invoke(app, ["verify", str(config), "--from", "2030-01-01", "--to", "2029-01-01"])
    assert (done.exit_code, "--to is not after --from" in done.stderr) == (EXIT_CANNOT_RUN, True)
    shutil.rmtree(tmp_path / "state")
    done = runner.invoke(app, ["verify", str(config)])
    assert (done.exit_code, "holds no state" in done.stderr) == (EXIT_CANNOT_RUN, True)


def test_a_loss_fails_the_command(config: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "state" / "store.duckdb")) as db:
        db.execute("DELETE FROM hot WHERE t_source = (SELECT min(t_source) FROM hot)")
    done = CliRunner().invoke(app, ["verify", str(config)])
    assert done.exit_code == EXIT_FAILED
    assert "NOT as received: 1 lost" in done.stdout
