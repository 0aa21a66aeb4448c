"""What the command line says of a device: where it is, how it is reached, what is read; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from adapters.modbus.codec import FUNCTION_OF_TABLE, MAX_COILS, MAX_REGISTERS
from adapters.modbus.config import GatewaySettings
from telemetry.errors import GreenbridgeError
from telemetry.profiles import RegisterTable

_RANGE = re.compile(r"^\s*(0x[0-9a-f]+|\d+)\s*(?::\s*(0x[0-9a-f]+|\d+)\s*)?$", re.IGNORECASE)
_ADDRESSED = re.compile(r"^(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]*))(?::(?P<port>.*))?$")
GATEWAY = "gateway"
"""Id of the gateway in what is drafted."""


class UsageError(GreenbridgeError):
    """Words of the command line that cannot be meant; the message names them and what to write."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Consecutive addresses of one table, counted from 0 as they are on the wire."""

    start: int
    count: int

    @property
    def end(self) -> int:
        """Address behind the last one."""
        return self.start + self.count

    def __str__(self) -> str:
        return f"{self.start}-{self.end - 1}" if self.count > 1 else str(self.start)


def parse_span(text: str, option: str) -> Span:
    """Reads ``ADDRESS`` or ``ADDRESS:COUNT``, decimal or ``0x``.

    Raises
    ------
    UsageError
        It is neither, or it leaves the address space.

    """
    match = _RANGE.match(text)
    if match is None:
        raise UsageError(f"{option} {text}: write ADDRESS or ADDRESS:COUNT, for example 40000:20")
    start, count = _integer(match[1]), _integer(match[2] or "1")
    if count < 1 or start + count > 0x10000:
        raise UsageError(f"{option} {text}: wire addresses are 0 to 65535, and at least one must be read")
    return Span(start, count)


def _integer(text: str) -> int:
    return int(text, 16 if text[:2].lower() == "0x" else 10)


def parse_units(text: str) -> range:
    """Reads ``N`` or ``FIRST:LAST`` of unit identifiers.

    Raises
    ------
    UsageError
        It is neither, or not within 0 to 255.

    """
    match = _RANGE.match(text)
    if match is None:
        raise UsageError(f"--units {text}: write FIRST:LAST, for example 1:247")
    first = _integer(match[1])
    last = first if match[2] is None else _integer(match[2])
    if not 0 <= first <= last <= 0xFF:
        raise UsageError(f"--units {text}: unit identifiers are 0 to 255, the first not above the last")
    return range(first, last + 1)


def table_of(table: str | None, function: int | None) -> RegisterTable:
    """The table that is meant by its name or by a function code.

    Raises
    ------
    UsageError
        They contradict each other, or there is no such table.

    """
    by_code = {code.value: name for name, code in FUNCTION_OF_TABLE.items()}
    if function is not None and function not in by_code:
        raise UsageError(f"--function {function}: a probe only reads, with function 1, 2, 3 or 4")
    if table is not None and table not in set(RegisterTable):
        raise UsageError(f"--table {table}: valid are {', '.join(RegisterTable)}")
    asked = None if table is None else RegisterTable(table)
    meant = None if function is None else by_code[function]
    if asked is not None and meant is not None and asked is not meant:
        raise UsageError(
            f"--function {function} reads {meant} registers, --table says {asked}: give one of them"
        )
    return asked or meant or RegisterTable.HOLDING


def most(table: RegisterTable, limit: int | None = None) -> int:
    """Addresses that one read may ask for, by the protocol and by what a device is known to take."""
    protocol = MAX_COILS if table.is_bits else MAX_REGISTERS
    return protocol if limit is None else min(protocol, limit)


@dataclass(frozen=True, slots=True)
class Reach:
    """How a device is reached, in the words of the command line."""

    host: str
    """``HOST``, ``HOST:PORT``, ``[IPv6]:PORT``, or the device file of a serial line."""
    transport: str = "tcp"
    timeout_s: float = 1.0
    baudrate: int = 19200
    parity: str = "even"
    stop_bits: int = 1
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    key_password_file: str | None = None

    def settings(self) -> GatewaySettings:
        """Settings of a gateway, as a site would have them.

        Raises
        ------
        UsageError
            Something does not fit; the message names the option.

        """
        values: dict[str, Any] = {"id": GATEWAY, "transport": self.transport, "timeout_s": self.timeout_s}
        values["connect_timeout_s"] = max(3.0, self.timeout_s)
        if self.transport == "serial":
            line = {"device": self.host, "baudrate": self.baudrate, "parity": self.parity}
            values["serial"] = line | {"stop_bits": self.stop_bits}
        else:
            values["host"], values["port"] = host_and_port(self.host)
        keys = {
            "ca_file": self.ca_file,
            "certificate_file": self.certificate_file,
            "key_file": self.key_file,
            "key_password_file": self.key_password_file,
        }
        given = {name: value for name, value in keys.items() if value is not None}
        if self.transport == "tls":
            values["tls"] = given
        elif given:
            option = next(iter(given)).replace("_", "-")
            raise UsageError(f"--{option} is for encrypted connections: add --transport tls")
        try:
            return GatewaySettings.model_validate(values)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            name = str(fault["loc"][-1]) if fault["loc"] else "transport"
            option = {"device": "HOST", "timeout_s": "--timeout"}.get(name, f"--{name.replace('_', '-')}")
            reason = str(fault["msg"]).removeprefix("Value error, ")
            raise UsageError(f"{option} {fault['input']}: {reason}") from None


def host_and_port(text: str) -> tuple[str, int | None]:
    """Reads ``HOST[:PORT]``; an IPv6 address stands in brackets.

    Raises
    ------
    UsageError
        It is none, or the port is not 1 to 65535.

    """
    if text.count(":") > 1 and not text.startswith("["):
        return text, None  # an IPv6 address without a port
    match = _ADDRESSED.match(text.strip())
    host = "" if match is None else match["six"] or match["host"]
    if match is None or not host or "/" in host or " " in host:
        raise UsageError(f"{text!r} is no HOST[:PORT]; for a serial line add --transport serial")
    if match["port"] is None:
        return host, None
    if not match["port"].isdecimal() or not 1 <= int(match["port"]) <= 0xFFFF:
        raise UsageError(f"{text}: the port is 1 to 65535, usually 502, or 802 with TLS")
    return host, int(match["port"])
