"""Words of the command line."""

from __future__ import annotations

import pytest

from commissioning.modbus.target import (
    Reach,
    Span,
    UsageError,
    host_and_port,
    most,
    parse_span,
    parse_units,
    table_of,
)
from telemetry.profiles import RegisterTable


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("40000:20", Span(40000, 20)),
        ("7", Span(7, 1)),
        ("0x9c40:0x10", Span(40000, 16)),
        ("0007", Span(7, 1)),
        ("0:65536", Span(0, 65536)),
    ],
)
def test_addresses_are_read(text: str, span: Span) -> None:
    assert parse_span(text, "--read") == span


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("40000-20", "ADDRESS:COUNT"),
        ("", "ADDRESS:COUNT"),
        ("-1", "ADDRESS:COUNT"),
        ("x", "ADDRESS:COUNT"),
        ("1:0", "0 to 65535"),
        ("65536", "0 to 65535"),
        ("65535:2", "0 to 65535"),
    ],
)
def test_what_is_no_address_says_what_to_write(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=r"^--read") as caught:
        parse_span(text, "--read")
    assert named in str(caught.value)


def test_units_are_read() -> None:
    assert parse_units("1:247") == range(1, 248)
    assert parse_units("5") == range(5, 6)
    for wrong in ("0:256", "9:1", "a", "1-5"):
        with pytest.raises(UsageError, match="--units"):
            parse_units(wrong)


@pytest.mark.parametrize(
    ("table", "function", "meant"),
    [
        (None, None, RegisterTable.HOLDING),
        ("input", None, RegisterTable.INPUT),
        (None, 4, RegisterTable.INPUT),
        (None, 1, RegisterTable.COIL),
        ("discrete", 2, RegisterTable.DISCRETE),
    ],
)
def test_a_table_is_named_or_numbered(table: str | None, function: int | None, meant: RegisterTable) -> None:
    assert table_of(table, function) is meant


@pytest.mark.parametrize(("table", "function"), [("holding", 4), (None, 6), (None, 16), ("registers", None)])
def test_a_table_that_cannot_be_read_is_refused(table: str | None, function: int | None) -> None:
    with pytest.raises(UsageError, match=r"--function|--table"):
        table_of(table, function)


def test_one_read_keeps_to_the_protocol_and_to_the_device() -> None:
    assert most(RegisterTable.HOLDING) == 125
    assert most(RegisterTable.COIL) == 2000
    assert most(RegisterTable.HOLDING, 500) == 125
    assert most(RegisterTable.INPUT, 20) == 20


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.7", "192.0.2.7", None),
        ("meter.example:1502", "meter.example", 1502),
        ("[2001:db8::7]:502", "2001:db8::7", 502),
        ("2001:db8::7", "2001:db8::7", None),
        ("[2001:db8::7]", "2001:db8::7", None),
    ],
)
def test_hosts_are_read(text: str, host: str, port: int | None) -> None:
    assert host_and_port(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", ":502", "host:", "host:x", "host:0", "host:65536", "/dev/ttyUSB0", "a b"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        host_and_port(text)


def test_a_serial_line_and_tls_have_their_own_settings() -> None:
    line = Reach("/dev/ttyUSB0", "serial", baudrate=9600, parity="none").settings()
    assert line.serial is not None
    assert (line.where, line.serial.baudrate, line.host) == ("/dev/ttyUSB0", 9600, None)
    secure = Reach("meter.example", "tls", ca_file="ca.pem").settings()
    assert secure.tls is not None
    assert (secure.tcp_port, secure.tls.ca_file) == (802, "ca.pem")


@pytest.mark.parametrize(
    ("reach", "named"),
    [
        (Reach("host", "udp"), "--transport udp"),
        (Reach("host", timeout_s=-1), "--timeout -1"),
        (Reach("/dev/x", "serial", parity="odd?"), "--parity odd?"),
        (Reach("/dev/x", "serial", stop_bits=3), "--stop-bits 3"),
        (Reach("/dev/x", "serial", baudrate=1), "--baudrate 1"),
        (Reach("host", key_file="k.pem"), "--key-file"),
    ],
)
def test_a_wrong_option_is_named(reach: Reach, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        reach.settings()
    assert named in str(caught.value)
