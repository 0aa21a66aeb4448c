"""What the embedded store reads and writes within a transaction; columns go in as numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

import duckdb
import msgspec
import numpy as np
from numpy.typing import NDArray

from ingest.ports import EventRecord, Position
from ingest.stages.deduplication import Rows
from ingest.stores.embedded.database import TERMS, filled, view
from ingest.stores.embedded.partitions import RAW, catalogue, overlapping
from ingest.stores.embedded.rollups import renew
from telemetry.batch import Columns


def held(
    connection: duckdb.DuckDBPyConnection, columns: Columns, rows: Rows
) -> tuple[Rows, NDArray[np.float64], NDArray[np.uint8]]:
    """Of some rows those whose key is stored, in ascending order, with the value and quality stored."""
    if not len(rows):
        return rows, np.zeros(0), np.zeros(0, np.uint8)
    t = columns.t_source[rows]
    # the bounds let the scan skip every row group of another time
    low, high = int(t.min()), int(t.max())
    tables = _tables(connection, low, high)
    stored = " UNION ALL ".join(
        f"SELECT point, t_source, value, quality FROM {table} WHERE t_source BETWEEN {low} AND {high}"
        for table in tables
    )
    with view(
        connection, "wanted", {"row": rows.astype(np.int64), "point": columns.point[rows], "t_source": t}
    ):
        found = connection.execute(
            f"SELECT w.row, r.value, r.quality FROM ({stored}) r JOIN wanted w "
            "ON r.point = w.point AND r.t_source = w.t_source ORDER BY w.row"
        ).fetchnumpy()
    return found["row"].astype(np.intp), filled(found["value"]), np.asarray(found["quality"], np.uint8)


def insert(connection: duckdb.DuckDBPyConnection, columns: Columns, record: NDArray[np.uint64]) -> None:
    """Adds readings with new keys."""
    if len(columns):
        with view(connection, "fresh", _table(columns) | {"record": record}):
            connection.execute("INSERT INTO hot SELECT point, t_source, value, quality, record FROM fresh")


def update(connection: duckdb.DuckDBPyConnection, columns: Columns, record: NDArray[np.uint64]) -> None:
    """Replaces value and quality of stored readings, wherever they are, and sums their intervals up again."""
    if not len(columns):
        return
    low, high = int(columns.t_source.min()), int(columns.t_source.max())
    with view(connection, "fresh", _table(columns) | {"record": record}):
        for table in _tables(connection, low, high):
            connection.execute(
                f"UPDATE {table} SET value = f.value, quality = f.quality, record = f.record FROM fresh f "
                f"WHERE {table}.point = f.point AND {table}.t_source = f.t_source "
                f"AND {table}.t_source BETWEEN {low} AND {high}"
            )
        connection.execute(
            "UPDATE newest SET value = f.value, quality = f.quality FROM fresh f "
            "WHERE newest.point = f.point AND newest.t_source = f.t_source"
        )
    renew(connection, columns)


def replace_events(connection: duckdb.DuckDBPyConnection, events: Sequence[EventRecord]) -> None:
    """Adds events; an earlier one of the same kind and key goes."""
    last = {(event.kind, event.key): event for event in events}
    if not last:
        return
    fresh = {
        "kind": np.array([kind for kind, _ in last], object),
        "key": np.array([key for _, key in last], object),
        "t": np.array([event.t for event in last.values()], np.int64),
        "tags": np.array([_json(event.tags) for event in last.values()], object),
        "fields": np.array([_json(event.fields) for event in last.values()], object),
    }
    with view(connection, "fresh", fresh):
        connection.execute("DELETE FROM event USING fresh f WHERE event.kind = f.kind AND event.key = f.key")
        connection.execute("INSERT INTO event SELECT kind, key, t, tags, fields FROM fresh")


def set_position(connection: duckdb.DuckDBPyConnection, position: Position) -> None:
    """Writes position and totals."""
    terms = ", ".join(f"{term} = ?" for term in TERMS)
    connection.execute(
        f"UPDATE state SET record = ?, event = ?, {terms}",
        [position.offset, position.event, *astuple(position.totals)],
    )


def _tables(connection: duckdb.DuckDBPyConnection, low: int, high: int) -> list[str]:
    """Tables that may hold readings of a time from low to high [ns, UTC]."""
    days = overlapping(catalogue(connection, RAW), low, high + 1)
    return ["hot", *(day.table for day in days)]


def _table(columns: Columns) -> dict[str, NDArray[np.generic]]:
    return {
        "point": columns.point,
        "t_source": columns.t_source,
        "value": columns.value,
        "quality": columns.quality,
    }


def _json(mapping: object) -> str:
    return msgspec.json.encode(mapping).decode()
