"""A Modbus TCP responder for load: every request that arrives together is answered in one write."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from types import TracebackType
from typing import Self, cast

from simulators.load.answers import Answers, exception
from simulators.load.config import ModbusLoad
from telemetry.errors import UnavailableError

_HEAD = 6
"""Bytes up to and including the length field ([TCP] 3.1.3)."""
_READ = 12
"""Size of a read request."""
_LENGTHS = range(2, 255)
"""Unit and a function code of 1 to 253 bytes ([APP] 4.1)."""
_BACKLOG = 1024
_BUFFER = 8192
"""Bytes read at once; bounds what a client can make a connection answer before it reads."""


class LoadResponder:
    """Answers reads of 1 to 125 holding or input registers; ``async with`` listens and, at the end, closes.

    Other functions, units and quantities get their exceptions. What cannot be Modbus closes its connection.
    A client that does not read what it asked for is not read from either, so that memory stays bounded.

    Raises
    ------
    UnavailableError
        On entering: a port cannot be listened on; then none is.

    """

    def __init__(self, settings: ModbusLoad) -> None:
        self._settings = settings
        self._servers: list[asyncio.Server] = []
        self.answers = Answers(settings.units)
        self.connections: set[asyncio.Transport] = set()
        """Those open now."""
        self.ports: tuple[int, ...] = ()
        """TCP ports that are listened on."""
        self.requests = 0
        """Requests answered, with exceptions or without."""
        self.exceptions = 0
        """Requests that got an exception."""
        self.malformed = 0
        """Connections closed for bytes that are not Modbus."""
        self.refused = 0
        """Connections closed because there were too many."""

    @property
    def full(self) -> bool:
        """True when no further connection is taken."""
        return len(self.connections) >= self._settings.max_connections

    async def __aenter__(self) -> Self:
        with ExitStack() as stack:
            listeners = [stack.enter_context(self._listener(i)) for i in range(self._settings.ports)]
            stack.pop_all()
        self.ports = tuple(int(listener.getsockname()[1]) for listener in listeners)
        loop = asyncio.get_running_loop()
        self._servers = [
            await loop.create_server(lambda: _Connection(self), sock=listener, backlog=_BACKLOG)
            for listener in listeners
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for transport in tuple(self.connections):
            transport.abort()
        for server in self._servers:
            await server.wait_closed()
        self._servers = []

    def _listener(self, position: int) -> socket.socket:
        host = self._settings.host
        port = self._settings.port and self._settings.port + position
        try:
            return socket.create_server((host, port), backlog=_BACKLOG)
        except OSError as error:
            raise UnavailableError(
                f"load responder: cannot listen on {host}:{port} ({error.strerror or error}); "
                "stop what holds it or choose another port"
            ) from None


class _Connection(asyncio.BufferedProtocol):
    """One client. Holds at most one incomplete request beyond what arrived last."""

    def __init__(self, responder: LoadResponder) -> None:
        self._responder = responder
        self._answers = responder.answers
        self._known = responder.answers.known
        self._buffer = bytearray(_BUFFER)
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._responder.full:
            self._responder.refused += 1
            self._transport.abort()
        else:
            self._responder.connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._responder.connections.discard(self._transport)

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """The loop below is what a benchmark pays for each request: one slice and one look-up."""
        data = self._rest + self._buffer[:nbytes]
        known = self._known
        out: list[bytes] = []
        at = 0
        while True:
            answer = known.get(data[at + 2 : at + _READ])
            if answer is None:
                end = _frame_end(data, at)
                if end is None:
                    break
                if not end:
                    self._responder.malformed += 1
                    self._send(out)
                    self._transport.close()
                    return
                answer = self._put_together(data[at + 2 : end])
            else:
                end = at + _READ
            out += (data[at : at + 2], answer)
            at = end
        self._rest = data[at:]
        self._send(out)

    def _send(self, out: list[bytes]) -> None:
        if out:
            self._responder.requests += len(out) // 2
            self._transport.write(b"".join(out))

    def _put_together(self, request: bytes) -> bytes:
        if code := self._answers.refusal(request):
            self._responder.exceptions += 1
            return exception(request, code)
        return self._answers.read(request)


def _frame_end(data: bytes, at: int) -> int | None:
    """Where the frame that begins at a position ends; None until it is complete, 0 if it is no Modbus."""
    if data[at + 2 : at + 4].strip(b"\0"):
        return 0
    if len(data) < at + _HEAD:
        return None
    length = int.from_bytes(data[at + 4 : at + _HEAD], "big")
    if length not in _LENGTHS:
        return 0
    end = at + _HEAD + length
    return end if end <= len(data) else None
