"""``greenbridge query``: what is stored, at a terminal: by a running greenbridge, in its files, in InfluxDB.

Exit codes: 0 done, 2 wrong use or refused, 3 the store cannot be asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from greenbridge.changing import EXIT_CANNOT_RUN, EXIT_USAGE, Json, State, state_of
from telemetry.errors import ConfigError, GreenbridgeError, Problem, StorageError, UnavailableError

if TYPE_CHECKING:
    from greenbridge.query_answers import Query

# what a command needs is imported when it runs, as in greenbridge.cli


class Stored(StrEnum):
    """Stores that can be asked."""

    EMBEDDED = "embedded"
    INFLUX = "influx"


def query(
    config: Annotated[
        str,
        typer.Argument(help='Path of a greenbridge.toml, or the built-in site "corridor".', metavar="SITE"),
    ],
    point: Annotated[
        list[str] | None, typer.Argument(help="Points, for example SHY-TAS_SHY_main/TotW or 'SHY-*/Hz'.")
    ] = None,
    start: Annotated[
        str, typer.Option("--from", help="First time: 2026-11-24T10:30, 10:30 or 2h (ago). Without: newest.")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="Time to stop before; without it up to now.")] = "",
    every: Annotated[
        str, typer.Option(help="Sum up over intervals of 10s, 15min, 1h ...: low, mean, high, last, count.")
    ] = "",
    events: Annotated[
        str, typer.Option(help="Event records in place of readings: alarm, settlement ...")
    ] = "",
    store: Annotated[Stored, typer.Option(help="Which store to ask.")] = Stored.EMBEDDED,
    limit: Annotated[int, typer.Option(help="Rows at most.")] = 1000,
    zone: Annotated[
        str, typer.Option("--zone", help="Zone of all times: UTC, local or, for example, Asia/Almaty.")
    ] = "UTC",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Shows stored readings, sums over intervals, or event records, whether greenbridge runs or not."""
    from greenbridge import logs, query_text
    from greenbridge.query_answers import Query
    from telemetry.clock import SystemClock

    logs.configure("text", "warning", sys.stderr)  # standard output is for the answer
    if as_csv and as_json:
        raise typer.BadParameter("one of them", param_hint="--csv, --json")
    its_zone = _zone(zone)
    directory = state_of(config, state, as_json=as_json)
    try:
        question = Query.of(
            point or (),
            start=start,
            end=end,
            every=every,
            events=events,
            limit=limit,
            now=SystemClock().now_ns(),
            zone=its_zone,
        )
        answer = asyncio.run(_asked(config, directory, question, store))
    except (StorageError, UnavailableError) as error:
        typer.echo(f"greenbridge: {error}", err=True)
        raise typer.Exit(EXIT_CANNOT_RUN) from None
    except GreenbridgeError as error:
        typer.echo(f"greenbridge: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from None
    if as_json:
        typer.echo(json.dumps(query_text.document(answer, its_zone), indent=2, ensure_ascii=False))
        return
    typer.echo((query_text.as_csv if as_csv else query_text.table)(answer, its_zone))
    if as_csv and answer["more"]:
        typer.echo(f"greenbridge: cut after {limit} rows; raise --limit", err=True)


def _zone(name: str) -> tzinfo:
    if name.upper() == "UTC":
        return UTC
    if name == "local":
        # of now: a zone that knows of summer time, unlike the offset of datetime.astimezone
        local = os.environ.get("TZ") or _of_the_machine()
        try:
            return ZoneInfo(local) if local else UTC
        except (ZoneInfoNotFoundError, ValueError):
            offset = datetime.fromtimestamp(0, UTC).astimezone().tzinfo
            return offset or UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise typer.BadParameter(
            f"{name} is no zone: write UTC, local or a name like Asia/Almaty", param_hint="--zone"
        ) from None


def _of_the_machine() -> str:
    """Name of the machine's zone; empty if it has none (localtime(5))."""
    target = os.path.realpath("/etc/localtime")
    return target.partition("/zoneinfo/")[2]


async def _asked(config: str, state: Path, question: Query, store: Stored) -> dict[str, Any]:
    from greenbridge.claim import ClaimedError
    from greenbridge.control import ask
    from greenbridge.query_answers import COMMAND

    if store is Stored.INFLUX:
        return await _of_influx(config, state, question)
    try:
        return await _of_files(state, question)
    except ClaimedError:
        return await ask(state, {"command": COMMAND, **question.document()})


async def _of_files(state: Path, question: Query) -> dict[str, Any]:
    from greenbridge.backup import REGISTRY, STORE
    from greenbridge.claim import claimed
    from greenbridge.query_answers import answered
    from ingest.config import EmbeddedSettings
    from ingest.journal.points import declare
    from ingest.stores.embedded.store import EmbeddedStore

    if not (state / STORE).exists():
        raise StorageError(f"{state} holds no readings; set state_dir, or run greenbridge first")
    with claimed(state):
        registry = declare(state / REGISTRY)
        async with EmbeddedStore(state / STORE, EmbeddedSettings()) as store:
            return await answered(store.query, registry, question)


async def _of_influx(config: str, state: Path, question: Query) -> dict[str, Any]:
    from greenbridge.backup import REGISTRY
    from greenbridge.query_answers import answered
    from greenbridge.settings import load
    from ingest.journal.points import declare
    from ingest.stores.influx.client import InfluxClient, Target, read_token
    from ingest.stores.influx.query import InfluxQuery
    from ingest.stores.influx.schema import Schema

    configuration = load(config)
    settings = configuration.settings.influx
    if settings is None:
        reason, fix = "this site has no InfluxDB", "add the table, or ask --store embedded"
        raise ConfigError([Problem(config, "influx", "", reason, fix)])
    if not (state / REGISTRY).exists():
        raise StorageError(f"{state} holds no registry of points; set state_dir, or run greenbridge first")
    registry = declare(state / REGISTRY)
    registry.extend(registry.missing(configuration.keys()))  # in memory: a question changes no file
    target = Target(settings.url, settings.org, settings.bucket, settings.timeout_s)
    async with InfluxClient(target, read_token(settings, os.environ)) as client:
        port = InfluxQuery(client, Schema(configuration.site(registry), registry))
        return await answered(port, registry, question)
