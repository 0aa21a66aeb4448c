"""Simulated Modbus devices behind a connection in memory.

Framing and exceptions after *MODBUS Application Protocol Specification V1.1b3*, sections 4.1, 6.3 and 7,
written apart from the adapter's codec.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping

from simulators.devices.identification import Refusal
from simulators.devices.modbus import Unit
from simulators.faults.link import LinkFaults

_REQUEST = struct.Struct(">HHHBBHH")
_HEAD = struct.Struct(">HHHBB")
_READS = frozenset({3, 4})


class MemoryGateway:
    """Units behind one address. An answer takes no time unless a fault of the link delays it.

    Parameters
    ----------
    units
        The devices, by unit identifier.
    faults
        What is wrong with the link.

    """

    def __init__(self, units: Mapping[int, Unit], faults: LinkFaults) -> None:
        self._units = dict(units)
        self._faults = faults
        self._open: set[_Connection] = set()

    def connect(self, protocol: asyncio.BufferedProtocol) -> asyncio.Transport:
        """Accepts a connection.

        Raises
        ------
        ConnectionRefusedError
            The link is down.

        """
        if not self._faults.accepts:
            raise ConnectionRefusedError("connection refused")
        connection = _Connection(self, protocol)
        self._open.add(connection)
        protocol.connection_made(connection)
        return connection

    def follow(self) -> None:
        """Breaks every connection off if the link went down."""
        if not self._faults.accepts:
            for connection in list(self._open):
                connection.abort()

    def forget(self, connection: _Connection) -> None:
        """Notes the end of a connection."""
        self._open.discard(connection)

    def handle(self, request: bytes, connection: _Connection) -> None:
        """Answers one request, with what the link makes of the answer."""
        answer = self.answer(request)
        if self._faults.healthy:
            connection.arrive(answer)
            return
        delay_s = 0.0
        for piece in self._faults.answer(answer):
            delay_s += piece.after_s
            if delay_s:
                asyncio.get_running_loop().call_later(delay_s, connection.arrive, piece.data)
            else:
                connection.arrive(piece.data)

    def answer(self, request: bytes) -> bytes:
        """The frame with which a unit answers a frame."""
        transaction, _, _, unit_id, function, address, count = _REQUEST.unpack(request)
        unit = self._units.get(unit_id)
        if unit is None:
            words: list[int] | Refusal = Refusal.TARGET_FAILED
        elif unit.exception is not None:
            words = unit.exception
        elif function not in _READS:
            words = Refusal.ILLEGAL_FUNCTION
        else:
            words = unit.read(function, address, count)
        if isinstance(words, Refusal):
            return _HEAD.pack(transaction, 0, 3, unit_id, function | 0x80) + bytes([words])
        size = 2 * len(words)
        head = _HEAD.pack(transaction, 0, 3 + size, unit_id, function)
        return head + struct.pack(f">B{len(words)}H", size, *words)


class _Connection(asyncio.Transport):
    """The client's end of a connection."""

    def __init__(self, gateway: MemoryGateway, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__()
        self._gateway = gateway
        self._protocol = protocol
        self._closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        for at in range(0, len(data), _REQUEST.size):
            if not self._closed:
                self._gateway.handle(bytes(data[at : at + _REQUEST.size]), self)

    def arrive(self, data: bytes) -> None:
        """Hands bytes to the client, unless it has hung up."""
        while data and not self._closed:
            buffer = memoryview(self._protocol.get_buffer(len(data)))
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            self._protocol.buffer_updated(count)
            data = data[count:]

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            self._gateway.forget(self)
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)
