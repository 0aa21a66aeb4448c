"""Frames of the links that can be broken: where each ends in a stream, and how one is spoilt.

Modbus TCP after *MODBUS Messaging on TCP/IP Implementation Guide V1.0b*, section 3.1; RTU after *MODBUS over
Serial Line V1.02*, section 2.5.1, with answers as in the *Application Protocol V1.1b3*, section 6. Written
apart from any client's or server's codec.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod

_HEADER = struct.Struct(">HHHBB")  # transaction, protocol, length, unit, function
_EXCEPTION_BIT = 0x80
_IDENTIFICATION = 43
_COUNTED = frozenset({1, 2, 3, 4, 12, 17, 20, 21, 23})
"""Functions whose answer has its number of bytes behind the function code."""
_FIXED = {5: 8, 6: 8, 7: 5, 8: 8, 11: 8, 15: 8, 16: 8, 22: 10}
"""Sizes of the answers without a variable part, checksum included."""


class Framing(ABC):
    """How the answers of a device are framed."""

    @abstractmethod
    def size(self, data: bytes | bytearray) -> int | None:
        """Size of the frame at the beginning of some bytes; None if more must come to tell."""

    @abstractmethod
    def shortened(self, frame: bytes) -> bytes:
        """A read reply without its last register, with lengths that fit; else without its last byte."""

    @abstractmethod
    def misnumbered(self, frame: bytes) -> bytes:
        """A frame with the transaction identifier of the request before, where there is one."""

    @abstractmethod
    def refused(self, frame: bytes, code: int) -> bytes:
        """An exception in place of an answer."""


class TcpFraming(Framing):
    """Modbus TCP."""

    def size(self, data: bytes | bytearray) -> int | None:
        """Size of the frame at the beginning of some bytes; None if more must come to tell."""
        return 6 + int.from_bytes(data[4:6], "big") if len(data) >= 6 else None

    def shortened(self, frame: bytes) -> bytes:
        """A read reply without its last register, with lengths that fit; else without its last byte."""
        if len(frame) < 13 or frame[8] != len(frame) - 9:
            return frame[:-1]
        transaction, protocol, length, unit, function = _HEADER.unpack_from(frame)
        head = _HEADER.pack(transaction, protocol, length - 2, unit, function)
        return head + bytes([frame[8] - 2]) + frame[9:-2]

    def misnumbered(self, frame: bytes) -> bytes:
        """A frame with the transaction identifier of the request before."""
        transaction = (int.from_bytes(frame[:2], "big") - 1) % 0x10000
        return transaction.to_bytes(2, "big") + frame[2:]

    def refused(self, frame: bytes, code: int) -> bytes:
        """An exception in place of an answer."""
        if len(frame) < _HEADER.size:
            return frame
        transaction, protocol, _, unit, function = _HEADER.unpack_from(frame)
        return _HEADER.pack(transaction, protocol, 3, unit, function | _EXCEPTION_BIT) + bytes([code])


class RtuFraming(Framing):
    """Modbus RTU, on a serial line or carried over TCP."""

    def size(self, data: bytes | bytearray) -> int | None:
        """Size of the frame at the beginning of some bytes; None if more must come to tell."""
        if len(data) < 3:
            return None
        function = data[1]
        if function & _EXCEPTION_BIT:
            return 5
        if function in _COUNTED:
            return 5 + data[2]
        if function == _IDENTIFICATION:
            return _identification_size(data)
        return _FIXED.get(function, len(data))

    def shortened(self, frame: bytes) -> bytes:
        """A read reply without its last register, with length and checksum that fit; else without a byte."""
        if len(frame) < 7 or frame[1] not in {3, 4} or frame[2] != len(frame) - 5:
            return frame[:-1]
        return _checked(frame[:2] + bytes([frame[2] - 2]) + frame[3:-4])

    def misnumbered(self, frame: bytes) -> bytes:
        """The frame: RTU has no transaction identifier."""
        return frame

    def refused(self, frame: bytes, code: int) -> bytes:
        """An exception in place of an answer."""
        if len(frame) < 2:
            return frame
        return _checked(bytes([frame[0], frame[1] | _EXCEPTION_BIT, code]))


class Unframed(Framing):
    """A stream whose frames nobody looks at; it can only be slowed and broken off."""

    def size(self, data: bytes | bytearray) -> int | None:
        """All that came."""
        return len(data)

    def shortened(self, frame: bytes) -> bytes:
        """Without its last byte."""
        return frame[:-1]

    def misnumbered(self, frame: bytes) -> bytes:
        """As it is."""
        return frame

    def refused(self, frame: bytes, code: int) -> bytes:
        """As it is."""
        del code
        return frame


TCP, RTU, UNFRAMED = TcpFraming(), RtuFraming(), Unframed()


class FrameCutter:
    """Cuts the stream of a device into frames."""

    def __init__(self, framing: Framing = TCP) -> None:
        self._framing = framing
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now."""
        self._buffer += data
        frames: list[bytes] = []
        while self._buffer:
            size = self._framing.size(self._buffer)
            if size is None or len(self._buffer) < size:
                break
            frames.append(bytes(self._buffer[:size]))
            del self._buffer[:size]
        return frames


def crc16(data: bytes) -> int:
    """Checksum of a serial frame (MODBUS over Serial Line V1.02, 6.2.2)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def _checked(body: bytes) -> bytes:
    return body + crc16(body).to_bytes(2, "little")


def _identification_size(data: bytes | bytearray) -> int | None:
    """Of an answer to 43/14: objects behind an eight byte head, each with its own length (6.21)."""
    if len(data) < 8:
        return None
    at = 8
    for _ in range(data[7]):
        if len(data) < at + 2:
            return None
        at += 2 + data[at + 1]
    return at + 2
