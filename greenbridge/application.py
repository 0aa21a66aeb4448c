"""A running site: its parts under supervision, and how another configuration reaches each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from adapters.link import LinkState
from adapters.mqtt.source import MqttSource
from adapters.sparkplug.source import SparkplugSource
from alerts.desk import Desk
from alerts.engine import CONSUMER, AlarmEngine
from alerts.journal import AlarmJournal
from alerts.schedule_desk import ScheduleDesk, loaded
from alerts.schedules import ScheduleBook, Version
from alerts.settlement_journal import FILE as SETTLEMENT
from alerts.settlement_journal import SettlementJournal
from alerts.settling import CONSUMER as SETTLING
from alerts.settling import Settlement
from console.ports import Ports
from greenbridge import logs
from greenbridge.announcements import SimulatorAnnouncements
from greenbridge.backup import JOURNAL, REGISTRY, STORE, back_up_running
from greenbridge.derived import formulas
from greenbridge.difference import Difference
from greenbridge.estimates import Publication
from greenbridge.exporting import Request, export_from
from greenbridge.inspection import Inspected, Inspection
from greenbridge.live import LiveValues
from greenbridge.notifying import Notifier, Notifying, notifying
from greenbridge.own_state import OwnState
from greenbridge.query_answers import Query, answered
from greenbridge.settings import Configuration
from greenbridge.sources import Source, points_behind, sources_of
from greenbridge.status import SystemStatus, WatchedStore, ailments
from greenbridge.stores import FurtherStore, StoredReadings, further_stores, in_use
from ingest.audit_chain import Act
from ingest.deadletters import DeadLetters
from ingest.derivation import CONSUMER as DERIVATION
from ingest.derivation import Deriving
from ingest.intake import JournalIntake
from ingest.journal.journal import Journal
from ingest.journal.points import declare
from ingest.live import LiveTable
from ingest.ports import Ailment, OnFull, Reinjectable
from ingest.pump import EventPump, StorePump
from ingest.refill import Refill
from ingest.reinjection import Reinjection
from ingest.stages.deadband import Deadbands
from ingest.stores.embedded.store import EmbeddedStore
from ingest.supervision import Supervisor
from telemetry.clock import Clock
from telemetry.registry import PointRegistry
from telemetry.site import Site

log = structlog.get_logger(__name__)

_NOTIFY, _ANNOUNCEMENTS = "notify", "announcements"

Record = Callable[[], Awaitable[object]]
"""Makes durable that a change is about to be made."""


class Application:
    """Every part of a running site; build it with :func:`application`, run it with :meth:`run`."""

    def __init__(
        self,
        configuration: Configuration,
        site: Site,
        *,
        state: Path,
        clock: Clock,
        environment: Mapping[str, str],
        journal: Journal,
        letters: DeadLetters,
        embedded: EmbeddedStore,
        alarms: AlarmJournal,
        settlement: SettlementJournal,
        schedules: ScheduleBook,
        audit: Callable[[Act], Awaitable[object]],
    ) -> None:
        self.configuration = configuration
        """What is running."""
        self.site = site
        self._state = state
        self._clock = clock
        self._environment = environment
        self._journal = journal
        self._letters = letters
        self._embedded = embedded
        self._alarms = alarms
        settings = configuration.settings
        self._supervisor = Supervisor(clock)
        self._intake = JournalIntake(journal, letters, clock)
        self._table = LiveTable(journal)
        self._links: dict[str, LinkState] = {}
        self._sources_running: dict[str, Source] = {}
        self._stores: list[WatchedStore] = []
        self._opened: dict[str, AsyncExitStack] = {}
        self._takers: dict[str, Reinjectable] = {}
        self._hosts: dict[str, SparkplugSource] = {}
        self._deriving = False
        self.notifier = Notifier(alarms, clock, self._resumed)
        self.engine = AlarmEngine(
            site,
            settings.alerts,
            journal,
            alarms,
            clock,
            cursors=journal.cursors,
            ailments=self._ailing,
            urgent=self.notifier.tell_urgent,
            audit=audit,
            publish=Publication(lambda: self.site, journal, clock).publish,
            schedules=schedules,
            ledger=lambda: self.settlement.view,
        )
        self.settlement = Settlement(
            site,
            settings.alerts.settlement,
            reader=journal,
            journal=settlement,
            schedules=schedules,
            clock=clock,
            history=StoredReadings(embedded),
            tell=self.engine.tell,
            cursors=journal.cursors,
        )
        self.schedules = ScheduleDesk(
            schedules, settlement, lambda: self.site.grid, clock, audit=audit, changed=self._rescheduled
        )
        self._announcements = SimulatorAnnouncements(settings.simulators_url, clock)
        self._live = LiveValues(site, self._table, clock, self._links)
        self.status = SystemStatus(
            site,
            clock,
            journal=journal,
            intake=self._intake,
            table=self._table,
            stores=self._stores,
            links=self._links,
        )
        self.desk = Desk(self.engine, alarms)
        self._inspection = Inspection(
            lambda: self.site,
            Inspected(
                state,
                journal,
                letters,
                self._table,
                embedded.query,
                self._supervisor,
                schedules,
                lambda: self.configuration.settings.alerts,
                self.engine.explained,
            ),
            clock,
        )
        self.ports = Ports(
            self._live,
            embedded.query,
            self.desk,
            self.status,
            self._announcements,
            self.schedules,
            self.settlement,
            self._inspection,
            lambda: self.notifier.links,
        )

    async def start(self, registry: PointRegistry) -> None:
        """Puts every part under supervision; they run with :meth:`run`.

        Raises
        ------
        ConfigError
            A device cannot be planned, or keys or certificates cannot be used.
        StorageError
            A store cannot be opened.

        """
        sources = self._sources(self.configuration, self.site)
        names = in_use(self.configuration.settings)
        stores = self._further(self.configuration, self.site, registry, names)
        derivation = self._derivation(self.configuration, self.site)
        now = self._clock.now_ns()
        self._table.prime(await self._embedded.query.last(sorted(self.site.points)), now)
        primed_at = (await self._embedded.position()).offset
        self._supervisor.add("live", lambda: self._table.run(primed_at))
        self._supervisor.add(CONSUMER, self._judge)
        self._supervisor.add(SETTLING, self.settlement.run)
        self.notifier.use(
            self.configuration.settings.alerts, await asyncio.to_thread(self._told, self.configuration)
        )
        self._supervisor.add(_NOTIFY, self.notifier.run)
        self._supervisor.add("status", self.status.run)
        own_state = OwnState(self.status.status, self.engine.tell, self._clock, self._state)
        self._supervisor.add("own_state", own_state.run)
        self._supervisor.add(_ANNOUNCEMENTS, self._announcements.run)
        cursors, embedded = self._journal.cursors, self._embedded
        every_s = self.configuration.settings.embedded.apply_every_s
        pump = StorePump(self._journal, embedded, self._clock, cursors=cursors, every_s=every_s)
        self._watch(WatchedStore(embedded, pump))
        for consumer in (CONSUMER, embedded.name):
            cursors.register(consumer, OnFull.STOP)
        # what it would miss in a full journal is in the embedded store
        cursors.register(SETTLING, OnFull.DETACH)
        for store in stores:
            self._take_in(store, await self._opened_store(store))
        for source in sources:
            self._begin(source)
        await self._derive(derivation)
        self._supervisor.add("reinjection", Reinjection(self._letters, self._takers, self._clock).run)

    async def run(self) -> None:
        """Runs every part until cancelled."""
        await self._supervisor.run()

    async def answer_backup(self, request: dict[str, Any], _: str) -> dict[str, Any]:
        """Makes a backup, for the control socket.

        Raises
        ------
        StorageError, UnavailableError
            The target exists, or cannot be written.

        """
        manifest = await back_up_running(
            self._state,
            self._embedded,
            self._journal.cursors,
            Path(str(request.get("target"))),
            self._clock.now_ns(),
        )
        return {"files": sorted(manifest.files)}

    async def answer_export(self, request: dict[str, Any], _: str) -> dict[str, Any]:
        """Exports readings, for the control socket.

        Raises
        ------
        GreenbridgeError
            The request cannot be understood, or the file not be written.

        """
        registry = await asyncio.to_thread(declare, self._state / REGISTRY)
        count = await export_from(self._embedded.query, registry, Request.read(request))
        return {"readings": count}

    async def answer_query(self, request: dict[str, Any], _: str) -> dict[str, Any]:
        """Answers a question to the embedded store, for the control socket.

        Raises
        ------
        GreenbridgeError
            The request cannot be understood, or no point is like it.

        """
        registry = await asyncio.to_thread(declare, self._state / REGISTRY)
        return await answered(self._embedded.query, registry, Query.read(request))

    async def close(self) -> None:
        """Closes the further stores; the rest is its opener's."""
        for opened in list(self._opened.values()):
            await opened.aclose()

    async def apply(self, wanted: Configuration, difference: Difference, record: Record) -> None:
        """Brings another configuration into effect; parts that it does not touch run on.

        Everything that can fail comes first: on an error nothing has changed. Of a link that runs on only the
        devices that differ are touched.

        Parameters
        ----------
        wanted
            The configuration, with what only a restart changes as it is now.
        difference
            Of it from the running one.
        record
            Awaited when everything is prepared and nothing is changed; its errors stop the change.

        Raises
        ------
        ConfigError, StorageError
            A part cannot be prepared.

        """
        registry = await asyncio.to_thread(declare, self._state / REGISTRY, wanted.keys())
        site = wanted.site(registry) if difference.site else self.site
        links = difference.links
        fresh = links.started | links.restarted

        def planned() -> tuple[list[Source], list[Callable[[], None]]]:
            adjustments = [
                self._sources_running[link].prepared(points_behind(site, link), devices)
                for link, devices in links.adjusted.items()
            ]
            return self._sources(wanted, site, fresh), adjustments

        # plans of thousands of devices take seconds, in which the others are to be read
        sources, adjustments = await asyncio.to_thread(planned)
        stores = self._further(wanted, site, registry, difference.stores)
        told = await asyncio.to_thread(self._told, wanted) if difference.notifications else None
        derivation = self._derivation(wanted, site)
        async with AsyncExitStack() as opening:
            further = [
                (store, await opening.enter_async_context(await self._opened_store(store)))
                for store in stores
            ]
            await record()
            opening.pop_all()
        # from here on nothing can fail
        self.configuration, self.site = wanted, site
        if difference.logs:
            logs.configure(wanted.settings.logs.format, wanted.settings.logs.level)
        if difference.site:
            self._embedded.thin_by(Deadbands.of_site(site))
            self.status.show(site)
            self._live.show(site)
        for adjust in adjustments:
            adjust()
        if difference.derived:
            await self._derive(derivation)
        if told is not None:
            await self._supervisor.remove(_NOTIFY)
            self.notifier.use(wanted.settings.alerts, told)
            self._supervisor.add(_NOTIFY, self.notifier.run)
        if difference.rules:
            await self._supervisor.remove(CONSUMER)
            await self._supervisor.remove(SETTLING)
            self.engine.reconfigure(site, wanted.settings.alerts)
            self.settlement.reconfigure(site, wanted.settings.alerts.settlement)
            self._supervisor.add(CONSUMER, self._judge)
            self._supervisor.add(SETTLING, self.settlement.run)
        if difference.announcements:
            await self._supervisor.remove(_ANNOUNCEMENTS)
            self._announcements.ask(wanted.settings.simulators_url)
            self._supervisor.add(_ANNOUNCEMENTS, self._announcements.run)
        await self._exchange_links(links.stopped, sources)
        await self._exchange_stores(difference.stores, further)

    async def _exchange_links(self, stopped: Collection[str], sources: Sequence[Source]) -> None:
        for link in sorted(stopped):
            await self._end(link)
        for source in sources:
            if source.name in self._links:
                await self._end(source.name)
            self._begin(source)

    async def _exchange_stores(
        self, names: Collection[str], further: Sequence[tuple[FurtherStore, AsyncExitStack]]
    ) -> None:
        closing = [closed for name in names if (closed := await self._take_out(name)) is not None]
        for store, opened in further:
            self._take_in(store, opened)
        for closed in closing:
            await closed.aclose()

    def _sources(
        self, configuration: Configuration, site: Site, links: Collection[str] | None = None
    ) -> list[Source]:
        return sources_of(
            configuration,
            site,
            self._intake,
            clock=self._clock,
            environment=self._environment,
            links=links,
        )

    def _derivation(self, configuration: Configuration, site: Site) -> Deriving | None:
        """What derives the points of a configuration; None if it has none."""
        derived = configuration.settings.derived
        if not derived:
            return None
        return Deriving(formulas(derived, site), self._journal, self._journal.cursors, self._clock)

    async def _derive(self, deriving: Deriving | None) -> None:
        """Derives points in place of what did so until now."""
        cursors = self._journal.cursors
        if self._deriving:
            await self._supervisor.remove(DERIVATION)
            cursors.unregister(DERIVATION)
        self._deriving = deriving is not None
        if deriving is not None:
            cursors.register(DERIVATION, OnFull.DETACH)
            self._supervisor.add(DERIVATION, deriving.run)

    async def _judge(self) -> None:
        """Judges; asks for what is reported by exception, as a run takes up only the journal's latest."""
        for host in self._hosts.values():
            host.ask_for_births()
        await self.engine.run()

    def _rescheduled(self, version: Version) -> None:
        self.engine.reschedule(version.subject)
        self.settlement.reschedule(version)

    def _begin(self, source: Source) -> None:
        self._links[source.name] = source.state
        self._sources_running[source.name] = source
        if isinstance(source, SparkplugSource):
            self._hosts[source.name] = source
        if isinstance(source, MqttSource):
            self._takers[source.name] = source
        self._supervisor.add(source.name, source.run)

    async def _end(self, link: str) -> None:
        await self._supervisor.remove(link)
        self._takers.pop(link, None)
        self._hosts.pop(link, None)
        del self._links[link], self._sources_running[link]

    async def _resumed(self) -> None:
        """Returns when the alarms of an earlier run are known."""
        await self.engine.resumed.wait()

    def _ailing(self) -> list[Ailment]:
        """What the parts complain of now."""
        pumps = [watched.pump for watched in self._stores]
        return [*ailments(self._journal, pumps), *self.notifier.ailments()]

    def _told(self, configuration: Configuration) -> Notifying:
        """How people are told by a configuration."""
        return notifying(
            configuration,
            self._clock,
            active=lambda: self.engine.view.active,
            judging=lambda: self.engine.judging,
        )

    def _further(
        self, configuration: Configuration, site: Site, registry: PointRegistry, names: Collection[str]
    ) -> list[FurtherStore]:
        stores = further_stores(
            configuration,
            site,
            registry,
            names=names,
            cursors=self._journal.cursors,
            letters=self._letters,
            clock=self._clock,
            environment=self._environment,
        )
        return [*stores]

    @staticmethod
    async def _opened_store(further: FurtherStore) -> AsyncExitStack:
        """An open store, that nothing uses yet; what is returned closes it."""
        opened = AsyncExitStack()
        await opened.enter_async_context(further.store)
        return opened

    def _take_in(self, further: FurtherStore, opened: AsyncExitStack) -> None:
        """Begins to feed an open store."""
        store, cursors = further.store, self._journal.cursors
        self._opened[store.name] = opened
        # it keeps its position in the journal's cursors itself
        pump = StorePump(
            self._journal,
            store,
            self._clock,
            every_s=further.apply_every_s,
            refill=Refill(cursors, self._embedded, store, further.refill_chunk),
        )
        # what it lacks is in the embedded store, which the journal waits for
        cursors.register(store.name, OnFull.DETACH)
        self._watch(WatchedStore(store, pump))

    async def _take_out(self, name: str) -> AsyncExitStack | None:
        """Ends the feeding of a further store; returns what closes it, None if it is not open."""
        opened = self._opened.pop(name, None)
        if opened is None:
            return None
        await self._supervisor.remove(f"pump/{name}")
        await self._supervisor.remove(f"events/{name}")
        self._journal.cursors.unregister(name)
        self._stores[:] = [watched for watched in self._stores if watched.store.name != name]
        return opened

    def _watch(self, watched: WatchedStore) -> None:
        name = watched.store.name
        self._stores.append(watched)
        self._supervisor.add(f"pump/{name}", watched.pump.run)
        self._supervisor.add(f"events/{name}", EventPump(self._alarms, watched.store, self._clock).run)


@asynccontextmanager
async def application(
    configuration: Configuration,
    state: Path,
    clock: Clock,
    environment: Mapping[str, str],
    audit: Callable[[Act], Awaitable[object]],
) -> AsyncIterator[Application]:
    """Opens the files of a site and builds its parts; the caller holds the state directory.

    What people do about alarms goes to ``audit`` before it takes effect.

    Raises
    ------
    ConfigError, StorageError
        A part cannot be built, or a file not be opened.

    """
    settings = configuration.settings
    async with AsyncExitStack() as stack:
        registry = declare(state / REGISTRY, configuration.keys())
        journal = await stack.enter_async_context(Journal(state / JOURNAL, settings.journal, clock))
        letters = await stack.enter_async_context(
            DeadLetters(state / "deadletters.sqlite", settings.dead_letters)
        )
        site = configuration.site(registry)
        embedded = await stack.enter_async_context(
            EmbeddedStore(state / STORE, settings.embedded, Deadbands.of_site(site))
        )
        alarms = await stack.enter_async_context(AlarmJournal(state / "alarms.sqlite"))
        settlement = await stack.enter_async_context(SettlementJournal(state / SETTLEMENT))
        running = Application(
            configuration,
            site,
            state=state,
            clock=clock,
            environment=environment,
            journal=journal,
            letters=letters,
            embedded=embedded,
            alarms=alarms,
            settlement=settlement,
            schedules=await loaded(settlement, configuration.grid, clock.now_ns()),
            audit=audit,
        )
        stack.push_async_callback(running.close)
        await running.start(registry)
        yield running
