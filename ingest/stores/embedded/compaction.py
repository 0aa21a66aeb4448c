"""Compaction: moves the fresh readings, sorted by point and time, into the partitions of their days."""

from __future__ import annotations

import duckdb

from ingest.stores.embedded.database import HOT_TABLE, READING_COLUMNS
from ingest.stores.embedded.partitions import (
    FUTURE,
    PAST,
    RAW,
    ROLLUPS,
    STRAY,
    Partition,
    catalogue,
)
from ingest.stores.embedded.rollups import AS_PARTIAL, ROLLUP_COLUMNS, added_up, interval

PIECE = 250_000
"""Readings that are sorted at once: sorting all of them would take most of what the database may use."""


def compact(connection: duckdb.DuckDBPyConnection, now: int, piece: int = PIECE) -> None:
    """Empties the table ``hot``; to be called within a transaction.

    ``now`` [ns, UTC] is the time of the newest commit; what lies implausibly far from it goes to STRAY.
    About ``piece`` readings are sorted at once.
    """
    # whole days, so that a partition never shares its times with STRAY, and whole intervals are rolled up
    first, last = (now - PAST) // RAW.span, (now + FUTURE) // RAW.span
    slots = connection.execute(
        f"SELECT DISTINCT CASE WHEN slot BETWEEN {first} AND {last} THEN slot ELSE {STRAY} END FROM "
        f"(SELECT ({interval('t_source', RAW.span)}) // {RAW.span} AS slot FROM hot)"
    ).fetchall()
    for (slot,) in sorted(slots):
        _move(connection, Partition(RAW, slot), first * RAW.span, (last + 1) * RAW.span, piece)
    connection.execute(f"DROP TABLE hot; {HOT_TABLE}")


def _move(connection: duckdb.DuckDBPyConnection, day: Partition, start: int, end: int, piece: int) -> None:
    _ensure(connection, day, READING_COLUMNS)
    if day.slot == STRAY:
        where = f"t_source < {start} OR t_source >= {end}"
    else:
        where = f"t_source >= {day.start} AND t_source < {day.end}"
    for low, high in _pieces(connection, where, piece):
        connection.execute(
            f"INSERT INTO {day.table} SELECT * FROM hot WHERE ({where}) AND point BETWEEN {low} AND {high} "
            "ORDER BY point, t_source"
        )
    if day.slot == STRAY:
        return
    source = f"(SELECT {AS_PARTIAL} FROM hot WHERE {where})"
    for level in ROLLUPS:
        connection.execute(f"CREATE TEMP TABLE level{level.number} AS {added_up(source, level.width)}")
        connection.execute(f"ALTER TABLE level{level.number} RENAME start TO t")
        source = f"temp.level{level.number}"
        partition = Partition(level, day.start // level.span)
        _ensure(connection, partition, ROLLUP_COLUMNS)
        connection.execute(f"INSERT INTO {partition.table} SELECT * FROM {source} ORDER BY point, t")
    for level in ROLLUPS:
        connection.execute(f"DROP TABLE temp.level{level.number}")


def _pieces(connection: duckdb.DuckDBPyConnection, where: str, piece: int) -> list[tuple[int, int]]:
    """Ranges of points, in order, with at most ``piece`` readings each, unless a single point has more."""
    counts = connection.execute(
        f"SELECT point, count(*) FROM hot WHERE {where} GROUP BY point ORDER BY point"
    ).fetchall()
    pieces: list[tuple[int, int]] = []
    size = piece
    for point, count in counts:
        if size + count > piece:
            pieces.append((point, point))
            size = 0
        pieces[-1] = (pieces[-1][0], point)
        size += count
    return pieces


def _ensure(connection: duckdb.DuckDBPyConnection, partition: Partition, columns: str) -> None:
    if partition.slot not in {p.slot for p in catalogue(connection, partition.level)}:
        connection.execute(f"CREATE TABLE {partition.table} ({columns})")
        connection.execute("INSERT INTO partition VALUES (?, ?)", [partition.level.number, partition.slot])


def drop(connection: duckdb.DuckDBPyConnection, partition: Partition) -> int:
    """Drops a partition and returns the number of its rows; what comes for its time later is expired."""
    row = connection.execute(f"SELECT count(*) FROM {partition.table}").fetchone()
    connection.execute(f"DROP TABLE {partition.table}")
    connection.execute(
        "DELETE FROM partition WHERE level = ? AND slot = ?", [partition.level.number, partition.slot]
    )
    return int(row[0]) if row else 0
