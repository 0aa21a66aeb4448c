"""Queries of the embedded store, each in a thread and on a cursor of its own: they hold nobody up."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import duckdb
import msgspec

from ingest.ports import EventRecord, Series, Written
from ingest.stores.embedded.copies import ExportedPoint, ExportFormat, back_up, export
from ingest.stores.embedded.database import columns_of, fetch_one, transaction
from ingest.stores.embedded.newest import Newest
from ingest.stores.embedded.partitions import RAW, catalogue, overlapping
from ingest.stores.embedded.series import series
from ingest.threads import OwnerThread
from telemetry.batch import Columns
from telemetry.errors import StorageError, UnavailableError

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

_THREADS = 2


class EmbeddedQuery:
    """A :class:`ingest.ports.QueryPort` on the file of an :class:`.store.EmbeddedStore`.

    Every query sees the state of one committed transaction.
    """

    def __init__(self, newest: Newest) -> None:
        self._newest = newest
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
        """Number of rows of all tables of readings, and of those that retention has dropped."""
        return await self._ask(_count)

    async def last(self, points: Sequence[int]) -> Columns:
        """Newest reading of each point, by source time; points without one are left out."""
        if not self._open:
            raise StorageError("the embedded store is not open")
        return self._newest.of(points)

    async def range(self, points: Sequence[int], start: int, end: int, limit: int = 100_000) -> Columns:
        """Readings with start <= t_source < end [ns, UTC], ordered by point, then time."""
        return await self._ask(_range, points, start, end, limit)

    async def series(self, point: int, start: int, end: int, step: int) -> Series:
        """Readings of one point summed up over intervals of ``step`` [ns]."""
        return await self._ask(series, point, start, end, step)

    async def events(self, kind: str, start: int, end: int, limit: int = 1000) -> Sequence[EventRecord]:
        """Events with start <= t < end [ns, UTC], newest first."""
        return await self._ask(_events, kind, start, end, limit)

    async def written(self, after: int, through: int, max_readings: int = 20_000) -> Written:
        """Current readings whose newest record is in after < record <= through, oldest record first.

        Whole records only: at least one if there is one, then more up to about ``max_readings``.
        """
        return await self._ask(_written, after, through, max_readings)

    async def records(self, start: int, end: int) -> tuple[int, int, int]:
        """First and last record with readings of start <= t_source < end [ns, UTC], and how many: else 0."""
        return await self._ask(_records, start, end)

    async def back_up(self, path: Path) -> None:
        """Writes a complete store, as of one commit, into a new file.

        Raises
        ------
        StorageError
            The file exists, or the store is not open.
        UnavailableError
            The file cannot be written.

        """
        await self._call(back_up, path)

    async def export(
        self, path: Path, form: ExportFormat, points: Sequence[ExportedPoint], start: int, end: int
    ) -> int:
        """Writes readings with start <= t_source < end [ns, UTC] into a file and returns their number.

        Raises
        ------
        UnavailableError
            The file cannot be written.

        """
        return await self._ask(export, path, form, points, (start, end))

    async def _ask(
        self, query: Callable[[duckdb.DuckDBPyConnection, *Arguments], Result], *arguments: *Arguments
    ) -> Result:
        return await self._call(_in_one_snapshot, query, *arguments)

    async def _call(
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


def _in_one_snapshot(
    cursor: duckdb.DuckDBPyConnection,
    query: Callable[[duckdb.DuckDBPyConnection, *Arguments], Result],
    *arguments: *Arguments,
) -> Result:
    """Runs a query on catalogue and tables of one commit."""
    with transaction(cursor):
        return query(cursor, *arguments)


def _count(cursor: duckdb.DuckDBPyConnection) -> int:
    tables = ["hot", *(day.table for day in catalogue(cursor, RAW))]
    rows = " + ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    return int(fetch_one(cursor, f"SELECT dropped + {rows} FROM state")[0])


def _records(cursor: duckdb.DuckDBPyConnection, start: int, end: int) -> tuple[int, int, int]:
    tables = ["hot", *(day.table for day in overlapping(catalogue(cursor, RAW), start, end))]
    where = f"t_source >= {start} AND t_source < {end}"
    rows = " UNION ALL ".join(f"SELECT record FROM {table} WHERE {where}" for table in tables)
    first, last, count = fetch_one(cursor, f"SELECT min(record), max(record), count(*) FROM ({rows})")
    return int(first or 0), int(last or 0), int(count)


def _range(
    cursor: duckdb.DuckDBPyConnection, points: Sequence[int], start: int, end: int, limit: int
) -> Columns:
    if not points:
        return Columns.empty()
    return columns_of(
        cursor.execute(
            f"SELECT point, t_source, value, quality FROM {readings(cursor, points, start, end)} "
            "ORDER BY point, t_source LIMIT ?",
            [limit],
        )
    )


def readings(cursor: duckdb.DuckDBPyConnection, points: Sequence[int], start: int, end: int) -> str:
    """A relation of the readings of points with start <= t_source < end [ns, UTC], in no order."""
    # numbers in the text, not parameters: only then are row groups of other points skipped
    chosen = ", ".join(str(int(point)) for point in points)
    where = f"point IN ({chosen}) AND t_source >= {start} AND t_source < {end}"
    tables = ["hot", *(day.table for day in overlapping(catalogue(cursor, RAW), start, end))]
    return "(" + " UNION ALL ".join(f"SELECT * FROM {table} WHERE {where}" for table in tables) + ")"


def _written(cursor: duckdb.DuckDBPyConnection, after: int, through: int, max_readings: int) -> Written:
    tables = ["hot", *(day.table for day in catalogue(cursor, RAW))]

    def rows(columns: str, last: int) -> str:
        where = f"record > {int(after)} AND record <= {int(last)}"
        return "(" + " UNION ALL ".join(f"SELECT {columns} FROM {t} WHERE {where}" for t in tables) + ")"

    # the first record that no longer fits, if there is one
    excess = cursor.execute(
        f"SELECT record FROM {rows('record', through)} ORDER BY record LIMIT 1 OFFSET {int(max_readings)}"
    ).fetchone()
    last = through
    if excess is not None:
        (first,) = fetch_one(cursor, f"SELECT min(record) FROM {rows('record', through)}")
        last = max(int(first), int(excess[0]) - 1)
    columns = columns_of(
        cursor.execute(
            f"SELECT point, t_source, value, quality FROM {rows('*', last)} ORDER BY record, point, t_source"
        )
    )
    return Written(columns, last)


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
