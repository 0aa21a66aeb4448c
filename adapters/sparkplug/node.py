"""An edge node as a host sees it: born or not, its aliases, its order, its deaths. Messages in, readings out.

What is in order becomes good readings. What comes out of turn is stored at once too, but where only an alias
names a metric, as a doubt: a birth that is still under way might give the alias to another metric. If the
order is proven in time the same reading follows as a good one, a revision; if not, births are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from adapters.sparkplug.allowance import Allowance, weight
from adapters.sparkplug.codec import BD_SEQ, Definition, Message, bd_seq, definitions
from adapters.sparkplug.directory import Entry
from adapters.sparkplug.outcome import Outcome
from adapters.sparkplug.payload_pb2 import Metric, QuickMetric
from adapters.sparkplug.plan import NodeKey, UnitPlan
from adapters.sparkplug.readings import EARLIEST_MS, MAX_AHEAD_MS, Readings
from adapters.sparkplug.rejection import RejectedPayloadError, Rejection
from adapters.sparkplug.sequence import Sequence
from adapters.sparkplug.topics import Verb
from adapters.sparkplug.unit import Unit
from adapters.sparkplug.values import number
from telemetry.quality import Quality

MAX_REFUSED = 20
"""Metrics without a meaning that one message complains of."""
MAX_DEVICES = 10_000
"""Devices of one edge node that are remembered."""

_DATA = frozenset({Verb.NDATA, Verb.DDATA})


@dataclass(frozen=True, slots=True)
class _Held:
    """A message out of turn."""

    message: Message
    stored: bool
    """What names itself is stored, and the rest as a doubt."""


class EdgeNode:
    """The state of one edge node.

    Parameters
    ----------
    key
        Group and edge node.
    units
        What is configured of it.
    readings
        Where readings go.
    reorder_s
        Reorder timeout [s].
    birth_wait_s
        How long a configured device may stay unborn after the birth of its node [s].
    allowance
        How much of its births may be remembered.

    """

    def __init__(
        self,
        key: NodeKey,
        units: Mapping[str | None, UnitPlan],
        readings: Readings,
        *,
        reorder_s: float,
        birth_wait_s: float,
        allowance: Allowance,
    ) -> None:
        self.key = key
        self.readings = readings
        self._birth_wait_s = birth_wait_s
        self._allowance = allowance
        self._units = {name: Unit(plan.rows, plan.device) for name, plan in units.items()}
        self._units.setdefault(None, Unit({}))
        self._order: Sequence[_Held] = Sequence(reorder_s)
        self._last: bytes = b""
        self._owner: dict[int, str | None] = {}
        """Which device has an alias."""
        self._bd_seq: int | None = None
        self._unborn_at_s: float | None = None
        self.online = False
        """Born, and not dead since."""
        self.ordered = False
        """Every message since the birth is there."""

    @property
    def deadline_s(self) -> float | None:
        """When :meth:`expire` has something to do [s, monotonic]; None while there is nothing."""
        times = [at for at in (self._order.deadline_s, self._unborn_at_s) if at is not None]
        return min(times) if times else None

    @property
    def devices(self) -> frozenset[str]:
        """Ids of its devices in the configuration."""
        return frozenset(unit.device for unit in self._units.values() if unit.device)

    @property
    def held(self) -> int:
        """Messages that wait for those before them."""
        return len(self._order)

    def configure(self, units: Mapping[str | None, UnitPlan]) -> None:
        """Reads other points from now on; what the births said goes on counting, so nothing is missed."""
        for name, unit in self._units.items():
            unit.configure(units.get(name))
        for name, plan in units.items():
            self._units.setdefault(name, Unit(plan.rows, plan.device))
        if units:
            self._allowance.leave()

    def lost(self) -> None:
        """The host lost the broker: nothing is known until the next births."""
        self._order.drain()
        self._offline()

    def receive(self, message: Message, now_s: float, outcome: Outcome) -> None:
        """Takes a message; ``now_s`` is monotonic time [s]."""
        verb = message.topic.verb
        if verb is Verb.NDEATH:
            self._node_death(message, outcome)
        elif verb is Verb.NBIRTH:
            self._node_birth(message, now_s, outcome)
        elif self.ordered and self._order.take(message.seq):
            self._apply(message, outcome)
            self._last = message.raw
            if len(self._order):
                self._follow(outcome)
        elif message.raw == self._last:
            outcome.count("duplicates")
        else:
            self._out_of_turn(message, now_s, outcome)

    def expire(self, now_s: float, outcome: Outcome) -> None:
        """Gives up what has been missing too long.

        tck-id-operational-behavior-host-reordering-rebirth. Also names the configured devices that were not
        born with their node, whose births are complete by then.
        """
        deadline = self._order.deadline_s
        if deadline is not None and now_s >= deadline:
            outcome.count("reorder_timeouts")
            outcome.rebirth = "messages are missing" if self.online else "no birth was seen"
            self._give_up(outcome)
        if self._unborn_at_s is not None and now_s >= self._unborn_at_s:
            self._unborn_at_s = None
            outcome.unborn = [name for name, unit in self._units.items() if unit.rows and not unit.born]

    def mark_unborn(self, names: Iterable[str | None], now_ns: int) -> None:
        """Makes devices stale that were not born, at a wall time [ns, UTC]."""
        rows = [row for name in names for row in self._unit(name).rows.values()]
        self.readings.mark(rows, now_ns // 1_000_000, Quality.STALE, now_ns)

    def _give_up(self, outcome: Outcome) -> None:
        self.ordered = False
        for held in self._order.drain():
            self._disorderly(held.message, outcome, stored=held.stored)

    def _disorderly(self, message: Message, outcome: Outcome, *, stored: bool) -> None:
        """Does what can be done with a message whose place is not known."""
        if message.topic.verb in _DATA:
            if not stored:
                self._values(message, outcome, known=False)
        elif self.online:
            self._apply(message, outcome, stored=stored)
        else:
            outcome.reject(message, Rejection.NOT_BORN, "no birth of the edge node was seen")

    def _follow(self, outcome: Outcome) -> None:
        """Applies what waited for the message before.

        tck-id-operational-behavior-host-reordering-success.
        """
        for held in self._order.ready():
            outcome.count("reordered")
            self._apply(held.message, outcome, stored=held.stored)
            self._last = held.message.raw

    def _out_of_turn(self, message: Message, now_s: float, outcome: Outcome) -> None:
        outcome.count("out_of_order" if self.online else "before_birth")
        if self.online and not self.ordered:
            # nothing can put it in order any more before the births that were asked for
            outcome.rebirth = "messages are missing"
            self._disorderly(message, outcome, stored=False)
            return
        held = _Held(message, self.online and self._unit(message.topic.device).born)
        if not self._order.hold(message.seq, held, now_s):
            # tck-id-operational-behavior-host-reordering-start: more than fits is missing for good
            outcome.rebirth = "too much is out of order"
            self._give_up(outcome)
            self._disorderly(message, outcome, stored=False)
            return
        if held.stored and message.topic.verb in _DATA:
            self._values(message, outcome, known=False, quiet=True)
        elif held.stored and message.topic.verb is Verb.DDEATH:
            self._stale(message, keep=False)

    def _apply(self, message: Message, outcome: Outcome, *, stored: bool = False) -> None:
        """Does what a message in order says."""
        topic = message.topic
        if topic.verb is Verb.DBIRTH:
            if topic.device not in self._units and len(self._units) >= MAX_DEVICES:
                outcome.reject(message, Rejection.BAD_BIRTH, f"more than {MAX_DEVICES} devices of a node")
                return
            unit = self._units.setdefault(topic.device, Unit({}))
            if self._define(unit, message, outcome):
                self._birth_values(message, unit)
            else:
                self._stale(message, keep=True)
        elif topic.verb is Verb.DDEATH:
            self._release(topic.device)
            self._stale(message, keep=True)
            outcome.count("device_deaths")
        else:
            self._values(message, outcome, known=True, stored=stored)

    def _node_birth(self, message: Message, now_s: float, outcome: Outcome) -> None:
        number_of_birth = bd_seq(message)
        if number_of_birth is None:
            # tck-id-topics-nbirth-bdseq-included; any death will be taken for its own
            outcome.count("births_without_bdseq")
        was_online = self.online
        self._offline()
        if not self._define(self._units[None], message, outcome):
            if was_online:
                self._mark_stale(message)
            return
        self._bd_seq = number_of_birth
        self.online = self.ordered = True
        self._unborn_at_s = now_s + self._birth_wait_s
        self._birth_values(message, self._units[None])
        self._last = message.raw
        sent_ms = message.timestamp_ms

        def is_later(held: _Held) -> bool:
            # a device's birth may overtake that of its node; what was sent before belongs to the old session
            return bool(sent_ms) and held.message.timestamp_ms >= sent_ms

        for old in self._order.begin(message.seq, is_later):
            outcome.count("superseded")
            if not old.stored:
                outcome.reject(old.message, Rejection.NOT_BORN, "the birth that it belongs to was not seen")
        self._follow(outcome)

    def _node_death(self, message: Message, outcome: Outcome) -> None:
        """Node and devices are stale, at the host's time.

        tck-id-operational-behavior-edge-node-termination-host-action-ndeath-node-offline, -node-tags-stale,
        -devices-offline, -devices-tags-stale.
        """
        number_of_death = bd_seq(message)
        if number_of_death is None:
            outcome.reject(message, Rejection.BAD_DEATH, f"no {BD_SEQ} from 0 to 255")
            outcome.rebirth = "a death that cannot be placed"
            return
        if not self.online or (self._bd_seq is not None and number_of_death != self._bd_seq):
            # tck-id-payloads-ndeath-bdseq: it belongs to an older session
            outcome.count("deaths_ignored")
            return
        outcome.count("node_deaths")
        outcome.count("superseded", len(self._order.drain()))
        self._offline()
        self._mark_stale(message)

    def _mark_stale(self, message: Message) -> None:
        """Node and devices are stale, from the receipt of a message on."""
        rows = [row for unit in self._units.values() for row in unit.rows.values()]
        self.readings.mark(rows, message.received_ns // 1_000_000, Quality.STALE, message.received_ns)

    def _offline(self) -> None:
        self.online = self.ordered = False
        self._bd_seq = self._unborn_at_s = None
        self._last = b""
        self._owner = {}
        for unit in self._units.values():
            self._allowance.give_back(unit.weight)
            unit.forget()

    def _stale(self, message: Message, *, keep: bool) -> None:
        """A device is stale, at the time that the payload gives.

        tck-id-operational-behavior-edge-node-termination-host-action-ddeath-devices-offline,
        -devices-tags-stale.
        """
        received_ms = message.received_ns // 1_000_000
        sent_ms = message.timestamp_ms
        plausible = EARLIEST_MS <= sent_ms <= received_ms + MAX_AHEAD_MS
        rows = list(self._unit(message.topic.device).rows.values())
        at_ms = sent_ms if plausible else received_ms
        self.readings.mark(rows, at_ms, Quality.STALE, message.received_ns, keep=keep)

    def _unit(self, name: str | None) -> Unit:
        return self._units.get(name) or Unit({})

    def _release(self, device: str | None) -> None:
        """Forgets what the births of a device said."""
        unit = self._unit(device)
        for alias in unit.aliases:
            if self._owner.get(alias) == device:
                del self._owner[alias]
        self._allowance.give_back(unit.weight)
        unit.forget()

    def _define(self, unit: Unit, message: Message, outcome: Outcome) -> bool:
        """Takes the names, aliases and datatypes of a birth; False when it is too large to be remembered."""
        device = message.topic.device
        self._release(device)
        asked = weight(len(message.metrics), len(message.raw))
        if too_many := self._allowance.exceeded(asked):
            outcome.reject(message, Rejection.TOO_MANY_METRICS, too_many)
            return False
        unit.born, unit.weight = True, asked
        found: list[Definition] = []
        values: dict[str, float] = {}
        twice: set[int] = set()
        for definition, metric in definitions(message):
            found.append(definition)
            unit.define(definition)
            if definition.refused:
                outcome.count("mapped_but_refused", definition.name in unit.rows)
            else:
                values[definition.name] = number(metric, definition.datatype)[0]
            alias = definition.alias
            if alias is None:
                continue
            if alias in self._owner:
                twice.add(alias)  # tck-id-payloads-alias-uniqueness
            self._owner[alias] = device
        for alias in twice:
            outcome.count("ambiguous_aliases")
            for other in self._units.values():
                other.disown(alias)
        outcome.count("nameless_metrics", len(message.metrics) - len(found))
        mapped = frozenset(unit.slots.keys() & unit.rows.keys())
        outcome.count("births")
        outcome.born.append((device, Entry(found, values, mapped, unit.device, message.received_ns, asked)))
        return True

    def _birth_values(self, message: Message, unit: Unit) -> None:
        """The values of a birth: each as it was captured, and as what is current when the birth was sent.

        tck-id-topics-nbirth-metrics, tck-id-topics-dbirth-metrics: a birth states the current values. Without
        the second reading a value that did not change would stay stale after the session came back.
        """
        if not unit.rows:
            return
        put = self.readings.put
        for definition, metric in definitions(message):
            row = unit.rows.get(definition.name, -1)
            if row < 0:
                continue
            if definition.refused:
                put(row, message.timestamp_ms, float("nan"), Quality.NOT_A_NUMBER)
                continue
            value, quality = number(metric, definition.datatype)
            captured = metric.timestamp
            if metric.is_historical:
                put(row, captured or message.timestamp_ms, value, quality, live=False)
                continue
            if captured and captured < message.timestamp_ms:
                put(row, captured, value, quality, live=False)
            put(row, message.timestamp_ms or captured, value, quality)

    def _values(
        self, message: Message, outcome: Outcome, *, known: bool, stored: bool = False, quiet: bool = False
    ) -> None:
        """The values of a data message.

        Parameters
        ----------
        message
            NDATA or DDATA.
        outcome
            Where complaints go.
        known
            It is in order: aliases mean what the latest births say.
        stored
            What names itself is stored already.
        quiet
            Nothing is complained of yet.

        """
        unit = self._unit(message.topic.device)
        if not unit.born and not quiet:
            outcome.reject(message, Rejection.NOT_BORN, "data of a device without a birth")
            outcome.rebirth = outcome.rebirth or "data before the birth"
            return
        try:
            careful = self._quick(message, unit) if known else list(message.metrics)
        except RejectedPayloadError as rejected:
            if not quiet:
                outcome.rejected.append((message, rejected))
                outcome.rebirth = outcome.rebirth or "a message that cannot be read"
            return
        if careful:
            self._slow(message, unit, careful, outcome, _Mode(known, stored, quiet))

    def _quick(self, message: Message, unit: Unit) -> list[Metric]:
        """Takes the common case: an alias, a time, a value of the right kind. Returns the other metrics.

        Raises
        ------
        RejectedPayloadError
            Those cannot be read; nothing is taken of such a message.

        """
        default_ms = message.timestamp_ms
        rows, times, values = list[int](), list[int](), list[float]()
        add_row, add_time, add_value = rows.append, times.append, values.append
        careful: list[int] = []
        look, which, has = unit.quick.get, QuickMetric.WhichOneof, QuickMetric.HasField
        for at, metric in enumerate(message.hasty.metrics):
            found = look(metric.alias)
            if found is None:
                careful.append(at)
                continue
            row, kind, half, wrap = found
            if row < 0:
                continue
            if which(metric, "value") != kind or has(metric, "rare"):
                careful.append(at)
                continue
            value = getattr(metric, kind)
            if half and value >= half:
                if not wrap:
                    careful.append(at)
                    continue
                value -= wrap
            add_row(row)
            add_time(metric.timestamp or default_ms)
            add_value(value)
        metrics = message.metrics if careful else ()
        readings = self.readings
        readings.row += rows
        readings.t_ms += times
        readings.value += values
        return [metrics[at] for at in careful]

    def _slow(
        self, message: Message, unit: Unit, metrics: Iterable[Metric], outcome: Outcome, mode: _Mode
    ) -> None:
        complaints: dict[str, Rejection] = {}
        for metric in metrics:
            slot, named, complaint = unit.slot(metric)
            if slot is None:
                if len(complaints) < MAX_REFUSED:
                    complaints.setdefault(complaint, _reason(complaint))
                continue
            if slot.row < 0 or (mode.stored and named):
                continue
            value, quality = number(metric, slot.datatype)
            if not mode.known and not named:
                quality = max(quality, Quality.PROTOCOL_DOUBT)
            self.readings.put(
                slot.row,
                metric.timestamp or message.timestamp_ms,
                value,
                quality,
                live=mode.known and not metric.is_historical,
            )
        if complaints and not mode.quiet:
            reason = next(iter(complaints.values()))
            outcome.reject(message, reason, "; ".join(complaints))
            if reason is Rejection.UNKNOWN_METRIC:
                outcome.rebirth = outcome.rebirth or "a metric that no birth has"


@dataclass(frozen=True, slots=True)
class _Mode:
    """How a data message is read, see :meth:`EdgeNode._values`."""

    known: bool
    stored: bool
    quiet: bool


def _reason(complaint: str) -> Rejection:
    return Rejection.NO_NAME if complaint.startswith("a metric with neither") else Rejection.UNKNOWN_METRIC
