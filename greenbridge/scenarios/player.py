"""Plays a scenario in virtual time through the real pipeline.

World, meters, register images and payload bytes, the adapters' planner, codec and transitions, journal
records and rules are the real ones. One loop moves virtual time; a commit is inline, and time advances only
when nothing is left to do. There is no socket, no thread and no clock in it, so a play is a function of the
scenario, the seed and the size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alerts.book import AlarmBook, Change
from alerts.config import AlertsSettings
from alerts.evaluation import Evaluation
from greenbridge.scenarios.polling import JointDecoder, PolledLink, batch_of
from greenbridge.scenarios.publishing import PublishedLink
from greenbridge.scenarios.stage import Stage
from greenbridge.scenarios.verdict import Seen
from greenbridge.settings import Configuration
from ingest.journal import format as record_format
from ingest.ports import JournalRecord
from ingest.stages.soundness import sound
from simulators.bench import Bench
from simulators.faults.model import BROKER
from simulators.scenario import Scenario
from telemetry.batch import Columns, ReadingBatch
from telemetry.devices import Role
from telemetry.profiles import DeviceProfile
from telemetry.registry import PointRegistry

SECOND = 1_000_000_000


def built_rules() -> frozenset[str]:
    """Rules that exist: those that can be configured."""
    names = (info.alias or name for name, info in AlertsSettings.model_fields.items())
    return frozenset(name for name in names if re.fullmatch(r"R\d+", name))


@dataclass(frozen=True, slots=True)
class Play:
    """What was seen, and how big the play was."""

    seen: Sequence[Seen]
    duration_s: float
    step_s: float
    readings: int
    records: int
    wrong_replies: int
    """Replies that were refused because they were not provably the answer."""
    collapsed: str
    """Why the simulated grid went down; empty if it did not."""


class Player:
    """Plays scenarios on the devices of a site and the bench that simulates them."""

    def __init__(self, configuration: Configuration, bench: Bench) -> None:
        self._configuration = configuration
        self._bench = bench

    def play(self, scenario: Scenario, *, seed: int | None = None, full: bool = False) -> Play:
        """Plays a scenario, at its smallest honest size or in full.

        Parameters
        ----------
        scenario
            What to play.
        seed
            In place of the scenario's own.
        full
            The whole length at the scenario's own step.

        """
        duration_s, step_s = scenario.world.size(full=full)
        start_ns = round(scenario.world.start.timestamp()) * SECOND
        run = _Run(self._configuration, self._bench, scenario, scenario.world.seed if seed is None else seed)
        run.begin(start_ns, step_s)
        elapsed_s = 0.0
        while elapsed_s < duration_s:
            run.step(elapsed_s, step_s)
            elapsed_s += step_s
        return run.result(duration_s, step_s)


class _Run:
    """One play under way."""

    def __init__(self, configuration: Configuration, bench: Bench, scenario: Scenario, seed: int) -> None:
        self._configuration = configuration
        self._bench = bench
        self._scenario = scenario
        self._seed = seed
        self._seen: list[Seen] = []
        self._offset = self._readings = 0
        self._seqs: dict[tuple[str, int], int] = {}
        self._collapsed = ""

    def begin(self, start_ns: int, step_s: float) -> None:
        """Builds both sides; every device is read once each step.

        Turbines, inverters and instruments inside plants stay out: no rule looks at them, their plant's
        controller tells of them all.
        """
        devices = [device for device in self._configuration.devices if device.role is not Role.UNIT]
        configuration = replace(self._configuration, devices=devices)
        if step_s > 1:
            profiles = {name: _slower(profile, step_s) for name, profile in configuration.profiles.items()}
            configuration = replace(configuration, profiles=profiles)
        site = configuration.site(PointRegistry(configuration.keys()))
        self._start_ns = start_ns
        self._stage = Stage(self._bench, site.devices.keys(), self._scenario.event, self._seed, start_ns)
        points = {
            link: [point for device in devices for point in site.points_of(device.id)]
            for link, devices in site.links.items()
        }
        settings = configuration.settings
        self._polled = [
            PolledLink(
                gateway,
                points[f"modbus/{gateway.id}"],
                self._stage.gateways[gateway.id],
                self._stage.links[gateway.id],
                start_ns,
            )
            for gateway in settings.modbus.gateway
            if f"modbus/{gateway.id}" in points
        ]
        self._published = [
            PublishedLink(broker, points[f"mqtt/{broker.id}"], self._stage.links[BROKER], start_ns)
            for broker in settings.mqtt.broker
            if f"mqtt/{broker.id}" in points
        ]
        self._decoder = JointDecoder()
        self._evaluation = Evaluation(site, settings.alerts, AlarmBook())
        self._note(self._evaluation.begin(start_ns))
        self._note(self._evaluation.tick(start_ns, at_head=True))

    def step(self, elapsed_s: float, step_s: float) -> None:
        """The world moves on; its devices are read in the second after that; then time passes."""
        stage = self._stage
        if elapsed_s > 0:
            stage.step(elapsed_s, step_s)
        collapse = stage.world.snapshot.collapse
        if collapse is not None and not self._collapsed:
            self._collapsed = f"{elapsed_s:g} s: {collapse.reason}"
        batches = [self._committed(batch) for batch in self._batches(elapsed_s, step_s)]
        if batches:
            self._note(self._evaluation.take(self._gathered(batches), batches[-1].t_received))
        for second in range(1, round(step_s) + 1):
            now = self._start_ns + round((elapsed_s + second) * SECOND)
            self._note(self._evaluation.tick(now, at_head=True))

    def result(self, duration_s: float, step_s: float) -> Play:
        """The play so far."""
        wrong = sum(link.wrong for link in self._polled)
        return Play(self._seen, duration_s, step_s, self._readings, self._offset, wrong, self._collapsed)

    def _batches(self, elapsed_s: float, step_s: float) -> Iterator[ReadingBatch]:
        harvests = [harvest for link in self._polled if (harvest := link.advance(elapsed_s + step_s))]
        replies = [reply for harvest in harvests for reply in harvest.replies]
        decoded = self._decoder.decode(replies)
        at = 0
        for harvest in harvests:
            count = sum(len(reply.state.read.wanted) for reply in harvest.replies)
            own = decoded.where(np.arange(at, at + count))
            at += count
            yield batch_of(harvest, own, self._next(harvest.source, harvest.session))
        for link in self._published:
            batch = link.advance(self._stage.messages(elapsed_s), elapsed_s + 1.0)
            if batch is not None:
                yield batch

    def _next(self, source: str, session: int) -> int:
        self._seqs[source, session] = seq = self._seqs.get((source, session), 0) + 1
        return seq

    def _committed(self, batch: ReadingBatch) -> ReadingBatch:
        """What the journal makes of a batch, and its reader, without the disk."""
        batch, _ = sound(batch)
        self._offset += 1
        record = JournalRecord(self._offset, batch.t_received, self._readings, batch)
        self._readings += len(batch)
        return record_format.decode(record_format.encode(record)).batch

    def _gathered(self, batches: Sequence[ReadingBatch]) -> JournalRecord:
        """The records of one second as the rules gather them, since they judge whole seconds."""
        columns, newest = Columns.joined(batches), max(batch.t_received for batch in batches)
        batch = ReadingBatch(
            "all", 0, 0, newest, columns.point, columns.t_source, columns.value, columns.quality
        )
        return JournalRecord(self._offset, newest, self._readings - len(batch), batch)

    def _note(self, changes: Sequence[Change]) -> None:
        for change in changes:
            alarm = change.alarm
            t_s = (alarm.updated_at - self._start_ns) / SECOND
            self._seen.append(
                Seen(round(t_s, 3), change.event, alarm.rule, alarm.asset, alarm.priority, alarm.title)
            )


def _slower(profile: DeviceProfile, period_s: float) -> DeviceProfile:
    return profile.model_copy(update={"period_s": max(profile.period_s, period_s)})
