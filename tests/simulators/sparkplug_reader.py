"""An independent reader of Sparkplug B: the generic wire format, and what a host makes of messages."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

Fields = dict[int, list[int | bytes]]
Number = int | float | bool | str | None

INT32, INT64, FLOAT, BOOLEAN = 3, 4, 9, 11


def fields(data: bytes) -> Fields:
    """Every field of a message by number: varints as numbers, all others as bytes."""
    found: Fields = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        value: int | bytes
        match key & 7:
            case 0:
                value = varint()
            case kind:
                size = {1: 8, 5: 4}.get(kind) or varint()
                value, at = data[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def _number(values: list[int | bytes] | None) -> int | None:
    if values is None:
        return None
    (value,) = values
    assert isinstance(value, int)
    return value


def _bytes(values: list[int | bytes]) -> bytes:
    (value,) = values
    assert isinstance(value, bytes)
    return value


@dataclass(frozen=True)
class ReadMetric:
    name: str | None
    alias: int | None
    timestamp: int
    datatype: int | None
    historical: bool
    null: bool
    quality: int
    raw: tuple[int, int | bytes] | None

    def value(self, datatype: int) -> Number:
        if self.raw is None:
            assert self.null, "neither null nor a value"
            return None
        assert not self.null
        number, raw = self.raw
        if isinstance(raw, bytes):
            text = raw.decode() if number == 15 else ""
            return text if number == 15 else float(struct.unpack("<f" if number == 12 else "<d", raw)[0])
        if datatype == BOOLEAN:
            assert number == 14
            return bool(raw)
        width = 64 if number == 11 else 32
        return raw - (1 << width) if datatype <= INT64 and raw >> (width - 1) else raw


@dataclass(frozen=True)
class Message:
    verb: str
    device: str | None
    timestamp: int
    seq: int | None
    metrics: list[ReadMetric]

    def named(self, name: str) -> ReadMetric:
        (found,) = [metric for metric in self.metrics if metric.name == name]
        return found


def read(topic: str, payload: bytes) -> Message:
    namespace, _, verb, _, *device = topic.split("/")
    assert namespace == "spBv1.0"
    top = fields(payload)
    assert top.keys() <= {1, 2, 3}
    timestamp = _number(top[1])
    assert timestamp is not None
    metrics = [_metric(m) for m in top.get(2, []) if isinstance(m, bytes)]
    return Message(verb, device[0] if device else None, timestamp, _number(top.get(3)), metrics)


def _metric(data: bytes) -> ReadMetric:
    found = fields(data)
    values = [(number, found[number][0]) for number in range(10, 20) if number in found]
    quality = 192
    for inner in found.get(9, []):
        assert isinstance(inner, bytes)
        properties = fields(inner)
        for key, value in zip(properties[1], properties[2], strict=True):
            if key == b"Quality" and isinstance(value, bytes):
                quality = _number(fields(value)[3]) or 0
    timestamp = _number(found[3])
    assert timestamp is not None
    return ReadMetric(
        _bytes(found[1]).decode() if 1 in found else None,
        _number(found.get(2)),
        timestamp,
        _number(found.get(4)),
        bool(_number(found.get(5))),
        bool(_number(found.get(7))),
        quality,
        values[0] if values else None,
    )


@dataclass
class HostView:
    """What a host knows of one edge node; fails on what the specification forbids."""

    bd_seq: int | None = None
    online: bool = False
    seq: int = 0
    births: int = 0
    aliases: dict[int, tuple[str | None, str, int]] = field(default_factory=dict)
    """Unit, name and datatype of each alias."""
    born: set[str | None] = field(default_factory=set)
    values: dict[tuple[str | None, str], Number] = field(default_factory=dict)
    heard: list[tuple[str | None, str, int, Number]] = field(default_factory=list)
    """Unit, name, timestamp and value of every value of an aliased metric."""
    historical: list[tuple[str | None, str, int, Number]] = field(default_factory=list)

    def hear(self, message: Message) -> None:
        if message.verb == "NDEATH":
            assert message.seq is None, "tck-id-topics-ndeath-seq"
            (only,) = message.metrics
            assert (only.name, only.datatype) == ("bdSeq", INT64), "tck-id-topics-ndeath-payload"
            if only.value(INT64) == self.bd_seq:
                self.online = False
                self.born.clear()
            return
        if message.verb == "NBIRTH":
            assert message.seq == 0, "tck-id-topics-nbirth-seq-num"
            self.aliases.clear()
            self.born.clear()
            self.online = True
            self.births += 1
            bd_seq = message.named("bdSeq").value(INT64)
            assert isinstance(bd_seq, int)
            self.bd_seq = bd_seq
            rebirth = message.named("Node Control/Rebirth")
            assert (rebirth.alias, rebirth.datatype) == (None, BOOLEAN)
            assert rebirth.value(BOOLEAN) is False, "tck-id-topics-nbirth-rebirth-metric"
        else:
            assert self.online, "tck-id-principles-birth-certificates-order"
            assert message.seq == (self.seq + 1) % 256, "tck-id-payloads-sequence-num-incrementing"
        assert message.seq is not None
        self.seq = message.seq
        if message.verb == "DDEATH":
            self.born.remove(message.device)
        elif message.verb in {"NBIRTH", "DBIRTH"}:
            self._birth(message)
        else:
            self._data(message)
        stamps = [m.timestamp for m in message.metrics if not m.historical]
        assert stamps == sorted(stamps), "tck-id-operational-behavior-data-publish-dbirth-order"

    def _birth(self, message: Message) -> None:
        self.born.add(message.device)
        for alias in [a for a, (unit, _, _) in self.aliases.items() if unit == message.device]:
            del self.aliases[alias]
        for metric in message.metrics:
            assert metric.name is not None, "tck-id-payloads-alias-birth-requirement"
            assert metric.datatype is not None, "tck-id-payloads-metric-datatype-req"
            assert not metric.historical
            if metric.name in {"bdSeq", "Node Control/Rebirth"}:
                continue
            assert metric.alias is not None
            assert metric.alias not in self.aliases, "tck-id-payloads-alias-uniqueness"
            self.aliases[metric.alias] = (message.device, metric.name, metric.datatype)
            self._take(metric, message.device, metric.name, metric.datatype)

    def _data(self, message: Message) -> None:
        assert message.verb == ("NDATA" if message.device is None else "DDATA")
        assert message.device in self.born, "data before birth or after death"
        assert message.metrics, "data without any"
        for metric in message.metrics:
            assert metric.name is None, "tck-id-payloads-alias-data-cmd-requirement"
            assert metric.datatype is None, "tck-id-payloads-metric-datatype-not-req"
            assert metric.alias is not None
            unit, name, datatype = self.aliases[metric.alias]
            assert unit == message.device, "an alias of another device"
            self._take(metric, unit, name, datatype)

    def _take(self, metric: ReadMetric, unit: str | None, name: str, datatype: int) -> None:
        value = metric.value(datatype)
        self.heard.append((unit, name, metric.timestamp, value))
        if metric.historical:
            self.historical.append(self.heard[-1])
        else:
            self.values[unit, name] = value
