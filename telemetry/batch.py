"""Readings move as columns: one batch holds many readings of one source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

POINT_DTYPE = np.dtype("<u4")
TIME_DTYPE = np.dtype("<i8")
VALUE_DTYPE = np.dtype("<f8")
QUALITY_DTYPE = np.dtype("u1")


@dataclass(frozen=True, slots=True, eq=False)
class ReadingBatch:
    """Columns of readings, all of one source and received at one time.

    Four columns of equal length n; a batch may be empty.
    """

    source: str
    """Who read or received it, for example ``modbus/SHY``."""
    session: int
    """Identifies the connection or run of the source, so that ``seq`` has a meaning."""
    seq: int
    """Number of the batch within the session."""
    t_received: int
    """Wall time of receipt [ns, UTC]."""
    point: NDArray[np.uint32]
    """Index of the point in the registry, shape (n,)."""
    t_source: NDArray[np.int64]
    """Wall time of the measurement [ns, UTC], shape (n,)."""
    value: NDArray[np.float64]
    """Value in the unit of the point; NaN where not known, shape (n,)."""
    quality: NDArray[np.uint8]
    """Quality code, see :mod:`telemetry.quality`, shape (n,)."""

    def __post_init__(self) -> None:
        n = len(self.point)
        if not (len(self.t_source) == len(self.value) == len(self.quality) == n):
            lengths = (n, len(self.t_source), len(self.value), len(self.quality))
            raise ValueError(f"batch of {self.source}: columns differ in length {lengths}")

    def __len__(self) -> int:
        return len(self.point)

    @classmethod
    def of(
        cls,
        source: str,
        session: int,
        seq: int,
        t_received: int,
        *,
        point: ArrayLike,
        t_source: ArrayLike,
        value: ArrayLike,
        quality: ArrayLike,
    ) -> ReadingBatch:
        """Builds a batch, converting each column to its exact type.

        Raises
        ------
        ValueError
            The columns differ in length, or a value does not fit its column's type.

        """
        return cls(
            source,
            session,
            seq,
            t_received,
            _whole(point, POINT_DTYPE, "point index"),
            _whole(t_source, TIME_DTYPE, "source time"),
            np.ascontiguousarray(value, VALUE_DTYPE),
            _whole(quality, QUALITY_DTYPE, "quality code"),
        )

    def same_as(self, other: ReadingBatch) -> bool:
        """Equal in every column and label; NaN equals NaN."""
        return (
            (self.source, self.session, self.seq, self.t_received)
            == (other.source, other.session, other.seq, other.t_received)
            and np.array_equal(self.point, other.point)
            and np.array_equal(self.t_source, other.t_source)
            and np.array_equal(self.value, other.value, equal_nan=True)
            and np.array_equal(self.quality, other.quality)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Columns of readings without a source: what a query returns and what a stage works on."""

    point: NDArray[np.uint32]
    t_source: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]

    def __post_init__(self) -> None:
        n = len(self.point)
        if not (len(self.t_source) == len(self.value) == len(self.quality) == n):
            lengths = (n, len(self.t_source), len(self.value), len(self.quality))
            raise ValueError(f"columns differ in length {lengths}")

    def __len__(self) -> int:
        return len(self.point)

    @classmethod
    def of(cls, point: ArrayLike, t_source: ArrayLike, value: ArrayLike, quality: ArrayLike) -> Columns:
        """Builds columns, converting each to its exact type.

        Raises
        ------
        ValueError
            The columns differ in length, or a value does not fit its column's type.

        """
        return cls(
            _whole(point, POINT_DTYPE, "point index"),
            _whole(t_source, TIME_DTYPE, "source time"),
            np.ascontiguousarray(value, VALUE_DTYPE),
            _whole(quality, QUALITY_DTYPE, "quality code"),
        )

    @classmethod
    def empty(cls) -> Columns:
        """No readings."""
        return cls.of([], [], [], [])

    @classmethod
    def joined(cls, batches: Sequence[ReadingBatch | Columns]) -> Columns:
        """The readings of several batches or columns, one after the other."""
        if not batches:
            return cls.empty()
        return cls(
            np.concatenate([b.point for b in batches]),
            np.concatenate([b.t_source for b in batches]),
            np.concatenate([b.value for b in batches]),
            np.concatenate([b.quality for b in batches]),
        )

    def where(self, mask: NDArray[np.bool_] | NDArray[np.intp]) -> Columns:
        """The readings that a mask or an index array selects."""
        return Columns(self.point[mask], self.t_source[mask], self.value[mask], self.quality[mask])


def _whole(column: ArrayLike, dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """A column of whole numbers in its exact type; a plain cast would wrap 256 into a quality of 0, good."""
    given = np.asarray(column)
    if given.dtype == dtype or not given.size:
        return np.ascontiguousarray(given, dtype)
    limits = np.iinfo(dtype)
    fits = (given >= limits.min) & (given <= limits.max) & (given == np.trunc(given))
    if not fits.all():
        raise ValueError(f"{what} {given[~fits][0].item()} does not fit {dtype}")
    return np.ascontiguousarray(given, dtype)
