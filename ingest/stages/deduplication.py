"""Deduplication: which readings are new, which repeat a stored one and which revise it.

The key of a reading is (point, t_source). Rows above their point's high-water mark are new without a look;
only rows at or below it are compared with what the store holds. Rows of one key within a batch are taken in
order, so that the counts do not depend on how the journal was cut into batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from telemetry.batch import TIME_DTYPE, Columns

_NEVER = np.iinfo(np.int64).min
Rows = NDArray[np.intp]


class HighWaterMarks:
    """Newest source time that was stored of each point, as a dense column over the point index."""

    def __init__(self, newest: NDArray[np.int64] | None = None) -> None:
        self._newest = np.zeros(0, np.int64) if newest is None else newest.astype(np.int64)

    @classmethod
    def of(cls, point: NDArray[np.uint32], t_source: NDArray[np.int64]) -> HighWaterMarks:
        """Marks from the newest time of some points."""
        marks = cls()
        marks.raise_to(point, t_source)
        return marks

    @classmethod
    def from_bytes(cls, data: bytes) -> HighWaterMarks:
        """Marks from :meth:`to_bytes`."""
        return cls(np.frombuffer(data, TIME_DTYPE))

    def to_bytes(self) -> bytes:
        """Little-endian int64 [ns] for each point index; the smallest number for a point without readings."""
        return self._newest.astype(TIME_DTYPE).tobytes()

    def above(self, columns: Columns) -> NDArray[np.bool_]:
        """Mask of the rows that lie above the mark of their point."""
        return np.asarray(columns.t_source > self.of_points(columns.point))

    def reached_by(self, columns: Columns) -> NDArray[np.bool_]:
        """Mask of the rows that lie above the mark of their point or on it."""
        return np.asarray(columns.t_source >= self.of_points(columns.point))

    def known(self, point: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Mask of the points that have a mark."""
        return np.asarray(self.of_points(point) != _NEVER)

    def raise_to(self, point: NDArray[np.uint32], t_source: NDArray[np.int64]) -> None:
        """Raises the marks of points to the given times."""
        if not len(point):
            return
        more = int(point.max()) + 1 - len(self._newest)
        if more > 0:
            self._newest = np.append(self._newest, np.full(more, _NEVER))
        np.maximum.at(self._newest, point, t_source)

    def raised_to(self, point: NDArray[np.uint32], t_source: NDArray[np.int64]) -> HighWaterMarks:
        """The same, raised; these stay as they are."""
        raised = HighWaterMarks(self._newest)
        raised.raise_to(point, t_source)
        return raised

    def of_points(self, point: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Mark of each point [ns, UTC]; the smallest number for a point without readings."""
        inside = point < len(self._newest)
        marks = np.full(len(point), _NEVER)
        marks[inside] = self._newest[point[inside]]
        return marks


@dataclass(frozen=True, slots=True, eq=False)
class Keyed:
    """Readings sorted by key and, within a key, by order of arrival."""

    columns: Columns
    order: Rows
    """Row of the original columns, for each row here."""
    first: NDArray[np.bool_]
    """The first row of its key."""
    last: NDArray[np.bool_]
    """The last row of its key: the one that counts."""
    changes: NDArray[np.bool_]
    """Differs from the row before in value or quality; meaningless where ``first``."""

    @property
    def newest(self) -> Rows:
        """The last row of the newest key of each point."""
        point = self.columns.point
        return np.flatnonzero(np.append(point[1:] != point[:-1], np.ones(min(1, len(point)), bool)))


def keyed(columns: Columns) -> Keyed:
    """Sorts readings by key, keeping the order of arrival within a key."""
    order = np.lexsort((columns.t_source, columns.point))  # stable
    c = columns.where(order)
    first = np.ones(len(c), bool)
    first[1:] = (c.point[1:] != c.point[:-1]) | (c.t_source[1:] != c.t_source[:-1])
    last = np.ones(len(c), bool)
    last[:-1] = first[1:]
    changes = np.ones(len(c), bool)
    changes[1:] = ~same(c.value[1:], c.quality[1:], c.value[:-1], c.quality[:-1])
    return Keyed(c, order, first, last, changes)


def same(
    value: NDArray[np.float64],
    quality: NDArray[np.uint8],
    other_value: NDArray[np.float64],
    other_quality: NDArray[np.uint8],
) -> NDArray[np.bool_]:
    """Mask of equal readings; NaN equals NaN."""
    equal = (value == other_value) | (np.isnan(value) & np.isnan(other_value))
    return np.asarray(equal & (quality == other_quality))


@dataclass(frozen=True, slots=True, eq=False)
class Resolution:
    """What a store has to do for a batch, and what it counts."""

    insert: Rows
    """Rows of the sorted columns with a new key."""
    update: Rows
    """Rows of the sorted columns that replace a stored row."""
    stored: int
    revised: int
    duplicates: int


def resolve(
    batch: Keyed, held: Rows, held_value: NDArray[np.float64], held_quality: NDArray[np.uint8]
) -> Resolution:
    """Decides for each key: ``held`` are the first rows of the keys that the store has, with what it has.

    ``held`` must be in ascending order. Several rows of a key count one by one: a new key stores once, each
    change revises once, each repetition is a duplicate; the last row is what is written.
    """
    c = batch.columns
    exists = np.zeros(len(c), bool)
    exists[held] = True
    changes = batch.changes.copy()
    changes[held] = ~same(c.value[held], c.quality[held], held_value, held_quality)
    new = batch.first & ~exists
    counted = ~new
    revised = int(np.count_nonzero(counted & changes))
    # per key: is it held, and does the last row differ from what is held?
    key = np.cumsum(batch.first) - 1
    held_key = key[held]
    position = np.full(int(key[-1]) + 1 if len(key) else 0, -1)
    position[held_key] = np.arange(len(held))
    last = np.flatnonzero(batch.last)
    where = position[key[last]]
    insert = last[where < 0]
    candidates, their = last[where >= 0], where[where >= 0]
    differs = ~same(c.value[candidates], c.quality[candidates], held_value[their], held_quality[their])
    stored = int(np.count_nonzero(new))
    return Resolution(insert, candidates[differs], stored, revised, len(c) - stored - revised)
