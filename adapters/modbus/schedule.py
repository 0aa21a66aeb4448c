"""When each unit behind a gateway is polled: staggered, never overlapping, the healthy ones first."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from telemetry.backoff import Backoff

_SPREAD = (5**0.5 - 1) / 2
"""Multiples of the golden ratio spread over a period evenly, however many there are."""


@dataclass(slots=True, eq=False)
class _Member:
    """A unit with the turns of its different periods."""

    backoff: Backoff
    turns: list[int] = field(default_factory=list)
    failing: bool = False
    busy: bool = False


@dataclass(slots=True, eq=False)
class _Turn:
    unit: int
    period_s: float
    first: float
    due: float
    version: int = 0
    """Entries of the heaps with another version are out of date."""

    def slot_from(self, now: float) -> float:
        """The first time of the turn's own grid that is not before ``now``."""
        return self.first + math.ceil(max(0.0, now - self.first) / self.period_s - 1e-9) * self.period_s


class Taken(NamedTuple):
    """A turn that is being polled."""

    turn: int
    unit: int
    period_s: float


class Schedule:
    """Due times of the units of one gateway; all times are monotonic [s].

    A turn is one unit and one of its periods. Turn i of n starts at the fraction i/n of its period, moved by
    ``shift`` (a fraction of the space between two turns) so that gateways do not poll in step either. Polls
    of one unit never overlap; slots that passed meanwhile are overruns.

    Parameters
    ----------
    periods_s
        Of each unit, by its number, the periods of its reads [s].
    backoffs
        Of each unit, by its number, its growing pauses while it fails.
    now
        Monotonic time of the start [s].
    shift
        Fraction of the space between two turns.

    """

    def __init__(
        self,
        periods_s: Mapping[int, Sequence[float]],
        backoffs: Mapping[int, Backoff],
        now: float,
        shift: float = 0.0,
    ) -> None:
        self._members: dict[int, _Member] = {}
        self._turns: dict[int, _Turn] = {}
        self._next_turn = 0
        self._waiting: list[tuple[float, int, int]] = []
        self._ready: list[tuple[float, int, int]] = []
        count = sum(len(periods) for periods in periods_s.values())
        for unit, periods in periods_s.items():
            phases = [(self._next_turn + i + shift) / count for i in range(len(periods))]
            self._enter(unit, periods, backoffs[unit], now, phases)

    def add(self, unit: int, periods_s: Sequence[float], backoff: Backoff, now: float) -> None:
        """Takes in another unit, with a number that none has had before; the others stay as they are."""
        phases = [(self._next_turn + i) * _SPREAD % 1.0 for i in range(len(periods_s))]
        self._enter(unit, periods_s, backoff, now, phases)

    def remove(self, unit: int) -> None:
        """Forgets a unit, also while it is being polled: how that ends makes no difference any more."""
        for turn in self._members.pop(unit).turns:
            del self._turns[turn]

    def _enter(
        self, unit: int, periods_s: Sequence[float], backoff: Backoff, now: float, phases: Sequence[float]
    ) -> None:
        member = self._members[unit] = _Member(backoff)
        for period, phase in zip(periods_s, phases, strict=True):
            turn, self._next_turn = self._next_turn, self._next_turn + 1
            first = now + period * phase
            member.turns.append(turn)
            self._turns[turn] = _Turn(unit, period, first, first)
            self._plan(turn, first)

    def wait_s(self, now: float) -> float:
        """How long until a unit is due [s]; 0 when one is, infinite when all are being polled."""
        self._collect(now)
        if self._ready:
            return 0.0
        self._clean(self._waiting)
        return max(0.0, self._waiting[0][0] - now) if self._waiting else math.inf

    def take(self, now: float) -> Taken | None:
        """The turn to poll now; None while nothing is due.

        Of the units that are due, those that answered last time go first; a failing one waits up to one of
        its periods longer for them, so that it costs the others least and is still never forgotten. The turn
        must be ended by :meth:`answered` or :meth:`failed`.
        """
        self._collect(now)
        if not self._ready:
            return None
        _, turn, _ = heapq.heappop(self._ready)
        entry = self._turns[turn]
        entry.version += 1
        self._members[entry.unit].busy = True
        for other in self._members[entry.unit].turns:
            if other != turn:
                self._turns[other].version += 1
        return Taken(turn, entry.unit, entry.period_s)

    def free_s(self, now: float) -> float:
        """How long until a healthy unit is due [s], at most; infinite when none is healthy."""
        soonest = math.inf
        for turn in self._turns.values():
            member = self._members[turn.unit]
            if not member.failing and not member.busy:
                soonest = min(soonest, turn.due)
        return max(0.0, soonest - now)

    def is_failing(self, unit: int) -> bool:
        """Whether a unit did not answer when it was asked last."""
        return self._members[unit].failing

    def answered(self, turn: int, now: float) -> int:
        """Plans the next poll after a successful one; returns the number of slots that were missed."""
        entry = self._turns.get(turn)
        if entry is None:
            return 0
        member = self._members[entry.unit]
        recovered, member.failing, member.busy = member.failing, False, False
        member.backoff.reset()
        planned = entry.due + entry.period_s
        due = entry.slot_from(max(planned - entry.period_s / 2, now))
        for other in member.turns:
            if other != turn:
                late = self._turns[other]
                self._plan(other, late.slot_from(now) if recovered else late.due)
        self._plan(turn, due)
        return max(0, round((due - planned) / entry.period_s))

    def failed(self, turn: int, now: float) -> float:
        """Plans the next poll of a unit after a failed one, by its own backoff; returns the pause [s]."""
        if turn not in self._turns:
            return 0.0
        member = self._members[self._turns[turn].unit]
        member.failing, member.busy = True, False
        pause = member.backoff.next()
        for other in member.turns:
            self._plan(other, self._turns[other].slot_from(now + pause))
        return min(self._turns[other].due for other in member.turns) - now

    def postponed(self, turn: int, until: float) -> None:
        """Puts a turn back that was not polled after all."""
        if turn not in self._turns:
            return
        member = self._members[self._turns[turn].unit]
        member.busy = False
        for other in member.turns:
            self._plan(other, max(until, self._turns[other].due) if other == turn else self._turns[other].due)

    def resume(self, now: float) -> None:
        """Moves every unit to its next own slot after the link was away; phases stay as they were."""
        for member in self._members.values():
            member.busy = False
        for i, turn in self._turns.items():
            self._plan(i, turn.slot_from(now))

    def _plan(self, turn: int, due: float) -> None:
        entry = self._turns[turn]
        entry.due = due
        entry.version += 1
        heapq.heappush(self._waiting, (due, turn, entry.version))

    def _collect(self, now: float) -> None:
        """Moves what is due to the heap that is ordered by urgency."""
        while self._waiting and self._waiting[0][0] <= now:
            due, turn, version = heapq.heappop(self._waiting)
            entry = self._turns.get(turn)
            if entry is not None and version == entry.version:
                failing = self._members[entry.unit].failing
                heapq.heappush(self._ready, (due + self._shortest(entry) * failing, turn, version))
        self._clean(self._ready)

    def _shortest(self, turn: _Turn) -> float:
        return min(self._turns[other].period_s for other in self._members[turn.unit].turns)

    def _clean(self, heap: list[tuple[float, int, int]]) -> None:
        while heap and ((entry := self._turns.get(heap[0][1])) is None or entry.version != heap[0][2]):
            heapq.heappop(heap)
