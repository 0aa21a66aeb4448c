"""``greenbridge schedule`` and ``ledger``: settlement at a terminal, over a running greenbridge or its files.

Exit codes: 0 done, 2 wrong use or refused, 3 nothing runs there or its files cannot be read.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from greenbridge import settlement_text
from greenbridge.changing import EXIT_CANNOT_RUN, EXIT_USAGE, state_of
from telemetry.errors import ConfigError, GreenbridgeError, StorageError, UnavailableError

if TYPE_CHECKING:
    from greenbridge.ledger_answers import LedgerAnswers, ScheduleAnswers

# what a command needs is imported when it runs, as in greenbridge.cli

schedule = typer.Typer(
    no_args_is_help=True, help="Takes in agreed schedules and shows their versions; every import is audited."
)
Config = Annotated[
    str,
    typer.Argument(help='Path of a greenbridge.toml, or the built-in site "corridor".', metavar="SITE"),
]
ledger = typer.Typer(
    no_args_is_help=True,
    help="Shows and exports what was agreed, metered, lost and carried in each interval.",
)
TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M%z", "%Y-%m-%d %H:%M%z"]
Begin = Annotated[
    datetime | None, typer.Option("--from", help="First begin of an interval, in the zone.", formats=TIMES)
]
End = Annotated[
    datetime | None, typer.Option("--to", help="Begin to stop before, in the zone.", formats=TIMES)
]
Zone = Annotated[str, typer.Option(help="Zone of times that are given and shown: UTC, +05:00, Asia/Almaty.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
SCHEDULES, LEDGER = "schedules", "ledger"
"""As :mod:`greenbridge.ledger_answers` has them."""
DAY = 86_400 * 1_000_000_000
MAX_BYTES = 3 << 20
"""Longest table [bytes]."""


@schedule.command("import")
def _import(
    config: Config,
    file: Annotated[Path, typer.Argument(help="CSV with the columns tie, start, end, mw.")],
    tie: Annotated[str, typer.Option(help="Tie or contract, if the table has no column for it.")] = "",
    party: Annotated[str, typer.Option(help="Whose view it is: own or counterpart.")] = "own",
    author: Annotated[str, typer.Option(help="Who made the schedule; without it who imports it.")] = "",
    source: Annotated[str, typer.Option(help="Where it comes from; without it the file.")] = "",
    as_json: Json = False,
) -> None:
    """Takes in the schedules of a table as new versions, all or none. Times need a zone: Z or an offset."""
    if party not in {"own", "counterpart"}:
        raise typer.BadParameter("own or counterpart", param_hint="--party")
    request = {"do": "import", "text": _text(file), "file": file.name, "tie": tie, "party": party}
    answer = _asked(config, {**request, "author": author, "source": source}, as_json=as_json)
    _print(answer, settlement_text.taken, as_json=as_json)


@schedule.command("list")
def _list(
    config: Config,
    tie: Annotated[str, typer.Option(help="Only of this tie or contract.")] = "",
    as_json: Json = False,
) -> None:
    """Lists schedule versions, newest first, with their validity and whether they still hold."""
    answer = _asked(config, {"do": "list", "tie": tie}, as_json=as_json)
    _print(answer, settlement_text.versions, as_json=as_json)


@schedule.command("show")
def _show(
    config: Config,
    number: Annotated[int, typer.Argument(help="Number of the version, as listed.")],
    as_json: Json = False,
) -> None:
    """Shows a version row by row, and who sent it when and from where."""
    answer = _asked(config, {"do": "show", "number": number}, as_json=as_json)
    _print(answer, settlement_text.version, as_json=as_json)


@ledger.command("list")
def _intervals(
    config: Config,
    account: Annotated[str, typer.Option(help="Only this tie, area or contract.")] = "",
    minutes: Annotated[int, typer.Option(help="Only intervals of this length: 15 or 60; 0 for both.")] = 15,
    begin: Begin = None,
    end: End = None,
    every: Annotated[bool, typer.Option("--revisions", help="Every revision, not only the newest.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=4000)] = 40,
    zone: Zone = "UTC",
    as_json: Json = False,
) -> None:
    """Lists what is open, with its projection, and what was settled, newest first; of a day."""
    request = {**_span(begin, end, zone), "account": account, "minutes": minutes, "limit": limit}
    answer = _asked(config, {"do": "list", **request, "revisions": every}, LEDGER, as_json=as_json)
    if begin is not None or end is not None:
        answer["open"] = []
    _print(answer, partial(settlement_text.intervals, zone=_zone(zone)), as_json=as_json)


@ledger.command("show")
def _revisions(
    config: Config,
    account: Annotated[str, typer.Argument(help="Tie, area or contract.")],
    start: Annotated[datetime, typer.Argument(help="When the interval begins, in the zone.", formats=TIMES)],
    minutes: Annotated[int, typer.Option(help="Its length: 15 or 60.")] = 15,
    zone: Zone = "UTC",
    as_json: Json = False,
) -> None:
    """Shows every revision of an interval: when and why it was made, and what it says."""
    request = {"do": "show", "account": account, "start": _nanoseconds(start, zone), "minutes": minutes}
    answer = _asked(config, request, LEDGER, as_json=as_json)
    _print(answer, partial(settlement_text.revisions, zone=_zone(zone)), as_json=as_json)


@ledger.command("export")
def _export(
    config: Config,
    file: Annotated[Path, typer.Argument(help="CSV to write; it must not exist.")],
    account: Annotated[str, typer.Option(help="Only this tie, area or contract.")] = "",
    minutes: Annotated[int, typer.Option(help="Only intervals of this length: 15 or 60; 0 for both.")] = 15,
    begin: Begin = None,
    end: End = None,
    every: Annotated[bool, typer.Option("--revisions", help="Every revision, not only the newest.")] = False,
    zone: Zone = "UTC",
) -> None:
    """Writes settled intervals as CSV, oldest first; of the last day if no time is given."""
    import csv

    span, there = _span(begin, end, zone), _zone(zone)
    rows: list[dict[str, Any]] = []
    start, step = span["from"], 6 * 3600 * 1_000_000_000  # one answer holds the intervals of some hours
    while start < span["to"]:
        until = min(start + step, span["to"])
        request = {"from": start, "to": until, "account": account, "minutes": minutes, "revisions": every}
        found = _asked(config, {"do": "list", **request}, LEDGER, as_json=False)["intervals"]
        rows += sorted(found, key=lambda i: (i["start"], i["minutes"], i["account"], i["revision"]))
        start = until
    try:
        with file.open("x", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(settlement_text.COLUMNS)
            writer.writerows(settlement_text.csv_row(row, there) for row in rows)
    except FileExistsError:
        raise typer.BadParameter(f"{file} exists; give another name", param_hint="FILE") from None
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from None
    typer.echo(f"{len(rows)} intervals written to {file}")


def _span(begin: datetime | None, end: datetime | None, zone: str) -> dict[str, int]:
    """From when to when [ns, UTC]."""
    from telemetry.clock import SystemClock

    until = SystemClock().now_ns() + 1 if end is None else _nanoseconds(end, zone)
    return {"from": until - DAY if begin is None else _nanoseconds(begin, zone), "to": until}


def _nanoseconds(moment: datetime, zone: str) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=_zone(zone))
    return round(aware.timestamp()) * 1_000_000_000


def _zone(name: str) -> tzinfo:
    """A zone by its name or its offset.

    Raises
    ------
    typer.BadParameter
        It is none, or this machine does not know it.

    """
    offset = re.fullmatch(r"([+-])(\d\d):?(\d\d)", name)
    if offset is not None:
        ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(ahead if offset[1] == "+" else -ahead)
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise typer.BadParameter(
            f"{name!r} is no zone that is known here: write +05:00, or a name such as Asia/Almaty",
            param_hint="--zone",
        ) from None


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise typer.BadParameter(f"{file} is longer than {MAX_BYTES >> 20} MiB", param_hint="FILE")
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} is not UTF-8; save it as CSV UTF-8", param_hint="FILE") from None
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from None


def _print(answer: dict[str, Any], text: Callable[[Mapping[str, Any]], str], *, as_json: bool) -> None:
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False) if as_json else text(answer))


def _asked(
    config: str, request: dict[str, Any], command: str = SCHEDULES, *, as_json: bool
) -> dict[str, Any]:
    from greenbridge import logs

    logs.configure("text", "warning", sys.stderr)  # standard output is for the answer
    state = state_of(config, None, as_json=as_json)
    try:
        return asyncio.run(_ask(config, state, {"command": command, **request}))
    except (StorageError, UnavailableError) as error:
        typer.echo(f"greenbridge: {error}", err=True)
        raise typer.Exit(EXIT_CANNOT_RUN) from None
    except GreenbridgeError as error:
        typer.echo(f"greenbridge: {error}", err=True)
        if request["do"] == "import" or isinstance(error, ConfigError):
            typer.echo("Nothing was changed.", err=True)
        raise typer.Exit(EXIT_USAGE) from None


async def _ask(config: str, state: Path, request: dict[str, Any]) -> dict[str, Any]:
    from greenbridge.control import ask

    try:
        return await ask(state, request)
    except UnavailableError as error:
        if "another user" in str(error):
            raise
    stored = _stored_schedules(config, state) if request["command"] == SCHEDULES else _stored_ledger(state)
    async with stored as there:
        return await there.answer(request, _user())


def _stored_ledger(state: Path) -> AbstractAsyncContextManager[LedgerAnswers]:
    from greenbridge.ledger_answers import stored_ledger

    return stored_ledger(state)


def _stored_schedules(config: str, state: Path) -> AbstractAsyncContextManager[ScheduleAnswers]:
    from greenbridge.ledger_answers import stored_schedules
    from greenbridge.settings import load
    from telemetry.clock import SystemClock

    return stored_schedules(state, load(config).grid, SystemClock())


def _user() -> str:
    """Who runs this, in the words of the control socket."""
    import getpass
    import os

    return f"uid {os.getuid()} ({getpass.getuser()}), process {os.getpid()}"
