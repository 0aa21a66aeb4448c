"""Payloads against the generic wire format of protocol buffers, read here without any generated code."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.devices.sparkplug.generate import generated
from simulators.devices.sparkplug.payloads import (
    Command,
    DataType,
    HostState,
    Metric,
    PayloadError,
    Quality,
    Value,
    decode_commands,
    decode_state,
    encode,
)
from tests.simulators.sparkplug_reader import Fields, fields


def metric_fields(metric: Metric) -> Fields:
    payload = fields(encode([metric], 1, 0))
    (only,) = payload[2]
    assert isinstance(only, bytes)
    return fields(only)


def test_generated_code_is_that_of_the_definition() -> None:
    for path, text in generated().items():
        assert path.read_text(encoding="utf-8") == text, "python -m simulators.devices.sparkplug.generate"


@pytest.mark.parametrize(
    ("datatype", "value", "field", "written"),
    [
        (DataType.INT8, -1, 10, 0xFFFFFFFF),
        (DataType.INT16, -30000, 10, 0xFFFF8AD0),
        (DataType.INT32, -2147483648, 10, 0x80000000),
        (DataType.INT32, 2147483647, 10, 0x7FFFFFFF),
        (DataType.INT64, -1, 11, 0xFFFFFFFFFFFFFFFF),
        (DataType.INT64, 255, 11, 255),
        (DataType.UINT8, 255, 10, 255),
        (DataType.UINT32, 0xFFFFFFFF, 10, 0xFFFFFFFF),
        (DataType.UINT64, 0xFFFFFFFFFFFFFFFF, 11, 0xFFFFFFFFFFFFFFFF),
        (DataType.DATETIME, 1486144502122, 11, 1486144502122),
        (DataType.FLOAT, -12.5, 12, struct.pack("<f", -12.5)),
        (DataType.DOUBLE, -12.5, 13, struct.pack("<d", -12.5)),
        (DataType.BOOLEAN, False, 14, 0),
        (DataType.STRING, "Мирный", 15, "Мирный".encode()),
        (DataType.TEXT, "", 15, b""),
    ],
)
def test_value_is_in_the_field_of_its_type(
    datatype: DataType, value: Value, field: int, written: int | bytes
) -> None:
    """Sparkplug 3.0, 6.4.16: type of protocol buffer for each datatype."""
    found = metric_fields(Metric(datatype, value, 5, alias=7))
    assert found == {2: [7], 3: [5], field: [written]}


def test_null_has_no_value() -> None:
    """tck-id-operational-behavior-data-publish-dbirth-values."""
    assert metric_fields(Metric(DataType.FLOAT, None, 5, alias=7)) == {2: [7], 3: [5], 7: [1]}


def test_birth_names_the_type_and_data_does_not() -> None:
    """tck-id-payloads-metric-datatype-req and tck-id-payloads-metric-datatype-not-req."""
    named = metric_fields(Metric(DataType.FLOAT, 1.0, 5, name="W", alias=7, unit="MW"))
    assert (named[1], named[2], named[4]) == ([b"W"], [7], [9])
    (properties,) = named[9]
    assert isinstance(properties, bytes)
    assert fields(properties)[1] == [b"engUnit"]
    assert metric_fields(Metric(DataType.FLOAT, 1.0, 5, alias=7, unit="MW")).keys() == {2, 3, 12}


def test_quality_is_a_signed_32_bit_property() -> None:
    """tck-id-payloads-propertyset-quality-value-type, -value-value; 6.4.7: not needed when good."""
    (properties,) = metric_fields(Metric(DataType.FLOAT, None, 5, alias=7, quality=Quality.STALE))[9]
    assert isinstance(properties, bytes)
    found = fields(properties)
    assert found[1] == [b"Quality"]
    (value,) = found[2]
    assert isinstance(value, bytes)
    assert fields(value) == {1: [3], 3: [500]}


def test_flags_travel() -> None:
    found = metric_fields(Metric(DataType.FLOAT, 1.0, 5, alias=7, historical=True, transient=True))
    assert (found[5], found[6]) == ([1], [1])


def test_payload_has_time_and_sequence() -> None:
    assert fields(encode([], 1486144502122, 255)) == {1: [1486144502122], 3: [255]}
    assert fields(encode([], 1, None)) == {1: [1]}


@pytest.mark.parametrize(
    ("datatype", "value", "reason"),
    [
        (DataType.INT8, 128, r"128 is outside INT8 \(-128 to 127\)"),
        (DataType.UINT64, -1, "-1 is outside UINT64"),
        (DataType.INT32, 1.5, "1.5 is no INT32"),
        (DataType.INT32, True, "True is no INT32"),
        (DataType.FLOAT, float("nan"), "nan is no FLOAT"),
        (DataType.FLOAT, 1e39, "is no FLOAT"),
        (DataType.DOUBLE, float("inf"), "inf is no DOUBLE"),
        (DataType.BOOLEAN, 1, "1 is no BOOLEAN"),
        (DataType.STRING, 1, "1 is no STRING"),
    ],
)
def test_value_that_does_not_fit_is_refused(datatype: DataType, value: Value, reason: str) -> None:
    with pytest.raises(PayloadError, match=reason):
        encode([Metric(datatype, value, 5)], 1, 0)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"", []),
        (b"\x12\x1a\x0a\x14Node Control/Rebirth\x70\x01\x28\x00", [("Node Control/Rebirth", None, True)]),
        (b"\x12\x04\x10\x07\x50\x05", [(None, 7, 5)]),
        (b"\x12\x06\x10\x07\x38\x01\x50\x05", [(None, 7, None)]),
        (b"\x12\x05\x10\x07\x82\x01\x00", [(None, 7, None)]),
        (b"\x12\x03\x0a\x01x\x18\x05", [("x", None, None)]),
    ],
)
def test_commands_are_read(written: bytes, read: list[tuple[str | None, int | None, Value | None]]) -> None:
    assert decode_commands(written) == [Command(*command) for command in read]


@pytest.mark.parametrize("written", [b"\x12\x05\x10", b"\xff\xff", b"\x12\x02\x50\x01", b"{}"])
def test_what_is_no_command_is_refused(written: bytes) -> None:
    with pytest.raises(PayloadError):
        decode_commands(written)


@given(st.binary(max_size=60))
def test_any_bytes_are_commands_or_refused(data: bytes) -> None:
    try:
        commands = decode_commands(data)
    except PayloadError:
        return
    assert all(c.name is not None or c.alias is not None for c in commands)


def test_state_of_a_host_is_read() -> None:
    """tck-id-host-topic-phid-birth-payload."""
    assert decode_state(b'{"timestamp": 7, "online": true, "more": 1}') == HostState(online=True, timestamp=7)


@pytest.mark.parametrize(
    "written",
    [b"", b"ONLINE", b"true", b'{"online": true}', b'{"online": 1, "timestamp": 7}', b'{"online": "\xff"}'],
)
def test_what_is_no_state_is_refused(written: bytes) -> None:
    with pytest.raises(PayloadError, match="not the state of a host"):
        decode_state(written)
