"""The few MQTT packets that a publisher needs, as bytes. Source: *MQTT Version 3.1.1*, OASIS Standard."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

PINGREQ, DISCONNECT = b"\xc0\x00", b"\xe0\x00"
MAX_REMAINING = 268_435_455
"""Largest remaining length (2.2.3)."""
TIME_DIGITS = 13
"""Milliseconds since 1970 have 13 digits from 2001 to 2286."""


class Received(IntEnum):
    """First byte of the packets that a broker sends to a publisher; each has a fixed size."""

    CONNACK = 0x20
    PUBACK = 0x40
    PINGRESP = 0xD0


REFUSALS = {
    1: "unacceptable protocol version",
    2: "identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}
"""Return codes of a CONNACK (3.2.2.3)."""


def remaining_length(size: int) -> bytes:
    """The length field (2.2.3): seven bits in each byte, the lowest first."""
    if not 0 <= size <= MAX_REMAINING:
        raise ValueError(f"a packet of {size} bytes cannot be encoded")
    encoded = bytearray()
    while True:
        size, digit = divmod(size, 128)
        encoded.append(digit | (0x80 if size else 0))
        if not size:
            return bytes(encoded)


def connect(client_id: str, username: str = "", password: str = "") -> bytes:
    """CONNECT (3.1) of a clean session without keep-alive."""
    flags = 0x02 | (0x80 if username else 0) | (0x40 if username and password else 0)
    body = _text("MQTT") + struct.pack(">BBH", 4, flags, 0) + _text(client_id)
    if username:
        body += _text(username)
        if password:
            body += _text(password)
    return b"\x10" + remaining_length(len(body)) + body


def value_at(device: int, position: int) -> float:
    """What a message of a device holds: the device's number, and the position as thousandths."""
    return device + position / 1000


@dataclass(frozen=True, slots=True)
class Template:
    """A PUBLISH (3.3) of one device, encoded but for its identifier and time.

    The packet is ``head``, at QoS 1 two bytes of packet identifier, ``{"ts":``, 13 digits of milliseconds
    since 1970, and ``tail``.
    """

    head: bytes
    tail: bytes

    @classmethod
    def of(cls, topic: str, device: int, values: int, qos: int) -> Template:
        """A message of a device (numbered from 1) with members ``v1``, ``v2`` and so on."""
        members = "".join(f',"v{i}":{value_at(device, i):.3f}' for i in range(1, values + 1))
        tail = f"{members}}}".encode()
        name = _text(f"{topic}/{device}")
        size = len(name) + (2 if qos else 0) + len(b'{"ts":') + TIME_DIGITS + len(tail)
        return cls(bytes([0x30 | qos << 1]) + remaining_length(size) + name, tail)

    @property
    def size(self) -> int:
        """Size of the packet without its identifier [B]."""
        return len(self.head) + len(b'{"ts":') + TIME_DIGITS + len(self.tail)


def stamp(now_ms: int) -> bytes:
    """What stands between ``head`` (or identifier) and ``tail``."""
    return b'{"ts":%0*d' % (TIME_DIGITS, now_ms)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded
