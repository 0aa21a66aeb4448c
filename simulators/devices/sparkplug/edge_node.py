"""An edge node without its wires: what happens goes in, what to publish comes out (Sparkplug 3.0, 5 and 6).

A session goes ``connect`` (the Will), ``connected`` (the subscriptions), ``subscribed`` (the births), then
``received`` and ``looked`` (or ``measured``, ``lost`` and ``forward``) as they come, and ends with
``disconnected``, after ``leave`` if it is meant to end. Actions must be done in the order they are given: the
sequence number is in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from simulators.devices.sparkplug.history import History, Sample, Stored
from simulators.devices.sparkplug.lifecycle import Event, Phase, moved
from simulators.devices.sparkplug.payloads import (
    DataType,
    Metric,
    PayloadError,
    Quality,
    decode_commands,
    decode_state,
    encode,
)
from simulators.devices.sparkplug.plan import (
    BD_SEQ,
    REBIRTH,
    STORE_DROPPED,
    STORE_WAITING,
    MetricPlan,
    NodePlan,
)
from simulators.devices.sparkplug.topics import Verb, node_topic, state_topic

_WRAP = 256


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish this, not retained."""

    topic: str
    payload: bytes
    qos: int = 0


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Disconnect now; connect again after ``disconnected``."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that has no effect."""

    topic: str
    reason: str


Action = Publish | Disconnect | Ignored


class _Unit:
    """The node itself, or one of its devices."""

    def __init__(
        self, name: str | None, metrics: Iterable[MetricPlan], aliases: Mapping[str, int], history: History
    ) -> None:
        self.name = name
        self.metrics = {metric.name: metric for metric in metrics}
        self.aliases = aliases
        self.history = history
        self.alive = name is None
        """Whether its values are known at the moment."""
        self.current: dict[str, Sample] = {}
        self.reported: dict[str, Sample] = {}
        """Last sample of each metric that was sent or kept."""

    def changes(self, samples: Mapping[str, Sample]) -> list[Stored]:
        """Samples that differ from what was reported last (tck-id-principles-rbe-recommended)."""
        changed = []
        for name, sample in samples.items():
            last = self.reported.get(name)
            if last is None or _differs(last, sample, self.metrics[name].deadband):
                self.reported[name] = sample
                changed.append(Stored(name, sample))
        return changed

    def birth(self, now_ms: int) -> list[Metric]:
        """Every metric with name, alias, datatype and current value (tck-id-topics-dbirth-metrics)."""
        metrics = []
        for name, plan in self.metrics.items():
            sample = self.current.get(name)
            if sample is None:
                sample = Sample(None, now_ms, Quality.BAD)
            elif self.reported.get(name) is not sample:
                self.reported[name] = sample
                if not plan.transient:
                    self.history.sent(Stored(name, sample), now_ms)
            metrics.append(self._metric(Stored(name, sample), name=name, unit=plan.unit))
        return metrics

    def data(self, samples: Iterable[Stored], *, historical: bool = False) -> list[Metric]:
        """Samples with their alias only (tck-id-payloads-alias-data-cmd-requirement)."""
        return [self._metric(stored, historical=historical) for stored in samples]

    def _metric(
        self, stored: Stored, *, name: str | None = None, unit: str = "", historical: bool = False
    ) -> Metric:
        plan, sample = self.metrics[stored.metric], stored.sample
        return Metric(
            plan.datatype,
            sample.value,
            sample.timestamp_ms,
            name,
            self.aliases[stored.metric],
            sample.quality,
            historical,
            plan.transient,
            unit,
        )


class EdgeNode:
    """The state machine of one edge node.

    ``last_bd_seq`` is the birth-death sequence number of its last CONNECT, if it ever had one.
    """

    def __init__(self, plan: NodePlan, last_bd_seq: int | None = None) -> None:
        self.plan = plan
        self.phase = Phase.OFFLINE
        self.bd_seq = -1 if last_bd_seq is None else last_bd_seq
        """Birth-death sequence number of the last CONNECT; -1 before the first."""
        self._seq = 0
        self._host_online = False
        self._host_ms: int | None = None
        aliases = plan.aliases()
        self._units = {
            unit: _Unit(
                unit,
                metrics,
                {metric.name: aliases[unit, metric.name] for metric in metrics},
                History(plan.buffer, plan.replay_ms),
            )
            for unit, metrics in plan.units()
        }
        self._state = None if plan.primary_host is None else state_topic(plan.primary_host)
        self._ncmd = node_topic(plan.group, Verb.NCMD, plan.id)
        self._dcmd = node_topic(plan.group, Verb.DCMD, plan.id, "")

    @property
    def waiting(self) -> int:
        """Samples kept for later."""
        return sum(len(unit.history) for unit in self._units.values())

    @property
    def dropped(self) -> int:
        """Samples that there was no room to keep."""
        return sum(unit.history.dropped for unit in self._units.values())

    def connect(self, now_ms: int) -> Publish:
        """Starts a session; returns the Will that the CONNECT must carry, not retained.

        Its ``bdSeq`` is one more than that of the CONNECT before, 0 after 255
        (tck-id-message-flow-edge-node-birth-publish-will-message-payload-bdSeq).
        """
        self.phase = moved(self.phase, Event.CONNECT)
        self.bd_seq = (self.bd_seq + 1) % _WRAP
        self._host_online = False
        return self._death(now_ms)

    def connected(self) -> tuple[str, ...]:
        """The broker accepted; returns what to subscribe to, at QoS 1, before anything is published.

        tck-id-message-flow-edge-node-ncmd-subscribe, tck-id-message-flow-device-dcmd-subscribe.
        """
        self.phase = moved(self.phase, Event.CONNECTED)
        commands = (self._ncmd, f"{self._dcmd}+")
        return commands if self._state is None else (*commands, self._state)

    def subscribed(self, now_ms: int) -> list[Action]:
        """The broker confirmed the subscriptions: births, unless the primary host must be waited for."""
        if self._state is None or self._host_online:
            return self._births(now_ms)
        self.phase = moved(self.phase, Event.MUST_WAIT)
        return []

    def received(self, topic: str, payload: bytes, now_ms: int) -> list[Action]:
        """A message arrived."""
        try:
            if topic == self._state:
                return self._host_state(topic, payload, now_ms)
            if topic == self._ncmd:
                return self._command(topic, payload, now_ms)
            if topic.startswith(self._dcmd):
                commands = decode_commands(payload)
                names = ", ".join(str(c.name if c.name is not None else c.alias) for c in commands)
                return [Ignored(topic, f"nothing of the device can be written: {names or 'no metric'}")]
        except PayloadError as error:
            return [Ignored(topic, str(error))]
        return [Ignored(topic, "not a topic of this edge node")]

    def looked(self, shown: Mapping[str, Mapping[str, Sample] | None], now_ms: int) -> list[Action]:
        """One round over the devices: what each shows, None for one that cannot be reached.

        What was kept follows, and the node's own metrics, which its plan must have.

        Raises
        ------
        KeyError
            No such device, or no such metric of it.

        """
        actions: list[Action] = []
        for device, samples in shown.items():
            actions += (
                self.lost(device, now_ms) if samples is None else self.measured(device, samples, now_ms)
            )
        actions += self.forward(now_ms)
        own = {
            STORE_WAITING.name: Sample(self.waiting, now_ms),
            STORE_DROPPED.name: Sample(self.dropped, now_ms),
        }
        return actions + self.measured(None, own, now_ms)

    def measured(self, device: str | None, samples: Mapping[str, Sample], now_ms: int) -> list[Action]:
        """A device (``None``: the node itself) showed values; a device not born yet is born by it.

        Raises
        ------
        KeyError
            No such device, or no such metric of it.

        """
        unit = self._units[device]
        if unknown := samples.keys() - unit.metrics.keys():
            raise KeyError(f"{device or self.plan.id} has no metric {min(unknown)}")
        unit.current.update(samples)
        was_alive, unit.alive = unit.alive, True
        if self.phase is not Phase.BORN:
            for stored in unit.changes(samples):
                if not unit.metrics[stored.metric].transient:
                    unit.history.keep(stored)
            return []
        if not was_alive:
            return [self._device_birth(unit, now_ms)]
        changed = unit.changes(samples)
        if not changed:
            return []
        for stored in changed:
            if not unit.metrics[stored.metric].transient:
                unit.history.sent(stored, now_ms)
        return [self._data(unit, unit.data(changed), now_ms)]

    def lost(self, device: str, now_ms: int) -> list[Action]:
        """A device cannot be reached any more: DDEATH (tck-id-operational-behavior-device-ddeath).

        Raises
        ------
        KeyError
            No such device.

        """
        unit = self._units[device]
        was_alive, unit.alive = unit.alive, False
        if self.phase is not Phase.BORN or not was_alive:
            return []
        return [self._publish(Verb.DDEATH, device, (), now_ms)]

    def forward(self, now_ms: int) -> list[Action]:
        """Some of what was kept, oldest first, one message for each device that has any and is born."""
        if self.phase is not Phase.BORN:
            return []
        return [
            self._data(unit, unit.data(unit.history.take(self.plan.batch, now_ms), historical=True), now_ms)
            for unit in self._units.values()
            if unit.alive and len(unit.history)
        ]

    def leave(self, now_ms: int, reason: str = "intended") -> list[Action]:
        """Ends the session on purpose: NDEATH first, if there was a birth, then the disconnect.

        tck-id-operational-behavior-edge-node-intentional-disconnect-ndeath; an NDEATH without a birth before
        would break tck-id-principles-birth-certificates-order.
        """
        was_born = self.phase is Phase.BORN
        self.phase = moved(self.phase, Event.LEAVE)
        goodbye = Disconnect(reason)
        return [self._death(now_ms), goodbye] if was_born else [goodbye]

    def disconnected(self, now_ms: int) -> None:
        """The connection is gone, or could not be made."""
        self.phase = moved(self.phase, Event.DISCONNECTED)
        for unit in self._units.values():
            unit.history.recall(now_ms)

    def _host_state(self, topic: str, payload: bytes, now_ms: int) -> list[Action]:
        state = decode_state(payload)
        if self._host_ms is not None and state.timestamp < self._host_ms:
            # tck-id-operational-behavior-edge-node-termination-host-offline-timestamp
            return [Ignored(topic, f"older than the state of {self._host_ms}")]
        self._host_ms = state.timestamp
        self._host_online = state.online
        if state.online and self.phase is Phase.WAITING:
            return self._births(now_ms)
        if not state.online and self.phase is Phase.BORN:
            # tck-id-message-flow-edge-node-birth-publish-phid-offline
            return self.leave(now_ms, "primary host offline")
        return []

    def _command(self, topic: str, payload: bytes, now_ms: int) -> list[Action]:
        actions: list[Action] = []
        rebirth = False
        for command in decode_commands(payload):
            if command.name == REBIRTH and command.value is True:
                rebirth = True
            else:
                shown = command.name if command.name is not None else f"alias {command.alias}"
                actions.append(Ignored(topic, f"{shown} cannot be written with {command.value!r}"))
        if rebirth and self.phase is Phase.BORN:
            # tck-id-operational-behavior-data-commands-rebirth-action-2
            return [*actions, *self._births(now_ms)]
        if rebirth:
            actions.append(Ignored(topic, f"no rebirth while {self.phase.value}"))
        return actions

    def _births(self, now_ms: int) -> list[Action]:
        self.phase = moved(self.phase, Event.BIRTH)
        self._seq = 0
        node = self._units[None]
        own = [
            Metric(DataType.INT64, self.bd_seq, now_ms, BD_SEQ),
            Metric(DataType.BOOLEAN, False, now_ms, REBIRTH),
        ]
        devices = [unit for unit in self._units.values() if unit.name is not None and unit.alive]
        return [
            self._publish(Verb.NBIRTH, None, [*own, *node.birth(now_ms)], now_ms),
            *(self._device_birth(unit, now_ms) for unit in devices),
        ]

    def _device_birth(self, unit: _Unit, now_ms: int) -> Publish:
        return self._publish(Verb.DBIRTH, unit.name, unit.birth(now_ms), now_ms)

    def _data(self, unit: _Unit, metrics: Sequence[Metric], now_ms: int) -> Publish:
        verb = Verb.NDATA if unit.name is None else Verb.DDATA
        return self._publish(verb, unit.name, metrics, now_ms)

    def _publish(self, verb: Verb, device: str | None, metrics: Iterable[Metric], now_ms: int) -> Publish:
        topic = node_topic(self.plan.group, verb, self.plan.id, device)
        # tck-id-operational-behavior-data-publish-dbirth-order: within a payload in order of time
        payload = encode(sorted(metrics, key=lambda metric: metric.timestamp_ms), now_ms, self._seq)
        self._seq = (self._seq + 1) % _WRAP
        return Publish(topic, payload)

    def _death(self, now_ms: int) -> Publish:
        """NDEATH: only ``bdSeq``, no ``seq`` (tck-id-topics-ndeath-payload, tck-id-topics-ndeath-seq)."""
        metric = Metric(DataType.INT64, self.bd_seq, now_ms, BD_SEQ)
        topic = node_topic(self.plan.group, Verb.NDEATH, self.plan.id)
        return Publish(topic, encode([metric], now_ms, None), qos=1)


def _differs(last: Sample, new: Sample, deadband: float) -> bool:
    if last.quality is not new.quality or (last.value is None) is not (new.value is None):
        return True
    if isinstance(last.value, str | bool | None) or isinstance(new.value, str | bool | None):
        return last.value != new.value
    return abs(new.value - last.value) > deadband
