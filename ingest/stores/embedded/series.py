"""Down-sampling in the embedded store: few rows are read, and added up here.

The database only selects. To plan an aggregation over all tables would take it longer than the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import duckdb
import numpy as np
from numpy.typing import NDArray

from ingest.ports import Series
from ingest.stores.embedded.database import filled
from ingest.stores.embedded.partitions import RAW, STRAY, Layout, Partition, overlapping
from ingest.stores.embedded.resolution import Share, shares, stretches
from telemetry.quality import usable

_NEVER = np.iinfo(np.int64).min
_READING = "t_source, value, quality"
_PARTIAL = "t, low, high, total, number, last, last_t, worst"


@dataclass(frozen=True, slots=True, eq=False)
class Partials:
    """Partial sums of one point, as in the roll-ups, in no order; NaN where nothing counts."""

    t: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    total: NDArray[np.float64]
    number: NDArray[np.int64]
    last: NDArray[np.float64]
    last_t: NDArray[np.int64]
    worst: NDArray[np.uint8]

    @classmethod
    def of_readings(cls, found: dict[str, Any]) -> Self:
        """Each reading as a sum of one."""
        t = np.asarray(found["t_source"], np.int64)
        quality = np.asarray(found["quality"], np.uint8)
        value = np.where(usable(quality), filled(found["value"]), np.nan)
        counts = ~np.isnan(value)
        return cls(
            t, value, value, value, counts.astype(np.int64), value, np.where(counts, t, _NEVER), quality
        )

    @classmethod
    def of_rollup(cls, found: dict[str, Any]) -> Self:
        """Rows of a roll-up."""
        return cls(
            np.asarray(found["t"], np.int64),
            filled(found["low"]),
            filled(found["high"]),
            filled(found["total"]),
            np.asarray(found["number"], np.int64),
            filled(found["last"]),
            np.asarray(np.ma.filled(np.ma.asarray(found["last_t"], np.int64), _NEVER)),
            np.asarray(found["worst"], np.uint8),
        )

    @classmethod
    def joined(cls, parts: Sequence[Partials]) -> Self:
        """All of several."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def added_up(self, step: int) -> Series:
        """Sums over intervals of ``step`` [ns], aligned to multiples of it."""
        start = self.t // step * step
        order = np.lexsort((self.last_t, start))
        first = np.flatnonzero(np.append(True, np.diff(start[order]) != 0)[: len(order)])
        if not len(first):
            nothing = np.zeros(0)
            return Series(start, *(nothing,) * 4, start, self.worst)
        ends = np.append(first[1:], len(order)) - 1
        number = np.add.reduceat(self.number[order], first)
        total = np.add.reduceat(np.nan_to_num(self.total[order]), first)
        mean = np.divide(total, number, out=np.full(len(first), np.nan), where=number > 0)
        return Series(
            start[order[first]],
            np.fmin.reduceat(self.low[order], first),
            np.fmax.reduceat(self.high[order], first),
            mean,
            self.last[order[ends]],  # NaN where nothing counts: such rows come first
            number,
            np.maximum.reduceat(self.worst[order], first),
        )


def series(cursor: duckdb.DuckDBPyConnection, point: int, start: int, end: int, step: int) -> Series:
    """Readings of one point with start <= t_source < end [ns, UTC], in intervals of ``step`` [ns]."""
    layout = Layout.of(cursor)
    whole = Share(RAW, f"t_source >= {start} AND t_source < {end}")
    stray = Partition(RAW, STRAY)
    days = layout.partitions[RAW.number]
    wanted = [(whole, ["hot", *([stray.table] if stray in days else [])])]
    for stretch in stretches(start, end, step, layout.horizons):
        for share in shares(stretch, step, layout.horizons):
            there = overlapping(layout.partitions[share.level.number], stretch.start, stretch.end)
            wanted.append((share, [partition.table for partition in there if partition != stray]))
    parts = []
    for share, tables in wanted:
        of_rollup = share.level.width > 0
        columns = _PARTIAL if of_rollup else _READING
        if tables:
            query = " UNION ALL ".join(
                f"SELECT {columns} FROM {table} WHERE point = {int(point)} AND {share.where}"
                for table in tables
            )
            found = cursor.execute(query).fetchnumpy()
            parts.append(Partials.of_rollup(found) if of_rollup else Partials.of_readings(found))
    return Partials.joined(parts).added_up(step)
