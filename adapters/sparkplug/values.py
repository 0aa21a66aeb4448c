"""From a metric of a known datatype to a number, with the quality that it gives itself.

Section numbers and ``tck-id-...`` names are those of the Sparkplug specification, version 3.0.0.
"""

from __future__ import annotations

import math
from enum import IntEnum

from adapters.sparkplug import payload_pb2 as pb
from telemetry.quality import Quality

_U32, _U64 = 1 << 32, 1 << 64


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
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTY_SET = 20
    PROPERTY_SET_LIST = 21
    INT8_ARRAY = 22
    INT16_ARRAY = 23
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33
    DATETIME_ARRAY = 34


_INTEGERS = {
    DataType.INT8: (8, True),
    DataType.INT16: (16, True),
    DataType.INT32: (32, True),
    DataType.INT64: (64, True),
    DataType.UINT8: (8, False),
    DataType.UINT16: (16, False),
    DataType.UINT32: (32, False),
    DataType.UINT64: (64, False),
    DataType.DATETIME: (64, False),
}
_FIELDS = {
    DataType.INT64: "long_value",
    DataType.UINT64: "long_value",
    DataType.DATETIME: "long_value",
    DataType.FLOAT: "float_value",
    DataType.DOUBLE: "double_value",
    DataType.BOOLEAN: "boolean_value",
} | dict.fromkeys(
    (DataType.INT8, DataType.INT16, DataType.INT32, DataType.UINT8, DataType.UINT16, DataType.UINT32),
    "int_value",
)
_QUALITY = {0: Quality.DEVICE_BAD, 192: Quality.GOOD, 500: Quality.STALE}


def refusal(metric: pb.Metric) -> str:
    """Why a metric cannot become a reading, by its datatype; empty for a number."""
    try:
        datatype = DataType(metric.datatype)
    except ValueError:
        # tck-id-payloads-metric-datatype-value
        return f"unknown datatype {metric.datatype}" if metric.datatype else "no datatype"
    if datatype in _FIELDS:
        return ""
    if datatype >= DataType.INT8_ARRAY:
        return "array"
    if datatype in {DataType.STRING, DataType.TEXT, DataType.UUID}:
        return "text"
    return datatype.name.lower().replace("_", " ")


def quick(datatype: int) -> tuple[str, int, int]:
    """How a plain value of a datatype is read: (field, half, wrap); the field is empty for what is no number.

    An integer below ``half`` is as it stands; from there on ``wrap`` is taken off, or, if that is 0, it needs
    :func:`number`. A ``half`` of 0 stands for no such limit.
    """
    kind = DataType(datatype)
    field = _FIELDS.get(kind, "")
    if kind not in _INTEGERS:
        return field, 0, 0
    bits, has_sign = _INTEGERS[kind]
    if not has_sign:
        return field, (1 << bits if bits < 32 else 0), 0
    return field, 1 << (bits - 1), (1 << bits if bits >= 32 else 0)


def number(metric: pb.Metric, datatype: int) -> tuple[float, Quality]:
    """Value of a metric of a numeric datatype, with the quality that it gives itself (6.4.7).

    Negative integers travel as two's complement in unsigned fields, of the field's or of the type's own
    width; both are understood. A value of another kind than the datatype is a doubt, never a guess.
    """
    floor = _claimed(metric.properties) if metric.HasField("properties") else Quality.GOOD
    field = metric.WhichOneof("value")
    if metric.is_null or field is None:
        # tck-id-operational-behavior-data-publish-nbirth-values
        return math.nan, max(floor, Quality.NOT_IMPLEMENTED)
    if metric.datatype not in {0, datatype}:
        return math.nan, Quality.PROTOCOL_DOUBT
    kind = DataType(datatype)
    if kind in _INTEGERS:
        if field not in {"int_value", "long_value"}:
            return math.nan, Quality.PROTOCOL_DOUBT
        whole = signed(getattr(metric, field), kind, _U32 if field == "int_value" else _U64)
        return (math.nan, Quality.PROTOCOL_DOUBT) if whole is None else (float(whole), floor)
    if field != _FIELDS[kind]:
        return math.nan, Quality.PROTOCOL_DOUBT
    return float(getattr(metric, field)), floor


def signed(raw: int, kind: DataType, width: int = _U32) -> int | None:
    """An integer of a datatype from an unsigned field; None when the datatype has no such number.

    Parameters
    ----------
    raw
        What the field holds.
    kind
        An integer datatype.
    width
        2 to the power of the field's bits.

    """
    bits, has_sign = _INTEGERS[kind]
    limit = 1 << bits
    if not has_sign:
        return raw if raw < limit else None
    half = limit >> 1
    if raw < limit:
        return raw if raw < half else raw - limit
    return raw - width if raw >= width - half else None


def property_keys(properties: pb.PropertySet) -> list[str]:
    """Names of a metric's properties; none when one is not valid UTF-8."""
    try:
        return list(properties.keys)
    except UnicodeDecodeError:
        return []


def _claimed(properties: pb.PropertySet) -> Quality:
    """Quality that a metric gives itself; uncertain when that cannot be read."""
    keys, values = property_keys(properties), properties.values
    if len(keys) != len(values):  # tck-id-payloads-propertyset-keys-array-size
        return Quality.DEVICE_UNCERTAIN
    for key, value in zip(keys, values, strict=True):
        if key == "Quality":
            if value.is_null or value.WhichOneof("value") != "int_value":
                return Quality.DEVICE_UNCERTAIN
            # tck-id-payloads-propertyset-quality-value-value
            return _QUALITY.get(value.int_value, Quality.DEVICE_UNCERTAIN)
    return Quality.GOOD
