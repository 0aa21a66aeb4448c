"""``greenbridge schedule`` and ``ledger`` as a clerk uses them, on files and over a control socket."""

from __future__ import annotations

import asyncio
import csv
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from alerts.settlement.interval import MINUTE, AccountKind, EnergyQuality, Interval
from alerts.settlement.running import Running
from alerts.settlement_journal import FILE, Settled, SettlementJournal
from greenbridge import control
from greenbridge.cli import app
from greenbridge.ledger_answers import LEDGER, LedgerAnswers

SECOND = 1_000_000_000
T0 = 1_768_435_200 * SECOND
"""2026-01-15 00:00 UTC."""
GOOD = "tie,start,end,mw\nAKT-ALT,2026-01-15T00:00Z,2026-01-16T00:00Z,700\n"


def interval(quarter: int, metered: float | None = 201.0, reason: str = "closed") -> Interval:
    return Interval(
        "AKT-ALT",
        AccountKind.TIE,
        "KZ",
        15,
        T0 + quarter * 15 * MINUTE,
        200.0,
        metered,
        None,
        None if metered is None else metered - 200,
        121.25,
        4.7,
        100.0,
        EnergyQuality.COUNTER if metered is not None else EnergyQuality.MISSING,
        closed_at=T0 + (quarter + 1) * 15 * MINUTE + 120 * SECOND,
        reason=reason,
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The corridor with a state directory of its own, in which three quarters of an hour were settled."""
    for name in ("greenbridge.toml", "grid.toml", "devices.toml"):
        (tmp_path / name).write_text((files("greenbridge") / "corridor" / name).read_text("utf-8"), "utf-8")
    main = tmp_path / "greenbridge.toml"
    lines = main.read_text("utf-8").splitlines()
    state = f'state_dir = "{tmp_path / "state"}"'
    main.write_text("\n".join(state if line.startswith("state_dir") else line for line in lines), "utf-8")
    (tmp_path / "state").mkdir()

    async def leave() -> None:
        async with SettlementJournal(tmp_path / "state" / FILE) as journal:
            await journal.settle([interval(0), interval(1, None), interval(2)], Settled(1, T0))
            await journal.settle([interval(1, 199.5, "late data"), interval(2)], Settled(2, T0))

    asyncio.run(leave())
    return main


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_schedule_is_taken_in_whole_or_not_at_all(site: Path, tmp_path: Path) -> None:
    table = tmp_path / "day.csv"
    table.write_text(GOOD.replace("AKT-ALT", "AKT-AL").replace("700", "700 MW"), "utf-8")
    refused = run("schedule", "import", site, table)
    assert refused.exit_code == 2
    assert (
        'day.csv: line 2: tie = "AKT-AL": no such tie or contract (did you mean "AKT-ALT"?)' in refused.stderr
    )
    assert "Nothing was changed." in refused.stderr
    assert "no schedule versions" in run("schedule", "list", site).stdout
    table.write_text(GOOD, "utf-8")
    taken = run("schedule", "import", site, table, "--author", "dispatcher", "--party", "counterpart")
    assert taken.exit_code == 0, taken.output
    assert "version 1 of AKT-ALT (counterpart): 1 rows, 2026-01-15 00:00Z" in taken.stdout
    shown = run("schedule", "show", site, "1").stdout
    assert "by dispatcher, from day.csv" in shown
    assert "700.0 MW" in shown
    assert run("schedule", "show", site, "2").exit_code == 2
    audited = json.loads(run("audit", site, "--json").stdout)
    assert [entry["act"]["outcome"] for entry in audited] == ["refused", "done"]
    assert run("schedule", "import", site, tmp_path / "none.csv").exit_code == 2
    assert run("schedule", "import", site, table, "--party", "ours").exit_code == 2
    table.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in run("schedule", "import", site, table).stderr


DAY = ("--from", "2026-01-15", "--to", "2026-01-16")


def test_the_ledger_is_listed_and_shown(site: Path) -> None:
    listed = run("ledger", "list", site, *DAY).stdout
    assert "2026-01-15 00:30Z" in listed
    assert "199.50    -0.50    121.25    4.70  100.0  counter, revision 1" in listed
    assert (
        len(json.loads(run("ledger", "list", site, *DAY, "--revisions", "--json").stdout)["intervals"]) == 4
    )
    local = run(
        "ledger", "list", site, "--from", "2026-01-15 05:00", "--to", "2026-01-15 05:15", "--zone", "+05:00"
    )
    assert "2026-01-15 05:00+0500" in local.stdout
    assert "00:15" not in local.stdout
    shown = run("ledger", "show", site, "AKT-ALT", "2026-01-15T00:15").stdout
    assert "revision 0, 2026-01-15 00:32Z: closed" in shown
    assert "revision 1, 2026-01-15 00:32Z: late data" in shown
    assert run("ledger", "show", site, "AKT-ALT", "2026-01-15T00:20").exit_code == 2
    assert "is no zone" in run("ledger", "list", site, "--zone", "Mars/Olympus").stderr
    assert "no intervals" in run("ledger", "list", site, "--from", "2025-01-01", "--to", "2025-01-02").stdout


def test_the_ledger_is_exported(site: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert run("ledger", "export", site, out, *DAY, "--zone", "+05:00").exit_code == 0
    rows = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    assert [row["start"] for row in rows] == [f"2026-01-15T05:{m}:00+05:00" for m in ("00", "15", "30")]
    assert [row["metered_mwh"] for row in rows] == ["201.000000", "199.500000", "201.000000"]
    assert rows[1]["reason"] == "late data"
    assert "exists" in run("ledger", "export", site, out, *DAY).stderr
    every = tmp_path / "every.csv"
    assert run("ledger", "export", site, every, *DAY, "--revisions").exit_code == 0
    missing = next(
        csv.DictReader(every.read_text("utf-8").splitlines()[:1] + every.read_text("utf-8").splitlines()[2:])
    )
    assert (missing["metered_mwh"], missing["quality"], missing["revision"]) == ("", "missing", "0")


@contextmanager
def served(state: Path, running: Running) -> Iterator[None]:
    """A process that answers over its control socket."""
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with SettlementJournal(state / FILE) as journal:
            answers = LedgerAnswers(journal, lambda: [running])
            async with control.listening(state, partial(control.routed, {LEDGER: answers.answer})):
                ready.set()
                await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(30)
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_what_is_open_is_shown_while_it_runs(site: Path) -> None:
    open_ = Running(
        "AKT-ALT", AccountKind.TIE, "KZ", 15, T0, T0 + 10 * MINUTE, 200.0, 200.0, 138.0, 4.5, 30.0, 7.0, 100.0
    )
    with served(site.parent / "state", open_):
        listed = run("ledger", "list", site).stdout
        assert "AKT-ALT             200.00    138.00     4.50     7.00" in listed
        assert "AKT-ALT" not in run("ledger", "list", site, "--account", "MGC-SAM").stdout


def test_without_a_ledger_it_says_so(site: Path) -> None:
    (site.parent / "state" / FILE).unlink()
    missing = run("ledger", "list", site)
    assert missing.exit_code == 3
    assert "does not exist" in missing.stderr
