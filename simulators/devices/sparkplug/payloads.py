"""Sparkplug B payloads as edge nodes write them, and commands and host states as they read them.

Pure: values in, bytes out, and back. Section numbers are those of the Sparkplug 3.0 specification.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import msgspec
from google.protobuf.message import DecodeError

from simulators.devices.sparkplug import payload_pb2 as pb

Value = float | int | bool | str
"""What a metric can hold; ``None`` beside it means null."""

_U32, _U64 = (1 << 32) - 1, (1 << 64) - 1
QUALITY_KEY, UNIT_KEY = "Quality", "engUnit"
_LARGEST_FLOAT = 3.4028234663852886e38


class PayloadError(ValueError):
    """A payload that is not what its topic promises; the message says why."""


class DataType(IntEnum):
    """Types of a metric's value (6.4.16)."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14

    @property
    def integer(self) -> bool:
        """Whether values are whole numbers."""
        return self in _RANGES


class Quality(IntEnum):
    """Codes of the property ``Quality`` (6.4.7)."""

    BAD = 0
    GOOD = 192
    STALE = 500


_RANGES = {
    DataType.INT8: (-(1 << 7), (1 << 7) - 1),
    DataType.INT16: (-(1 << 15), (1 << 15) - 1),
    DataType.INT32: (-(1 << 31), (1 << 31) - 1),
    DataType.INT64: (-(1 << 63), (1 << 63) - 1),
    DataType.UINT8: (0, (1 << 8) - 1),
    DataType.UINT16: (0, (1 << 16) - 1),
    DataType.UINT32: (0, _U32),
    DataType.UINT64: (0, _U64),
    DataType.DATETIME: (0, _U64),
}
_WIDE = frozenset({DataType.INT64, DataType.UINT64, DataType.DATETIME})


@dataclass(frozen=True, slots=True)
class Metric:
    """One value on its way."""

    datatype: DataType
    value: Value | None
    timestamp_ms: int
    """When it was captured [ms since 1970, UTC]."""
    name: str | None = None
    """Set in births and deaths only; the datatype and the unit travel with it."""
    alias: int | None = None
    quality: Quality = Quality.GOOD
    historical: bool = False
    transient: bool = False
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """One metric of a command."""

    name: str | None
    alias: int | None
    value: Value | None
    """``None`` for null and for types that no metric of an edge node has."""


class HostState(msgspec.Struct, frozen=True):
    """State of a host application (4.3.1): extra members are let pass."""

    online: bool
    timestamp: int
    """[ms since 1970, UTC]."""


def encode(metrics: Iterable[Metric], timestamp_ms: int, seq: int | None) -> bytes:
    """Writes a payload; metrics keep their order.

    Raises
    ------
    PayloadError
        A value does not fit its datatype.

    """
    payload = pb.Payload(timestamp=timestamp_ms, seq=seq)
    for metric in metrics:
        _write(payload.metrics.add(), metric)
    return payload.SerializeToString()


def decode_commands(payload: bytes) -> Sequence[Command]:
    """Reads an NCMD or DCMD.

    Raises
    ------
    PayloadError
        Not a payload, or a metric without both name and alias.

    """
    try:
        parsed = pb.Payload.FromString(payload)
    except DecodeError as error:
        raise PayloadError(f"not a Sparkplug B payload: {error}") from None
    return [_command(metric) for metric in parsed.metrics]


def decode_state(payload: bytes) -> HostState:
    """Reads a STATE message (tck-id-host-topic-phid-birth-payload).

    Raises
    ------
    PayloadError
        Not JSON, or not of that form.

    """
    try:
        return msgspec.json.decode(payload, type=HostState)
    except msgspec.DecodeError as error:
        raise PayloadError(f"not the state of a host: {error}") from None


def _write(target: pb.Metric, metric: Metric) -> None:
    if metric.alias is not None:
        target.alias = metric.alias
    target.timestamp = metric.timestamp_ms
    if metric.name is not None:
        target.name = metric.name
        target.datatype = metric.datatype
        if metric.unit:
            unit = _property(target, UNIT_KEY, DataType.STRING)
            unit.string_value = metric.unit
    if metric.historical:
        target.is_historical = True
    if metric.transient:
        target.is_transient = True
    if metric.quality is not Quality.GOOD:
        # 6.4.7: only needed when it is not good; always a signed 32-bit integer
        _property(target, QUALITY_KEY, DataType.INT32).int_value = metric.quality
    if metric.value is None:
        target.is_null = True
    else:
        _write_value(target, metric.datatype, metric.value)


def _property(target: pb.Metric, key: str, datatype: DataType) -> pb.PropertyValue:
    target.properties.keys.append(key)
    return target.properties.values.add(type=datatype)


def _write_value(target: pb.Metric, datatype: DataType, value: Value) -> None:
    match datatype, value:
        case DataType.BOOLEAN, bool():
            target.boolean_value = value
        case ((DataType.STRING | DataType.TEXT), str()):
            target.string_value = value
        case DataType.FLOAT, float() if math.isfinite(value) and abs(value) <= _LARGEST_FLOAT:
            target.float_value = value
        case DataType.DOUBLE, float() if math.isfinite(value):
            target.double_value = value
        case _, int() if not isinstance(value, bool) and datatype.integer:
            low, high = _RANGES[datatype]
            if not low <= value <= high:
                raise PayloadError(f"{value} is outside {datatype.name} ({low} to {high})")
            # negative numbers travel as two's complement of the field's width
            if datatype in _WIDE:
                target.long_value = value & _U64
            else:
                target.int_value = value & _U32
        case _:
            raise PayloadError(f"{value!r} is no {datatype.name}")


def _command(metric: pb.Metric) -> Command:
    name = metric.name if metric.HasField("name") else None
    alias = metric.alias if metric.HasField("alias") else None
    if name is None and alias is None:
        raise PayloadError("a metric has neither name nor alias")
    field = metric.WhichOneof("value")
    value = None if field is None or metric.is_null or field == "bytes_value" else getattr(metric, field)
    return Command(name, alias, value)
