"""One device behind a gateway and what was last told of each of its reads; pure.

A failure is told once, when it begins: a value that is not known is never sent again with a fresh time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from adapters.modbus.codec import DeviceRefusedError, Request
from adapters.modbus.decoding import BlockDecoder, Reply
from adapters.modbus.plan import DevicePlan, Read
from telemetry.batch import Columns
from telemetry.profiles import RegisterTable
from telemetry.quality import Quality

MAX_REST = 600
"""Most polls for which an address that does not exist is left out before it is asked for again."""


class Answer:
    """The readings of replies to reads that are decoded alike; decoded when they are asked for."""

    __slots__ = ("_reads", "_reply", "_times_ns")

    def __init__(self, reads: Sequence[Read], times_ns: Sequence[int], reply: Reply) -> None:
        self._reads = reads
        self._times_ns = times_ns
        self._reply = reply

    def __len__(self) -> int:
        return len(self._reads) * len(self._reads[0].point)

    def columns(self) -> Columns:
        """The readings."""
        return self.joined([self])

    @classmethod
    def joined(cls, answers: Sequence[Answer]) -> Columns:
        """The readings of at least one answer, one after the other."""
        decoded = [answer._reply.decoded() for answer in answers]
        points = [read.point for answer in answers for read in answer._reads]
        t_ns = np.array([at for answer in answers for at in answer._times_ns], np.int64)
        return Columns(
            np.concatenate(points),
            np.repeat(t_ns, [len(point) for point in points]),
            np.concatenate([value for value, _ in decoded]),
            np.concatenate([quality for _, quality in decoded]),
        )


class ReadState:
    """A read of a unit and the bad quality last reported for its points."""

    def __init__(self, read: Read, unit: int) -> None:
        self.read = read
        self.period_s = read.period_s
        self.request: Request = read.request(unit)
        self.reported: Quality | None = None
        self._rest = 0
        self._next_rest = 1

    def answered(self) -> None:
        """Its points are well."""
        self.reported = None
        self._next_rest = 1

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
        self.reads = [ReadState(read, plan.unit) for read in plan.reads]
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
        self.reads = [known.get(_identity(read)) or ReadState(read, plan.unit) for read in plan.reads]
        self._refused.clear()
        told, self._told_absent = self._told_absent, frozenset(want.index for want in plan.absent)
        new = sorted(self._told_absent - told)
        n = len(new)
        return Columns.of(new, np.full(n, now_ns), np.full(n, np.nan), np.full(n, Quality.NOT_IMPLEMENTED))

    def split(self, state: ReadState) -> list[ReadState]:
        """Replaces a read by smaller ones; returns those, or nothing if it is a single value."""
        parts = [ReadState(read, self.plan.unit) for read in state.read.smaller()]
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
                    joined[-1] = ReadState(one.with_(two), self.plan.unit)
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
    """One poll of a unit: which reads are due next, and what the outcome of each means for the others.

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
            [
                state
                for state in unit.reads
                if (period_s is None or state.period_s == period_s) and state.is_due()
            ]
        )
        self._answered: list[ReadState] = []
        self._contents: list[bytes] = []
        self._times_ns: list[int] = []
        self._split = False

    def __len__(self) -> int:
        """Reads that are still to be asked for."""
        return len(self._waiting)

    def next(self, most: int) -> list[ReadState]:
        """The reads to ask for now, at most so many; of each, one of the other methods must be told."""
        if most >= len(self._waiting):
            states = list(self._waiting)
            self._waiting.clear()
            return states
        return [self._waiting.popleft() for _ in range(most)]

    def answered(
        self, states: Sequence[ReadState], contents: Sequence[bytes], times_ns: Sequence[int]
    ) -> None:
        """Takes the data of reads, each with the time of receipt of its reply [ns, UTC]."""
        self._answered += states
        self._contents += contents
        self._times_ns += times_ns

    def answers(self) -> list[Answer]:
        """The readings of all that was answered; to be called once, at the end."""
        alike: dict[BlockDecoder, list[int]] = {}
        for i, state in enumerate(self._answered):
            state.answered()
            decoder = state.read.decoder
            if decoder in alike:
                alike[decoder].append(i)
            else:
                alike[decoder] = [i]
        return [
            Answer(
                [self._answered[i].read for i in members],
                [self._times_ns[i] for i in members],
                decoder.later(b"".join([self._contents[i] for i in members]), len(members)),
            )
            for decoder, members in alike.items()
        ]

    def refused(self, state: ReadState, refusal: DeviceRefusedError) -> list[ReadState]:
        """The reads that take the place of one that the device refused; empty if it stays refused."""
        if not refusal.is_splittable:
            return []
        parts = self._unit.split(state)
        if not parts:
            state.rest()
        self._split = True
        self._waiting.extendleft(reversed(parts))
        return parts

    def unanswered(self, states: Sequence[ReadState], quality: Quality, now_ns: int) -> list[Columns]:
        """Ends the poll: what its outcome makes of these reads and of those that were not asked any more."""
        failed = [state.failed(quality, now_ns) for state in (*states, *self._waiting)]
        self._waiting.clear()
        return failed

    def end(self) -> None:
        """To be called when nothing waits any more: puts together what the search took apart."""
        if self._split:
            self._unit.join(self._answered)


def _identity(read: Read) -> tuple[object, ...]:
    return (read.table, read.order, read.wanted)
