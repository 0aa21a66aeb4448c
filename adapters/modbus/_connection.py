"""One TCP connection to a gateway: one request in flight, closed at the first doubt."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self, cast

from adapters.modbus.codec import (
    DeviceRefusedError,
    Doubt,
    Frame,
    MbapFramer,
    ProtocolDoubtError,
    Request,
    verified_data,
)
from telemetry.errors import UnavailableError


class ReplyTimeoutError(UnavailableError):
    """No reply in time; the connection is closed, so that a late one is never read."""


class ConnectionLostError(UnavailableError):
    """The connection cannot be made, or the other side closed it."""


class _Receiver(asyncio.Protocol):
    """Hands exactly one frame to exactly one waiting request; everything else is a doubt."""

    def __init__(self) -> None:
        self._framer = MbapFramer()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Frame] | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.fault: ProtocolDoubtError | ConnectionLostError | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._framer.feed(data)
        try:
            while (frame := self._framer.next_frame()) is not None:
                if self._waiter is None or self._waiter.done():
                    raise ProtocolDoubtError(
                        Doubt.UNSOLICITED, f"a frame of unit {frame.unit} that nobody asked for"
                    )
                self._waiter.set_result(frame)
        except ProtocolDoubtError as doubt:
            self._fail(doubt)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionLostError(f"the gateway closed the connection ({exc or 'end of stream'})"))
        if not self._closed.done():
            self._closed.set_result(None)

    async def exchange(self, request: Request, timeout_s: float) -> Frame:
        if self.fault is None and self._framer.pending:
            self._fail(
                ProtocolDoubtError(Doubt.UNSOLICITED, f"{self._framer.pending} bytes before a request")
            )
        if self.fault is not None or self._transport is None:
            raise self.fault or ConnectionLostError("there is no connection")
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request.encode())
        try:
            async with asyncio.timeout(timeout_s):
                frame = await self._waiter
        except TimeoutError:
            raise ReplyTimeoutError(f"unit {request.unit} did not answer within {timeout_s:g} s") from None
        if self.fault is not None:
            raise self.fault
        return frame

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def closed(self) -> None:
        await self._closed

    def _fail(self, fault: ProtocolDoubtError | ConnectionLostError) -> None:
        if self.fault is None:
            self.fault = fault
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self.fault)
        self.abort()


class Connection:
    """An open connection; use it as ``async with await Connection.open(...)``."""

    def __init__(self, receiver: _Receiver) -> None:
        self._receiver = receiver
        self._transaction = 0
        self.usable = True
        """False once a request failed in a way that leaves the stream unproven."""

    @classmethod
    async def open(cls, host: str, port: int, timeout_s: float) -> Self:
        """Connects.

        Raises
        ------
        ConnectionLostError
            Refused, unreachable, or no answer within ``timeout_s``.

        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                _, receiver = await loop.create_connection(_Receiver, host, port)
        except TimeoutError:
            raise ConnectionLostError(f"{host}:{port} did not accept within {timeout_s:g} s") from None
        except OSError as error:
            raise ConnectionLostError(f"{host}:{port} cannot be reached: {error.strerror or error}") from None
        return cls(receiver)

    @property
    def alive(self) -> bool:
        """True while the next request may be sent."""
        return self.usable and self._receiver.fault is None

    @property
    def fault(self) -> ProtocolDoubtError | ConnectionLostError | None:
        """What ended the connection, if it was not a time-out."""
        return self._receiver.fault

    def next_transaction(self) -> int:
        """A transaction identifier that was not used for the last 65,535 requests."""
        self._transaction = self._transaction % 0xFFFF + 1
        return self._transaction

    async def ask(self, request: Request, timeout_s: float) -> bytes:
        """Sends a request and returns the register bytes of its verified reply.

        After any error but a refusal, and after a cancellation, the connection is closed: no later request
        can receive this one's reply.

        Raises
        ------
        ReplyTimeoutError
            No reply within ``timeout_s``.
        ConnectionLostError
            The other side closed the connection.
        ProtocolDoubtError
            What came is not provably the reply.
        DeviceRefusedError
            The device answered with an exception; the connection stays usable.

        """
        self.usable = False
        try:
            frame = await self._receiver.exchange(request, timeout_s)
        except BaseException:
            self._receiver.abort()
            raise
        try:
            data = verified_data(request, frame)
        except ProtocolDoubtError:
            self._receiver.abort()
            raise
        except DeviceRefusedError:
            self.usable = True
            raise
        self.usable = True
        return data

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.usable = False
        self._receiver.abort()
        await self._receiver.closed()
