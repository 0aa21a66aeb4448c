"""Energy over time from the readings of counters and of power; pure.

A curve gives the energy since its first reading at any time, piecewise linear between readings. Sums over
neighbouring intervals are therefore exactly the difference over all of them: no energy is lost or counted
twice at a boundary.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from telemetry.quality import usable

SECOND = 1_000_000_000
_HOUR = 3600 * SECOND

PLAUSIBLE = 1.2
"""Multiple of the rating beyond which a counter's step is no energy: the meter was reset or exchanged."""


class Source(IntEnum):
    """What is known of the energy between two readings."""

    MEASURED = 0
    BRIDGED = 1
    """The energy over a gap is known, not its course: it is taken as even."""
    UNKNOWN = 2


class Share(NamedTuple):
    """Energy between two times, and how much of the time it is known for."""

    mwh: float
    measured_s: float
    bridged_s: float
    unknown_s: float

    def plus(self, other: Share, sign: float = 1.0) -> Share:
        """Sum of two energies over the same time: known only where both are."""
        unknown = max(self.unknown_s, other.unknown_s)
        total = self.measured_s + self.bridged_s + self.unknown_s
        bridged = min(max(self.bridged_s, other.bridged_s), total - unknown)
        return Share(self.mwh + sign * other.mwh, total - unknown - bridged, bridged, unknown)


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Readings of one point in order of time, each time once."""

    t: NDArray[np.int64]
    """[ns, UTC], ascending."""
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]

    @classmethod
    def none(cls) -> Readings:
        """No readings."""
        return cls(np.empty(0, np.int64), np.empty(0), np.empty(0, np.uint8))

    def __len__(self) -> int:
        return len(self.t)

    @property
    def good(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Times and values that may enter a formula."""
        use = usable(self.quality) & np.isfinite(self.value)
        return self.t[use], self.value[use]

    def between(self, start: int, end: int) -> Readings:
        """Those with start <= t < end [ns, UTC]."""
        first, last = np.searchsorted(self.t, [start, end])
        return Readings(self.t[first:last], self.value[first:last], self.quality[first:last])

    def joined(self, other: Readings) -> Readings:
        """With others, which win where both have a time."""
        t = np.concatenate([self.t, other.t])
        order = np.argsort(t, kind="stable")
        t = t[order]
        last = np.append(t[1:] != t[:-1], True) if len(t) else np.empty(0, np.bool_)
        value = np.concatenate([self.value, other.value])[order]
        quality = np.concatenate([self.quality, other.quality])[order]
        return Readings(t[last], value[last], quality[last])


class Curve:
    """Energy over time.

    Parameters
    ----------
    t
        Times of the readings [ns, UTC], ascending.
    energy
        Energy since the first of them [MWh].
    source
        What is known of each piece between two of them.

    """

    def __init__(self, t: NDArray[np.int64], energy: NDArray[np.float64], source: NDArray[np.uint8]) -> None:
        self._t = t
        self._energy = energy
        self._lengths = {
            kind: np.concatenate([[0.0], np.cumsum(np.where(source == kind, np.diff(t), 0))])
            for kind in (Source.MEASURED, Source.BRIDGED)
        }
        self._source = source

    def share(self, start: int, end: int) -> Share:
        """The energy between two times [ns, UTC]."""
        total_s = (end - start) / SECOND
        if len(self._t) < 2 or end <= start:
            return Share(0.0, 0.0, 0.0, max(total_s, 0.0))
        at = np.array([start, end])
        mwh = np.diff(np.interp(at, self._t, self._energy))[0]
        measured, bridged = (
            float(np.diff(np.interp(at, self._t, self._lengths[kind]))[0]) / SECOND
            for kind in (Source.MEASURED, Source.BRIDGED)
        )
        return Share(float(mwh), measured, bridged, max(total_s - measured - bridged, 0.0))

    def unknown(self, start: int, end: int) -> list[tuple[int, int]]:
        """Parts of the time between two times [ns, UTC] for which the energy is not known."""
        if len(self._t) < 2:
            return [(start, end)] if end > start else []
        found = []
        if start < self._t[0]:
            found.append((start, min(end, int(self._t[0]))))
        first, last = np.searchsorted(self._t, [start, end])
        begin = max(int(first) - 1, 0)
        holes = np.flatnonzero(self._source[begin : int(last)] == Source.UNKNOWN) + begin
        for low, high in zip(self._t[holes].tolist(), self._t[holes + 1].tolist(), strict=True):
            if max(start, low) < min(end, high):
                found.append((max(start, low), min(end, high)))
        if end > self._t[-1]:
            found.append((max(start, int(self._t[-1])), end))
        return found


def of_counter(
    readings: Readings, limit_mw: float, gap_s: float, bridge_s: float, modulus_mwh: float | None = None
) -> Curve:
    """The curve of an energy counter.

    A step that is negative or larger than the rating allows is a rollover if the modulus explains it, else a
    reset or an exchange of the meter: the energy across it is not known.

    Parameters
    ----------
    readings
        Of the counter [MWh].
    limit_mw
        Rating of what is metered [MW].
    gap_s
        Readings further apart than this leave a gap between them [s].
    bridge_s
        A gap longer than this is not bridged [s].
    modulus_mwh
        Where the counter begins again at 0 [MWh]; None if that is not known.

    """
    t, value = readings.good
    if len(t) < 2:
        return Curve(t, np.zeros(len(t)), np.empty(0, np.uint8))
    step, length = np.diff(value), np.diff(t)
    # two readings may each be off by the last digit: 1 kWh and what a float32 leaves of 100 GWh
    largest = PLAUSIBLE * limit_mw * length / _HOUR + 0.02
    if modulus_mwh is not None:
        rolled = step + modulus_mwh
        step = np.where((step < 0) & (rolled <= largest), rolled, step)
    broken = (step < 0) | (step > largest)
    step = np.where(broken, 0.0, step)
    source = np.where(length <= gap_s * SECOND, Source.MEASURED, Source.BRIDGED)
    unknown = broken | (length > bridge_s * SECOND)
    source = np.where(unknown, Source.UNKNOWN, source).astype(np.uint8)
    return Curve(t, np.concatenate([[0.0], np.cumsum(step)]), source)


def of_power(readings: Readings, gap_s: float) -> Curve:
    """The curve of a power [MW] by the trapezoidal rule; over gaps longer than ``gap_s`` [s] unknown."""
    t, value = readings.good
    if len(t) < 2:
        return Curve(t, np.zeros(len(t)), np.empty(0, np.uint8))
    length = np.diff(t)
    known = length <= gap_s * SECOND
    step = np.where(known, (value[1:] + value[:-1]) / 2 * length / _HOUR, 0.0)
    source = np.where(known, Source.MEASURED, Source.UNKNOWN).astype(np.uint8)
    return Curve(t, np.concatenate([[0.0], np.cumsum(step)]), source)
