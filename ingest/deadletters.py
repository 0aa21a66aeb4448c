"""Dead letters: what was received and could not become a reading, kept with its reason, in bounded space."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ingest import metrics
from ingest.config import DeadLetterSettings
from ingest.databases import DatabaseKind, damaged, open_database, transaction
from ingest.ports import DeadLetter
from ingest.threads import OwnerThread
from telemetry.errors import StorageError

INTAKE = "intake"
"""Origin of what sources reject; a store's refusals have the store's name."""

REINJECTED, PURGED = "reinjected", "purged"
"""What became of letters that left on purpose, counted like origins."""

LETTERS = DatabaseKind(
    "dead-letter store",
    0x47424431,
    2,
    """CREATE TABLE letter (
         id INTEGER PRIMARY KEY AUTOINCREMENT, origin TEXT NOT NULL, t_received INTEGER NOT NULL,
         source TEXT NOT NULL, address TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
         payload BLOB NOT NULL, size INTEGER NOT NULL, requested INTEGER NOT NULL DEFAULT 0
       );
       CREATE TABLE total (origin TEXT PRIMARY KEY, kept INTEGER NOT NULL);
       CREATE TABLE held (
         one INTEGER PRIMARY KEY, letters INTEGER NOT NULL, bytes INTEGER NOT NULL, dropped INTEGER NOT NULL
       );
       INSERT INTO held VALUES (1, 0, 0, 0)""",
    "stop greenbridge, run `{set_aside}` and start again: the letters in it are then no longer listed",
)
_COLUMNS = "t_received, source, address, reason, detail, payload, size"


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter with its number."""

    id: int
    origin: str
    """``intake``, or the name of the store that refused it."""
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant; what is not given matches everything."""

    numbers: Sequence[int] = ()
    reason: str = ""
    source: str = ""
    until: int | None = None
    """Received before this [ns, UTC]."""

    def clause(self) -> tuple[str, list[str | int]]:
        """Condition in SQL, with its values."""
        parts: list[str] = []
        values: list[str | int] = []
        if self.numbers:
            parts.append(f"id IN ({', '.join('?' * len(self.numbers))})")
            values += self.numbers
        for column, value in (("reason = ?", self.reason), ("source = ?", self.source)):
            if value:
                parts.append(column)
                values.append(value)
        if self.until is not None:
            parts.append("t_received < ?")
            values.append(self.until)
        return " AND ".join(parts) or "1", values


class DeadLetters:
    """Dead letters in a SQLite file; ``async with`` opens and closes it.

    Several processes may have it open: the command line lists, requests and purges beside a running one.

    When a bound is reached the oldest letters are dropped; the totals keep counting them.
    """

    def __init__(self, path: Path, settings: DeadLetterSettings) -> None:
        self._path = path
        self._settings = settings
        self._thread = OwnerThread("dead-letters")
        self._connection: sqlite3.Connection | None = None
        self._totals: Counter[str] = Counter()
        self._dropped = 0

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
            self._connection = None
        await self._thread.close()

    def total(self, origin: str = INTAKE) -> int:
        """Number of letters ever kept of an origin, those dropped later included."""
        return self._totals[origin]

    @property
    def dropped(self) -> int:
        """Number of letters dropped for space."""
        return self._dropped

    async def add(self, letters: Sequence[DeadLetter], origin: str = INTAKE) -> None:
        """Makes letters durable, all or none; payloads are cut to the configured length.

        Raises
        ------
        StorageError
            They are not durable.

        """
        if letters:
            await self._thread.call(self._add, letters, origin)

    async def newest(
        self, before: int | None = None, limit: int = 100, chosen: Selection | None = None
    ) -> list[StoredLetter]:
        """Newest letters first, those with a number below ``before`` if it is given."""
        return await self._thread.call(self._list, before, limit, chosen or Selection())

    async def counts(self) -> list[tuple[str, str, int]]:
        """Number of letters held by source and reason, most first."""
        query = "SELECT source, reason, count(*) FROM letter GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
        return await self._thread.call(self._ask, query, [])

    async def request(self, chosen: Selection) -> int:
        """Asks for letters to be decoded again by the process that runs on this state; returns how many.

        Raises
        ------
        StorageError
            It cannot be written down.

        """
        where, values = chosen.clause()
        statement = f"UPDATE letter SET requested = 1 WHERE {where}"  # noqa: S608  columns are fixed
        return await self._thread.call(self._change, statement, values)

    async def requested(self, limit: int = 100) -> list[StoredLetter]:
        """Letters that somebody asked to have decoded again, oldest first."""
        query = f"SELECT id, origin, {_COLUMNS} FROM letter WHERE requested = 1 ORDER BY id LIMIT ?"  # noqa: S608  fixed
        rows = await self._thread.call(self._ask, query, [limit])
        return [_stored(row) for row in rows]

    async def refuse(self, number: int, detail: str) -> None:
        """Notes that a letter could not become a reading this time either."""
        values: list[str | int] = [detail, number]
        statement = "UPDATE letter SET requested = 0, detail = ? WHERE id = ?"
        await self._thread.call(self._change, statement, values)

    async def settle(self, number: int) -> None:
        """Takes out a letter that became readings.

        Raises
        ------
        StorageError
            It is still there, and will be decoded once more: the same readings are then duplicates.

        """
        await self._thread.call(self._take_out, Selection([number]), REINJECTED)

    async def purge(self, chosen: Selection) -> int:
        """Deletes letters; the totals keep counting them. Returns how many."""
        return await self._thread.call(self._take_out, chosen, PURGED)

    async def show(self, number: int) -> StoredLetter | None:
        """One letter; None if it was never kept or is dropped."""
        found = await self.newest(number + 1, 1)
        return found[0] if found and found[0].id == number else None

    def _open(self) -> None:
        connection = open_database(self._path, LETTERS)
        try:
            self._totals = Counter(dict(connection.execute("SELECT origin, kept FROM total")))
            (self._dropped,) = connection.execute("SELECT dropped FROM held").fetchone()
        except sqlite3.DatabaseError as error:
            connection.close()
            raise damaged(self._path, LETTERS, error) from error
        self._connection = connection

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageError(f"dead-letter store {self._path} is not open")
        return self._connection

    def _add(self, letters: Sequence[DeadLetter], origin: str) -> None:
        connection = self._opened()
        cut = self._settings.max_payload_bytes
        rows = [
            (origin, x.t_received, x.source, x.address, x.reason, x.detail, x.payload[:cut], x.size)
            for x in letters
        ]
        try:
            with transaction(connection):
                connection.executemany(
                    f"INSERT INTO letter (origin, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  fixed
                    rows,
                )
                connection.execute(
                    "INSERT INTO total VALUES (?, ?) "
                    "ON CONFLICT (origin) DO UPDATE SET kept = kept + excluded.kept",
                    (origin, len(rows)),
                )
                connection.execute(
                    "UPDATE held SET letters = letters + ?, bytes = bytes + ?",
                    (len(rows), sum(len(row[6]) for row in rows)),
                )
                dropped = self._drop_oldest(connection)
        except sqlite3.Error as error:
            raise StorageError(f"dead-letter store {self._path}: {error}") from error
        self._totals[origin] += len(rows)
        self._dropped += dropped
        metrics.DEAD_LETTERS_DROPPED.inc(dropped)
        for letter in letters:
            metrics.DEAD_LETTERS.labels(origin, letter.reason).inc()

    def _drop_oldest(self, connection: sqlite3.Connection) -> int:
        held, size = connection.execute("SELECT letters, bytes FROM held").fetchone()
        dropped = freed = 0
        last = None
        for number, length in connection.execute("SELECT id, length(payload) FROM letter ORDER BY id"):
            if held - dropped <= self._settings.max_count and size - freed <= self._settings.max_bytes:
                break
            last, dropped, freed = number, dropped + 1, freed + length
        if last is not None:
            connection.execute("DELETE FROM letter WHERE id <= ?", (last,))
            connection.execute(
                "UPDATE held SET letters = letters - ?, bytes = bytes - ?, dropped = dropped + ?",
                (dropped, freed, dropped),
            )
        return dropped

    def _list(self, before: int | None, limit: int, chosen: Selection) -> list[StoredLetter]:
        where, values = chosen.clause()
        query = (
            f"SELECT id, origin, {_COLUMNS} FROM letter WHERE {where} AND id < ? "  # noqa: S608  columns are fixed
            "ORDER BY id DESC LIMIT ?"
        )
        top = before if before is not None else (1 << 63) - 1
        return [_stored(row) for row in self._ask(query, [*values, top, limit])]

    def _ask(self, query: str, values: Sequence[str | int]) -> list[Any]:
        try:
            return self._opened().execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"dead-letter store {self._path}: {error}") from error

    def _change(self, statement: str, values: Sequence[str | int]) -> int:
        connection = self._opened()
        try:
            with transaction(connection):
                return connection.execute(statement, values).rowcount
        except sqlite3.Error as error:
            raise StorageError(f"dead-letter store {self._path}: {error}") from error

    def _take_out(self, chosen: Selection, outcome: str) -> int:
        connection = self._opened()
        where, values = chosen.clause()
        try:
            with transaction(connection):
                count, freed = connection.execute(
                    f"SELECT count(*), coalesce(sum(length(payload)), 0) FROM letter WHERE {where}",  # noqa: S608  fixed
                    values,
                ).fetchone()
                connection.execute(f"DELETE FROM letter WHERE {where}", values)  # noqa: S608  columns are fixed
                connection.execute("UPDATE held SET letters = letters - ?, bytes = bytes - ?", (count, freed))
                connection.execute(
                    "INSERT INTO total VALUES (?, ?) "
                    "ON CONFLICT (origin) DO UPDATE SET kept = kept + excluded.kept",
                    (outcome, count),
                )
        except sqlite3.Error as error:
            raise StorageError(f"dead-letter store {self._path}: {error}") from error
        self._totals[outcome] += count
        return int(count)


def _stored(row: Sequence[Any]) -> StoredLetter:
    number, origin, *letter = row
    return StoredLetter(number, origin, DeadLetter(*letter))
