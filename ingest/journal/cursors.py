"""Named positions of the journal's consumers, on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from ingest.databases import DatabaseKind, damaged, open_database, recovery, transaction
from ingest.ports import Gap, OnFull, Position, Totals
from ingest.threads import OwnerThread
from telemetry.errors import StorageError

_GAP = """CREATE TABLE gap (
         name TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, readings INTEGER NOT NULL,
         refilled INTEGER NOT NULL, PRIMARY KEY (name, first)
       )"""
CURSORS = DatabaseKind(
    "cursor file",
    0x47424331,
    3,
    f"""CREATE TABLE cursor (
         name TEXT PRIMARY KEY, offset INTEGER NOT NULL, event INTEGER NOT NULL, stored INTEGER NOT NULL,
         revised INTEGER NOT NULL, duplicates INTEGER NOT NULL, suppressed INTEGER NOT NULL,
         dead_lettered INTEGER NOT NULL, expired INTEGER NOT NULL, missed INTEGER NOT NULL,
         marks BLOB NOT NULL, refs BLOB NOT NULL
       );
       {_GAP}""",
    "stop greenbridge, run `{set_aside}` and start again: "
    "InfluxDB is then written again from what the journal holds, which changes nothing in it",
)


class Cursors:
    """Positions and gaps in a SQLite file; ``async with`` opens and closes it.

    Only the consumers that registered hold back retention: one that is taken out of the configuration does
    not pin the journal for ever.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._positions: dict[str, Position] = {}
        self._registered: dict[str, OnFull] = {}
        self._gaps: dict[str, tuple[Gap, ...]] = {}
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

    def register(self, name: str, on_full: OnFull = OnFull.STOP) -> None:
        """Declares a consumer, and what becomes of it when the journal has no room left."""
        self._registered[name] = on_full

    def unregister(self, name: str) -> None:
        """Lets a consumer hold back nothing any more; its position stays."""
        self._registered.pop(name, None)

    @property
    def floor(self) -> int:
        """Offset that every registered consumer has passed; 0 without any. Safe from any thread."""
        return self._passed_by(*OnFull)

    @property
    def stop_floor(self) -> int:
        """Offset that every registered consumer has passed that may not be detached. Safe from any thread."""
        return self._passed_by(OnFull.STOP)

    def behind(self, offset: int) -> list[tuple[str, Position]]:
        """Registered consumers that have not passed an offset, the slowest first. Safe from any thread."""
        positions = [(name, self._positions.get(name, Position())) for name in tuple(self._registered)]
        return sorted(
            ((name, at) for name, at in positions if at.offset < offset), key=lambda entry: entry[1].offset
        )

    def gaps(self, name: str) -> Sequence[Gap]:
        """Gaps of a consumer, oldest first. Safe from any thread."""
        return self._gaps.get(name, ())

    def detach(self, through: int, readings: int) -> list[str]:
        """Notes, durably, that consumers which may be detached will not get the records up to an offset.

        To be called from another thread than the event loop's, before the records are deleted.

        Parameters
        ----------
        through
            Newest record to be deleted.
        readings
            Number of readings in all records up to it.

        Returns
        -------
        list[str]
            The consumers that lose something.

        Raises
        ------
        StorageError
            It could not be made durable; nothing may be deleted.

        """
        return self._thread.wait(self._detach, through, readings)

    async def save_refill(self, name: str, gap: Gap, through: int) -> None:
        """Notes that the records of a gap up to an offset were given to the consumer from elsewhere.

        Raises
        ------
        StorageError
            It could not be made durable; the same readings will be given again.

        """
        await self._thread.call(self._save_refill, name, gap, through)

    async def give_again(self, name: str, first: int, last: int) -> None:
        """Notes that a consumer is to be given the records first <= offset <= last again, from elsewhere.

        Raises
        ------
        StorageError
            It could not be made durable.

        """
        await self._thread.call(self._give_again, name, Gap(first, last, 0))

    def _passed_by(self, *kinds: OnFull) -> int:
        names = [name for name, on_full in tuple(self._registered.items()) if on_full in kinds]
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
        return await self._thread.call(self._blob, "marks", name)

    async def load_references(self, name: str) -> bytes:
        """References of deadbands that were saved with the position; empty if none were."""
        return await self._thread.call(self._blob, "refs", name)

    async def save(
        self, name: str, position: Position, marks: bytes = b"", references: bytes | None = None
    ) -> None:
        """Makes a position durable, with high-water marks and references of deadbands if they are given.

        Raises
        ------
        StorageError
            The position is behind the saved one, or the file cannot be written.

        """
        saved = self._positions.get(name, Position())
        if position.offset < saved.offset or position.event < saved.event:
            raise StorageError(f"cursor {name}: {position} is behind the saved {saved}")
        await self._thread.call(self._save, name, position, marks, references)

    def _open(self) -> None:
        self._connection = open_database(self._path, CURSORS)
        columns = (
            "name, offset, event, stored, revised, duplicates, suppressed, dead_lettered, expired, missed"
        )
        try:
            rows = self._connection.execute(f"SELECT {columns} FROM cursor").fetchall()  # noqa: S608  fixed text
            gaps = self._connection.execute("SELECT * FROM gap ORDER BY name, first").fetchall()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise damaged(self._path, CURSORS, error) from error
        self._positions = {
            name: Position(offset, event, Totals(*terms)) for name, offset, event, *terms in rows
        }
        for name, *gap in gaps:
            self._gaps[name] = (*self.gaps(name), Gap(*gap))

    def _detach(self, through: int, readings: int) -> list[str]:
        lacking = [
            (name, position)
            for name, position in self.behind(through)
            if self._registered[name] is OnFull.DETACH
        ]
        changed: dict[str, tuple[Gap, ...]] = {}
        for name, position in lacking:
            known = self.gaps(name)
            noted = known[-1].last if known else 0
            if noted <= position.offset:  # a new gap
                lost = readings - position.totals.accounted
                changed[name] = (*known, Gap(position.offset + 1, through, max(0, lost)))
            elif noted < through:  # it goes on
                # what was accounted for when it began is what it has now: it has read nothing since
                lost = readings - position.totals.accounted
                changed[name] = (*known[:-1], replace(known[-1], last=through, readings=max(0, lost)))
        self._write_gaps([(name, gaps[-1]) for name, gaps in changed.items()])
        self._gaps |= changed
        return list(changed)

    def _give_again(self, name: str, gap: Gap) -> None:
        known = next((one for one in self.gaps(name) if one.first == gap.first), gap)
        again = replace(known, last=max(known.last, gap.last), refilled=0)
        self._write_gaps([(name, again)])
        others = [one for one in self.gaps(name) if one.first != gap.first]
        self._gaps[name] = tuple(sorted([*others, again], key=lambda one: one.first))

    def _save_refill(self, name: str, gap: Gap, through: int) -> None:
        # a gap may have grown since it was handed out
        current = next((one for one in self.gaps(name) if one.first == gap.first), gap)
        refilled = replace(current, refilled=max(current.refilled, through))
        self._write_gaps([(name, refilled)])
        self._gaps[name] = tuple(refilled if one.first == gap.first else one for one in self.gaps(name))

    def _write_gaps(self, rows: Sequence[tuple[str, Gap]]) -> None:
        connection = self._opened()
        try:
            with transaction(connection):
                connection.executemany(
                    "INSERT OR REPLACE INTO gap VALUES (?, ?, ?, ?, ?)",
                    [(name, *astuple(gap)) for name, gap in rows],
                )
        except sqlite3.Error as error:
            raise StorageError(f"cursor file {self._path}: {error}") from error

    def _blob(self, column: str, name: str) -> bytes:
        try:
            query = f"SELECT {column} FROM cursor WHERE name = ?"  # noqa: S608  its own names
            row = self._opened().execute(query, (name,)).fetchone()
        except sqlite3.Error as error:
            raise StorageError(
                f"cursor file {self._path}: {error}; {recovery(self._path, CURSORS)}"
            ) from error
        return bytes(row[0]) if row else b""

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageError(f"cursor file {self._path} is not open")
        return self._connection

    def _save(self, name: str, position: Position, marks: bytes, references: bytes | None) -> None:
        connection = self._opened()
        row = (
            name,
            position.offset,
            position.event,
            *astuple(position.totals),
            marks,
            references or b"",
            references is not None,
        )
        try:
            with transaction(connection):
                connection.execute(
                    "INSERT INTO cursor (name, offset, event, stored, revised, duplicates, suppressed, "
                    "dead_lettered, expired, missed, marks, refs) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (name) DO UPDATE SET "
                    "offset = excluded.offset, event = excluded.event, stored = excluded.stored, "
                    "revised = excluded.revised, duplicates = excluded.duplicates, "
                    "suppressed = excluded.suppressed, dead_lettered = excluded.dead_lettered, "
                    "expired = excluded.expired, missed = excluded.missed, "
                    "marks = CASE WHEN length(excluded.marks) > 0 THEN excluded.marks ELSE marks END, "
                    "refs = CASE WHEN ? THEN excluded.refs ELSE refs END",
                    row,
                )
        except sqlite3.Error as error:
            raise StorageError(f"cursor file {self._path}: {error}") from error
        self._positions[name] = position
