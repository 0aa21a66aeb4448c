"""Brings the readings of several points onto one instant, before a formula sees them.

Readings wait in short buffers, one for each point, until the watermark passes them. The watermark runs a
fixed time behind the newest *receipt*, not behind the newest source time: receipts carry our own clock, so
that one device with a wrong clock cannot move time for the others. The default of 3 s covers a poll period of
1 s, the spread of the polling phases, the network and the commit; readings that come later than that are kept
while the buffer lasts but change no result that was already given.

A point that is reported by exception (Sparkplug) is silent while it does not change: its last reading holds
until another one comes, be it the mark of its source that nothing is known any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alerts.heard import Heard
from telemetry.batch import ReadingBatch
from telemetry.quality import Quality, Validity, reason_of, usable, validity_of

SECOND = 1_000_000_000

MAX_AHEAD = 5 * SECOND
"""A reading that claims to be of more than this after its receipt comes from a wrong clock [ns]."""
_EMPTY, _NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_SMALLEST, _LARGEST = 16, 1024


def stale_after_s(period_s: float) -> float:
    """Age from which a periodic point is stale [s]: max(3 x period, 5 s), rule R13 of the catalogue."""
    return max(3 * period_s, 5.0)


class Leg(NamedTuple):
    """One input of a formula at an instant."""

    value: float
    """Value at the instant [unit of the point]; NaN when not usable."""
    slope: float
    """Rate of change around the instant [unit/s]."""
    age_s: float
    """0 between two readings; time since the last one when it had to be held [s]."""
    quality: int
    """Worst quality code of the readings used."""
    fault: str
    """Why the input is not usable, a bounded label (``stale``, ``link_lost`` ...); empty when it is."""
    t_received: int
    """Newest receipt of the readings used [ns, UTC]; 0 when not usable."""

    @property
    def usable(self) -> bool:
        """The value may enter a formula."""
        return not self.fault

    @property
    def label(self) -> str:
        """Quality for people: ``good`` or the reason why not."""
        return self.fault or reason_of(self.quality)


class Alignment:
    """Bounded buffers of the points that rules use; out-of-order readings and revisions find their place.

    A full buffer overwrites its oldest reading.

    Parameters
    ----------
    period_s
        Expected time between two readings of each point [s]; of one that is reported by exception, the time
        between two looks at it.
    watermark_s
        How far judgement runs behind receipt [s].
    by_exception
        Points that are silent while they do not change.
    stepped
        Points that jump, such as states: between two readings the earlier one holds.

    """

    def __init__(
        self,
        period_s: dict[int, float],
        watermark_s: float,
        by_exception: Collection[int] = (),
        stepped: Collection[int] = (),
    ) -> None:
        self._rows = {point: row for row, point in enumerate(period_s)}
        self._points = np.fromiter(period_s, np.int64, len(period_s))
        self._row_of = np.full(max(period_s, default=-1) + 1, -1, np.int64)
        self._row_of[self._points] = np.arange(len(period_s))
        self._max_age = [
            _NEVER if point in by_exception else round(stale_after_s(period) * SECOND)
            for point, period in period_s.items()
        ]
        self._limit = np.array(self._max_age, np.int64)
        self._stepped = np.array([point in stepped for point in period_s], np.bool_)
        self._periodic = np.array([point not in by_exception for point in period_s], np.bool_)
        self._look = [
            round(period * SECOND) if point in by_exception else _NEVER for point, period in period_s.items()
        ]
        """Time before a reading at which its point was still as it had been [ns]."""
        spans = ((watermark_s + 2 * stale_after_s(period)) / period for period in period_s.values())
        self._capacity = int(min(max(_SMALLEST, *spans, _SMALLEST), _LARGEST))
        self.settled = _EMPTY
        """Newest instant that was judged [ns, UTC]; set by the owner, to count what comes after it."""
        self.late_readings = 0
        """Readings that came after their instant was judged."""
        self.clear()

    def clear(self) -> None:
        """Forgets every reading, for example after the wall clock was stepped back."""
        shape = (len(self._rows), self._capacity)
        self._t = np.full(shape, _EMPTY, np.int64)
        self._value = np.full(shape, np.nan)
        self._quality = np.full(shape, Quality.STALE, np.uint8)
        self._received = np.zeros(shape, np.int64)
        self._looked_at: int | None = None
        self._before: list[int] = []
        self._after: list[int] = []
        self._places: dict[int, int] | None = None
        """Place of each row that was looked at in the lists; None when all were, in their order."""
        self._legs: list[Leg | None] = []
        """Inputs at the instant that was looked at, as far as they were asked for."""
        self._plain: list[bool] = []
        """Whether an input lies between two good readings: then the following lists have its parts."""
        self._values: list[float] = []
        self._slopes: list[float] = []
        self._worst: list[int] = []
        self._newest: list[int] = []

    def push(self, batch: ReadingBatch | Heard) -> NDArray[np.int64]:
        """Takes the readings that rules use; returns the points that changed, each once."""
        # what cannot have been measured yet is no input, and must not stand in the way of what follows
        self._looked_at = None
        possible = batch.t_source <= batch.t_received + MAX_AHEAD
        known = np.flatnonzero((batch.point < len(self._row_of)) & possible)
        rows = self._row_of[batch.point[known].astype(np.int64)]
        used = rows >= 0
        take, rows = known[used], rows[used]
        self.late_readings += int(np.count_nonzero(batch.t_source[take] <= self.settled))
        received = np.broadcast_to(batch.t_received, len(batch))
        touched: list[NDArray[np.int64]] = []
        while len(rows):
            # a point that appears several times in one batch is placed reading by reading
            _, first = np.unique(rows, return_index=True)
            touched.append(self._place(rows[first], take[first], batch, received))
            rest = np.ones(len(rows), np.bool_)
            rest[first] = False
            rows, take = rows[rest], take[rest]
        if not touched:
            return np.empty(0, np.int64)
        return self._points[touched[0] if len(touched) == 1 else np.unique(np.concatenate(touched))]

    def _place(
        self,
        rows: NDArray[np.int64],
        take: NDArray[np.intp],
        batch: ReadingBatch | Heard,
        received: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        t = batch.t_source[take]
        held = self._t[rows]
        same = held == t[:, None]
        slot = np.where(same.any(axis=1), same.argmax(axis=1), held.argmin(axis=1))
        kept = t >= held[np.arange(len(rows)), slot]
        rows, slot, take = rows[kept], slot[kept], take[kept]
        self._t[rows, slot] = batch.t_source[take]
        self._value[rows, slot] = batch.value[take]
        self._quality[rows, slot] = batch.quality[take]
        self._received[rows, slot] = received[take]
        return rows

    def at(self, point: int, instant: int) -> Leg:
        """The value of a point at an instant [ns, UTC].

        Linear between the readings on both sides; the last reading is held, for at most the time after which
        the point is stale, when there is none on the far side yet. A bad reading on either side makes the
        input unusable, because what happened next to it is not known.
        """
        row = self._rows[point]
        if self._looked_at != instant:
            self._look_at(instant)
        place = row if self._places is None else self._places.get(row)
        if place is None:
            self._look_at(instant)
            place = row
        leg = self._legs[place]
        if leg is None:
            leg = self._legs[place] = self._leg(row, place, instant)
        return leg

    def readings(self, point: int, since: int, until: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """What a point was read as in ``since`` < t <= ``until`` [ns, UTC], in order, as buffered.

        Returns times [ns, UTC] and values [unit of the point]; NaN for a reading that is not usable.
        """
        row = self._rows[point]
        inside = np.flatnonzero((self._t[row] > since) & (self._t[row] <= until))
        inside = inside[np.argsort(self._t[row][inside])]
        bad = ~usable(self._quality[row][inside])
        return self._t[row][inside], np.where(bad, np.nan, self._value[row][inside])

    def look(self, instant: int, points: Collection[int]) -> None:
        """Looks at some points at once, those that will be asked for; the cost is theirs alone."""
        if 2 * len(points) < len(self._rows):
            self._look_at(instant, np.fromiter((self._rows[p] for p in points), np.int64, len(points)))

    def _leg(self, row: int, place: int, instant: int) -> Leg:
        if self._plain[place]:
            return Leg(
                self._values[place], self._slopes[place], 0.0, self._worst[place], "", self._newest[place]
            )
        before, after = self._before[place], self._after[place]
        fault = self._fault_before(row, before, instant)
        if fault:
            return _unusable(fault)
        if after < 0:
            return self._held(row, before, instant, self._max_age[row])
        return self._between(row, before, after, instant)

    def _look_at(self, instant: int, rows: NDArray[np.int64] | None = None) -> None:
        """Finds, of many points at once, the readings on both sides of an instant, and what lies between."""
        t = self._t if rows is None else self._t[rows]
        self._places = None if rows is None else {row: i for i, row in enumerate(rows.tolist())}
        rows = np.arange(len(self._t)) if rows is None else rows
        here = np.arange(len(rows))
        past = t <= instant
        before = np.where(past, t, _EMPTY).argmax(axis=1)
        future = np.where(past, _NEVER, t)
        after = future.argmin(axis=1)
        none = future[here, after] == _NEVER
        self._before, self._after = before.tolist(), np.where(none, -1, after).tolist()
        self._legs = [None] * len(rows)
        self._interpolate(instant, rows, before, after, ~none & (t[here, before] <= instant))
        self._looked_at = instant

    def _interpolate(
        self,
        instant: int,
        rows: NDArray[np.int64],
        before: NDArray[np.intp],
        after: NDArray[np.intp],
        known: NDArray[np.bool_],
    ) -> None:
        """Values between two good readings of periodic points: the usual case, for all points together."""
        t_before, t_after = self._t[rows, before], self._t[rows, after]
        known &= (t_before != _EMPTY) & self._periodic[rows]
        # differences are only taken where there are two times
        since, until = np.where(known, t_before, instant), np.where(known, t_after, instant + 1)
        limit = self._limit[rows]
        known &= (until - since <= limit) & (instant - since <= limit)
        one, other = self._quality[rows, before], self._quality[rows, after]
        known &= usable(one) & usable(other)
        value = self._value[rows, before]
        with np.errstate(invalid="ignore", over="ignore"):
            # what is not known may be infinite, and is not used
            slope = (self._value[rows, after] - value) / (until - since)
            slope[self._stepped[rows]] = 0.0
            values = value + slope * (instant - since)
        self._plain, self._values = known.tolist(), values.tolist()
        self._slopes = (slope * SECOND).tolist()
        self._worst = np.maximum(one, other).tolist()
        self._newest = np.maximum(self._received[rows, before], self._received[rows, after]).tolist()

    def _fault_before(self, row: int, before: int, instant: int) -> str:
        """What is wrong with the last reading that is not after the instant; empty for nothing."""
        t_before = int(self._t[row, before])
        if t_before == _EMPTY or t_before > instant:
            return "missing"
        if self._max_age[row] < _NEVER and instant - t_before > self._max_age[row]:
            return "stale"
        quality = int(self._quality[row, before])
        return reason_of(quality) if validity_of(quality) is Validity.BAD else ""

    def _between(self, row: int, before: int, after: int, instant: int) -> Leg:
        """Linear between two readings, of which the first is usable."""
        t_before, t_after = int(self._t[row, before]), int(self._t[row, after])
        value, quality = float(self._value[row, before]), int(self._quality[row, before])
        received, other = int(self._received[row, before]), int(self._quality[row, after])
        since = max(t_before, t_after - self._look[row])
        if instant <= since and (since > t_before or validity_of(other) is Validity.BAD):
            # as it was before the change that came next, or the very reading
            return Leg(value, 0.0, (instant - t_before) / SECOND, quality, "", received)
        if validity_of(other) is Validity.BAD:
            return _unusable(reason_of(other))
        if t_after - since > self._max_age[row]:
            return _unusable("gap")
        slope = (float(self._value[row, after]) - value) / (t_after - since)
        if self._stepped[row]:
            slope = 0.0
        return Leg(
            value + slope * (instant - since),
            slope * SECOND,
            0.0,
            max(quality, other),
            "",
            max(received, int(self._received[row, after])),
        )

    def _held(self, row: int, last: int, instant: int, max_age: int) -> Leg:
        """The last reading, with the slope that it came with."""
        t, value = self._t[row], float(self._value[row, last])
        earlier = np.where(t < t[last], t, _EMPTY)
        before = int(earlier.argmax())
        slope = 0.0
        if (
            earlier[before] != _EMPTY
            and t[last] - t[before] <= max_age
            and instant - t[last] <= self._look[row]
            and validity_of(int(self._quality[row, before])) is not Validity.BAD
        ):
            span = min(int(t[last] - t[before]), self._look[row])
            slope = (value - float(self._value[row, before])) / span * SECOND
        age_s = (instant - int(t[last])) / SECOND
        return Leg(value, slope, age_s, int(self._quality[row, last]), "", int(self._received[row, last]))


def _unusable(fault: str) -> Leg:
    return Leg(float("nan"), 0.0, 0.0, Quality.STALE, fault, 0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a rule sees: every point at one instant."""

    instant: int
    """[ns, UTC]."""
    alignment: Alignment

    def leg(self, point: int) -> Leg:
        """One point at the instant."""
        return self.alignment.at(point, self.instant)

    def readings(self, point: int, since: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Times [ns, UTC] and values of a point after ``since`` up to the instant; NaN for what is bad."""
        return self.alignment.readings(point, since, self.instant)


def first_fault(legs: Iterable[tuple[str, Leg]]) -> str:
    """Names the first unusable input and its fault: ``leg SHY-TAS at TAS is stale``; empty without one."""
    for name, leg in legs:
        if not leg.usable:
            return f"leg {name} is {leg.fault.replace('_', ' ')}"
    return ""


def worst_quality(legs: Iterable[Leg]) -> str:
    """Worst quality of inputs for people: ``good`` or the reason."""
    return max(legs, key=lambda leg: leg.quality).label
