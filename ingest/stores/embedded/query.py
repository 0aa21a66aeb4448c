"""Queries of the embedded store, each in a thread and on a cursor of its own: they hold nobody up."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, TypeVarTuple

import duckdb
import msgspec
import numpy as np

from ingest.ports import EventRecord, Series, Written
from ingest.stores.embedded.database import columns_of, fetch_one, filled, view
from ingest.threads import OwnerThread
from telemetry.batch import POINT_DTYPE, Columns
from telemetry.errors import StorageError, UnavailableError

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

_THREADS = 2
_BAD = 128  # quality codes from here on are bad, see telemetry.quality


class EmbeddedQuery:
    """A :class:`ingest.ports.QueryPort` on the file of an :class:`.store.EmbeddedStore`.

    Every query sees the state of one committed transaction.
    """

    def __init__(self) -> None:
        self._threads = OwnerThread("embedded-query", _THREADS)
        self._cursors: queue.SimpleQueue[duckdb.DuckDBPyConnection] = queue.SimpleQueue()
        self._open = False

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Takes cursors of a connection; the store calls it."""
        for _ in range(_THREADS):
            self._cursors.put(connection.cursor())
        self._open = True

    async def close(self) -> None:
        """Waits for the queries under way and closes the cursors."""
        self._open = False
        await self._threads.close()
        while not self._cursors.empty():
            self._cursors.get().close()

    async def count(self) -> int:
        """Number of rows of the readings table."""
        return await self._ask(_count)

    async def last(self, points: Sequence[int]) -> Columns:
        """Newest reading of each point, by source time; points without one are left out."""
        return await self._ask(_last, points)

    async def range(self, points: Sequence[int], start: int, end: int, limit: int = 100_000) -> Columns:
        """Readings with start <= t_source < end [ns, UTC], ordered by point, then time."""
        return await self._ask(_range, points, start, end, limit)

    async def series(self, point: int, start: int, end: int, step: int) -> Series:
        """Readings of one point summed up over intervals of ``step`` [ns]."""
        return await self._ask(_series, point, start, end, step)

    async def events(self, kind: str, start: int, end: int, limit: int = 1000) -> Sequence[EventRecord]:
        """Events with start <= t < end [ns, UTC], newest first."""
        return await self._ask(_events, kind, start, end, limit)

    async def written(self, after: int, through: int, max_readings: int = 20_000) -> Written:
        """Current readings whose newest record is in after < record <= through, oldest record first.

        Whole records only: at least one if there is one, then more up to about ``max_readings``.
        """
        return await self._ask(_written, after, through, max_readings)

    async def _ask(
        self, query: Callable[[duckdb.DuckDBPyConnection, *Arguments], Result], *arguments: *Arguments
    ) -> Result:
        if not self._open:
            raise StorageError("the embedded store is not open")
        try:
            return await self._threads.call(self._run, query, *arguments)
        except duckdb.Error as error:
            raise UnavailableError(f"embedded store: {error}") from error

    def _run(
        self, query: Callable[[duckdb.DuckDBPyConnection, *Arguments], Result], *arguments: *Arguments
    ) -> Result:
        cursor = self._cursors.get()
        try:
            return query(cursor, *arguments)
        finally:
            self._cursors.put(cursor)


def _count(cursor: duckdb.DuckDBPyConnection) -> int:
    return int(fetch_one(cursor, "SELECT count(*) FROM reading")[0])


def _last(cursor: duckdb.DuckDBPyConnection, points: Sequence[int]) -> Columns:
    if not points:
        return Columns.empty()
    wanted = np.unique(np.asarray(points, POINT_DTYPE))
    with view(cursor, "wanted", {"point": wanted}):
        return columns_of(
            cursor.execute(
                "SELECT n.* FROM newest n SEMI JOIN wanted w ON n.point = w.point ORDER BY n.point"
            )
        )


def _range(
    cursor: duckdb.DuckDBPyConnection, points: Sequence[int], start: int, end: int, limit: int
) -> Columns:
    if not points:
        return Columns.empty()
    query = (
        "SELECT point, t_source, value, quality FROM reading WHERE point IN (SELECT unnest(?::UINTEGER[])) "
    )
    query += "AND t_source >= ? AND t_source < ? ORDER BY point, t_source LIMIT ?"
    return columns_of(cursor.execute(query, [list(map(int, points)), start, end, limit]))


def _written(cursor: duckdb.DuckDBPyConnection, after: int, through: int, max_readings: int) -> Written:
    bounds = [after, through]
    # the first record that no longer fits, if there is one
    excess = cursor.execute(
        "SELECT record FROM reading WHERE record > ? AND record <= ? ORDER BY record LIMIT 1 OFFSET ?",
        [*bounds, max_readings],
    ).fetchone()
    last = through
    if excess is not None:
        first = cursor.execute(
            "SELECT min(record) FROM reading WHERE record > ? AND record <= ?", bounds
        ).fetchone()
        last = max(int(first[0]) if first else 0, int(excess[0]) - 1)
    columns = columns_of(
        cursor.execute(
            "SELECT point, t_source, value, quality FROM reading WHERE record > ? AND record <= ? "
            "ORDER BY record, point, t_source",
            [after, last],
        )
    )
    return Written(columns, last)


def _series(cursor: duckdb.DuckDBPyConnection, point: int, start: int, end: int, step: int) -> Series:
    # the remainder takes the sign of the dividend: a step more puts times before 1970 into the interval below
    found: dict[str, Any] = cursor.execute(
        "SELECT t_source - (t_source % $step + $step) % $step AS t, "
        "min(value) FILTER (quality < $bad) AS low, "
        "max(value) FILTER (quality < $bad) AS high, avg(value) FILTER (quality < $bad) AS mean, "
        "count(value) FILTER (quality < $bad) AS count, max(quality) AS worst FROM reading "
        "WHERE point = $point AND t_source >= $start AND t_source < $end GROUP BY 1 ORDER BY 1",
        {"step": step, "bad": _BAD, "point": point, "start": start, "end": end},
    ).fetchnumpy()
    return Series(
        np.asarray(found["t"], np.int64),
        filled(found["low"]),
        filled(found["high"]),
        filled(found["mean"]),
        np.asarray(found["count"], np.int64),
        np.asarray(found["worst"], np.uint8),
    )


def _events(
    cursor: duckdb.DuckDBPyConnection, kind: str, start: int, end: int, limit: int
) -> Sequence[EventRecord]:
    rows = cursor.execute(
        "SELECT key, t, tags, fields FROM event WHERE kind = ? AND t >= ? AND t < ? "
        "ORDER BY t DESC, key LIMIT ?",
        [kind, start, end, limit],
    ).fetchall()
    return [
        EventRecord(kind, key, t, msgspec.json.decode(tags), _known(msgspec.json.decode(fields)))
        for key, t, tags, fields in rows
    ]


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: such a field was written as null and is left out."""
    return {name: value for name, value in fields.items() if value is not None}
