"""Device identification as simulated devices give it (Modbus Application Protocol V1.1b3, 6.21: 43/14)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

MEI_TYPE = 0x0E
_ROOM = 253 - 7
"""Bytes left for objects in a protocol data unit behind the seven that begin the answer."""
_LAST_BASIC, _LAST_REGULAR, _LAST = 0x02, 0x7F, 0xFF
_STREAM_LAST = {1: _LAST_BASIC, 2: _LAST_REGULAR, 3: _LAST}
_INDIVIDUAL = 4


class Refusal(IntEnum):
    """Exception codes of Modbus (V1.1b3, 7)."""

    ILLEGAL_FUNCTION = 0x01
    ILLEGAL_ADDRESS = 0x02
    ILLEGAL_VALUE = 0x03
    DEVICE_FAILURE = 0x04
    BUSY = 0x06
    TARGET_FAILED = 0x0B
    """Gateway target device failed to respond."""


class RefusalName(StrEnum):
    """Exceptions as configuration names them."""

    ILLEGAL_FUNCTION = "illegal-function"
    ILLEGAL_ADDRESS = "illegal-address"
    ILLEGAL_VALUE = "illegal-value"
    DEVICE_FAILURE = "device-failure"
    BUSY = "busy"
    TARGET_FAILED = "target-failed"

    @property
    def refusal(self) -> Refusal:
        """The exception."""
        return Refusal[self.name]


@dataclass(frozen=True)
class Identification:
    """Objects of a device: 0 vendor, 1 product code, 2 revision, 3 URL, 4 product, 5 model, 6 application."""

    objects: Mapping[int, str] = field(default_factory=dict)

    @property
    def level(self) -> int:
        """Conformity level: 1 basic, 2 regular, 3 extended; 0x80 since single objects can be asked for."""
        last = max(self.objects, default=0)
        return 0x80 | (1 if last <= _LAST_BASIC else 2 if last <= _LAST_REGULAR else 3)

    def answer(self, request: bytes) -> bytes | Refusal:
        """Answers the data of a request (after the function code) with the data of a response."""
        if not self.objects or not request or request[0] != MEI_TYPE:
            return Refusal.ILLEGAL_FUNCTION
        if len(request) != 3 or request[1] not in {*_STREAM_LAST, _INDIVIDUAL}:
            return Refusal.ILLEGAL_VALUE
        _, code, first = request
        if code == _INDIVIDUAL:
            if first not in self.objects:
                return Refusal.ILLEGAL_ADDRESS
            wanted = [first]
        else:
            # a stream that is asked to begin at an object that is not there begins anew
            wanted = [n for n in sorted(self.objects) if n <= _STREAM_LAST[code]]
            wanted = [n for n in wanted if n >= first] if first in wanted else wanted
        body, count, following = b"", 0, 0
        for number in wanted:
            text = self.objects[number].encode("ascii", "replace")[: _ROOM - 2]
            if len(body) + 2 + len(text) > _ROOM:
                following = number
                break
            body += struct.pack(">BB", number, len(text)) + text
            count += 1
        more = 0xFF if following else 0x00
        return struct.pack(">BBBBBB", MEI_TYPE, code, self.level, more, following, count) + body


NOT_IDENTIFIED = Identification()
"""A device without the function: it answers "illegal function"."""
