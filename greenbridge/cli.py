"""The command line.

Exit codes: 0 done, 1 a check or trial failed, 2 wrong use or configuration, 3 cannot run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    from greenbridge.demo.show import show
    from greenbridge.demo.supervisor import Options
    from greenbridge.demo.trial import MIN_TRIAL_S, trial
    from telemetry.clock import SystemClock

    if broker not in {"", "mosquitto", "nats-server"}:
        raise typer.BadParameter("mosquitto or nats-server", param_hint="--broker")
    if headless and for_ < MIN_TRIAL_S:
        raise typer.BadParameter(f"a trial needs --for {MIN_TRIAL_S:.0f} or more", param_hint="--headless")
    options = Options(
        (state or default_state() / "demo").resolve(), fresh=fresh, broker=broker, webhook=webhook
    )
    if not headless:
        _run(show(options, SystemClock(), for_))
        return
    report = _run(trial(options, SystemClock(), for_))
    typer.echo(json.dumps(report.document(), indent=2) if as_json else report.text())
    raise typer.Exit(0 if report.held else EXIT_FAILED)


@app.command()
def run(config: Config) -> None:
    """Runs greenbridge on a configuration until it is told to stop."""
    from greenbridge import logs
    from greenbridge.wiring import run as run_site
    from telemetry.clock import SystemClock

    configuration = _load(config)
    logs.configure(configuration.settings.logs.format, configuration.settings.logs.level)
    _run(run_site(configuration, SystemClock(), os.environ))


@app.command()
def check(config: Config, as_json: Json = False) -> None:
    """Checks a configuration without starting anything, and says what it amounts to."""
    from greenbridge.summary import summarise

    summary = summarise(_load(config, as_json=as_json))
    typer.echo(json.dumps(summary.document(), indent=2) if as_json else summary.text())


@app.command()
def simulate(
    bench: Annotated[str, typer.Argument(help='Path of a bench file, or the built-in bench "corridor".')],
) -> None:
    """Runs simulated devices until told to stop."""
    from greenbridge import logs
    from simulators.bench import load_file
    from simulators.runtime import simulate as run_bench
    from telemetry.clock import SystemClock

    logs.configure("json")
    built_in = bench == "corridor"
    file = "bench.toml" if built_in else bench

    async def run_it() -> None:
        await run_bench(load_file(None if built_in else Path(bench), os.environ), SystemClock(), file=file)

    _run(run_it())


def default_state() -> Path:
    """Where state is kept unless told otherwise (XDG base directory specification, ``XDG_STATE_HOME``)."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "greenbridge"


def _load(config: str, *, as_json: bool = False) -> Configuration:
    from greenbridge.settings import load

    try:
        return load(config)
    except ConfigError as error:
        if as_json:
            problems = [
                {"file": p.file, "key": p.key, "value": p.value, "reason": p.reason, "fix": p.fix}
                for p in error.problems
            ]
            typer.echo(json.dumps({"problems": problems}, indent=2))
            raise typer.Exit(EXIT_USAGE) from None
        raise _refused(error) from None


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
        typer.echo(f"greenbridge: {error}", err=True)
        raise typer.Exit(EXIT_CANNOT_RUN) from None


def main() -> None:
    """Entry point of the ``greenbridge`` command."""
    app(prog_name="greenbridge")
