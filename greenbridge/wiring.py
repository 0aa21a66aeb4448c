"""The composition root: builds every part of a running greenbridge and joins them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from adapters.modbus.source import ModbusSource
from adapters.mqtt.source import MqttSource
from alerts.desk import Desk
from alerts.engine import AlarmEngine
from alerts.journal import AlarmJournal
from alerts.notify.channel import Channel
from alerts.notify.log import LogChannel
from alerts.notify.outbox import Outbox
from alerts.notify.webhook import WebhookChannel
from console.ports import Ports
from console.server import serving
from console.sessions import Sessions
from greenbridge.announcements import SimulatorAnnouncements
from greenbridge.live import LiveValues
from greenbridge.settings import Configuration, SiteSettings
from greenbridge.status import SystemStatus, WatchedStore
from ingest.deadletters import DeadLetters
from ingest.intake import JournalIntake
from ingest.journal.journal import Journal
from ingest.journal.points import declare
from ingest.live import LiveTable
from ingest.ports import Intake
from ingest.pump import EventPump, StorePump
from ingest.stores.embedded.store import EmbeddedStore
from ingest.stores.influx.store import InfluxStore
from ingest.supervision import Supervisor
from telemetry.clock import Clock
from telemetry.errors import GreenbridgeError
from telemetry.site import Site

log = structlog.get_logger(__name__)

SIGNIN_TOKEN = "GREENBRIDGE_SIGNIN_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable with the one-time sign-in token; without it one is made and printed at each start."""

ALERTS = "alerts"
"""Name under which the rules hold back the journal's retention."""

Source = ModbusSource | MqttSource


async def run(configuration: Configuration, clock: Clock, environment: Mapping[str, str]) -> None:
    """Runs a site until cancelled.

    Raises
    ------
    GreenbridgeError
        The state directory is in use or damaged, or an address cannot be listened on.

    """
    settings = configuration.settings
    state = Path(settings.state_dir)
    async with AsyncExitStack() as stack:
        stack.enter_context(_claimed(state))
        registry = declare(state / "points.sqlite", configuration.keys())
        site = configuration.site(registry)
        supervisor = Supervisor(clock)

        journal = await stack.enter_async_context(Journal(state / "journal", settings.journal, clock))
        letters = await stack.enter_async_context(
            DeadLetters(state / "deadletters.sqlite", settings.dead_letters)
        )
        intake = JournalIntake(journal, letters, clock)

        embedded = await stack.enter_async_context(EmbeddedStore(state / "store.duckdb", settings.embedded))
        pump = StorePump(
            journal, embedded, clock, cursors=journal.cursors, every_s=settings.embedded.apply_every_s
        )
        stores = [WatchedStore(embedded, pump)]
        if settings.influx is not None and settings.influx.enabled:
            influx = InfluxStore(
                settings.influx,
                site,
                registry,
                cursors=journal.cursors,
                letters=letters,
                clock=clock,
                environment=environment,
            )
            await stack.enter_async_context(influx)
            # it keeps its position in the journal's cursors itself
            pump = StorePump(journal, influx, clock, every_s=settings.influx.apply_every_s)
            stores.append(WatchedStore(influx, pump))

        channels = _channels(settings)
        alarms = await stack.enter_async_context(
            AlarmJournal(
                state / "alarms.sqlite",
                [channel.id for channel in channels],
                settings.alerts.notify_on,
                settings.alerts.max_pending_notifications,
            )
        )
        engine = AlarmEngine(site, settings.alerts, journal, alarms, clock, cursors=journal.cursors)
        outbox = Outbox(alarms, channels, clock, settings.alerts.give_up_after_s)

        table = LiveTable(journal)
        table.prime(await embedded.query.last(sorted(site.points)))
        primed_at = (await embedded.position()).offset
        sources = _sources(configuration, site, intake, clock, environment)
        links = {source.name: source.state for source in sources}
        status = SystemStatus(
            site, clock, journal=journal, intake=intake, table=table, stores=stores, links=links
        )
        announcements = SimulatorAnnouncements(settings.simulators_url, clock)

        supervisor.add("live", lambda: table.run(primed_at))
        for watched in stores:
            journal.cursors.register(watched.store.name)
            supervisor.add(f"pump/{watched.store.name}", watched.pump.run)
            supervisor.add(f"events/{watched.store.name}", EventPump(alarms, watched.store, clock).run)
        journal.cursors.register(ALERTS)
        supervisor.add("alerts", engine.run)
        supervisor.add("notify", outbox.run)
        supervisor.add("status", status.run)
        supervisor.add("announcements", announcements.run)
        for source in sources:
            supervisor.add(source.name, source.run)

        sessions = await stack.enter_async_context(
            Sessions(
                state / "console.sqlite", clock, settings.console.session_hours, settings.console.token_hours
            )
        )
        token = environment.get(SIGNIN_TOKEN) or secrets.token_urlsafe()
        await sessions.offer(token)
        ports = Ports(
            LiveValues(site, table, clock, links), embedded.query, Desk(engine, alarms), status, announcements
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run(), name="supervisor")
            # a page that showed no alarms before the stored ones are read would be a false all-clear
            await engine.resumed.wait()
            async with serving(settings.console, clock, site, ports, sessions) as url:
                if SIGNIN_TOKEN not in environment:
                    # to the person at the terminal only, never into the log
                    print(f"Sign in once at {url}/signin?token={token}", file=sys.stderr, flush=True)  # noqa: T201
                status.not_ready = ""
                log.info("greenbridge_started", site=site.name, devices=len(site.devices), console=url)
                await asyncio.get_running_loop().create_future()


def _channels(settings: SiteSettings) -> list[Channel]:
    webhooks = [WebhookChannel(webhook) for webhook in settings.alerts.webhook if webhook.enabled]
    return [LogChannel(), *webhooks]


def _sources(
    configuration: Configuration,
    site: Site,
    intake: Intake,
    clock: Clock,
    environment: Mapping[str, str],
) -> Sequence[Source]:
    settings = configuration.settings
    points = {
        link: [point for device in devices for point in site.points_of(device.id)]
        for link, devices in site.links.items()
    }
    modbus = [
        ModbusSource(gateway, points[f"modbus/{gateway.id}"], intake, clock)
        for gateway in settings.modbus.gateway
        if f"modbus/{gateway.id}" in points
    ]
    mqtt = [
        MqttSource(broker, points[f"mqtt/{broker.id}"], intake, clock, environment=environment)
        for broker in settings.mqtt.broker
        if f"mqtt/{broker.id}" in points
    ]
    return [*modbus, *mqtt]


@contextlib.contextmanager
def _claimed(state: Path) -> Iterator[None]:
    """Holds the state directory for one process; the lock goes with the process, however that ends."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        file = (state / "run.lock").open("a+")
    except OSError as error:
        raise GreenbridgeError(f"state directory {state} cannot be used: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise GreenbridgeError(
                f"process {file.read().strip() or '?'} runs on the state directory {state} already; "
                "stop it or set another state_dir"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
