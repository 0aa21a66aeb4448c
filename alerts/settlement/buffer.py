"""Readings of the last hours in memory, point by point; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from alerts.settlement.curve import Readings
from telemetry.batch import Columns, ReadingBatch


class Touched(NamedTuple):
    """A stretch of time in which the energy may be another one now [ns, UTC]."""

    start: int
    end: int


class Buffer:
    """Takes readings as they come, in any order, and gives them in the order of time.

    Parameters
    ----------
    points
        Indices of the points that are kept; others are passed over.

    """

    def __init__(self, points: Sequence[int]) -> None:
        self._known = np.zeros(max(points, default=-1) + 1, np.bool_)
        self._known[list(points)] = True
        self._readings: dict[int, Readings] = dict.fromkeys(points, Readings.none())
        self._fresh: list[Columns] = []

    def take(self, batch: ReadingBatch | Columns) -> None:
        """Takes the readings of known points."""
        inside = np.flatnonzero(batch.point < len(self._known))
        rows = inside[self._known[batch.point[inside].astype(np.int64)]]
        if len(rows):
            self._fresh.append(
                Columns(batch.point[rows], batch.t_source[rows], batch.value[rows], batch.quality[rows])
            )

    def merge(self) -> list[Touched]:
        """Puts what was taken into its place; returns where energies may have changed.

        A reading changes what lies between its neighbours; one that was there already changes nothing.
        """
        if not self._fresh:
            return []
        fresh, self._fresh = Columns.joined(self._fresh), []
        found: list[Touched] = []
        order = np.argsort(fresh.point, kind="stable")
        points = fresh.point[order]
        starts = np.flatnonzero(np.append(True, points[1:] != points[:-1]))
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(points)], strict=True):
            rows = order[start:end]
            come = Readings.none().joined(
                Readings(fresh.t_source[rows], fresh.value[rows], fresh.quality[rows])
            )
            found += self._put(int(points[start]), come)
        return found

    def stretch(self, batch: ReadingBatch) -> Touched | None:
        """From the first to the last reading of a known point; None without one."""
        inside = np.flatnonzero(batch.point < len(self._known))
        t = batch.t_source[inside[self._known[batch.point[inside].astype(np.int64)]]]
        return Touched(int(t.min()), int(t.max())) if len(t) else None

    def drop(self, before: int) -> None:
        """Forgets what is older than a time [ns, UTC]."""
        for point, readings in self._readings.items():
            if len(readings) and readings.t[0] < before:
                self._readings[point] = readings.between(before, int(readings.t[-1]) + 1)

    def between(self, start: int, end: int) -> Mapping[int, Readings]:
        """Readings with start <= t < end [ns, UTC] of every point."""
        return {point: readings.between(start, end) for point, readings in self._readings.items()}

    def _put(self, point: int, come: Readings) -> list[Touched]:
        old = self._readings[point]
        self._readings[point] = new = old.joined(come)
        if not len(old):
            changed = np.ones(len(come), np.bool_)
        else:
            at = np.minimum(np.searchsorted(old.t, come.t), len(old) - 1)
            same = (
                (old.t[at] == come.t)
                & ((old.value[at] == come.value) | (np.isnan(old.value[at]) & np.isnan(come.value)))
                & (old.quality[at] == come.quality)
            )
            changed = ~same
        # neighbours in time make one stretch
        where = np.searchsorted(new.t, come.t[changed])
        breaks = np.flatnonzero(np.diff(where) > 1) + 1
        return [
            Touched(int(new.t[max(run[0] - 1, 0)]), int(new.t[min(run[-1] + 1, len(new) - 1)]))
            for run in np.split(where, breaks)
            if len(run)
        ]
