"""Looks into the files that a stopped demonstration left behind, independently of the running process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from telemetry.errors import StorageError

GAP_PERIODS = 2.5
_GAPS = """
    SELECT count(*), coalesce(max(step), 0)
    FROM (
        SELECT point, t_source - lag(t_source) OVER (PARTITION BY point ORDER BY t_source) AS step
        FROM reading WHERE quality < 128
    ) JOIN expected USING (point)
    WHERE step > longest
"""


def view_readings(db: duckdb.DuckDBPyConnection) -> None:
    """Makes every reading of an opened store file visible as ``reading``, whichever table holds it."""
    held = (
        "SELECT table_name FROM duckdb_tables() "
        "WHERE table_name = 'hot' OR starts_with(table_name, 'level0:')"
    )
    parts = [
        f'SELECT point, t_source, value, quality FROM "{table}"'  # noqa: S608 - names from the catalogue
        for (table,) in db.execute(held).fetchall()
    ]
    db.execute(f"CREATE TEMP VIEW reading AS {' UNION ALL '.join(parts)}")


def store_facts(file: Path, periods: Mapping[int, float]) -> dict[str, Any]:
    """Counts rows, keys held twice and pauses in a stopped embedded store.

    A pause is a step of a point's source time longer than 2.5 of its periods, over the readings that are not
    bad. ``periods`` tells the period [s] of each point by its index; the pauses of others are not counted.

    Raises
    ------
    StorageError
        The file cannot be opened.

    """
    try:
        with duckdb.connect(str(file), read_only=True) as db:
            view_readings(db)
            rows, points = _row(db, "SELECT count(*), count(DISTINCT point) FROM reading")
            (twice,) = _row(
                db,
                "SELECT count(*) FROM (SELECT 1 FROM reading GROUP BY point, t_source HAVING count(*) > 1)",
            )
            db.execute("CREATE TEMP TABLE expected (point UINTEGER, longest BIGINT)")
            limits = [(point, int(GAP_PERIODS * period_s * 1e9)) for point, period_s in periods.items()]
            if limits:
                db.executemany("INSERT INTO expected VALUES (?, ?)", limits)
            gaps, longest = _row(db, _GAPS)
    except duckdb.Error as error:
        raise StorageError(f"{file} cannot be read: {error}") from None
    return {
        "rows": rows,
        "points": points,
        "keys_twice": twice,
        "gaps": {"count": gaps, "longest_s": round(longest / 1e9, 3)},
    }


def _row(db: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = db.execute(sql).fetchone()
    if row is None:
        raise StorageError(f"no answer to: {sql}")
    return row
