"""``greenbridge alarms``: the alarm desk at a terminal, over a running greenbridge or from what it has left.

Exit codes: 0 done, 2 wrong use or refused, 3 nothing runs there or its files cannot be read.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenbridge import alarm_text
from greenbridge.changing import EXIT_CANNOT_RUN, EXIT_USAGE, state_of
from telemetry.errors import GreenbridgeError, StorageError, UnavailableError

if TYPE_CHECKING:
    from alerts.config import AlertsSettings

# what a command needs is imported when it runs, as in greenbridge.cli

alarms = typer.Typer(
    no_args_is_help=True, help="Shows the alarms of a site and acts on them; every act is audited."
)
Config = Annotated[
    str,
    typer.Argument(
        help='Path of a greenbridge.toml, the built-in site "corridor", or a state directory.', metavar="SITE"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Names = Annotated[
    list[str], typer.Argument(help="Ids of alarms, or keys such as R6/SHY-TAS.", metavar="ALARM...")
]
Reason = Annotated[str, typer.Option(help="Why; everybody who looks sees it.")]
For = Annotated[str, typer.Option("--for", help="For how long: 90s, 30m, 2h, 3d.")]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@alarms.command("list")
def _list(config: Config, as_json: Json = False) -> None:
    """Lists alarms with what they explain, what is held back and why, and what cannot be judged."""
    _print(config, {"do": "list"}, alarm_text.listing, as_json=as_json)


@alarms.command("show")
def _show(
    config: Config,
    alarm: Annotated[str, typer.Argument(help="Id of an alarm, or key of a condition.")],
    as_json: Json = False,
) -> None:
    """Shows everything about an alarm: cause, response, evidence, and every step with who took it."""
    _print(config, {"do": "show", "name": alarm}, alarm_text.one, as_json=as_json)


@alarms.command("history")
def _history(
    config: Config,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: Json = False,
) -> None:
    """Lists past and present alarms, newest first."""
    _print(config, {"do": "history", "limit": limit}, alarm_text.history, as_json=as_json)


@alarms.command("kpi")
def _kpi(
    config: Config,
    area: Annotated[str, typer.Option(help="Only alarms of this area.")] = "all",
    as_json: Json = False,
) -> None:
    """Shows how well the alarms serve people: rates, floods, worst conditions, time to acknowledge."""
    _print(config, {"do": "kpi", "position": area}, alarm_text.indicators, as_json=as_json)


@alarms.command("ack")
def _ack(
    config: Config,
    names: Names,
    comment: Annotated[str, typer.Option(help="What you know or do about it.")] = "",
    as_json: Json = False,
) -> None:
    """Acknowledges alarms."""
    _do(config, names, {"do": "acknowledge", "comment": comment}, as_json=as_json)


@alarms.command("reset")
def _reset(config: Config, names: Names, as_json: Json = False) -> None:
    """Resets latched alarms that are acknowledged."""
    _do(config, names, {"do": "reset"}, as_json=as_json)


@alarms.command("shelve")
def _shelve(config: Config, names: Names, reason: Reason, lasts: For = "1h", as_json: Json = False) -> None:
    """Sets alarms aside for a while; they come back by themselves. Urgent ones cannot be shelved."""
    _do(config, names, _hold("shelved", reason, lasts), as_json=as_json)


@alarms.command("unshelve")
def _unshelve(config: Config, names: Names, as_json: Json = False) -> None:
    """Takes alarms back before their time."""
    _do(config, names, {"do": "unhold", "kind": "shelved"}, as_json=as_json)


@alarms.command("suppress")
def _suppress(
    config: Config,
    names: Names,
    reason: Reason = "",
    lasts: For = "",
    end: Annotated[bool, typer.Option("--end", help="End the suppression instead.")] = False,
    as_json: Json = False,
) -> None:
    """Suppresses conditions for the time of an outage that the configuration does not plan."""
    if end == bool(reason or lasts):
        raise typer.BadParameter("give --reason and --for, or --end", param_hint="--reason")
    request = {"do": "unhold", "kind": "suppressed"} if end else _hold("suppressed", reason, lasts)
    _do(config, names, request, as_json=as_json)


@alarms.command("service")
def _service(
    config: Config,
    names: Names,
    reason: Reason = "",
    back: Annotated[bool, typer.Option("--back", help="Put them back into service.")] = False,
    as_json: Json = False,
) -> None:
    """Takes conditions out of service until somebody puts them back, for example for maintenance."""
    if back == bool(reason):
        raise typer.BadParameter("give --reason, or --back", param_hint="--reason")
    request = {"do": "unhold", "kind": "out_of_service"}
    if not back:
        request = {"do": "hold", "kind": "out_of_service", "reason": reason}
    _do(config, names, request, as_json=as_json)


def seconds(text: str) -> float:
    """A duration such as ``90s``, ``30m`` or ``2h`` [s].

    Raises
    ------
    typer.BadParameter
        It is none.

    """
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhd])", text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration: write 90s, 30m, 2h or 3d", param_hint="--for")
    return float(found[1]) * _UNITS[found[2]]


def _hold(kind: str, reason: str, lasts: str) -> dict[str, Any]:
    return {"do": "hold", "kind": kind, "reason": reason.strip(), "for_s": seconds(lasts)}


def _print(config: str, request: dict[str, Any], text: Any, *, as_json: bool) -> None:
    (answer,) = _asked(config, [request], as_json=as_json)
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False) if as_json else text(answer))


def _do(config: str, names: Sequence[str], request: dict[str, Any], *, as_json: bool) -> None:
    answers = _asked(config, [{**request, "name": name} for name in names], as_json=as_json)
    document = [answer["alarm"] for answer in answers]
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False) if as_json else alarm_text.done(answers))


def _asked(config: str, requests: Sequence[dict[str, Any]], *, as_json: bool) -> list[dict[str, Any]]:
    state, settings = _site(config, as_json=as_json)
    answers: list[dict[str, Any]] = []
    try:
        asyncio.run(_ask_all(state, settings, requests, answers))
    except (StorageError, UnavailableError) as error:
        typer.echo(f"greenbridge: {error}", err=True)
        raise typer.Exit(EXIT_CANNOT_RUN) from None
    except GreenbridgeError as error:
        done = ", ".join(str(request["name"]) for request in requests[: len(answers)])
        typer.echo(f"greenbridge: {error}" + (f"\nDone before it: {done}." if done else ""), err=True)
        raise typer.Exit(EXIT_USAGE) from None
    return answers


async def _ask_all(
    state: Path, settings: AlertsSettings, requests: Sequence[dict[str, Any]], answers: list[dict[str, Any]]
) -> None:
    from greenbridge.alarm_answers import ALARMS, stored
    from greenbridge.control import ask
    from telemetry.clock import SystemClock

    try:
        for request in requests:
            # one at a time, so that the caller knows what was done before one is refused
            answer = await ask(state, {"command": ALARMS, **request})
            answers.append(answer)
    except UnavailableError as error:
        if answers or "another user" in str(error):
            raise
        async with stored(state, settings, SystemClock()) as there:
            answers += [await there.answer(request, "") for request in requests]


def _site(config: str, *, as_json: bool) -> tuple[Path, AlertsSettings]:
    """State directory and settings; the latter as they ship when only a directory is named."""
    from alerts.config import AlertsSettings
    from greenbridge.alarm_answers import FILE

    path = Path(config)
    if path.is_dir() and (path / FILE).exists():
        return path, AlertsSettings()
    return state_of(config, None, as_json=as_json), AlertsSettings()
