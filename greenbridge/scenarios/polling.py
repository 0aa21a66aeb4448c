"""Polled devices in virtual time: the adapter's planner, codec and transitions over an in-memory link."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adapters.backoff import Backoff
from adapters.modbus.codec import (
    BlockDecoder,
    DeviceRefusedError,
    Doubt,
    MbapFramer,
    ProtocolDoubtError,
    Slot,
)
from adapters.modbus.codec import verified_data as verified
from adapters.modbus.config import GatewaySettings
from adapters.modbus.plan import plan_device
from adapters.modbus.unit import Poll, ReadState, Unit
from greenbridge.scenarios.memory import MemoryGateway
from simulators.faults.link import LinkFaults
from telemetry.batch import Columns, ReadingBatch
from telemetry.profiles import WordOrder
from telemetry.quality import Quality
from telemetry.site import SitePoint

_SPREAD = 0.9
"""Part of a second over which the polls of a gateway are spread after a step of the world."""


class _LostError(Exception):
    """A read without a sound answer."""

    def __init__(self, quality: Quality) -> None:
        self.quality = quality


@dataclass(slots=True)
class _Turn:
    """When a unit is due [s]."""

    unit: Unit
    phase_s: float
    due_s: float
    backoff: Backoff


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """A verified reply that is not decoded yet."""

    state: ReadState
    data: bytes
    t_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Harvest:
    """What a link gave in one step: replies to decode and readings that are known to be bad."""

    source: str
    session: int
    t_received: int
    replies: Sequence[Reply]
    failed: Sequence[Columns]


class PolledLink:
    """One gateway as its source sees it, one request in flight, in virtual seconds from the start.

    The times of polls are simpler than the source's: each unit has its own moment after each step of the
    world; a failing one pauses by the same growing delays.
    """

    def __init__(
        self,
        gateway: GatewaySettings,
        points: Sequence[SitePoint],
        device: MemoryGateway,
        faults: LinkFaults,
        start_ns: int,
    ) -> None:
        self.name = f"modbus/{gateway.id}"
        self.faults = faults
        self._gateway = gateway
        self._device = device
        self._start_ns = start_ns
        by_device: dict[str, list[SitePoint]] = {}
        for point in points:
            by_device.setdefault(point.key.device, []).append(point)
        uniform = random.Random(gateway.id).random  # noqa: S311 - jitter, not a secret
        n = len(by_device)
        self._turns = []
        for i, members in enumerate(by_device.values()):
            plan = plan_device(members[0].device, members)
            phase = _SPREAD * (i + 0.5) / n
            longest = max(plan.period_s, gateway.backoff_max_s)
            self._turns.append(_Turn(Unit(plan), phase, phase, Backoff(plan.period_s, longest, uniform)))
        self._backoff = Backoff(gateway.backoff_first_s, gateway.backoff_max_s, uniform)
        self._now = 0.0
        self._retry_at = 0.0
        self._framer: MbapFramer | None = None
        self._transaction = 0
        self._session = start_ns
        self.wrong: int = 0
        """Replies that were not provably the answer."""

    def advance(self, until_s: float) -> Harvest | None:
        """Polls what is due before a time [s]; None when nothing came of it."""
        replies: list[Reply] = []
        failed: list[Columns] = []
        while True:
            if self._framer is not None and not self.faults.accepts:
                self._framer = None
            turn = min(self._turns, key=lambda t: t.due_s)
            at = max(self._now, turn.due_s if self._framer is not None else self._retry_at)
            if at >= until_s:
                break
            self._now = at
            if self._framer is None:
                self._connect(failed)
            else:
                self._poll(turn, replies, failed)
        rows = [part for part in failed if len(part)]
        if not replies and not rows:
            return None
        return Harvest(self.name, self._session, self._wall(), replies, rows)

    def _wall(self) -> int:
        return self._start_ns + round(self._now * 1e9)

    def _connect(self, failed: list[Columns]) -> None:
        if not self.faults.accepts:
            now_ns = self._wall()
            failed += [
                state.failed(Quality.LINK_LOST, now_ns) for turn in self._turns for state in turn.unit.reads
            ]
            self._retry_at = self._now + self._backoff.next()
            return
        self._backoff.reset()
        self._framer = MbapFramer()
        self._session = max(self._wall(), self._session + 1)
        for turn in self._turns:
            turn.due_s = _slot(turn, max(self._now, turn.due_s))

    def _poll(self, turn: _Turn, replies: list[Reply], failed: list[Columns]) -> None:
        unit = turn.unit
        poll = Poll(unit)
        answered = True
        while (state := poll.next()) is not None:
            try:
                data = self._ask(state, unit)
            except DeviceRefusedError as refusal:
                if refusal.is_unreachable:
                    failed += poll.unanswered(state, Quality.DEVICE_TIMEOUT, self._wall())
                    answered = False
                elif not poll.refused(state, refusal):
                    failed.append(state.failed(Quality.DEVICE_REFUSED, self._wall()))
            except _LostError as lost:
                self._framer = None
                self._retry_at = self._now
                failed += poll.unanswered(state, lost.quality, self._wall())
                answered = False
            else:
                state.reported = None
                replies.append(Reply(state, data, self._wall()))
        if answered:
            turn.backoff.reset()
            turn.due_s = _slot(turn, max(self._now, turn.due_s) + 1e-6)
        else:
            turn.due_s = _slot(turn, self._now + turn.backoff.next())

    def _ask(self, state: ReadState, unit: Unit) -> bytes:
        self._transaction = self._transaction % 0xFFFF + 1
        request = state.read.request(self._transaction, unit.plan.unit)
        answer = self._device.answer(request.encode())
        framer, elapsed = self._framer, 0.0
        if framer is None:
            raise _LostError(Quality.LINK_LOST)
        frames = []
        try:
            if self.faults.healthy:
                framer.feed(answer)
                frames.append(framer.next_frame())
            else:
                for piece in self.faults.answer(answer):
                    elapsed += piece.after_s
                    if elapsed > self._gateway.timeout_s:
                        break
                    framer.feed(piece.data)
                    while (frame := framer.next_frame()) is not None:
                        frames.append(frame)
                if len(frames) > 1 or (frames and framer.pending):
                    raise ProtocolDoubtError(Doubt.UNSOLICITED, "more than one answer")
            if not frames or frames[0] is None:
                self._now += self._gateway.timeout_s
                raise _LostError(Quality.DEVICE_TIMEOUT)
            self._now += elapsed
            return verified(request, frames[0])
        except ProtocolDoubtError:
            self._now += elapsed
            self.wrong += 1
            raise _LostError(Quality.PROTOCOL_DOUBT) from None


def _slot(turn: _Turn, from_s: float) -> float:
    """The first moment of the unit's own grid that is not before a time [s]."""
    period = turn.unit.plan.period_s
    slots = -(-(from_s - turn.phase_s) // period)
    return turn.phase_s + max(0.0, slots) * period


class JointDecoder:
    """Decodes the replies of many reads with one call; a decoder is kept for each set of reads."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], _Together] = {}

    def decode(self, replies: Sequence[Reply]) -> Columns:
        """The readings of replies, in their order."""
        if not replies:
            return Columns.empty()
        key = tuple(id(reply.state.read) for reply in replies)
        together = self._known.get(key)
        if together is None:
            if len(self._known) > 64:
                self._known.clear()
            together = self._known[key] = _Together(replies)
        t_ns = np.repeat(np.array([reply.t_ns for reply in replies], np.int64), together.sizes)
        value, quality = together.decode(b"".join([reply.data for reply in replies]))
        return Columns(together.point, t_ns, value, quality)


class _Together:
    """The decoders of several reads as one, for each word order."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self._reads = [reply.state.read for reply in replies]  # keeps their ids from being used again
        self.sizes = [len(read.wanted) for read in self._reads]
        self.point: NDArray[np.uint32] = np.concatenate([read.point for read in self._reads])
        base = column = 0
        slots: dict[WordOrder, list[tuple[int, Slot]]] = {}
        for read in self._reads:
            for want in read.wanted:
                slot = replace(want.slot, offset=base + want.address - read.address)
                slots.setdefault(read.order, []).append((column, slot))
                column += 1
            base += read.count
        self._decoders = [
            (np.array([c for c, _ in members]), BlockDecoder([s for _, s in members], order))
            for order, members in slots.items()
        ]
        self._columns = column

    def decode(self, data: bytes) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        if len(self._decoders) == 1:
            return self._decoders[0][1].decode(data)
        value, quality = np.empty(self._columns), np.empty(self._columns, np.uint8)
        for columns, decoder in self._decoders:
            value[columns], quality[columns] = decoder.decode(data)
        return value, quality


def batch_of(harvest: Harvest, decoded: Columns, seq: int) -> ReadingBatch:
    """The batch that a source would hand over."""
    parts = [decoded, *harvest.failed]
    columns = [part for part in parts if len(part)]
    return ReadingBatch(
        harvest.source,
        harvest.session,
        seq,
        harvest.t_received,
        np.concatenate([part.point for part in columns]),
        np.concatenate([part.t_source for part in columns]),
        np.concatenate([part.value for part in columns]),
        np.concatenate([part.quality for part in columns]),
    )
