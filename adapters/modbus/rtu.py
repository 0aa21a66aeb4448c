"""RTU framing without any input or output: on a serial line, or carried over TCP by a gateway.

Source: *MODBUS over Serial Line Specification and Implementation Guide V1.02* ("[SER]"), 2.5.1 and 6.2.2.
"""

from __future__ import annotations

from collections.abc import Mapping

from adapters.modbus.codec import READ_ONLY, Doubt, Frame, FunctionCode, ProtocolDoubtError, Query
from adapters.modbus.identification import size_of_reply

_EXCEPTION_BIT = 0x80
_REPLIES = {code.value for code in FunctionCode}
MAX_FRAME = 256
"""Largest frame [B], [SER] 2.5.1."""


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        rows.append(crc)
    return tuple(rows)


_CRC = _table()


def checksum(data: bytes) -> bytes:
    """The checksum as it is sent, low byte first, [SER] 6.2.2."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return bytes((crc & 0xFF, crc >> 8))


def rtu_framed(query: Query) -> bytes:
    """The frame of a question: unit, function code, data, checksum.

    Raises
    ------
    ValueError
        It would not only read.

    """
    pdu = query.pdu()
    if pdu[0] not in READ_ONLY:
        raise ValueError(f"function code {pdu[0]} is not one that only reads")
    body = bytes((query.unit,)) + pdu
    return body + checksum(body)


class RtuFramer:
    """Cuts replies out of a byte stream by the lengths that they state.

    A line marks the end of a frame by silence, which does not survive a computer's buffers; so the length
    follows from the content, and the checksum proves it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes that are received but belong to no returned frame [B]."""
        return len(self._buffer)

    @property
    def begun(self) -> bytes:
        """The first of those bytes."""
        return bytes(self._buffer[:8])

    def feed(self, data: bytes) -> None:
        """Appends received bytes; any cut of the stream gives the same frames."""
        self._buffer += data

    def clear(self) -> None:
        """Forgets what is incomplete, after the line was silent."""
        self._buffer.clear()

    def sound(self, begins: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """None: each frame must be looked at, since its checksum stands at its end."""
        return []

    def next_frame(self) -> Frame | None:
        """The next complete frame; None until more bytes are fed.

        Raises
        ------
        ProtocolDoubtError
            It is no reply, or its checksum is wrong; the stream is lost until the line is silent.

        """
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size = self._size()
        if size is None or len(buffer) < size:
            return None
        body = bytes(buffer[: size - 2])
        if buffer[size - 2 : size] != checksum(body):
            raise ProtocolDoubtError(Doubt.CHECKSUM, "the checksum is wrong", bytes(buffer))
        del buffer[:size]
        return Frame(None, body[0], body[1:])

    def _size(self) -> int | None:
        """Size of the frame with its checksum [B]; None while it is not known."""
        buffer = self._buffer
        function = buffer[1]
        if function & _EXCEPTION_BIT and function & ~_EXCEPTION_BIT in _REPLIES:
            return 5
        if function not in _REPLIES:
            raise ProtocolDoubtError(Doubt.FUNCTION, f"function code {function} is no reply", bytes(buffer))
        if function == FunctionCode.READ_DEVICE_IDENTIFICATION:
            told = size_of_reply(bytes(buffer[1:]))
            size = None if told is None else 3 + told
        else:
            size = 5 + buffer[2] if len(buffer) > 2 else None
        if (len(buffer) if size is None else size) > MAX_FRAME:
            raise ProtocolDoubtError(Doubt.LENGTH, f"a frame of more than {MAX_FRAME} bytes", bytes(buffer))
        return size


def silence_s(baudrate: int) -> float:
    """Least silence between two frames [s], [SER] 2.5.1.1: 3.5 characters, 1.75 ms above 19200 baud."""
    return 1.75e-3 if baudrate > 19200 else 3.5 * 11 / baudrate
