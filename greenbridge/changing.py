"""Commands that change a running greenbridge, or tell who did."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from telemetry.errors import ConfigError, GreenbridgeError

# what a command needs is imported when it runs, as in greenbridge.cli

EXIT_FAILED, EXIT_USAGE, EXIT_CANNOT_RUN = 1, 2, 3
"""As :mod:`greenbridge.cli` has them."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
State = Annotated[
    Path | None,
    typer.Option("--state", help="State directory, if it is not the one that the configuration names."),
]


def reload(
    config: Annotated[
        str, typer.Argument(help="Path of the greenbridge.toml that runs; not needed with --state.")
    ] = "",
    state: State = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Apply without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Reads the configuration of a running greenbridge again and applies what differs.

    Shows the difference first. Only what it touches is restarted; a faulty configuration changes nothing.
    Environment variables are those that the process was started with.
    """
    from greenbridge.control import ask

    directory = state_of(config, state, as_json=as_json)
    file = str(Path(config).resolve()) if config and config not in _built_in() else ""
    request = {"command": "reload", "file": file}
    try:
        answer = asyncio.run(ask(directory, {**request, "apply": False, "dry_run": dry_run}))
        differs = bool(answer["difference"]["changes"])
        if not as_json:
            typer.echo(answer["text"])
        if differs and not dry_run:
            if not yes:
                _confirm("Apply?")
            answer = asyncio.run(ask(directory, {**request, "apply": True, "digest": answer["digest"]}))
    except GreenbridgeError as error:
        raise _refused_by_running(error) from None
    applied = differs and not dry_run
    if as_json:
        typer.echo(json.dumps({"applied": applied, **answer["difference"]}, indent=2))
    elif applied:
        typer.echo("Applied.")


def audit(
    config: Annotated[str, typer.Argument(help="Path of a greenbridge.toml; not needed with --state.")] = "",
    state: State = None,
    as_json: Json = False,
) -> None:
    """Shows who changed what and when, and checks that nothing of it was altered."""
    from datetime import UTC, datetime

    from greenbridge.ledger_answers import AUDIT
    from ingest.audit import entries
    from ingest.audit_chain import verify

    try:
        found = entries(state_of(config, state, as_json=as_json) / AUDIT)
        newest = verify(found)
    except GreenbridgeError as error:
        typer.echo(f"greenbridge: {error}", err=True)
        raise typer.Exit(EXIT_FAILED) from None
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in found], indent=2))
        return
    for entry in found:
        when = datetime.fromtimestamp(entry.t // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        act = entry.act
        typer.echo(f"{entry.number:>5}  {when}  {act.action} {act.outcome}: {act.subject}, by {act.who}")
        for name, text in act.details.items():
            typer.echo("".join(f"       {line}\n" for line in f"{name}: {text}".splitlines()).rstrip("\n"))
    typer.echo(
        "no entries" if newest is None else f"{newest.number} entries, unaltered; newest {newest.digest}"
    )


def state_of(config: str, state: Path | None, *, as_json: bool) -> Path:
    """The state directory that an option or a configuration names, whatever else is wrong in that."""
    if state is not None:
        return state
    if not config:
        raise typer.BadParameter("give the configuration, or --state", param_hint="CONFIG")
    from greenbridge.settings import state_dir_of

    try:
        return Path(state_dir_of(config))
    except ConfigError as error:
        if as_json:
            typer.echo(json.dumps({"problems": [asdict(problem) for problem in error.problems]}, indent=2))
        else:
            typer.echo(f"greenbridge: {error}\nNothing was changed.", err=True)
        raise typer.Exit(EXIT_USAGE) from None


def _built_in() -> tuple[str, ...]:
    from greenbridge.settings import BUILT_IN

    return BUILT_IN


def _confirm(question: str) -> None:
    """Ends the command unless a person says yes.

    Raises
    ------
    typer.Exit
        They do not, or nobody is there to be asked.

    """
    if not sys.stdin.isatty():
        typer.echo("greenbridge: nobody can be asked here; say --yes to apply", err=True)
        raise typer.Exit(EXIT_USAGE)
    if not typer.confirm(question):
        typer.echo("Nothing was changed.")
        raise typer.Exit(EXIT_FAILED)


def _refused_by_running(error: GreenbridgeError) -> typer.Exit:
    from greenbridge.control import CommandFailedError
    from telemetry.errors import UnavailableError

    unavailable = isinstance(error, UnavailableError | CommandFailedError)
    typer.echo(f"greenbridge: {error}" + ("" if unavailable else "\nNothing was changed."), err=True)
    return typer.Exit(EXIT_CANNOT_RUN if unavailable else EXIT_USAGE)
