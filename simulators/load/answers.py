"""Answers to Modbus reads, encoded beforehand: what each register holds follows from where it is.

Sources: *MODBUS Application Protocol Specification V1.1b3* ("[APP]"), *MODBUS Messaging on TCP/IP
Implementation Guide V1.0b* ("[TCP]").
"""

from __future__ import annotations

import struct

import numpy as np

HOLDING, INPUT = 3, 4
MAX_REGISTERS = 125
"""Largest quantity of one read, [APP] 6.3 and 6.4."""
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, TARGET_FAILED = 1, 2, 3, 11
"""Exception codes, [APP] 7."""
MAX_KNOWN = 8192
"""Answers kept; further ones are put together each time."""

_REQUEST = struct.Struct(">HHBBHH")  # protocol, length, unit, function, address, quantity: [TCP] 3.1.3
_ADDRESSES = 0x10000


def word_at(function: int, unit: int, address: int) -> int:
    """What a register holds: its address plus 256 for each unit; all bits inverted in the input table.

    A reader can tell the value of another address, unit or table from the right one.
    """
    word = (address + 256 * unit) % _ADDRESSES
    return word if function == HOLDING else word ^ 0xFFFF


class Answers:
    """Answers of the units 1 to ``units``; requests and answers are without their transaction identifier."""

    def __init__(self, units: int) -> None:
        self._units = units
        words = np.arange(2 * _ADDRESSES, dtype=np.uint32).astype(">u2")
        self._image = {HOLDING: words.tobytes(), INPUT: (words ^ 0xFFFF).astype(">u2").tobytes()}
        self.known: dict[bytes, bytes] = {}
        """Answers by request: both from the protocol identifier on."""

    def read(self, request: bytes) -> bytes:
        """The answer to a read that is not to be refused."""
        _, _, unit, function, address, count = _REQUEST.unpack(request)
        start, size = 2 * (address + 256 * unit), 2 * count
        registers = self._image[function][start : start + size]
        answer = struct.pack(">HHBBB", 0, 3 + size, unit, function, size) + registers
        if len(self.known) < MAX_KNOWN:
            self.known[request] = answer
        return answer

    def refusal(self, request: bytes) -> int:
        """Exception code that a request gets; 0 for a sound read."""
        unit, function = request[4], request[5]
        if not 1 <= unit <= self._units:
            return TARGET_FAILED
        if function not in self._image:
            return ILLEGAL_FUNCTION
        if len(request) != _REQUEST.size:
            return ILLEGAL_VALUE
        address, count = struct.unpack_from(">HH", request, 6)
        if not 1 <= count <= MAX_REGISTERS:
            return ILLEGAL_VALUE
        return ILLEGAL_ADDRESS if address + count > _ADDRESSES else 0


def exception(request: bytes, code: int) -> bytes:
    """An exception answer ([APP] 7) to a request."""
    return struct.pack(">HHBBB", 0, 3, request[4], request[5] | 0x80, code)
