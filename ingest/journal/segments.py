"""Segments: the SQLite files that hold the records of the journal, and how they are read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ingest.databases import (
    DamagedFileError,
    DatabaseKind,
    MissingFileError,
    damaged,
    is_damage,
    open_database,
    open_sealed,
    transaction,
)
from ingest.journal.format import FORMAT_VERSION, DamagedRecordError, decode
from ingest.ports import JournalRecord
from telemetry.errors import StorageError

SUFFIX = ".journal"
SEGMENT = DatabaseKind(
    "journal segment",
    0x47424A31,
    FORMAT_VERSION,
    """CREATE TABLE record (
         offset INTEGER PRIMARY KEY, readings_before INTEGER NOT NULL, readings INTEGER NOT NULL,
         data BLOB NOT NULL
       )""",
    "stop greenbridge, run `{set_aside}` and start again: "
    "what consumers had not read from it is lost and will be shown as missed",
)
Row = tuple[int, int, int, bytes]
"""Offset, readings before, readings, data."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of the journal."""

    path: Path
    first: int
    """Offset of its first record."""

    @classmethod
    def at(cls, directory: Path, first: int) -> Segment:
        """The segment of a directory that begins with an offset."""
        return cls(directory / f"{first:020d}{SUFFIX}", first)


def segments_in(directory: Path) -> list[Segment]:
    """Segments of a journal, oldest first.

    Raises
    ------
    StorageError
        A file has the suffix of a segment but not its name.

    """
    segments = []
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        if not path.stem.isdecimal():
            raise StorageError(f"{path}: not the name of a journal segment; move the file elsewhere")
        segments.append(Segment(path, int(path.stem)))
    return segments


def remove(segment: Segment) -> None:
    """Deletes a segment with the files that SQLite keeps beside it."""
    for suffix in ("-wal", "-shm", ""):
        segment.path.with_name(segment.path.name + suffix).unlink(missing_ok=True)


class SegmentWriter:
    """The open segment at the end of the journal."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self._connection = open_database(segment.path, SEGMENT)

    def end(self) -> tuple[int, int] | None:
        """Offset of the last record and number of readings through it; None when there is no record.

        Raises
        ------
        StorageError
            The file is damaged.

        """
        try:
            row = self._connection.execute(
                "SELECT offset, readings_before + readings FROM record ORDER BY offset DESC LIMIT 1"
            ).fetchone()
        except sqlite3.DatabaseError as error:
            raise damaged(self.segment.path, SEGMENT, error) from error
        return None if row is None else (int(row[0]), int(row[1]))

    def insert(self, rows: Sequence[Row]) -> None:
        """Makes records durable, all or none.

        Raises
        ------
        sqlite3.Error
            None is durable, as far as can be known.

        """
        with transaction(self._connection):
            self._connection.executemany("INSERT INTO record VALUES (?, ?, ?, ?)", rows)

    @property
    def size(self) -> int:
        """Size of the database [B]."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (page_size,) = self._connection.execute("PRAGMA page_size").fetchone()
        return int(pages) * int(page_size)

    def close(self) -> None:
        """Writes everything into the main file and closes it."""
        with closing(self._connection):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def abandon(self) -> None:
        """Closes the file after an error, without touching it further."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Damage:
    """A record that cannot be read."""

    path: Path
    offset: int
    reason: str


def _not_now(segment: Segment, error: sqlite3.Error) -> StorageError:
    return StorageError(f"{SEGMENT.title} {segment.path} cannot be read now: {error}")


class SegmentReader:
    """Reads records over all segments; lives in one thread and keeps the last file open."""

    def __init__(self) -> None:
        self._open: tuple[Segment, sqlite3.Connection] | None = None

    def read(
        self, segments: Sequence[Segment], after: int, head: int, max_readings: int
    ) -> tuple[list[JournalRecord], list[Damage]]:
        """Records with after < offset <= head from segments in order, and the damage passed over.

        Raises
        ------
        StorageError
            A file cannot be opened or read now; that is no damage.

        """
        records: list[JournalRecord] = []
        damages: list[Damage] = []
        total = 0
        for offset, data, segment in self._rows(segments, after, head):
            if isinstance(data, str):
                damages.append(Damage(segment.path, offset, data))
                continue
            try:
                record = decode(data)
            except DamagedRecordError as error:
                damages.append(Damage(segment.path, offset, str(error)))
                continue
            if record.offset != offset:
                damages.append(Damage(segment.path, offset, f"it says that it is record {record.offset}"))
                continue
            total += len(record.batch)
            if records and total > max_readings:
                break
            records.append(record)
            if total >= max_readings:
                break
        return records, damages

    def head(self, segments: Sequence[Segment]) -> int:
        """Offset of the newest record in segments that another process may be writing; 0 without any.

        Raises
        ------
        StorageError
            The newest segment cannot be read.

        """
        if not segments:
            return 0
        newest = segments[-1]
        try:
            connection = self._connection(newest, sealed=False)
            (offset,) = connection.execute("SELECT max(offset) FROM record").fetchone()
        except sqlite3.Error as error:
            raise damaged(newest.path, SEGMENT, error) from error
        return newest.first - 1 if offset is None else int(offset)

    def readings_through(self, segments: Sequence[Segment], offset: int) -> int | None:
        """Number of readings in the records up to and including an offset; None if that is lost.

        Raises
        ------
        StorageError
            A file cannot be opened or read now.

        """
        for i, segment in enumerate(segments):
            if i + 1 < len(segments) and segments[i + 1].first <= offset:
                continue
            query = (
                "SELECT readings_before + CASE WHEN offset <= ? THEN readings ELSE 0 END FROM record "
                "WHERE offset >= ? ORDER BY offset LIMIT 1"
            )
            try:
                connection = self._connection(segment, sealed=i + 1 < len(segments))
                row = connection.execute(query, (offset, offset)).fetchone()
            except (DamagedFileError, MissingFileError):
                continue
            except sqlite3.Error as error:
                if is_damage(error):
                    continue
                raise _not_now(segment, error) from error
            if row is not None:
                return int(row[0])
        return None

    def close(self) -> None:
        """Closes the open file."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _rows(
        self, segments: Sequence[Segment], after: int, head: int
    ) -> Iterator[tuple[int, bytes | str, Segment]]:
        """Offset with the bytes of the record, or with the reason why they cannot be read."""
        for i, segment in enumerate(segments):
            last = min(head, segments[i + 1].first - 1) if i + 1 < len(segments) else head
            start = max(segment.first, after + 1)
            if start > last:
                continue
            done = start - 1
            try:
                connection = self._connection(segment, sealed=i + 1 < len(segments))
                for offset, data in connection.execute(
                    "SELECT offset, data FROM record WHERE offset BETWEEN ? AND ? ORDER BY offset",
                    (start, last),
                ):
                    for lost in range(done + 1, offset):
                        yield lost, "it is not in the file", segment
                    yield offset, data, segment
                    done = offset
            except (DamagedFileError, MissingFileError) as error:
                yield from ((lost, str(error), segment) for lost in range(done + 1, last + 1))
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise _not_now(segment, error) from error
                yield from self._one_by_one(segment, connection, done + 1, last)
            else:
                yield from ((lost, "it is not in the file", segment) for lost in range(done + 1, last + 1))

    def _one_by_one(
        self, segment: Segment, connection: sqlite3.Connection, first: int, last: int
    ) -> Iterator[tuple[int, bytes | str, Segment]]:
        """Saves what can be saved from a file with a broken page."""
        for offset in range(first, last + 1):
            try:
                query = "SELECT data FROM record WHERE offset = ?"
                row = connection.execute(query, (offset,)).fetchone()
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise _not_now(segment, error) from error
                yield offset, str(error), segment
            else:
                yield offset, row[0] if row else "it is not in the file", segment

    def _connection(self, segment: Segment, *, sealed: bool) -> sqlite3.Connection:
        if self._open is not None and self._open[0] == segment:
            return self._open[1]
        self.close()
        # retention may have deleted it a moment ago
        if sealed and not segment.path.with_name(segment.path.name + "-wal").exists():
            connection = open_sealed(segment.path, SEGMENT)
        else:
            connection = open_database(segment.path, SEGMENT, create=False)
            connection.execute("PRAGMA query_only = ON")
        self._open = (segment, connection)
        return connection
