"""Asks one unit for its reads, and tells what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from adapters import metrics
from adapters.link import LinkState
from adapters.modbus._connection import Link
from adapters.modbus._rejects import Rejects
from adapters.modbus._window import Window
from adapters.modbus.burst import Burst, ConnectionGivenUpError, ConnectionLostError, Fault, ReplyTimeoutError
from adapters.modbus.codec import DeviceRefusedError, ProtocolDoubtError, Query, Request
from adapters.modbus.sunspec.chain import BASES, Chain, NotSunSpecError, survey
from adapters.modbus.unit import Answer, Poll, ReadState, Unit
from telemetry.batch import Columns
from telemetry.clock import Clock
from telemetry.profiles import RegisterTable
from telemetry.quality import Quality

_log = structlog.get_logger(__name__)


class UnansweredError(Exception):
    """A unit could not be read; ``quality`` says why, ``event`` is the counter."""

    def __init__(self, quality: Quality, event: str, error: str, *, shared: bool = False) -> None:
        super().__init__(error)
        self.quality = quality
        self.event = event
        self.shared = shared
        """Whether it may be due to several requests in flight."""


@dataclass(slots=True)
class Outcome:
    """What came of one poll."""

    columns: list[Columns | Answer] = field(default_factory=list)
    failure: UnansweredError | None = None
    requests: int = 0
    replies: int = 0
    """Those with data."""
    refusals: int = 0
    """Those with an exception."""
    slowest_s: float = 0.0
    """Longest wait for a sound reply [s]; 0 without any."""


class Reader:
    """Reads units over whatever connection there is, repeating what a line lost.

    Parameters
    ----------
    link
        State and counters of the link.
    clock
        Time.
    rejects
        Where rejected replies are kept.
    retries
        Repeats of a request without a sound reply while the connection stays open.

    """

    def __init__(self, link: LinkState, clock: Clock, rejects: Rejects, retries: int) -> None:
        self._link = link
        self._clock = clock
        self._rejects = rejects
        self._retries = retries
        self._round_trip = metrics.ROUND_TRIP.labels(link.name)

    async def poll(
        self, window: Window, unit: Unit, period_s: float, patience_s: float, outcome: Outcome
    ) -> None:
        """Reads what is due of a unit into ``outcome``, as many reads at a time as the window has room for.

        Raises
        ------
        ConnectionGivenUpError
            The connection was closed for another unit's sake; what was read until then is in ``outcome``.

        """
        poll = Poll(unit, period_s)
        try:
            await self._poll(window, unit, poll, patience_s, outcome)
        finally:
            outcome.columns += poll.answers()
            self._note(outcome)

    async def _poll(
        self, window: Window, unit: Unit, poll: Poll, patience_s: float, outcome: Outcome
    ) -> None:
        most = 1 if unit.failing else window.size  # a unit that may be silent is first asked for one thing
        while len(poll):
            places = await window.take(min(most, len(poll)))
            in_turn = window.size == 1
            states = poll.next(len(poll) if in_turn and not unit.failing else places)
            burst = Burst([state.request for state in states], in_turn=in_turn)
            try:
                burst = await self._exchange(window.connection, unit, burst, patience_s, outcome)
            except asyncio.CancelledError:
                self._take_answered(burst, states, poll, unit, outcome)
                raise
            finally:
                window.give_back(places)
            self._take(burst, states, poll, unit, outcome)
            most = window.size
        poll.end()

    def _take(
        self, burst: Burst, states: Sequence[ReadState], poll: Poll, unit: Unit, outcome: Outcome
    ) -> None:
        """What became of each read of a burst."""
        now_ns = self._clock.now_ns()
        if burst.fault is None or burst.in_turn:
            left = self._take_answered(burst, states, poll, unit, outcome)
        else:
            left = list(states)
        if burst.fault is not None:
            if isinstance(burst.fault, ConnectionGivenUpError):
                raise burst.fault
            outcome.failure = _failed(burst.fault, shared=not burst.in_turn and len(states) > 1)
        if outcome.failure is not None:
            outcome.columns += poll.unanswered(left, outcome.failure.quality, now_ns)

    def _take_answered(
        self, burst: Burst, states: Sequence[ReadState], poll: Poll, unit: Unit, outcome: Outcome
    ) -> list[ReadState]:
        """What became of the reads that were answered; returns the others."""
        now_ns = self._clock.now_ns()
        times_ns = [
            now_ns if at == burst.over_at else now_ns - int(1e9 * (burst.over_at - at))
            for at in burst.heard_at
        ]
        if not (burst.refusals or burst.unanswered):
            poll.answered(states, burst.data(), times_ns)
            return []
        left: list[ReadState] = []
        for state, content, at_ns in zip(states, burst.contents, times_ns, strict=True):
            if isinstance(content, bytes):
                poll.answered((state,), (content,), (at_ns,))
            elif content is None:
                left.append(state)
            elif content.is_unreachable:
                left.append(state)
                outcome.failure = UnansweredError(Quality.DEVICE_TIMEOUT, "gateway_timeouts", str(content))
            elif parts := poll.refused(state, content):
                _log.info(
                    "modbus_read_split", link=self._link.name, device=unit.plan.device, reads=len(parts)
                )
            else:
                self._note_refusal(unit, state, content)
                outcome.columns.append(state.failed(Quality.DEVICE_REFUSED, now_ns))
        return left

    async def discover(
        self, window: Window, unit: Unit, base: int | None, patience_s: float, outcome: Outcome
    ) -> Chain | None:
        """Walks the models of a SunSpec device; None, with the failure in ``outcome``, if it cannot."""
        walk = survey(BASES if base is None else (base,))
        try:
            address, count = next(walk)
            while True:
                request = Request(0, unit.plan.unit, RegisterTable.HOLDING, address, count)
                answer: bytes | None
                try:
                    answer = await self._ask(window, unit, request, patience_s, outcome)
                except DeviceRefusedError:
                    answer = None
                address, count = walk.send(answer)
        except StopIteration as end:
            chain: Chain = end.value
            return chain
        except NotSunSpecError as error:
            outcome.failure = UnansweredError(Quality.DEVICE_REFUSED, "not_sunspec", str(error))
        except UnansweredError as failed:
            outcome.failure = failed
        finally:
            self._note(outcome)
        return None

    async def _ask(
        self, window: Window, unit: Unit, request: Request, patience_s: float, outcome: Outcome
    ) -> bytes:
        await window.take(1)
        try:
            burst = Burst((request,))
            burst = await self._exchange(window.connection, unit, burst, patience_s, outcome)
        finally:
            window.give_back(1)
        if isinstance(burst.fault, ConnectionGivenUpError):
            raise burst.fault
        if burst.fault is not None:
            raise _failed(burst.fault)
        try:
            return burst.content()
        except DeviceRefusedError as refusal:
            if refusal.is_unreachable:
                raise UnansweredError(Quality.DEVICE_TIMEOUT, "gateway_timeouts", str(refusal)) from refusal
            raise

    async def _exchange(
        self, connection: Link, unit: Unit, burst: Burst, patience_s: float, outcome: Outcome
    ) -> Burst:
        """Asks, and again where a line lost the reply: only lines stay open then."""
        repeats = self._retries
        while True:
            before = burst.next
            if burst.in_turn:
                await self._ask_in_turn(connection, burst, patience_s, outcome)
            else:
                burst = await self._ask_at_once(connection, burst.queries, patience_s, outcome)
            if burst.fault is None:
                return burst
            if isinstance(burst.fault, ProtocolDoubtError):
                doubted = burst.doubted or burst.queries[burst.next if burst.in_turn else 0]
                await self._rejects.add(self._clock.now_ns(), unit.plan.device, str(doubted), burst.fault)
            if burst.in_turn and burst.next > before:
                repeats = self._retries
            if not repeats or not connection.alive:
                return burst
            repeats -= 1
            self._link.count("retries")

    async def _ask_in_turn(self, connection: Link, burst: Burst, patience_s: float, outcome: Outcome) -> None:
        sent, answered, refusals = burst.sent, burst.next, burst.refusals
        try:
            await connection.exchange_in_turn(burst, patience_s)
        finally:
            outcome.requests += burst.sent - sent
            outcome.refusals += burst.refusals - refusals
            outcome.replies += burst.next - answered - (burst.refusals - refusals)
            outcome.slowest_s = max(outcome.slowest_s, burst.slowest_s)

    async def _ask_at_once(
        self, connection: Link, queries: Sequence[Query], patience_s: float, outcome: Outcome
    ) -> Burst:
        outcome.requests += len(queries)
        burst = await connection.exchange(queries, patience_s)
        outcome.refusals += burst.refusals
        outcome.replies += 0 if burst.fault is not None else len(queries) - burst.refusals
        outcome.slowest_s = max(outcome.slowest_s, burst.slowest_s)
        return burst

    def _note(self, outcome: Outcome) -> None:
        """Counts what was asked and answered in a poll that is over."""
        self._link.count("requests", outcome.requests)
        if outcome.refusals:
            self._link.count("exceptions", outcome.refusals)
        if outcome.replies:
            self._link.count("replies", outcome.replies)
            self._round_trip.observe(outcome.slowest_s)
        outcome.requests = outcome.replies = outcome.refusals = 0

    def _note_refusal(self, unit: Unit, state: ReadState, refusal: DeviceRefusedError) -> None:
        first, last = state.read.address, state.read.end - 1
        text = f"{unit.plan.device}: registers {first}-{last}: {refusal}"
        self._link.failed(self._clock.now_ns(), text)
        if state.reported is not Quality.DEVICE_REFUSED:
            _log.warning(
                "modbus_read_refused",
                link=self._link.name,
                device=unit.plan.device,
                points=list(state.read.names),
                table=state.read.table.value,
                first=first,
                last=last,
                error=text,
            )


def _failed(fault: ReplyTimeoutError | Fault, *, shared: bool = False) -> UnansweredError:
    """What a fault means for the points that were asked for; ``shared`` if several were asked together."""
    if isinstance(fault, ProtocolDoubtError):
        return UnansweredError(Quality.PROTOCOL_DOUBT, "doubts", str(fault), shared=shared)
    if isinstance(fault, ReplyTimeoutError):
        return UnansweredError(Quality.DEVICE_TIMEOUT, "timeouts", str(fault), shared=fault.shared)
    shared = isinstance(fault, ConnectionLostError) and fault.shared
    return UnansweredError(Quality.LINK_LOST, "connections_lost", str(fault), shared=shared)
