"""How long a reply is waited for: a silent unit must not cost the others of its line; pure."""

from __future__ import annotations

_SHARE = 0.05
"""Part of its period that a silent unit may cost the others in any case."""
_SLOWER = 3.0
"""A reply may take this much longer than the slowest of late, once a unit has been silent."""
_DECAY = 0.9
FULL_EVERY_S = 300.0
"""How often one unit that was never heard is given the full time, in case that it is slow [s]."""


class Patience:
    """Limits of the wait for replies of the units behind one gateway.

    Parameters
    ----------
    timeout_s
        Longest wait [s]; healthy units always get it.

    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._slowest_s: dict[int, float] = {}
        self._asked: set[int] = set()
        self._full_from: float = 0.0

    def heard(self, unit: int, round_trip_s: float) -> None:
        """Notes how long a reply took [s]."""
        slowest = self._slowest_s.get(unit)
        self._slowest_s[unit] = round_trip_s if slowest is None else max(round_trip_s, _DECAY * slowest)

    def forget(self, unit: int) -> None:
        """Forgets a unit that is not asked any more."""
        self._slowest_s.pop(unit, None)
        self._asked.discard(unit)

    def of(self, unit: int, *, failing: bool, period_s: float, free_s: float, now: float) -> float:
        """The wait for the next reply of a unit [s].

        One that answered last time, or was never asked, gets the full time. A silent one gets the time until
        the next healthy unit is due (``free_s``), but never less than a small part of its period or than its
        own replies took before.
        """
        first = unit not in self._asked
        self._asked.add(unit)
        if not failing or first:
            return self._timeout_s
        slowest = self._slowest_s.get(unit)
        if slowest is None and now >= self._full_from:
            self._full_from = now + FULL_EVERY_S
            return self._timeout_s
        least = max(_SHARE * period_s, _SLOWER * (slowest or 0.0))
        return min(self._timeout_s, max(least, free_s))
