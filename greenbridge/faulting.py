"""``greenbridge faults``: makes things go wrong on running simulators, through their control interface.

Exit codes: 0 done, 2 wrong use, 3 the simulators do not answer or refuse.
"""

from __future__ import annotations

import asyncio
import json
import math
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from telemetry.errors import GreenbridgeError

# Commands import what they need when they run: `greenbridge --help` stays instant.

EXIT_CANNOT_RUN = 3

faults = typer.Typer(
    no_args_is_help=True, help="Makes things go wrong on running simulators, through their control interface."
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Control = Annotated[
    str,
    typer.Option("--control", envvar="GB_SIM_CONTROL_URL", help="Control interface of the simulators."),
]
CONTROL_URL = "http://127.0.0.1:15500"


@faults.command("list")
def _list(control: Control = CONTROL_URL, as_json: Json = False) -> None:
    """Lists the faults that are active, and the latest that were cleared."""
    answer = _ask(control, "GET", "faults")
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    for fault in answer:
        typer.echo(_fault_line(fault))
    if not answer:
        typer.echo("no faults")


@faults.command("kinds")
def _kinds(
    kind: Annotated[
        str, typer.Argument(help="One kind, to see what its parameters and targets can be.")
    ] = "",
    control: Control = CONTROL_URL,
    as_json: Json = False,
) -> None:
    """Lists every kind of fault, what it strikes and its parameters."""
    from telemetry.settings import nearest

    answer = _ask(control, "GET", "faults/kinds")
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    if kind:
        if kind not in answer:
            raise typer.BadParameter(f"{kind}: {nearest(kind, answer)}", param_hint="KIND")
        entry = answer[kind]
        typer.echo(f"{kind}: {entry['what']}")
        for name, allowed in entry["parameters"].items():
            typer.echo(f"  {name:<12} {allowed}")
        typer.echo(f"  {entry['target']}: {', '.join(entry['targets']) or 'none on this bench'}")
        return
    for name, entry in answer.items():
        parameters = ", ".join(entry["parameters"]) or "no parameters"
        typer.echo(f"{name:<18} {entry['target']:<24} {parameters}")


@faults.command("inject")
def _inject(
    kind: Annotated[str, typer.Argument(help="Kind of fault: see greenbridge faults kinds.")],
    target: Annotated[str, typer.Argument(help="What it strikes, for example SHY-TAS.")],
    parameters: Annotated[list[str] | None, typer.Argument(help="Parameters, for example mw=30.")] = None,
    for_: Annotated[float | None, typer.Option("--for", help="Ends after so many seconds.")] = None,
    control: Control = CONTROL_URL,
    as_json: Json = False,
) -> None:
    """Lets a fault begin: weather, orders and set-points are faults too, which are cleared again."""
    if for_ is not None and not 0 < for_ < math.inf:
        raise typer.BadParameter("a number of seconds above 0", param_hint="--for")
    body: dict[str, Any] = {"kind": kind, "target": target, "for_s": for_, **pairs(parameters)}
    answer = _ask(control, "POST", "faults", body)
    typer.echo(json.dumps(answer, indent=2) if as_json else _fault_line(answer))


@faults.command("clear")
def _clear(
    fault: Annotated[str, typer.Argument(help="Id of the fault, see greenbridge faults list.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Every fault that is active.")] = False,
    control: Control = CONTROL_URL,
    as_json: Json = False,
) -> None:
    """Ends a fault, or all."""
    if every == bool(fault):
        raise typer.BadParameter("give the id of a fault, or --all", param_hint="FAULT")
    answer = _ask(control, "DELETE", "faults" if every else f"faults/{quote(fault, safe='')}")
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    for cleared in answer if every else [answer]:
        typer.echo(_fault_line(cleared))
    if not answer:
        typer.echo("no faults")


@faults.command("status")
def _status(control: Control = CONTROL_URL, as_json: Json = False) -> None:
    """Tells what the simulators do: pace, steps, whether the grid stands, and what was announced."""
    answer = _ask(control, "GET", "status")
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    typer.echo(f"since {_moment(answer['started_ns'])}, {answer['steps']} steps, speed {answer['speed']:g}")
    typer.echo(f"grid: {'collapsed: ' + answer['collapse'] if answer['collapse'] else 'stands'}")
    for told in answer["announcements"][-10:]:
        typer.echo(f"{_moment(told['t_ns'])} {told['text']}")


@faults.command("restore")
def _restore(control: Control = CONTROL_URL, as_json: Json = False) -> None:
    """Energises again what has collapsed. Clear first what made it collapse."""
    answer = _ask(control, "POST", "grid/restore")
    typer.echo(json.dumps(answer, indent=2) if as_json else "restored; greenbridge faults status shows it")


@faults.command("registers")
def _registers(
    device: Annotated[str, typer.Argument(help="Id of a simulated device; empty lists them.")] = "",
    control: Control = CONTROL_URL,
    as_json: Json = False,
) -> None:
    """Shows what every register of a simulated device holds: name, raw words, engineering value.

    Of a device that publishes over MQTT it shows the latest message on each topic.
    """
    path = f"devices/{quote(device, safe='')}/registers" if device else "devices"
    answer = _ask(control, "GET", path)
    if as_json or not device:
        typer.echo(json.dumps(answer, indent=2) if as_json else "\n".join(answer))
        return
    for shown in answer:
        typer.echo(_said_line(shown) if "topic" in shown else _held_line(shown))
    if not answer:
        typer.echo("nothing published yet")


@faults.command("speed")
def _speed(
    factor: Annotated[float, typer.Argument(min=0.1, max=1000, help="Simulated seconds per second.")],
    control: Control = CONTROL_URL,
    as_json: Json = False,
) -> None:
    """Changes how fast simulated time runs, 2.5 s from now.

    A greenbridge that has these simulators as its simulators_url changes with them; another one must be
    restarted with the pace that this prints, or its clock and theirs drift apart.
    """
    pace = _ask(control, "PUT", "clock", {"speed": factor})
    shown = " ".join(f"{name}={value}" for name, value in pace["environment"].items())
    typer.echo(json.dumps(pace, indent=2) if as_json else shown)


def _held_line(held: dict[str, Any]) -> str:
    words = " ".join(f"{word:04x}" for word in held["words"])
    shown = f"{held['value']:.10g}" if isinstance(held["value"], float) else str(held["value"])
    value = "not available" if held["value"] is None else f"{shown} {held['unit']}".strip()
    return f"{held['address']:>5}  {held['name']:<34} {words:<40} {value}"


def _said_line(said: dict[str, Any]) -> str:
    return f"{_moment(said['t_ns'])}  {said['topic']}  {json.dumps(said['payload'])}"


def _fault_line(fault: dict[str, Any]) -> str:
    hidden = {"id", "kind", "target", "active", "began_ns", "ends_ns"}
    parameters = " ".join(f"{key}={value}" for key, value in fault.items() if key not in hidden)
    state = "active" if fault["active"] else "cleared"
    times = f"from {_moment(fault['began_ns'])}"
    if fault["ends_ns"] is not None:
        times += f" to {_moment(fault['ends_ns'])}"
    what = f"{fault['kind']} {fault['target']} {parameters}".rstrip()
    return f"{fault['id']:<22} {state:<8} {what:<44} {times}"


def _moment(t_ns: int) -> str:
    """A time for people, in UTC."""
    return f"{datetime.fromtimestamp(t_ns / 1e9, UTC):%Y-%m-%d %H:%M:%SZ}"


def _ask(control: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    from greenbridge.scenarios.controls import ask

    try:
        return asyncio.run(ask(control, method, path, body))
    except GreenbridgeError as error:
        typer.echo(f"greenbridge: {error}", err=True)
        raise typer.Exit(EXIT_CANNOT_RUN) from None


def pairs(words: list[str] | None) -> dict[str, Any]:
    """``name=value`` words as a mapping; a value that reads as JSON becomes what it says."""
    pairs: dict[str, Any] = {}
    for word in words or []:
        key, separator, value = word.partition("=")
        if not separator:
            raise typer.BadParameter(f"{word}: write name=value")
        try:
            pairs[key] = json.loads(value)
        except json.JSONDecodeError:
            pairs[key] = value
    return pairs
