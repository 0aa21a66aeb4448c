"""Named positions of the journal's consumers, on disk."""

from __future__ import annotations

import sqlite3
from dataclasses import astuple
from pathlib import Path
from types import TracebackType
from typing import Self

from ingest.databases import DatabaseKind, damaged, open_database, transaction
from ingest.ports import Position, Totals
from ingest.threads import OwnerThread
from telemetry.errors import StorageError

CURSORS = DatabaseKind(
    "cursor file",
    0x47424331,
    1,
    """CREATE TABLE cursor (
         name TEXT PRIMARY KEY, offset INTEGER NOT NULL, event INTEGER NOT NULL, stored INTEGER NOT NULL,
         revised INTEGER NOT NULL, duplicates INTEGER NOT NULL, suppressed INTEGER NOT NULL,
         dead_lettered INTEGER NOT NULL, missed INTEGER NOT NULL, marks BLOB NOT NULL
       )""",
    "stop greenbridge, move the file and its -wal and -shm files aside and start again: "
    "InfluxDB is then written again from what the journal holds, which changes nothing in it",
)


class Cursors:
    """Positions in a SQLite file; ``async with`` opens and closes it.

    Only the consumers that registered hold back retention: one that is taken out of the configuration does
    not pin the journal for ever.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._positions: dict[str, Position] = {}
        self._registered: set[str] = set()
        self._connection: sqlite3.Connection | None = None
        self._thread = OwnerThread("cursors")

    async def __aenter__(self) -> Self:
        try:
            await self._thread.call(self._open)
        except StorageError:
            await self._thread.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._thread.call(self._connection.close)
        await self._thread.close()

    def register(self, name: str) -> None:
        """Declares a consumer: no segment that it has not passed is deleted."""
        self._registered.add(name)

    @property
    def floor(self) -> int:
        """Offset that every registered consumer has passed; 0 without any. Safe from any thread."""
        names = tuple(self._registered)
        return min((self._positions.get(name, Position()).offset for name in names), default=0)

    @property
    def furthest(self) -> tuple[int, int]:
        """Highest offset and highest number of readings that a consumer has accounted for; zeros without any.

        The two may be of different consumers: not each of them counts readings.
        """
        positions = self._positions.values()
        return (
            max((p.offset for p in positions), default=0),
            max((p.totals.accounted for p in positions), default=0),
        )

    async def load(self, name: str) -> Position:
        """Position of a consumer; the start if it has none yet."""
        return self._positions.get(name, Position())

    async def load_marks(self, name: str) -> bytes:
        """High-water marks that were saved with the position; empty if none were."""
        return await self._thread.call(self._marks, name)

    async def save(self, name: str, position: Position, marks: bytes = b"") -> None:
        """Makes a position durable, with high-water marks if they are given.

        Raises
        ------
        StorageError
            The position is behind the saved one, or the file cannot be written.

        """
        saved = self._positions.get(name, Position())
        if position.offset < saved.offset or position.event < saved.event:
            raise StorageError(f"cursor {name}: {position} is behind the saved {saved}")
        await self._thread.call(self._save, name, position, marks)

    def _open(self) -> None:
        self._connection = open_database(self._path, CURSORS)
        columns = "name, offset, event, stored, revised, duplicates, suppressed, dead_lettered, missed"
        try:
            rows = self._connection.execute(f"SELECT {columns} FROM cursor").fetchall()  # noqa: S608  fixed text
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise damaged(self._path, CURSORS, error) from error
        self._positions = {
            name: Position(offset, event, Totals(*terms)) for name, offset, event, *terms in rows
        }

    def _marks(self, name: str) -> bytes:
        if self._connection is None:
            raise _not_open(self._path)
        row = self._connection.execute("SELECT marks FROM cursor WHERE name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else b""

    def _save(self, name: str, position: Position, marks: bytes) -> None:
        if self._connection is None:
            raise _not_open(self._path)
        row = (name, position.offset, position.event, *astuple(position.totals), marks)
        try:
            with transaction(self._connection):
                self._connection.execute(
                    "INSERT INTO cursor VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (name) DO UPDATE SET "
                    "offset = excluded.offset, event = excluded.event, stored = excluded.stored, "
                    "revised = excluded.revised, duplicates = excluded.duplicates, "
                    "suppressed = excluded.suppressed, dead_lettered = excluded.dead_lettered, "
                    "missed = excluded.missed, "
                    "marks = CASE WHEN length(excluded.marks) > 0 THEN excluded.marks ELSE marks END",
                    row,
                )
        except sqlite3.Error as error:
            raise StorageError(f"cursor file {self._path}: {error}") from error
        self._positions[name] = position


def _not_open(path: Path) -> StorageError:
    return StorageError(f"cursor file {path} is not open")
