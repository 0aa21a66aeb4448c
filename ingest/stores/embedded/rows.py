"""What the embedded store reads and writes within a transaction; columns go in as numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import msgspec
import numpy as np
from numpy.typing import NDArray

from ingest.ports import EventRecord, Position
from ingest.stages.deduplication import Rows
from ingest.stores.embedded.database import filled, view
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
    with view(
        connection, "wanted", {"row": rows.astype(np.int64), "point": columns.point[rows], "t_source": t}
    ):
        found = connection.execute(
            "SELECT w.row, r.value, r.quality FROM reading r JOIN wanted w "
            "ON r.point = w.point AND r.t_source = w.t_source "
            "WHERE r.t_source BETWEEN ? AND ? ORDER BY w.row",
            [low, high],
        ).fetchnumpy()
    return found["row"].astype(np.intp), filled(found["value"]), np.asarray(found["quality"], np.uint8)


def insert(connection: duckdb.DuckDBPyConnection, columns: Columns, record: NDArray[np.uint64]) -> None:
    """Adds readings with new keys."""
    if len(columns):
        with view(connection, "fresh", _table(columns) | {"record": record}):
            connection.execute(
                "INSERT INTO reading SELECT point, t_source, value, quality, record FROM fresh"
            )


def update(connection: duckdb.DuckDBPyConnection, columns: Columns, record: NDArray[np.uint64]) -> None:
    """Replaces value and quality of stored readings."""
    if len(columns):
        low, high = int(columns.t_source.min()), int(columns.t_source.max())
        with view(connection, "fresh", _table(columns) | {"record": record}):
            connection.execute(
                "UPDATE reading SET value = f.value, quality = f.quality, record = f.record FROM fresh f "
                "WHERE reading.point = f.point AND reading.t_source = f.t_source "
                "AND reading.t_source BETWEEN ? AND ?",
                [low, high],
            )


def raise_newest(connection: duckdb.DuckDBPyConnection, columns: Columns, known: NDArray[np.bool_]) -> None:
    """Sets the newest reading of points; ``known`` are those that have one already."""
    old, new = columns.where(known), columns.where(~known)
    if len(old):
        with view(connection, "fresh", _table(old)):
            connection.execute(
                "UPDATE newest SET t_source = f.t_source, value = f.value, quality = f.quality FROM fresh f "
                "WHERE newest.point = f.point"
            )
    if len(new):
        with view(connection, "fresh", _table(new)):
            connection.execute("INSERT INTO newest SELECT point, t_source, value, quality FROM fresh")


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
    totals = position.totals
    connection.execute(
        "UPDATE state SET record = ?, event = ?, stored = ?, revised = ?, duplicates = ?, suppressed = ?, "
        "dead_lettered = ?, missed = ?",
        [
            position.offset,
            position.event,
            totals.stored,
            totals.revised,
            totals.duplicates,
            totals.suppressed,
            totals.dead_lettered,
            totals.missed,
        ],
    )


def _table(columns: Columns) -> dict[str, NDArray[np.generic]]:
    return {
        "point": columns.point,
        "t_source": columns.t_source,
        "value": columns.value,
        "quality": columns.quality,
    }


def _json(mapping: object) -> str:
    return msgspec.json.encode(mapping).decode()
