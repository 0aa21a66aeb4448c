"""What arrives on a connection: every frame goes to the one question that it answers, or is a doubt."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol, cast

from adapters.modbus.codec import (
    Doubt,
    Frame,
    MbapFramer,
    ProtocolDoubtError,
    Query,
    framed,
    holds_beginning,
    may_begin,
)
from adapters.modbus.rtu import RtuFramer, rtu_framed
from telemetry.errors import UnavailableError


class ReplyTimeoutError(UnavailableError):
    """No reply in time; the connection is closed or drained, so that a late one is never read."""

    def __init__(self, message: str, *, shared: bool = False) -> None:
        super().__init__(message)
        self.shared = shared
        """Whether other requests were in flight at the same time."""


class ConnectionLostError(UnavailableError):
    """The connection cannot be made, or the other side closed it."""

    def __init__(self, message: str, *, shared: bool = False) -> None:
        super().__init__(message)
        self.shared = shared
        """Whether several requests were in flight when it was closed."""


class ConnectionGivenUpError(UnavailableError):
    """The connection was closed for another request's sake; this one may be asked again at once."""


Fault = ProtocolDoubtError | ConnectionLostError | ConnectionGivenUpError


class Framer(Protocol):
    """Cuts a byte stream into frames."""

    @property
    def pending(self) -> int:
        """Bytes that belong to no returned frame [B]."""
        ...

    @property
    def begun(self) -> bytes:
        """The first of those bytes."""
        ...

    def feed(self, data: bytes) -> None:
        """Appends received bytes."""
        ...

    def next_frame(self) -> Frame | None:
        """The next complete frame."""
        ...


class Receiver(asyncio.BufferedProtocol):
    """Requests in flight and the stream of their replies.

    With numbers (TCP) several requests may be in flight and the first doubt ends the connection. Without
    (RTU framing) one may be, and after a doubt :meth:`calm` waits for silence.
    """

    def __init__(self, *, rtu: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._rtu = rtu
        self._framer: Framer = RtuFramer() if rtu else MbapFramer()
        # its own buffer: what the event loop would make for each read is large, and costs more than the reply
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[Frame]] = {}
        self._asked: dict[int, Query] = {}
        """Questions whose replies have not come."""
        self._shared: set[int] = set()
        self._deadlines: dict[int, tuple[float, int, float]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._heard = asyncio.Event()
        self.fault: Fault | None = None
        """What ended the connection."""
        self.doubtful = False
        """With RTU framing: something is on the line that nobody can place."""

    @property
    def unread(self) -> int:
        """Bytes that were received without a question [B]."""
        return self._framer.pending

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        self._heard.set()
        if self.doubtful:
            return
        self._framer.feed(bytes(self._view[:nbytes]))
        try:
            while (frame := self._framer.next_frame()) is not None:
                self._place(frame)
            if self._framer.pending and not self._rtu:
                self._check_begun()
        except ProtocolDoubtError as doubt:
            self._doubt(doubt)

    def connection_lost(self, exc: Exception | None) -> None:
        text = f"the gateway closed the connection ({exc or 'end of stream'})"
        self._end(ConnectionLostError(text, shared=len(self._waiting) > 1))
        if not self._closed.done():
            self._closed.set_result(None)

    async def exchange(self, query: Query, timeout_s: float) -> Frame:
        """Sends a question and waits for the frame that takes its number.

        Raises
        ------
        ReplyTimeoutError
            None came in time.
        ProtocolDoubtError
            Something came that cannot be placed.
        ConnectionLostError
            There is no connection any more.
        ConnectionGivenUpError
            Another request ended it.

        """
        if self.fault is None and self.unread and not self._asked:
            self._doubt(ProtocolDoubtError(Doubt.UNSOLICITED, f"{self.unread} bytes before a request"))
        if self.fault is not None or self._transport is None:
            raise self.fault or ConnectionLostError("there is no connection")
        number = 0 if self._rtu else query.transaction
        waiter: asyncio.Future[Frame] = self._loop.create_future()
        self._waiting[number] = waiter
        self._asked[number] = query
        if len(self._waiting) > 1:
            self._shared.update(self._waiting)
        self._expect(number, query.unit, timeout_s)
        try:
            self._transport.write(rtu_framed(query) if self._rtu else framed(query))
            frame = await waiter
        finally:
            self._waiting.pop(number, None)
            self._asked.pop(number, None)
            self._deadlines.pop(number, None)
            self._shared.discard(number)
        if self.fault is not None:
            raise self.fault
        if self.doubtful:
            raise ProtocolDoubtError(Doubt.UNSOLICITED, "more came than one reply", frame.pdu)
        return frame

    async def calm(self, quiet_s: float) -> None:
        """Discards what arrives until the line was silent for a time [s].

        Raises
        ------
        ConnectionLostError
            It does not become silent, or it is closed.

        """
        self.doubtful = True
        for _ in range(_MOST_WAITS):
            self._heard.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(quiet_s):
                    await self._heard.wait()
                continue
            self._framer = RtuFramer()
            self.doubtful = False
            return
        self._end(ConnectionLostError("the line does not become silent"))
        raise self.fault or ConnectionLostError("the line does not become silent")

    def abandon(self, reason: str) -> None:
        """Closes the connection; every other request in flight is told so."""
        self._end(ConnectionGivenUpError(reason))

    async def closed(self) -> None:
        """Returns when the transport has closed."""
        await self._closed

    def _place(self, frame: Frame) -> None:
        number = 0 if frame.transaction is None else frame.transaction
        waiter = self._waiting.get(number)
        if waiter is None or waiter.done():
            known = self._waiting and waiter is None
            reason = Doubt.TRANSACTION if known else Doubt.UNSOLICITED
            due = f" where {', '.join(map(str, sorted(self._waiting)))} is due" if known else ""
            detail = f"a frame of unit {frame.unit}, transaction {frame.transaction}, that nobody asked for"
            raise ProtocolDoubtError(reason, f"{detail}{due}", frame.pdu)
        self._asked.pop(number, None)
        if any(holds_beginning(frame.pdu, other) for other in self._asked.values()):
            raise ProtocolDoubtError(Doubt.LENGTH, "another reply begins within a reply", frame.pdu)
        waiter.set_result(frame)

    def _check_begun(self) -> None:
        """What came behind the last whole frame must be the beginning of a reply that is due."""
        begun = self._framer.begun
        if not any(may_begin(begun, query) for query in self._asked.values()):
            raise ProtocolDoubtError(Doubt.UNSOLICITED, "bytes that begin no reply that is due", begun)

    def _expect(self, number: int, unit: int, timeout_s: float) -> None:
        """Notes until when a reply must come; one timer serves all of them, since nearly all come in time."""
        due = self._loop.time() + timeout_s
        self._deadlines[number] = (due, unit, timeout_s)
        if self._alarm is None or due < self._alarm.when():
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_at(due, self._expire)

    def _expire(self) -> None:
        """Gives up the replies that are overdue."""
        now = self._loop.time()
        for number, (due, unit, timeout_s) in self._deadlines.items():
            waiter = self._waiting[number]
            if due <= now and not waiter.done():
                text = f"unit {unit} did not answer within {timeout_s:g} s"
                waiter.set_exception(ReplyTimeoutError(text, shared=number in self._shared))
        later = [due for due, _, _ in self._deadlines.values() if due > now]
        self._alarm = self._loop.call_at(min(later), self._expire) if later else None

    def _doubt(self, doubt: ProtocolDoubtError) -> None:
        if not self._rtu:
            self._end(doubt)
            return
        self.doubtful = True
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(doubt)

    def _end(self, fault: Fault) -> None:
        if self.fault is None:
            self.fault = fault
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(self.fault)
        self._heard.set()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._transport is not None:
            self._transport.abort()


_BUFFER = 8192
"""Bytes that are read at once; a full window of the longest replies [B]."""
_MOST_WAITS = 50
"""Noises after which a line that should be silent is given up."""
