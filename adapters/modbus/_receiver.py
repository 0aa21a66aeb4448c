"""What arrives on a connection: every frame answers the one question that it belongs to, or is a doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol, cast

from adapters.modbus.burst import (
    Burst,
    ConnectionGivenUpError,
    ConnectionLostError,
    Content,
    Fault,
    ReplyTimeoutError,
)
from adapters.modbus.codec import (
    DeviceRefusedError,
    Doubt,
    Frame,
    MbapFramer,
    ProtocolDoubtError,
    Query,
    framed,
    holds_beginning,
    may_begin,
    verified,
)
from adapters.modbus.rtu import RtuFramer, rtu_framed


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

    def sound(self, begins: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """The next frames, as far as one look is enough to know whose replies they are."""
        ...

    def next_frame(self) -> Frame | None:
        """The next complete frame."""
        ...


class _ReplyDoubtError(Exception):
    """A doubt about the reply to one burst."""

    def __init__(self, doubt: ProtocolDoubtError, flight: Flight) -> None:
        super().__init__(str(doubt))
        self.doubt = doubt
        self.flight = flight


class Flight:
    """A burst on its way."""

    __slots__ = ("burst", "due", "over", "patience_s", "shared")

    def __init__(self, burst: Burst, patience_s: float, over: asyncio.Future[None]) -> None:
        self.burst = burst
        self.patience_s = patience_s
        self.due = burst.asked + patience_s
        """Until when the next reply must come [s]; each reply gives the others as long again."""
        self.over = over
        self.shared = not burst.in_turn and len(burst.queries) > 1
        """Whether several requests were in flight at one time."""

    def end(self) -> None:
        """Wakes who waits for it."""
        if not self.over.done():
            self.over.set_result(None)

    def fail(self, fault: ReplyTimeoutError | Fault, now: float) -> None:
        """Ends it with a reason, unless it has ended."""
        if not self.over.done():
            self.burst.fail(fault, now)
            self.over.set_result(None)


class Receiver(asyncio.BufferedProtocol):
    """Bursts in flight and the stream of replies to them.

    With numbers (TCP) several requests may be in flight and the first doubt ends the connection. Without
    (RTU framing) one may be, and after a doubt :meth:`calm` waits for silence. Replies are verified where
    they arrive, and who asked is woken once for all of a burst.
    """

    def __init__(self, *, rtu: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._rtu = rtu
        self._framer: Framer = RtuFramer() if rtu else MbapFramer()
        # its own buffer: what the event loop would make for each read is large, and costs more than the reply
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._transport: asyncio.Transport | None = None
        self._flights: list[Flight] = []
        self._due: dict[bytes, tuple[Flight, int]] = {}
        """The burst of each question whose reply has not come and its place there, by what that begins with:
        transaction and protocol; nothing with RTU framing."""
        self._begins: dict[bytes, bytes] = {}
        """Further bytes that each of those replies begins with, as :meth:`MbapFramer.sound` wants it."""
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
        now = self._loop.time()
        self._framer.feed(bytes(self._view[:nbytes]))
        answered: list[Flight] = []
        try:
            self._take(answered, now)
        except _ReplyDoubtError as told:
            self._doubt(told.doubt, now, told.flight)
            return
        except ProtocolDoubtError as doubt:
            self._doubt(doubt, now)
            return
        for flight in answered:
            flight.due = now + flight.patience_s
            burst = flight.burst
            if burst.done:
                flight.end()
            elif burst.in_turn and self._transport is not None:
                self._transport.write(self._framed(flight, burst.next))

    def _take(self, answered: list[Flight], now: float) -> None:
        """Gives every whole reply to its question; ``answered`` are the bursts of those."""
        framer = self._framer
        while True:
            for begin, pdu in framer.sound(self._begins):
                flight, i = self._placed(begin, pdu)
                flight.burst.answer(i, pdu[2:], now)
                if not answered or answered[-1] is not flight:
                    answered.append(flight)
            frame = framer.next_frame()
            if frame is None:
                break
            flight, i = self._placed(self._begin(frame), frame.pdu, frame)
            flight.burst.answer(i, self._said(frame, flight, i), now)
            answered.append(flight)
        if framer.pending and not self._rtu:
            self._check_begun()

    def connection_lost(self, exc: Exception | None) -> None:
        text = f"the gateway closed the connection ({exc or 'end of stream'})"
        self._end(ConnectionLostError(text, shared=self._in_flight() > 1))
        if not self._closed.done():
            self._closed.set_result(None)

    async def exchange(self, queries: Sequence[Query], numbers: Sequence[int], timeout_s: float) -> Burst:
        """Sends questions in one piece and waits until all are answered, or something speaks against it.

        Over TCP any fault and a cancellation end the connection.

        Parameters
        ----------
        queries
            The questions.
        numbers
            A number for each that no other in flight has; not used with RTU framing.
        timeout_s
            Longest wait for the first reply, and from each to the next [s].

        """
        burst = Burst(queries, self._loop.time(), numbers)
        await self._converse(burst, timeout_s)
        return burst

    async def exchange_in_turn(self, burst: Burst, numbers: Sequence[int], timeout_s: float) -> None:
        """As :meth:`exchange`, over TCP: each question is sent where the reply to the one before arrives."""
        burst.begin(self._loop.time(), numbers)
        await self._converse(burst, timeout_s)

    async def _converse(self, burst: Burst, timeout_s: float) -> None:
        now = burst.over_at
        if self.fault is None and self.unread and not self._due:
            self._doubt(ProtocolDoubtError(Doubt.UNSOLICITED, f"{self.unread} bytes before a request"), now)
        if self.fault is not None or self._transport is None:
            burst.fault = self.fault or ConnectionLostError("there is no connection")
            return
        flight = Flight(burst, timeout_s, self._loop.create_future())
        try:
            self._transport.write(self._sent(flight))
            await flight.over
        except BaseException as error:
            self._give_up(flight, error)
            raise
        finally:
            self._flights.remove(flight)
            if burst.unanswered:
                self._forget(flight)
        if burst.fault is None and (late := self._late_fault()) is not None:
            burst.fail(late, burst.over_at)
        if burst.fault is not None:
            self._give_up(flight, burst.fault)

    def _late_fault(self) -> Fault | None:
        """What came up after the last reply and before it was handed over."""
        if self.fault is None and self.doubtful:
            return ProtocolDoubtError(Doubt.UNSOLICITED, "more came than one reply")
        return self.fault

    def _sent(self, flight: Flight) -> bytes:
        """Notes what is due; returns what asks for it."""
        queries = flight.burst.queries
        if self._rtu:
            (query,) = queries
            self._due[b""], self._begins[b""] = (flight, 0), b""
            flight.burst.sent += 1
            data = rtu_framed(query)
        elif flight.burst.in_turn:
            data = self._framed(flight, flight.burst.next)
        else:
            data = b"".join([self._framed(flight, i) for i in range(len(queries))])
        self._flights.append(flight)
        if len(self._flights) > 1:
            for other in self._flights:
                other.shared = True
        self._set_alarm(flight.due)
        return data

    def _framed(self, flight: Flight, i: int) -> bytes:
        """What asks a question of a burst over TCP; from here on its reply is due."""
        burst = flight.burst
        query = burst.queries[i]
        frame = framed(query, burst.numbers[i])
        begin = frame[:4]
        self._due[begin] = flight, i
        self._begins[begin] = frame[:2] + query.answers if query.answers else b""
        burst.sent += 1
        return frame

    def _give_up(self, flight: Flight, error: BaseException) -> None:
        """A reply that is still to come must find nobody: over TCP nothing else is certain any more."""
        if not self._rtu:
            unit = flight.burst.queries[0].unit
            self.abandon(f"closed after unit {unit}: {str(error) or type(error).__name__}")

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

    def _placed(self, begin: bytes, pdu: bytes, frame: Frame | None = None) -> tuple[Flight, int]:
        """The question that a reply takes the number of."""
        found = self._due.pop(begin, None)
        if found is None:
            raise self._unplaced(frame)
        del self._begins[begin]
        for other in self._due:
            if other in pdu and holds_beginning(pdu, self._query(other)):
                raise ProtocolDoubtError(Doubt.LENGTH, "another reply begins within a reply", pdu)
        return found

    def _begin(self, frame: Frame) -> bytes:
        return b"" if frame.transaction is None else frame.transaction.to_bytes(2, "big") + b"\0\0"

    def _unplaced(self, frame: Frame | None) -> ProtocolDoubtError:
        numbers = sorted(int.from_bytes(begin[:2], "big") for begin in self._due)
        reason = Doubt.TRANSACTION if numbers else Doubt.UNSOLICITED
        due = f" where {', '.join(map(str, numbers))} is due" if numbers else ""
        what = "" if frame is None else f" of unit {frame.unit}, transaction {frame.transaction},"
        pdu = b"" if frame is None else frame.pdu
        return ProtocolDoubtError(reason, f"a frame{what} that nobody asked for{due}", pdu)

    def _said(self, frame: Frame, flight: Flight, i: int) -> Content:
        query = flight.burst.queries[i]
        if frame.transaction is not None:
            query = query.numbered(frame.transaction)
        try:
            return verified(query, frame)
        except DeviceRefusedError as refusal:
            return refusal
        except ProtocolDoubtError as doubt:
            flight.burst.doubted = query
            raise _ReplyDoubtError(doubt, flight) from doubt

    def _query(self, begin: bytes) -> Query:
        flight, i = self._due[begin]
        return flight.burst.queries[i].numbered(int.from_bytes(begin[:2], "big"))

    def _check_begun(self) -> None:
        """What came behind the last whole frame must be the beginning of a reply that is due."""
        begun = self._framer.begun
        if not any(may_begin(begun, self._query(begin)) for begin in self._due):
            raise ProtocolDoubtError(Doubt.UNSOLICITED, "bytes that begin no reply that is due", begun)

    def _in_flight(self) -> int:
        return sum(1 if flight.burst.in_turn else len(flight.burst.queries) for flight in self._flights)

    def _forget(self, flight: Flight) -> None:
        """Nothing is waited for any more: who asked has gone, or knows why there is no reply."""
        for begin in [begin for begin, (owner, _) in self._due.items() if owner is flight]:
            del self._due[begin], self._begins[begin]

    def _set_alarm(self, due: float) -> None:
        """One timer serves all bursts, since nearly all replies come in time."""
        if self._alarm is None or due < self._alarm.when():
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_at(due, self._expire)

    def _expire(self) -> None:
        """Gives up the bursts whose next reply is overdue."""
        self._alarm = None
        now = self._loop.time()
        for flight in self._flights:
            if flight.due <= now:
                unit = flight.burst.queries[0].unit  # the same for all
                text = f"unit {unit} did not answer within {flight.patience_s:g} s"
                flight.fail(ReplyTimeoutError(text, shared=flight.shared), now)
        later = [flight.due for flight in self._flights if flight.due > now]
        if later:
            self._set_alarm(min(later))

    def _doubt(self, doubt: ProtocolDoubtError, now: float, teller: Flight | None = None) -> None:
        """Ends every burst; where the doubt is of one of them, the others may be repeated."""
        if teller is not None:
            teller.fail(doubt, now)
        if not self._rtu:
            others = ConnectionGivenUpError(f"closed after {doubt}")
            self._end(doubt if teller is None else others, now)
            return
        self.doubtful = True
        for flight in self._flights:
            flight.fail(doubt, now)

    def _end(self, fault: Fault, now: float | None = None) -> None:
        if self.fault is None:
            self.fault = fault
        now = self._loop.time() if now is None else now
        for flight in self._flights:
            flight.fail(self.fault, now)
        self._heard.set()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._transport is not None:
            self._transport.abort()


_BUFFER = 16384
"""Bytes that are read at once; more than a full window of the longest replies [B]."""
_MOST_WAITS = 50
"""Noises after which a line that should be silent is given up."""
