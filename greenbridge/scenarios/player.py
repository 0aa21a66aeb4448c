"""Plays a scenario in virtual time through the real pipeline.

What runs is what `greenbridge run` runs: the sources with their schedules, connections, codecs and recovery,
the intake, the record format, the stages and DuckDB file of the embedded store, live values, rules, alarm
lifecycle, alarm journal and outbox. On the other side are the simulators' world, meters, register maps and
payloads, and the faults of their links, which act on bytes. One loop moves virtual time, and only when every
task waits (:mod:`greenbridge.scenarios.virtual`); so a play is a function of scenario, seed and size.

What is not real:

- sockets: a TCP connection is one to a gateway in memory, whose answers take no time unless a fault delays
  them; MQTT messages, JSON and Sparkplug, go through a broker in memory without packets, and are
  published twice a second;
- the disk: the reading journal keeps its encoded records in memory and shows them to its consumers once a
  second, the alarm journal is a SQLite database in memory; so no file is synced and none can fail;
- the connections of gateways to whose links and devices nothing happens in the scenario: their polls are
  made together once a second, each at its own time, by the source's own parts without its connection
  (:mod:`greenbridge.scenarios.polling`), and become one batch; with a step above 1 s they are made in the
  second after the step; where a fault strikes the link, and for SunSpec devices, the source itself plays;
- threads: what the databases do in theirs is done inline;
- the store takes its records every five minutes, not five times a second; the state is estimated every 12 s
  where a scenario does not ask for R18;
- turbines, inverters and instruments inside plants take part only where a fault strikes them, their gateway
  or edge node, or the broker: no rule looks at them, and they are more than all other devices together;
- the console, InfluxDB and the channels that reach people: one channel notes what it is told.

With a step above 1 s the devices' period is the step.
"""

from __future__ import annotations

import asyncio
import random
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.modbus.source import ModbusSource
from alerts.alarms import HELD, Priority
from alerts.config import AlertsSettings
from alerts.engine import CONSUMER, AlarmEngine
from alerts.estimator.judgement import RULE as ESTIMATE
from alerts.journal import AlarmJournal, ChannelCounts
from alerts.lifecycle import Event
from alerts.notify.channel import Notification
from alerts.notify.outbox import Outbox
from alerts.schedules import ScheduleBook
from alerts.settlement_journal import SettlementJournal
from alerts.settling import CONSUMER as SETTLING
from alerts.settling import Settlement
from greenbridge.scenarios.cast import behind_edge_nodes, slowed, subscribers, takes_part
from greenbridge.scenarios.journal import MemoryJournal
from greenbridge.scenarios.polling import CalmPolls
from greenbridge.scenarios.stage import SECOND, Stage
from greenbridge.scenarios.verdict import Seen
from greenbridge.scenarios.virtual import VirtualClock, VirtualLoop
from greenbridge.settings import Configuration
from greenbridge.sources import Source
from greenbridge.stores import StoredReadings
from ingest.conservation import conservation
from ingest.deadletters import DeadLetters
from ingest.intake import JournalIntake
from ingest.live import LiveTable
from ingest.ports import EventLog, Position
from ingest.pump import EventPump, StorePump
from ingest.stores.embedded.store import EmbeddedStore
from simulators.bench import Bench
from simulators.faults.model import LinkFault
from simulators.scenario import Scenario
from telemetry.errors import ConfigError, Problem
from telemetry.registry import PointRegistry
from telemetry.site import SitePoint

IN_MEMORY = Path(":memory:")
"""What SQLite takes for a database without a file."""
STORE_EVERY_S = 300.0
"""Time between two transactions of the store [s]."""
OUTAGES = "R21"
"""Rule that is off in the corridor, and on where a scenario needs it."""
ESTIMATE_EVERY_S = 12.0
"""Time between two state estimates where none is to alarm by itself [s]: they still explain every alarm."""
MOST_APPLIED = 400_000
"""Readings in one of them."""
STORE_ROUNDS = 100
"""Transactions that the store gets to take what is left at the end; what it lacks then is reported."""
LEAD_S = 0.9
"""How long the rules run before the first reading [s]: their ticks fall between two groups of records."""
PORTIONS = 2
"""How often in a second the broker delivers."""


def built_rules() -> frozenset[str]:
    """Rules that exist: those that can be configured."""
    names = (info.alias or name for name, info in AlertsSettings.model_fields.items())
    return frozenset(name for name in names if re.fullmatch(r"R\d+", name))


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of what the devices sent."""

    readings: int
    """Committed to the journal."""
    records: int
    stored: int
    """Readings with a new key in the store."""
    revised: int
    duplicates: int
    dead_letters: int
    wrong_replies: int
    """Replies that were refused because they were not provably the answer."""
    notifications: int
    """Delivered to people's channel."""


@dataclass(frozen=True, slots=True)
class Play:
    """What was seen, and how big the play was."""

    seen: Sequence[Seen]
    duration_s: float
    step_s: float
    counts: Counts | None
    """None where nobody counted."""
    collapsed: str
    """Why the simulated grid went down; empty if it did not."""
    broken: tuple[str, ...] = ()
    """Promises of the pipeline that were not kept, whatever the alarms are."""


class Player:
    """Plays scenarios on the devices of a site and the bench that simulates them.

    Raises
    ------
    ConfigError
        A gateway is not reached over plain TCP: only that is there in memory.

    """

    def __init__(self, configuration: Configuration, bench: Bench) -> None:
        self._configuration = configuration
        self._bench = bench
        problems = [
            Problem(configuration.file, f"modbus.gateway {gateway.id}", gateway.transport, "cannot be played")
            for gateway in configuration.settings.modbus.gateway
            if gateway.transport != "tcp"
        ]
        if problems:
            raise ConfigError(problems)

    def play(
        self, scenario: Scenario, *, seed: int | None = None, full: bool = False, whole: bool = False
    ) -> Play:
        """Plays a scenario, at its smallest honest size or in full.

        Parameters
        ----------
        scenario
            What to play.
        seed
            In place of the scenario's own.
        full
            The whole length at the scenario's own step.
        whole
            Sources with connections for every gateway, also where nothing happens to the link.

        """
        run = _Run(
            self._configuration,
            self._bench,
            scenario,
            seed=scenario.world.seed if seed is None else seed,
            full=full,
            whole=whole,
        )
        loop = VirtualLoop()
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(run.play(loop))


class _Told:
    """The channel of a play."""

    id = "play"

    def __init__(self) -> None:
        self.notifications: list[Notification] = []

    async def deliver(self, notification: Notification) -> None:
        self.notifications.append(notification)


class _Run:
    """One play."""

    def __init__(
        self,
        configuration: Configuration,
        bench: Bench,
        scenario: Scenario,
        *,
        seed: int,
        full: bool,
        whole: bool,
    ) -> None:
        self._settings = configuration.settings
        if ESTIMATE not in scenario.needs:
            alerts = self._settings.alerts
            slower = alerts.state_estimate.model_copy(update={"every_s": ESTIMATE_EVERY_S})
            alerts = alerts.model_copy(update={"state_estimate": slower})
            self._settings = self._settings.model_copy(update={"alerts": alerts})
        if OUTAGES in scenario.needs:
            alerts = self._settings.alerts
            judged = alerts.contingency.model_copy(update={"enabled": True})
            alerts = alerts.model_copy(update={"contingency": judged})
            self._settings = self._settings.model_copy(update={"alerts": alerts})
        self._duration_s, self._step_s = scenario.world.size(full=full)
        self._whole = whole
        struck = {event.fault.target for event in scenario.event}
        self._broken = {e.fault.target for e in scenario.event if isinstance(e.fault, LinkFault)}
        devices = [device for device in configuration.devices if takes_part(device, struck)]
        configuration = replace(configuration, devices=devices)
        if self._step_s > 1:
            profiles = {
                name: slowed(profile, self._step_s) for name, profile in configuration.profiles.items()
            }
            configuration = replace(configuration, profiles=profiles)
        self._site = configuration.site(PointRegistry(configuration.keys()))
        self._points: dict[str, list[SitePoint]] = {
            link: [point for device in devices for point in self._site.points_of(device.id)]
            for link, devices in self._site.links.items()
        }
        self._behind = behind_edge_nodes(devices)
        self._bench = bench
        self._scenario = scenario
        self._seed = seed
        self._start_ns = round(scenario.world.start.timestamp()) * SECOND
        self._collapsed = ""

    async def play(self, loop: VirtualLoop) -> Play:
        """Builds both sides, lets the time pass and closes the books."""
        settings = self._settings
        clock = VirtualClock(loop, self._start_ns - round(LEAD_S * SECOND))
        stage = Stage(
            self._bench,
            self._site.devices.keys(),
            self._scenario.event,
            behind=self._behind,
            seed=self._seed,
            start_ns=self._start_ns,
            clock=clock,
        )
        journal = MemoryJournal(clock)
        told = _Told()
        async with AsyncExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="greenbridge-play-")))
            letters = await stack.enter_async_context(DeadLetters(IN_MEMORY, settings.dead_letters))
            store = await stack.enter_async_context(
                EmbeddedStore(directory / "store.duckdb", settings.embedded)
            )
            alarms = await stack.enter_async_context(
                AlarmJournal(
                    IN_MEMORY,
                    [told.id],
                    settings.alerts.notify_on,
                    settings.alerts.max_pending_notifications,
                )
            )
            schedules = ScheduleBook(self._site.grid)
            settlement: Settlement
            engine = AlarmEngine(
                self._site,
                settings.alerts,
                journal,
                alarms,
                clock,
                cursors=journal.cursors,
                schedules=schedules,
                ledger=lambda: settlement.view,
            )
            settlement = Settlement(
                self._site,
                settings.alerts.settlement,
                reader=journal,
                journal=await stack.enter_async_context(SettlementJournal(IN_MEMORY)),
                schedules=schedules,
                clock=clock,
                history=StoredReadings(store),
                tell=engine.tell,
                cursors=journal.cursors,
            )
            outbox = Outbox(alarms, [told], clock, settings.alerts.give_up_after_s)
            intake = JournalIntake(journal, letters, clock)
            pump = StorePump(
                journal,
                store,
                clock,
                cursors=journal.cursors,
                every_s=STORE_EVERY_S,
                max_readings=MOST_APPLIED,
            )
            calm = self._calm(stage, clock)
            sources = self._sources(stage, intake, clock, loop)
            for consumer in (CONSUMER, SETTLING, store.name):
                await journal.cursors.save(consumer, Position())
            async with asyncio.TaskGroup() as group:
                rules = _started(group, engine.run, settlement.run)
                tasks = _started(
                    group,
                    LiveTable(journal).run,
                    outbox.run,
                    pump.run,
                    EventPump(alarms, store, clock).run,
                )
                await engine.resumed.wait()
                await clock.sleep(LEAD_S)
                polling = _started(group, *(source.run for source in sources))
                await self._pass(stage, calm, intake, journal, clock)
                await _ended(polling)
                journal.show()
                await clock.sleep(1 - LEAD_S)
                await _ended(rules)
                for _ in range(STORE_ROUNDS):
                    if (await store.position()).offset >= journal.head:
                        break
                    await clock.sleep(STORE_EVERY_S)
                await _ended(tasks)
            seen = [entry async for entry in self._steps(alarms)]
            sums = await conservation(journal, store)
            outgoing = (await alarms.counts()).get(told.id, ChannelCounts())
            totals = sums.totals
            broken = []
            if not sums.holds or sums.pending:
                broken.append(f"readings are not accounted for: {sums}")
            if outgoing.pending or outgoing.given_up or outgoing.delivered != len(told.notifications):
                broken.append(f"{len(told.notifications)} notifications came of {outgoing}")
            counts = Counts(
                journal.readings,
                journal.head,
                totals.stored,
                totals.revised,
                totals.duplicates,
                letters.total(),
                sum(source.state.counts["rejected"] for source in sources),
                len(told.notifications),
            )
        return Play(seen, self._duration_s, self._step_s, counts, self._collapsed, tuple(broken))

    async def _pass(
        self,
        stage: Stage,
        calm: Sequence[CalmPolls],
        intake: JournalIntake,
        journal: MemoryJournal,
        clock: VirtualClock,
    ) -> None:
        """Lets the time of the scenario pass: steps of the world, and between them what devices tell."""
        elapsed_s = 0.0
        while elapsed_s < self._duration_s:
            if elapsed_s > 0:
                stage.step(elapsed_s, self._step_s)
            if stage.collapse and not self._collapsed:
                self._collapsed = f"{elapsed_s:g} s: {stage.collapse}"
            for second in range(round(self._step_s)):
                for portion in range(PORTIONS if second == 0 else 1):
                    await clock.sleep(1.0 if second else 1 / PORTIONS)
                    if second == 0:
                        stage.broker.publish(stage.messages(portion / PORTIONS, (portion + 1) / PORTIONS))
                        stage.look(portion / PORTIONS, (portion + 1) / PORTIONS)
                if second == 0:
                    for polls in calm:
                        polls.advance()
                    for polls in calm:
                        if (batch := polls.batch()) is not None:
                            await intake.submit(batch)
                journal.show()
            elapsed_s += self._step_s

    def _calm(self, stage: Stage, clock: VirtualClock) -> list[CalmPolls]:
        """The gateways to whose links and devices nothing happens."""
        return [
            CalmPolls(
                gateway,
                self._points[f"modbus/{gateway.id}"],
                stage.gateways[gateway.id].answer,
                clock,
                self._step_s,
            )
            for gateway in self._settings.modbus.gateway
            if self._is_calm(gateway.id)
        ]

    def _is_calm(self, gateway: str) -> bool:
        points = self._points.get(f"modbus/{gateway}", [])
        sunspec = any(point.profile.sunspec is not None for point in points)
        return bool(points) and gateway not in self._broken and not sunspec and not self._whole

    def _sources(
        self, stage: Stage, intake: JournalIntake, clock: VirtualClock, loop: VirtualLoop
    ) -> list[Source]:
        sources: list[ModbusSource] = []
        for gateway in self._settings.modbus.gateway:
            points = self._points.get(f"modbus/{gateway.id}", [])
            if points and not self._is_calm(gateway.id):
                if gateway.id in stage.gateways:
                    loop.hosts[gateway.host or "", gateway.tcp_port] = stage.gateways[gateway.id]
                chance = random.Random(gateway.id)  # noqa: S311 - jitter, not a secret
                sources.append(ModbusSource(gateway, points, intake, clock, uniform=chance))
        subscribed = subscribers(self._settings, self._points, stage.broker, intake, clock)
        return [*sources, *subscribed]

    async def _steps(self, log: EventLog) -> AsyncIterator[Seen]:
        """The steps of alarms up to the end, from the alarm journal."""
        after = 0
        while events := await log.events(after):
            for number, event in events:
                after = number
                if event.kind != "alarm" or event.tags["state"] in HELD:
                    continue  # a line under its cause, not an alarm that anybody is told of
                t_s = round((event.t - self._start_ns) / SECOND, 3)
                if t_s <= self._duration_s:
                    tags = event.tags
                    yield Seen(
                        t_s,
                        Event(tags["event"]),
                        tags["rule"],
                        tags["asset"],
                        Priority(tags["priority"]),
                        str(event.fields["title"]),
                    )


def _started(
    group: asyncio.TaskGroup, *runs: Callable[[], Coroutine[None, None, None]]
) -> list[asyncio.Task[None]]:
    return [group.create_task(run()) for run in runs]


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
