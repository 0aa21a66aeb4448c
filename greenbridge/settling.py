"""``greenbridge schedule``: agreed schedules at a terminal, over a running greenbridge or its files.

Exit codes: 0 done, 2 wrong use or refused, 3 nothing runs there or its files cannot be read.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenbridge import settlement_text
from greenbridge.changing import EXIT_CANNOT_RUN, EXIT_USAGE, state_of
from telemetry.errors import ConfigError, GreenbridgeError, StorageError, UnavailableError

if TYPE_CHECKING:
    from greenbridge.ledger_answers import ScheduleAnswers

# what a command needs is imported when it runs, as in greenbridge.cli

schedule = typer.Typer(
    no_args_is_help=True, help="Takes in agreed schedules and shows their versions; every import is audited."
)
Config = Annotated[
    str,
    typer.Argument(help='Path of a greenbridge.toml, or the built-in site "corridor".', metavar="SITE"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
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


def _asked(config: str, request: dict[str, Any], *, as_json: bool) -> dict[str, Any]:
    from greenbridge import logs

    logs.configure("text", "warning", sys.stderr)  # standard output is for the answer
    state = state_of(config, None, as_json=as_json)
    try:
        return asyncio.run(_ask(config, state, request))
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
    from greenbridge.ledger_answers import SCHEDULES

    try:
        return await ask(state, {"command": SCHEDULES, **request})
    except UnavailableError as error:
        if "another user" in str(error):
            raise
    async with _stored(config, state) as there:
        return await there.answer(request, _user())


def _stored(config: str, state: Path) -> AbstractAsyncContextManager[ScheduleAnswers]:
    from greenbridge.ledger_answers import stored_schedules
    from greenbridge.settings import load
    from telemetry.clock import SystemClock

    return stored_schedules(state, load(config).grid, SystemClock())


def _user() -> str:
    """Who runs this, in the words of the control socket."""
    import getpass
    import os

    return f"uid {os.getuid()} ({getpass.getuser()}), process {os.getpid()}"
