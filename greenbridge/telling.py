"""``greenbridge notify``: tries whether people can be reached, and says who would be.

Exit codes: 0 done, 1 a message was not delivered, 2 wrong use or configuration.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from greenbridge.changing import EXIT_FAILED, EXIT_USAGE
from telemetry.errors import ConfigError, GreenbridgeError

if TYPE_CHECKING:
    from alerts.notify.channel import Channel, Notification
    from greenbridge.settings import Configuration

# what a command needs is imported when it runs, as in greenbridge.cli

notify = typer.Typer(no_args_is_help=True, help="Tries whether people can be reached, and says who would be.")
Config = Annotated[str, typer.Argument(help='Path of a greenbridge.toml, or the built-in site "corridor".')]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@notify.command("who")
def _who(
    config: Config,
    at: Annotated[
        str, typer.Option(help="A time, such as 2026-12-31T22:00 in the site's time zone; now without it.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Says who is on call, and whom an alarm would reach: at once, and when nobody acknowledges."""
    from alerts.notify.rota import utc
    from greenbridge.who import shown, who
    from telemetry.clock import SystemClock

    settings = _loaded(config).settings.alerts.notify
    now = SystemClock().now_ns()
    if at:
        try:
            moment = datetime.fromisoformat(at)
        except ValueError:
            raise typer.BadParameter(
                f"{at!r} is no time: write 2026-12-31T22:00", param_hint="--at"
            ) from None
        aware = moment.tzinfo is not None
        now = round(moment.timestamp()) * 10**9 if aware else utc(moment, settings.time_zone)
    found = who(settings, now)
    typer.echo(json.dumps(found, indent=2) if as_json else shown(found))


@notify.command("test")
def _test(
    config: Config,
    recipient: Annotated[str, typer.Argument(help="A recipient, or a rotation: whoever is on call now.")],
    as_json: Json = False,
) -> None:
    """Sends somebody a message that says it is a test, to each of their addresses.

    Exit code 1: an address did not take it.
    """
    results = asyncio.run(_tried(_loaded(config), recipient))
    if as_json:
        typer.echo(json.dumps({name: error or "delivered" for name, error in results.items()}, indent=2))
    else:
        for name, error in results.items():
            typer.echo(f"{name}: {error or 'delivered'}")
    raise typer.Exit(EXIT_FAILED if any(results.values()) else 0)


async def _tried(configuration: Configuration, name: str) -> dict[str, str]:
    """What each address of a recipient said; empty for one that took the message."""
    from alerts.notify.links import MessageLinks
    from alerts.notify.routing import Routing
    from alerts.notify.text import Writer
    from greenbridge.notifying import address_channel
    from telemetry.clock import SystemClock
    from telemetry.settings import nearest

    clock, settings = SystemClock(), configuration.settings.alerts.notify
    file = configuration.file
    people = Routing(settings).people([name], clock.now_ns())
    found = settings.recipient_of(people[0]) if people else None
    if found is None:
        names = [*(one.id for one in settings.recipient), *(one.id for one in settings.rotation)]
        typer.echo(f"greenbridge: no recipient or rotation {name} ({nearest(name, names)})", err=True)
        raise typer.Exit(EXIT_USAGE)
    results = {}
    try:
        links = MessageLinks(settings.links, file) if settings.links is not None else None
        writer = Writer(configuration.settings.name, links)
        channels = [
            address_channel(settings, found, address, writer=writer, clock=clock, file=file)
            for address in found.address
        ]
    except ConfigError as error:
        typer.echo(f"greenbridge: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from None
    notification = _notification(found.id, clock.now_ns())
    for channel in channels:
        results[channel.id] = await _error(channel, notification)
    return results


async def _error(channel: Channel, notification: Notification) -> str:
    try:
        await channel.deliver(notification)
    except GreenbridgeError as error:
        return str(error)
    return ""


def _notification(recipient: str, now: int) -> Notification:
    """A message that nobody can take for an alarm."""
    from alerts.alarms import Alarm, AlarmState, Priority
    from alerts.config import Occasion
    from alerts.notify.channel import Notification

    alarm = Alarm(
        id="TEST",
        key="TEST",
        rule="TEST",
        rule_version=1,
        asset="",
        area="",
        title="greenbridge can reach you; nothing has happened",
        priority=Priority.LOW,
        state=AlarmState.NORMAL,
        value=0.0,
        limit=0.0,
        unit="1",
        quality="good",
        t_source=now,
        t_received=now,
        raised_at=now,
        updated_at=now,
    )
    return Notification(f"test-{recipient}-{now}", Occasion.TEST, now, alarm)


def _loaded(config: str) -> Configuration:
    from greenbridge.settings import load

    try:
        return load(config)
    except ConfigError as error:
        typer.echo(f"greenbridge: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from None
