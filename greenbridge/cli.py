"""The command line.

Exit codes: 0 done, 1 a check or trial failed, 2 wrong use or configuration, 3 cannot run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Coroutine
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenbridge.alarming import alarms
from greenbridge.changing import audit, reload
from greenbridge.dashboards import dashboards
from greenbridge.faulting import faults, pairs
from greenbridge.keeping import backup, export, replay, restore
from greenbridge.probing import probe
from greenbridge.querying import query
from greenbridge.settling import ledger, schedule
from greenbridge.telling import notify
from greenbridge.users import users
from telemetry.errors import ConfigError, GreenbridgeError

if TYPE_CHECKING:
    from greenbridge.settings import Configuration

# Commands import what they need when they run: `greenbridge --help` and `--version` stay instant.

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CANNOT_RUN = 3

app = typer.Typer(
    name="greenbridge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Telemetry and monitoring for a cross-border green-energy corridor.",
)

scenario = typer.Typer(
    no_args_is_help=True, help="Plays scenarios of faults and judges the alarms that follow."
)
app.add_typer(scenario, name="scenario")
app.add_typer(faults, name="faults")
app.add_typer(alarms, name="alarms")
app.add_typer(notify, name="notify")
app.add_typer(schedule, name="schedule")
app.add_typer(dashboards, name="dashboards")
app.add_typer(ledger, name="ledger")
deadletter = typer.Typer(
    no_args_is_help=True, help="Shows what could not become a reading, and has it decoded again."
)
app.add_typer(deadletter, name="deadletter")
app.add_typer(probe, name="probe")
app.add_typer(users, name="users")
app.command()(reload)
app.command()(audit)
app.command()(backup)
app.command()(restore)
app.command()(export)
app.command()(replay)
app.command()(query)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Config = Annotated[str, typer.Argument(help='Path of a greenbridge.toml, or the built-in site "corridor".')]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("greenbridge"))
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Telemetry and monitoring for a cross-border green-energy corridor."""


@app.command()
def demo(
    state: Annotated[
        Path | None, typer.Option(help="Directory of everything that the demonstration writes.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Clear the state directory first.")] = False,
    for_: Annotated[
        float, typer.Option("--for", min=0, help="End after this many seconds; 0 runs until Ctrl-C.")
    ] = 0.0,
    headless: Annotated[
        bool, typer.Option("--headless", help="No browser: act as the operator and judge the outcome.")
    ] = False,
    as_json: Json = False,
    broker: Annotated[
        str, typer.Option(help="MQTT broker: mosquitto or nats-server; empty takes the first that is there.")
    ] = "",
    webhook: Annotated[str, typer.Option(help="Address that alarm notifications are posted to.")] = "",
) -> None:
    """Runs a broker, the simulated corridor and greenbridge on this machine."""
    from greenbridge import logs
    from greenbridge.demo.show import show
    from greenbridge.demo.supervisor import Options
    from greenbridge.demo.trial import MIN_TRIAL_S, trial
    from telemetry.clock import SystemClock

    if broker not in {"", "mosquitto", "nats-server"}:
        raise typer.BadParameter("mosquitto or nats-server", param_hint="--broker")
    if headless and for_ < MIN_TRIAL_S:
        raise typer.BadParameter(f"a trial needs --for {MIN_TRIAL_S:.0f} or more", param_hint="--headless")
    logs.configure("text", "warning", sys.stderr)  # standard output is for the report
    options = Options(
        (state or default_state() / "demo").resolve(), fresh=fresh, broker=broker, webhook=webhook
    )
    if not headless:
        _run(show(options, SystemClock(), for_))
        return
    report = _run(trial(options, SystemClock(), for_))
    if report is None:
        typer.echo("greenbridge: interrupted before the end; nothing was judged", err=True)
        raise typer.Exit(EXIT_FAILED)
    typer.echo(json.dumps(report.document(), indent=2) if as_json else report.text())
    raise typer.Exit(0 if report.held else EXIT_FAILED)


@app.command()
def run(config: Config) -> None:
    """Runs greenbridge on a configuration until it is told to stop."""
    from greenbridge import logs
    from greenbridge.pace import clock
    from greenbridge.wiring import run as run_site

    configuration = _load(config)
    logs.configure(configuration.settings.logs.format, configuration.settings.logs.level)
    try:
        paced = clock(os.environ)
    except ConfigError as error:
        raise _refused(error) from None
    _run(run_site(configuration, paced, os.environ))


@app.command()
def check(config: Config, as_json: Json = False) -> None:
    """Checks a configuration, or the profile of a device, without starting anything.

    Says what it amounts to.
    """
    from greenbridge import profile_check
    from greenbridge.summary import summarise

    try:
        profile = profile_check.profile_in(config)
    except ConfigError as error:
        raise _faulty(error, as_json=as_json) from None
    if profile is not None:
        told = (
            json.dumps(profile_check.document(profile), indent=2) if as_json else profile_check.text(profile)
        )
        typer.echo(told)
        return
    summary = summarise(_load(config, as_json=as_json))
    typer.echo(json.dumps(summary.document(), indent=2) if as_json else summary.text())


Reason = Annotated[str, typer.Option(help="Only letters of this reason, for example not_json.")]
Source = Annotated[str, typer.Option(help="Only letters of this source, for example mqtt/main.")]


@deadletter.command("list")
def deadletter_list(
    config: Config,
    reason: Reason = "",
    source: Source = "",
    before: Annotated[int | None, typer.Option(help="Only letters with a smaller number.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 50,
    as_json: Json = False,
) -> None:
    """Lists dead letters, newest first, with a summary by source and reason."""
    from greenbridge import dead_letters
    from ingest.deadletters import Selection

    chosen = Selection(reason=reason, source=source)
    listing = _run(dead_letters.listing(_load(config), chosen, before, limit))
    typer.echo(json.dumps(listing.document(), indent=2) if as_json else listing.text())


@deadletter.command("show")
def deadletter_show(
    config: Config,
    number: Annotated[int, typer.Argument(help="Number of the letter, as listed.")],
    as_json: Json = False,
) -> None:
    """Shows one dead letter with its payload."""
    from greenbridge import dead_letters

    letter = _run(dead_letters.one(_load(config), number))
    document = dead_letters.document(letter, payload=True)
    typer.echo(json.dumps(document, indent=2) if as_json else dead_letters.text(letter))


@deadletter.command("reinject")
def deadletter_reinject(
    config: Config,
    numbers: Annotated[list[int] | None, typer.Argument(help="Numbers of letters, as listed.")] = None,
    reason: Reason = "",
    source: Source = "",
    as_json: Json = False,
) -> None:
    """Has letters decoded again by the running greenbridge, or at its next start.

    Use it after the profile or the topics were corrected. What becomes readings leaves the list; what does
    not stays, with the new reason.
    """
    from greenbridge import dead_letters
    from ingest.deadletters import Selection

    chosen = Selection(numbers or (), reason, source)
    if chosen == Selection(()):
        raise typer.BadParameter("give numbers, --reason or --source", param_hint="NUMBERS")
    count = _run(dead_letters.request(_load(config), chosen))
    typer.echo(json.dumps({"requested": count}) if as_json else f"{count} letters will be decoded again")
    raise typer.Exit(0 if count else EXIT_FAILED)


@deadletter.command("purge")
def deadletter_purge(
    config: Config,
    numbers: Annotated[list[int] | None, typer.Argument(help="Numbers of letters, as listed.")] = None,
    reason: Reason = "",
    source: Source = "",
    until: Annotated[datetime | None, typer.Option(help="Only those received before this time, UTC.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every letter.")] = False,
    as_json: Json = False,
) -> None:
    """Deletes letters for good; they stay counted."""
    from greenbridge import dead_letters
    from ingest.deadletters import Selection

    chosen = Selection(numbers or (), reason, source, dead_letters.nanoseconds(until))
    if everything == (chosen != Selection(())):
        raise typer.BadParameter(
            "give numbers, --reason, --source or --until, or --all", param_hint="NUMBERS"
        )
    count = _run(dead_letters.purge(_load(config), chosen))
    typer.echo(json.dumps({"purged": count}) if as_json else f"{count} letters deleted")
    raise typer.Exit(0 if count else EXIT_FAILED)


@app.command()
def verify(
    config: Config,
    start: Annotated[
        datetime | None,
        typer.Option("--from", help="First source time, UTC; without it the journal's first."),
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", help="Source time to stop before, UTC; without it the last.")
    ] = None,
    every: Annotated[float, typer.Option(min=1, help="Length of an interval [s].")] = 3600.0,
    point: Annotated[
        list[str] | None, typer.Option(help="Only points like this, for example SHY-TAS_*/TotW.")
    ] = None,
    all_points: Annotated[
        bool, typer.Option("--all", help="List every point, not only those with gaps.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compares what was expected, what was received and what is stored, for each point and interval.

    Looks at what the journal still holds. The store is compared when greenbridge does not run on it.
    Exit code 1: something that was acknowledged is lost, altered or doubled.
    """
    from greenbridge.verifying import verify_site

    configuration = _load(config)
    try:
        report = verify_site(configuration, start, end, every, point or ())
    except GreenbridgeError as error:
        raise _stopped_by(error) from None
    typer.echo(json.dumps(report.document(), indent=2) if as_json else report.text(every=all_points))
    raise typer.Exit(0 if report.verification.holds else EXIT_FAILED)


@app.command()
def load(
    kind: Annotated[str, typer.Argument(help="modbus answers reads, mqtt publishes.")],
    options: Annotated[
        list[str] | None, typer.Argument(help="Settings, for example port=15600 units=10.")
    ] = None,
    for_: Annotated[float, typer.Option("--for", help="Ends after so many seconds.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Loads this machine for benchmarks: an own Modbus responder, or an own MQTT publisher."""
    from greenbridge import logs
    from simulators.load.config import from_options
    from simulators.load.serve import serve_load
    from telemetry.clock import SystemClock

    logs.configure("text", "warning", sys.stderr)
    settings = pairs(options)

    async def run_it() -> Any:
        return await serve_load(from_options(kind, settings, for_), SystemClock())

    report = _run(run_it())
    if report is not None:
        typer.echo(json.dumps(report.document(), indent=2) if as_json else report.text())


@app.command()
def simulate(
    bench: Annotated[str, typer.Argument(help='Path of a bench file, or the built-in bench "corridor".')],
    speed: Annotated[
        str,
        typer.Option(
            envvar="GREENBRIDGE_SPEED", help="Simulated seconds per second, 0.1 to 1000; run needs the same."
        ),
    ] = "",
    start: Annotated[
        str,
        typer.Option(
            envvar="GREENBRIDGE_START",
            help="Date and time to start at, like 2026-01-13T10:00:00Z; run needs the same.",
        ),
    ] = "",
) -> None:
    """Runs simulated devices until told to stop.

    For one time in both processes set GREENBRIDGE_SPEED, GREENBRIDGE_START and GREENBRIDGE_EPOCH (the real
    time at which the start holds) alike for simulate and run.
    """
    from greenbridge import logs, pace
    from simulators.bench import load_file
    from simulators.runtime import simulate as run_bench

    logs.configure("json")
    built_in = bench == "corridor"
    file = "bench.toml" if built_in else bench

    async def run_it() -> None:
        clock = pace.clock({**os.environ, pace.SPEED: speed, pace.START: start})
        await run_bench(load_file(None if built_in else Path(bench), os.environ), clock, file=file)

    _run(run_it())


@scenario.command("list")
def scenario_list(as_json: Json = False) -> None:
    """Lists the shipped scenarios and the rules that each of them still needs."""
    from greenbridge.scenarios.play import catalogue

    rows = catalogue()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        needs = f" (needs {', '.join(row['needs'])})" if row["needs"] else ""
        typer.echo(f"{row['name']:<34} {row['title']}{needs}")


@scenario.command("run")
def scenario_run(
    name: Annotated[str, typer.Argument(help="Name of a scenario, or path of its file (.toml).")] = "",
    every: Annotated[bool, typer.Option("--all", help="Play every shipped scenario.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="In place of the scenario's own seed.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Full length and step, not the CI size.")] = False,
    wire: Annotated[
        bool, typer.Option("--wire", help="Over real sockets and in real time, with all of greenbridge.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes for --all.")] = 2,
    as_json: Json = False,
) -> None:
    """Plays a scenario through the real pipeline and judges its alarms.

    Exit code 0: everything that can be judged passed; scenarios that need rules count apart. 1: one failed.
    """
    from functools import partial

    from greenbridge.scenarios import play
    from greenbridge.scenarios.report import summary, summary_text
    from greenbridge.scenarios.verdict import Result

    if every == bool(name):
        raise typer.BadParameter("give the name of a scenario, or --all", param_hint="NAME")
    work = partial(play.over_sockets if wire else play.in_virtual_time, seed=seed, full=full)
    reports = []
    try:
        # all of them are checked before any is played
        names = play.checked(None if every else [name])
        for report in play.each(work, names, 1 if wire else jobs):
            reports.append(report)
            if not as_json:
                typer.echo(report.text())
    except ConfigError as error:
        raise _refused(error) from None
    except GreenbridgeError as error:
        typer.echo(f"greenbridge: {error}", err=True)
        raise typer.Exit(EXIT_CANNOT_RUN) from None
    if as_json:
        document = {"summary": summary(reports), "scenarios": [report.document() for report in reports]}
        typer.echo(json.dumps(document, indent=2))
    elif every:
        typer.echo(summary_text(reports))
    raise typer.Exit(EXIT_FAILED if any(r.verdict.result is Result.FAILED for r in reports) else 0)


@scenario.command("score")
def scenario_score(
    names: Annotated[
        list[str] | None, typer.Argument(help="Scenarios; without any, every shipped one.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="How many seeds to play.")] = 5,
    first: Annotated[int, typer.Option("--first-seed", min=0, help="The first of them.")] = 1000,
    ci: Annotated[bool, typer.Option("--ci", help="CI size, not the full length and step.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 2,
    as_json: Json = False,
) -> None:
    """Plays scenarios with many seeds: detection rate and false alarms a week.

    Exit code 0: every play that can be judged passed. 1: one failed.
    """
    from functools import partial

    from greenbridge.scenarios import play
    from greenbridge.scenarios.score import scored

    reports: dict[str, list[Any]] = {}
    try:
        wanted = play.checked(names)
        for seed in range(first, first + seeds):
            work = partial(play.in_virtual_time, seed=seed, full=not ci)
            for name, report in zip(wanted, play.each(work, wanted, jobs), strict=True):
                reports.setdefault(name, []).append(report)
    except ConfigError as error:
        raise _refused(error) from None
    scores = [found for name, played in reports.items() if (found := scored(name, played)) is not None]
    if as_json:
        typer.echo(json.dumps([score.document() for score in scores], indent=2))
    else:
        for score in scores:
            typer.echo(score.text())
        typer.echo(f"{len(reports) - len(scores)} scenarios need rules that are not built")
    raise typer.Exit(EXIT_FAILED if any(score.failed_seeds for score in scores) else 0)


@scenario.command("smallest")
def scenario_smallest(
    kinds: Annotated[
        list[str] | None, typer.Argument(help="Of tap, gain and skew; without any, all of them.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="How many seeds to play.")] = 50,
    first: Annotated[int, typer.Option("--first-seed", min=0, help="The first of them.")] = 1000,
    as_json: Json = False,
) -> None:
    """Finds how small a fault is found: its size rises in stairs until an alarm names it.

    Exit code 0: each kind was found in 90 % of the plays at some size. 1: one was not.
    """
    from greenbridge.scenarios import play

    try:
        found = play.smallest_sizes(kinds or (), range(first, first + seeds))
    except ConfigError as error:
        raise _refused(error) from None
    typer.echo(json.dumps(found.document(), indent=2) if as_json else found.text())
    raise typer.Exit(0 if all(size.smallest is not None for size in found.sizes) else EXIT_FAILED)


def default_state() -> Path:
    """Where state is kept unless told otherwise (XDG base directory specification, ``XDG_STATE_HOME``)."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "greenbridge"


def _load(config: str, *, as_json: bool = False) -> Configuration:
    from greenbridge.settings import load

    try:
        return load(config)
    except ConfigError as error:
        raise _faulty(error, as_json=as_json) from None


def _faulty(error: ConfigError, *, as_json: bool) -> typer.Exit:
    if not as_json:
        return _refused(error)
    problems = [
        {"file": p.file, "key": p.key, "value": p.value, "reason": p.reason, "fix": p.fix}
        for p in error.problems
    ]
    typer.echo(json.dumps({"problems": problems}, indent=2))
    return typer.Exit(EXIT_USAGE)


def _refused(error: ConfigError) -> typer.Exit:
    typer.echo(f"greenbridge: {error}\nNothing was started.", err=True)
    return typer.Exit(EXIT_USAGE)


def _run(main: Coroutine[Any, Any, Any]) -> Any:
    """Runs to the end; SIGINT and SIGTERM end it in order, with exit code 0."""

    async def until_told() -> Any:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(main)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            return await task
        return None

    try:
        return asyncio.run(until_told())
    except ConfigError as error:
        raise _refused(error) from None
    except GreenbridgeError as error:
        raise _stopped_by(error) from None
    except BaseExceptionGroup as group:
        ours, others = group.split(GreenbridgeError)
        if ours is None or others is not None:
            raise
        raise _stopped_by(_first(ours)) from None


def _first(error: BaseException) -> BaseException:
    """The first error of nested groups."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _stopped_by(error: BaseException) -> typer.Exit:
    typer.echo(f"greenbridge: {error}", err=True)
    return typer.Exit(EXIT_CANNOT_RUN)


def main() -> None:
    """Entry point of the ``greenbridge`` command."""
    app(prog_name="greenbridge")
