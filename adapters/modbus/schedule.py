"""When each unit behind a gateway is polled: staggered, never overlapping, the healthy ones first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.backoff import Backoff


@dataclass(slots=True)
class _Turn:
    period_s: float
    first: float
    due: float
    backoff: Backoff
    failing: bool = False

    def slot_from(self, now: float) -> float:
        """The first time of the unit's own grid that is not before ``now``."""
        return self.first + math.ceil(max(0.0, now - self.first) / self.period_s - 1e-9) * self.period_s


class Schedule:
    """Due times of the units of one gateway; all times are monotonic [s].

    Unit i of n starts at the fraction i/n of its period, moved by ``shift`` (a fraction of the space between
    two units) so that gateways do not poll in step either. One unit is polled at a time, so nothing overlaps;
    slots that passed meanwhile are overruns.
    """

    def __init__(
        self, periods_s: Sequence[float], backoffs: Sequence[Backoff], now: float, shift: float = 0.0
    ) -> None:
        n = len(periods_s)
        self._turns = [
            _Turn(period, first, first, backoff)
            for i, (period, backoff) in enumerate(zip(periods_s, backoffs, strict=True))
            for first in [now + period * (i + shift) / n]
        ]

    def next(self, now: float) -> tuple[int, float]:
        """The unit to poll next and how long to wait before [s].

        Of the units that are due, those that answered last time go first; a failing one waits up to one of
        its periods longer for them, so that it costs the others least and is still never forgotten.
        """
        due = [i for i, turn in enumerate(self._turns) if turn.due <= now]
        if due:
            return min(due, key=self._urgency), 0.0
        soonest = min(range(len(self._turns)), key=lambda i: self._turns[i].due)
        return soonest, self._turns[soonest].due - now

    def answered(self, unit: int, now: float) -> int:
        """Plans the next poll after a successful one; returns the number of slots that were missed."""
        turn = self._turns[unit]
        turn.failing = False
        turn.backoff.reset()
        planned = turn.due + turn.period_s
        turn.due = turn.slot_from(max(planned - turn.period_s / 2, now))
        return max(0, round((turn.due - planned) / turn.period_s))

    def failed(self, unit: int, now: float) -> float:
        """Plans the next poll after a failed one, by the unit's own backoff; returns the pause [s]."""
        turn = self._turns[unit]
        turn.failing = True
        turn.due = turn.slot_from(now + turn.backoff.next())
        return turn.due - now

    def resume(self, now: float) -> None:
        """Moves every unit to its next own slot after the link was away; phases stay as they were."""
        for turn in self._turns:
            turn.due = turn.slot_from(now)

    def _urgency(self, unit: int) -> float:
        turn = self._turns[unit]
        return turn.due + (turn.period_s if turn.failing else 0.0)
