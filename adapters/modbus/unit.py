"""One device behind a gateway and what was last told of each of its reads; pure.

A failure is told once, when it begins: a value that is not known is never sent again with a fresh time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adapters.modbus.codec import DeviceRefusedError
from adapters.modbus.decoding import Reply
from adapters.modbus.plan import DevicePlan, Read
from telemetry.batch import Columns
from telemetry.profiles import RegisterTable
from telemetry.quality import Quality

MAX_REST = 600
"""Most polls for which an address that does not exist is left out before it is asked for again."""


class Answer:
    """The readings of a reply, decoded when they are asked for."""

    __slots__ = ("_now_ns", "_point", "_reply")

    def __init__(self, point: NDArray[np.uint32], now_ns: int, reply: Reply) -> None:
        self._point = point
        self._now_ns = now_ns
        self._reply = reply

    def __len__(self) -> int:
        return len(self._point)

    def columns(self) -> Columns:
        """The readings."""
        return self.joined([self])

    @classmethod
    def joined(cls, answers: Sequence[Answer]) -> Columns:
        """The readings of at least one answer, one after the other."""
        decoded = [answer._reply.decoded() for answer in answers]
        t_ns = np.array([answer._now_ns for answer in answers], np.int64)
        return Columns(
            np.concatenate([answer._point for answer in answers]),
            np.repeat(t_ns, [len(answer) for answer in answers]),
            np.concatenate([value for value, _ in decoded]),
            np.concatenate([quality for _, quality in decoded]),
        )


class ReadState:
    """A read and the bad quality last reported for its points."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.reported: Quality | None = None
        self._rest = 0
        self._next_rest = 1

    def answered(self, data: bytes, now_ns: int) -> Answer:
        """The readings of a verified reply, stamped at its receipt [ns, UTC]."""
        self.reported = None
        self._next_rest = 1
        return Answer(self.read.point, now_ns, self.read.decoder.later(data))

    def failed(self, quality: Quality, now_ns: int) -> Columns:
        """The points as bad from now on [ns, UTC]; empty when that is known already."""
        if self.reported is quality:
            return Columns.empty()
        self.reported = quality
        n = len(self.read.point)
        return Columns.of(self.read.point, np.full(n, now_ns), np.full(n, np.nan), np.full(n, quality))

    def forget(self) -> None:
        """Tells a failure again even if it was told before: that may not have become durable."""
        self.reported = None

    def rest(self) -> None:
        """Leaves the read out of the next polls, of more each time: its address does not exist."""
        self._rest = self._next_rest
        self._next_rest = min(2 * self._next_rest, MAX_REST)

    def is_due(self) -> bool:
        """Whether this poll asks for it; to be called once for each poll."""
        if self._rest:
            self._rest -= 1
            return False
        return True

    def wake(self) -> None:
        """Asks for it in the next poll in any case."""
        self._rest, self._next_rest = 0, 1


class Unit:
    """One device with the reads of its plan."""

    def __init__(self, plan: DevicePlan) -> None:
        self.plan = plan
        self.reads = [ReadState(read) for read in plan.reads]
        self.failing = False
        self._refused: list[tuple[RegisterTable, int, int]] = []
        self._told_absent: frozenset[int] = frozenset()

    @property
    def periods_s(self) -> list[float]:
        """Different periods of its reads [s]."""
        return sorted({state.read.period_s for state in self.reads}) or [self.plan.period_s]

    def replace(self, plan: DevicePlan, now_ns: int) -> Columns:
        """Takes a new plan; what was told of reads that stay is kept.

        Returns the points that the device turned out not to have, unless that was told already.
        """
        known = {_identity(state.read): state for state in self.reads}
        self.plan = plan
        self.reads = [known.get(_identity(read)) or ReadState(read) for read in plan.reads]
        self._refused.clear()
        told, self._told_absent = self._told_absent, frozenset(want.index for want in plan.absent)
        new = sorted(self._told_absent - told)
        n = len(new)
        return Columns.of(new, np.full(n, now_ns), np.full(n, np.nan), np.full(n, Quality.NOT_IMPLEMENTED))

    def split(self, state: ReadState) -> list[ReadState]:
        """Replaces a read by smaller ones; returns those, or nothing if it is a single value."""
        parts = [ReadState(read) for read in state.read.smaller()]
        if not parts:
            return []
        self._refused.append((state.read.table, state.read.address, state.read.end))
        at = self.reads.index(state)
        self.reads[at : at + 1] = parts
        return parts

    def join(self, answered: list[ReadState]) -> None:
        """Puts neighbouring reads together again that a search for a bad register took apart.

        Only reads that were answered, without a register between them, and never a span that the device
        refused: so the search is not begun anew.
        """
        joined: list[ReadState] = []
        sound = set(map(id, answered))
        for state in self.reads:
            last = joined[-1] if joined else None
            if last is not None and id(last) in sound and id(state) in sound:
                one, two = last.read, state.read
                alike = (one.table, one.order, one.period_s) == (two.table, two.order, two.period_s)
                if (
                    alike
                    and two.address <= one.end
                    and self._allowed(one.table, one.address, max(one.end, two.end))
                ):
                    joined[-1] = ReadState(one.with_(two))
                    sound.add(id(joined[-1]))
                    continue
            joined.append(state)
        self.reads = joined

    def forget(self) -> None:
        """Tells again whatever is wrong, as if nothing had been told."""
        self._told_absent = frozenset()
        for state in self.reads:
            state.forget()

    def wake(self) -> None:
        """Asks for everything again in the next poll: the device may have changed while it was away."""
        for state in self.reads:
            state.wake()

    def _allowed(self, table: RegisterTable, start: int, end: int) -> bool:
        refused = any(kind is table and start <= first and last <= end for kind, first, last in self._refused)
        return not refused and self.plan.limits.allows(table, start, end)


class Poll:
    """One poll of a unit: which read is due next, and what its outcome means for the others.

    Parameters
    ----------
    unit
        The unit.
    period_s
        Takes only the reads of this period; all without one.

    """

    def __init__(self, unit: Unit, period_s: float | None = None) -> None:
        self._unit = unit
        self._waiting = deque(
            state
            for state in unit.reads
            if (period_s is None or state.read.period_s == period_s) and state.is_due()
        )
        self._asked: ReadState | None = None
        self._answered: list[ReadState] = []
        self._split = False

    def next(self) -> ReadState | None:
        """The read to ask for; None when the poll is over.

        A read that is followed by another call of this was answered, unless one of the other methods was
        told otherwise.
        """
        if self._asked is not None:
            self._answered.append(self._asked)
        self._asked = self._waiting.popleft() if self._waiting else None
        if self._asked is None and self._split:
            self._unit.join(self._answered)
        return self._asked

    def refused(self, state: ReadState, refusal: DeviceRefusedError) -> list[ReadState]:
        """The reads that take the place of one that the device refused; empty if it stays refused."""
        self._asked = None
        if not refusal.is_splittable:
            return []
        parts = self._unit.split(state)
        if not parts:
            state.rest()
        self._split = True
        self._waiting.extendleft(reversed(parts))
        return parts

    def unanswered(self, state: ReadState, quality: Quality, now_ns: int) -> list[Columns]:
        """Ends the poll: what its outcome makes of this read and of those that were not asked any more."""
        self._asked = None
        failed = [s.failed(quality, now_ns) for s in (state, *self._waiting)]
        self._waiting.clear()
        return failed


def _identity(read: Read) -> tuple[object, ...]:
    return (read.table, read.order, read.wanted)
