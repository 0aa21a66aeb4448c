"""Looks into the files that a stopped demonstration left behind, independently of the running process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from telemetry.errors import StorageError

GAP_PERIODS = 2.5
_GAPS = """
    SELECT count(*), coalesce(max(step), 0)
    FROM (
        SELECT t_source - lag(t_source) OVER (PARTITION BY point ORDER BY t_source) AS step
        FROM reading WHERE quality < 128
    )
    WHERE step > ?
"""


def store_facts(file: Path, period_s: float = 1.0) -> dict[str, Any]:
    """Counts rows, keys held twice and pauses in a stopped embedded store.

    A pause is a step of a point's source time longer than 2.5 periods, over the readings that are not bad.

    Raises
    ------
    StorageError
        The file cannot be opened.

    """
    try:
        with duckdb.connect(str(file), read_only=True) as db:
            rows, points = _row(db, "SELECT count(*), count(DISTINCT point) FROM reading")
            (twice,) = _row(
                db,
                "SELECT count(*) FROM (SELECT 1 FROM reading GROUP BY point, t_source HAVING count(*) > 1)",
            )
            gaps, longest = _row(db, _GAPS, [int(GAP_PERIODS * period_s * 1e9)])
    except duckdb.Error as error:
        raise StorageError(f"{file} cannot be read: {error}") from None
    return {
        "rows": rows,
        "points": points,
        "keys_twice": twice,
        "gaps": {"count": gaps, "longest_s": round(longest / 1e9, 3)},
    }


def _row(db: duckdb.DuckDBPyConnection, sql: str, values: Sequence[int] = ()) -> tuple[Any, ...]:
    row = db.execute(sql, list(values)).fetchone()
    if row is None:
        raise StorageError(f"no answer to: {sql}")
    return row
