"""Retention by age and size: whole partitions are dropped, readings before their roll-ups."""

from __future__ import annotations

import duckdb

from ingest.config import EmbeddedSettings
from ingest.stores.embedded.compaction import drop
from ingest.stores.embedded.database import fetch_one, transaction
from ingest.stores.embedded.partitions import (
    DAY,
    LEVELS,
    RAW,
    STRAY,
    Partition,
    catalogue,
    horizon,
    keep_days,
)

MAX_STRAY = 1_000_000
"""Readings with implausible times that are kept; the oldest go first."""


def retain(connection: duckdb.DuckDBPyConnection, settings: EmbeddedSettings, now: int) -> None:
    """Drops what is too old at a time [ns, UTC], then the oldest until the data fit their size.

    The newest partition of every level stays, whatever its size. While a query reads what is dropped, the
    space cannot be given back: then one partition goes, and the next ones at the next call.
    """
    with transaction(connection):
        for level, days in zip(LEVELS, keep_days(settings), strict=True):
            for partition in catalogue(connection, level):
                if partition.slot != STRAY and partition.end <= now - days * DAY:
                    _drop(connection, partition)
        _trim_stray(connection)
        connection.execute("DELETE FROM event WHERE t < ?", [now - settings.keep_15min_days * DAY])
    while size(connection) > settings.max_mb * 1_000_000:
        oldest = _oldest_spare(connection)
        if oldest is None:
            return
        with transaction(connection):
            _drop(connection, oldest)
        try:
            connection.execute("CHECKPOINT")
        except duckdb.TransactionException:
            return


def size(connection: duckdb.DuckDBPyConnection) -> int:
    """Size of the data in the file [B]; blocks that are free again do not count."""
    block, used = fetch_one(connection, "SELECT block_size, used_blocks FROM pragma_database_size()")
    return int(block) * int(used)


def _oldest_spare(connection: duckdb.DuckDBPyConnection) -> Partition | None:
    for level in LEVELS:
        partitions = [p for p in catalogue(connection, level) if p.slot != STRAY]
        if len(partitions) > 1:
            return partitions[0]
    return None


def _drop(connection: duckdb.DuckDBPyConnection, partition: Partition) -> None:
    rows = drop(connection, partition)
    level = partition.level
    if level is RAW:
        connection.execute("UPDATE state SET dropped = dropped + ?", [rows])
    time = max(horizon(connection, level), partition.end)
    connection.execute("DELETE FROM horizon WHERE level = ?", [level.number])
    connection.execute("INSERT INTO horizon VALUES (?, ?)", [level.number, time])


def _trim_stray(connection: duckdb.DuckDBPyConnection) -> None:
    stray = Partition(RAW, STRAY)
    if stray not in catalogue(connection, RAW):
        return
    (rows,) = fetch_one(connection, f"SELECT count(*) FROM {stray.table}")
    if rows > MAX_STRAY:
        (record,) = fetch_one(
            connection, f"SELECT record FROM {stray.table} ORDER BY record DESC OFFSET {MAX_STRAY} LIMIT 1"
        )
        (dropped,) = fetch_one(connection, f"SELECT count(*) FROM {stray.table} WHERE record <= {record}")
        connection.execute(f"DELETE FROM {stray.table} WHERE record <= {record}")
        connection.execute("UPDATE state SET dropped = dropped + ?", [dropped])
