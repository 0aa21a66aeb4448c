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
from functools import partial
from pathlib import Path

import structlog

from adapters.modbus.source import ModbusSource
from adapters.mqtt.source import MqttSource
from adapters.sparkplug.source import SparkplugSource
from alerts.desk import Desk
from alerts.engine import CONSUMER, AlarmEngine
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
from greenbridge.status import SystemStatus, WatchedStore, ailments
from ingest.deadletters import DeadLetters
from ingest.intake import JournalIntake
from ingest.journal.journal import Journal
from ingest.journal.points import declare
from ingest.live import LiveTable
from ingest.ports import Intake, OnFull
from ingest.pump import EventPump, StorePump
from ingest.refill import Refill
from ingest.reinjection import Reinjection
from ingest.stores.embedded.store import EmbeddedStore
from ingest.stores.influx.store import InfluxStore
from ingest.stores.victoria.store import VictoriaStore
from ingest.supervision import Run, Supervisor
from telemetry.clock import Clock
from telemetry.errors import GreenbridgeError
from telemetry.site import Site

log = structlog.get_logger(__name__)

SIGNIN_TOKEN = "GREENBRIDGE_SIGNIN_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable with the one-time sign-in token; without it one is made and printed at each start."""

Source = ModbusSource | MqttSource | SparkplugSource


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
        journal = await stack.enter_async_context(Journal(state / "journal", settings.journal, clock))
        letters = await stack.enter_async_context(
            DeadLetters(state / "deadletters.sqlite", settings.dead_letters)
        )
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
            pump = StorePump(
                journal,
                influx,
                clock,
                every_s=settings.influx.apply_every_s,
                refill=Refill(journal.cursors, embedded, influx),
            )
            stores.append(WatchedStore(influx, pump))
            # what it lacks is in the embedded store, which the journal waits for
            journal.cursors.register(influx.name, OnFull.DETACH)

        if settings.victoria is not None and settings.victoria.enabled:
            victoria = VictoriaStore(
                settings.victoria, site, registry, cursors=journal.cursors, letters=letters, clock=clock
            )
            await stack.enter_async_context(victoria)
            pump = StorePump(
                journal,
                victoria,
                clock,
                every_s=settings.victoria.apply_every_s,
                refill=Refill(journal.cursors, embedded, victoria, VictoriaStore.REFILL_CHUNK),
            )
            stores.append(WatchedStore(victoria, pump))
            journal.cursors.register(victoria.name, OnFull.DETACH)

        channels = _channels(settings)
        alarms = await stack.enter_async_context(_alarm_journal(state, settings, channels))
        outbox = Outbox(alarms, channels, clock, settings.alerts.give_up_after_s)
        engine = AlarmEngine(
            site,
            settings.alerts,
            journal,
            alarms,
            clock,
            cursors=journal.cursors,
            ailments=partial(ailments, journal, [watched.pump for watched in stores]),
            urgent=outbox.tell,
        )

        intake = JournalIntake(journal, letters, clock)
        sources = _sources(configuration, site, intake, clock, environment)
        links = {source.name: source.state for source in sources}
        table = LiveTable(journal)
        table.prime(await embedded.query.last(sorted(site.points)), clock.now_ns())
        primed_at = (await embedded.position()).offset
        status = SystemStatus(
            site, clock, journal=journal, intake=intake, table=table, stores=stores, links=links
        )
        announcements = SimulatorAnnouncements(settings.simulators_url, clock)

        runs: dict[str, Run] = {
            "live": lambda: table.run(primed_at),
            CONSUMER: partial(_judging, engine, sources),
            "notify": outbox.run,
            "status": status.run,
            "announcements": announcements.run,
        }
        for watched in stores:
            name = watched.store.name
            runs[f"pump/{name}"] = watched.pump.run
            runs[f"events/{name}"] = EventPump(alarms, watched.store, clock).run
        runs |= {source.name: source.run for source in sources}
        takers = {source.name: source for source in sources if isinstance(source, MqttSource)}
        runs["reinjection"] = Reinjection(letters, takers, clock).run
        for consumer in (CONSUMER, embedded.name):
            journal.cursors.register(consumer, OnFull.STOP)

        ports = Ports(
            LiveValues(site, table, clock, links), embedded.query, Desk(engine, alarms), status, announcements
        )
        stack.callback(log.info, "greenbridge_stopped")
        async with asyncio.TaskGroup() as group:
            group.create_task(_supervised(runs, clock), name="supervisor")
            # a page that showed no alarms before the stored ones are read would be a false all-clear
            await engine.resumed.wait()
            await _serve(
                settings, state, site=site, ports=ports, clock=clock, environment=environment, status=status
            )


async def _judging(engine: AlarmEngine, sources: Sequence[Source]) -> None:
    """Judges, and asks for what is reported by exception: a run takes up only the latest of the journal."""
    for source in sources:
        if isinstance(source, SparkplugSource):
            source.ask_for_births()
    await engine.run()


async def _supervised(runs: Mapping[str, Run], clock: Clock) -> None:
    supervisor = Supervisor(clock)
    for name, run_it in runs.items():
        supervisor.add(name, run_it)
    await supervisor.run()


async def _serve(
    settings: SiteSettings,
    state: Path,
    *,
    site: Site,
    ports: Ports,
    clock: Clock,
    environment: Mapping[str, str],
    status: SystemStatus,
) -> None:
    """Serves the console until cancelled."""
    console = settings.console
    given = environment.get(SIGNIN_TOKEN)
    token = given or secrets.token_urlsafe()
    async with Sessions(
        state / "console.sqlite", clock, console.session_hours, console.token_hours
    ) as sessions:
        await sessions.offer(token)
        async with serving(console, clock, site, ports, sessions) as url:
            if given is None:
                # to the person at the terminal only, never into the log
                print(f"Sign in once at {url}/signin?token={token}", file=sys.stderr, flush=True)  # noqa: T201
            status.not_ready = ""
            log.info("greenbridge_started", site=site.name, devices=len(site.devices), console=url)
            await asyncio.get_running_loop().create_future()


def _alarm_journal(state: Path, settings: SiteSettings, channels: Sequence[Channel]) -> AlarmJournal:
    return AlarmJournal(
        state / "alarms.sqlite",
        [channel.id for channel in channels],
        settings.alerts.notify_on,
        settings.alerts.max_pending_notifications,
    )


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
    state = Path(settings.state_dir)
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
    # a host without devices still shows what there is to be configured
    sparkplug = [
        SparkplugSource(
            host,
            points.get(f"sparkplug/{host.id}", []),
            intake,
            clock,
            environment=environment,
            directory_file=state / f"sparkplug-{host.id}.json",
        )
        for host in settings.sparkplug.host
    ]
    return [*modbus, *mqtt, *sparkplug]


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
