"""Roll-ups: partial sums of readings over intervals, which add up to coarser ones.

A row of a roll-up holds lowest, highest and summed value, their number, and the newest value with its time,
of the usable readings (not bad, value known), and the worst quality of all. Several rows of one point and
interval add up to one, so that late readings need no look at what is there.
"""

from __future__ import annotations

import duckdb
import numpy as np

from ingest.stores.embedded.database import view
from ingest.stores.embedded.partitions import COARSEST, RAW, ROLLUPS, STRAY, catalogue, overlapping
from telemetry.batch import Columns
from telemetry.quality import Quality, usable

ROLLUP_COLUMNS = (
    "point UINTEGER NOT NULL, t BIGINT NOT NULL, low DOUBLE, high DOUBLE, total DOUBLE, "
    "number UINTEGER NOT NULL, last DOUBLE, last_t BIGINT, worst UTINYINT NOT NULL"
)
BAD = next(int(q) for q in sorted(Quality) if not usable(np.array([q], np.uint8))[0])
"""Quality codes from here on are bad."""
AS_PARTIAL = (
    f"point, t_source AS t, if(quality < {BAD}, value, NULL) AS low, low AS high, low AS total, "
    "(low IS NOT NULL)::UINTEGER AS number, low AS last, if(low IS NULL, NULL, t_source) AS last_t, "
    "quality AS worst"
)
"""Selects readings as partial sums of one reading each."""
_ADDED = (
    "min(low) AS low, max(high) AS high, sum(total) AS total, sum(number) AS number, "
    "arg_max(last, last_t) AS last, max(last_t) AS last_t, max(worst) AS worst"
)


def interval(time: str, width: int) -> str:
    """Expression for the start of the interval of a width [ns] that holds a time [ns], a column."""
    # the remainder takes the dividend's sign: a width more puts times before 1970 into the interval below
    return f"{time} - ({time} % {width} + {width}) % {width}"


def added_up(source: str, width: int) -> str:
    """A query for the partial sums of a relation over intervals of a width [ns], sorted by point and time."""
    return (
        f"SELECT point, {interval('t', width)} AS start, {_ADDED} FROM {source} "
        "GROUP BY point, start ORDER BY point, start"
    )


def renew(connection: duckdb.DuckDBPyConnection, columns: Columns) -> None:
    """Sums up again the intervals of readings that were revised in their partition."""
    bucket = columns.t_source - columns.t_source % COARSEST
    dirty = np.unique(np.stack([columns.point.astype(np.int64), bucket], axis=1), axis=0)
    if not len(dirty):
        return
    low, high = int(bucket.min()), int(bucket.max()) + COARSEST
    raw = [p for p in overlapping(catalogue(connection, RAW), low, high) if p.slot != STRAY]
    with view(
        connection,
        "dirty",
        {"point": dirty[:, 0].astype(np.uint32), "start": np.ascontiguousarray(dirty[:, 1])},
    ):
        for level in ROLLUPS:
            for partition in overlapping(catalogue(connection, level), low, high):
                connection.execute(
                    f"DELETE FROM {partition.table} USING dirty d WHERE {partition.table}.point = d.point "
                    f"AND t >= d.start AND t < d.start + {COARSEST}"
                )
                for day in overlapping(raw, partition.start, partition.end):
                    readings = (
                        f"(SELECT {AS_PARTIAL} FROM {day.table} r SEMI JOIN dirty d "
                        f"ON r.point = d.point AND t_source >= d.start AND t_source < d.start + {COARSEST})"
                    )
                    connection.execute(f"INSERT INTO {partition.table} {added_up(readings, level.width)}")
