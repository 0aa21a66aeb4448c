"""Commands that copy what a site has stored: backup, restore, export, replay."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from greenbridge.changing import EXIT_CANNOT_RUN, EXIT_FAILED, Json, State, state_of
from telemetry.errors import GreenbridgeError

# what a command needs is imported when it runs, as in greenbridge.cli

FURTHER = ("influx", "victoria")
"""Stores that can be filled from the embedded one."""
Config = Annotated[str, typer.Argument(help="Path of a greenbridge.toml.")]


def backup(
    config: Config,
    target: Annotated[Path, typer.Argument(help="Directory to make; it must not exist.")],
    state: State = None,
    as_json: Json = False,
) -> None:
    """Copies everything that a site keeps into a new directory, whether greenbridge runs or not."""
    from greenbridge.backup import back_up_stopped
    from greenbridge.claim import ClaimedError
    from greenbridge.control import ask
    from telemetry.clock import SystemClock

    directory = state_of(config, state, as_json=as_json)
    try:
        try:
            files = sorted(back_up_stopped(directory, target, SystemClock().now_ns()).files)
        except ClaimedError:
            answer = asyncio.run(ask(directory, {"command": "backup", "target": str(target.resolve())}))
            files = answer["files"]
    except GreenbridgeError as error:
        raise _failed(error) from None
    _tell({"backup": str(target), "files": files}, f"{len(files)} files in {target}", as_json=as_json)


def restore(
    source: Annotated[Path, typer.Argument(help="A directory that greenbridge backup made.")],
    state: Annotated[Path, typer.Option("--state", help="State directory to make; it must be empty.")],
    as_json: Json = False,
) -> None:
    """Makes a state directory from a backup, after every file was checked."""
    from greenbridge.backup import restore as restored

    try:
        manifest = restored(source, state)
    except GreenbridgeError as error:
        raise _failed(error) from None
    _tell(
        {"restored": str(state), "taken": manifest.taken, "files": sorted(manifest.files)},
        f"{state} is as it was on {manifest.taken}; start greenbridge on it",
        as_json=as_json,
    )


def export(
    config: Config,
    target: Annotated[Path, typer.Argument(help="File to write: .parquet or .csv.")],
    start: Annotated[datetime | None, typer.Option("--from", help="First source time, UTC.")] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="Source time to stop before, UTC.")] = None,
    point: Annotated[
        list[str] | None, typer.Option(help="Only points like this, for example SHY-TAS_*/TotW.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Writes stored readings into a Parquet or CSV file, whether greenbridge runs or not."""
    from greenbridge.claim import ClaimedError
    from greenbridge.control import ask
    from greenbridge.exporting import Request, export_stopped

    directory = state_of(config, state, as_json=as_json)
    try:
        request = Request.of(target.resolve(), start, end, point or ())
        if target.exists() and not force:
            raise GreenbridgeError(f"{target} exists; say --force to overwrite it")
        try:
            count = asyncio.run(export_stopped(directory, request))
        except ClaimedError:
            answer = asyncio.run(ask(directory, {"command": "export", **request.document()}))
            count = answer["readings"]
    except GreenbridgeError as error:
        raise _failed(error) from None
    _tell({"file": str(target), "readings": count}, f"{count} readings in {target}", as_json=as_json)


def replay(
    config: Config,
    store: Annotated[str, typer.Option("--store", help="Which one: influx or victoria.")],
    start: Annotated[datetime | None, typer.Option("--from", help="First source time, UTC.")] = None,
    end: Annotated[datetime | None, typer.Option("--to", help="Source time to stop before, UTC.")] = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Has a store that lost data given again what the embedded store holds; greenbridge must not run."""
    from greenbridge.replaying import replay as noted

    directory = state_of(config, state, as_json=as_json)
    try:
        if store not in FURTHER:
            raise GreenbridgeError(f"--store {store}: give {' or '.join(FURTHER)}")
        found = asyncio.run(noted(directory, store, start, end))
    except GreenbridgeError as error:
        raise _failed(error) from None
    _tell(
        found._asdict(),
        f"{found.readings} readings, records {found.first} to {found.last}: start greenbridge, which gives "
        f"them to {store} again beside live data",
        as_json=as_json,
    )


def _tell(document: dict[str, Any], text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(document, indent=2) if as_json else text)


def _failed(error: GreenbridgeError) -> typer.Exit:
    from telemetry.errors import UnavailableError

    typer.echo(f"greenbridge: {error}", err=True)
    return typer.Exit(EXIT_CANNOT_RUN if isinstance(error, UnavailableError) else EXIT_FAILED)
