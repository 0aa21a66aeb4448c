"""The one thread that writes the journal: group commit, rolling of segments, retention, and a full disk."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from ingest import metrics
from ingest.config import JournalSettings
from ingest.databases import sync_directory
from ingest.journal.cursors import Cursors
from ingest.journal.format import READING_BYTES, encode
from ingest.journal.segments import Row, Segment, SegmentReader, SegmentWriter, remove, segments_in
from ingest.journal.space import DiskSpace
from ingest.ports import Committed, JournalRecord, Trouble
from telemetry.batch import ReadingBatch
from telemetry.clock import Clock
from telemetry.errors import StorageError

log = structlog.get_logger(__name__)

_REFUSED_BY_DISK = (sqlite3.Error, StorageError, OSError)
_CANNOT_BE_ENCODED = (struct.error, ValueError, OverflowError)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOOK_EVERY_S = 1.0
"""While there is no room, how often the writer looks for some when nothing waits [s]."""

DISK_FULL, SIZE_CAP, WRITE_FAILED = "disk_full", "size_cap", "write_failed"
STATES = (DISK_FULL, SIZE_CAP, WRITE_FAILED)
"""States of a journal that takes nothing."""


class _NoRoomError(StorageError):
    """There is no room for a commit, for a named reason."""

    def __init__(self, state: str, detail: str) -> None:
        super().__init__(detail)
        self.state = state


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A batch in the queue, and who waits for its commit."""

    batch: ReadingBatch
    committed: asyncio.Future[Committed]


@dataclass(frozen=True, slots=True)
class Events:
    """What the writer reports, by calls in the event loop."""

    committed: Callable[[Sequence[JournalRecord], Sequence[Waiting]], None]
    refused: Callable[[StorageError, Sequence[Waiting]], None]
    trouble: Callable[[Trouble | None], None]
    detached: Callable[[Sequence[str]], None]
    """Names of consumers that lost records."""


class GroupWriter:
    """Commits everything that waits, again and again; there is no timer.

    After a failed commit the segment is opened again and its end read from disk, so that memory never runs
    ahead of what is durable; the next group is then tried as usual. A segment that cannot be closed or
    deleted takes nothing back: the next commit opens it again, the next roll tries again.

    Before a commit there must be room: below the size cap, and above the floor of free space. What can be
    deleted for it is deleted; else the group is refused. It resumes by itself, because every later group is
    tried again, and because the writer looks for room while nothing waits.
    """

    def __init__(
        self,
        directory: Path,
        settings: JournalSettings,
        clock: Clock,
        *,
        space: DiskSpace,
        cursors: Cursors,
        events: Events,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._clock = clock
        self._cursors = cursors
        self._events = events
        self._space = space
        self._trouble: Trouble | None = None
        self._write_failed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = threading.Condition()
        self._queue: list[Waiting] = []
        self._closing = False
        self._thread: threading.Thread | None = None
        self._segment: SegmentWriter | None = None
        self._head = 0
        self._readings = 0
        self._sealed_bytes: dict[Segment, int] = {}
        self.segments: tuple[Segment, ...] = ()
        """All segments, oldest first; replaced as a whole, so that any thread may read it."""

    def open(self, offset: int, readings: int) -> tuple[int, int]:
        """Finds the end of the journal: offset of the last record and number of readings through it.

        ``offset`` and ``readings`` are the highest that a consumer has saved; the journal never begins again
        below them, even when segments were moved aside.

        Raises
        ------
        StorageError
            The newest segment is damaged or of a newer version, or the disk refuses.

        """
        try:
            return self._find_end(offset, readings)
        except (sqlite3.Error, OSError) as error:
            self._abandon()
            raise StorageError(
                f"journal {self._directory}: {error}; check the disk's free space, its health and the rights "
                "on this directory"
            ) from error

    def _find_end(self, offset: int, readings: int) -> tuple[int, int]:
        self.segments = tuple(segments_in(self._directory))
        self._sealed_bytes = {s: s.path.stat().st_size for s in self.segments[:-1]}
        self._head, self._readings = 0, 0
        if self.segments:
            self._reopen()
        if self._head < offset:
            log.error("journal_behind_cursors", head=self._head, cursor=offset)
            self._head = offset
            self._readings = max(self._readings, readings)
            self._seal()
        return self._head, self._readings

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts the thread."""
        self._loop = loop
        self._thread = threading.Thread(target=self._run, args=(loop,), name="journal-writer", daemon=True)
        self._thread.start()

    def put(self, waiting: Waiting) -> None:
        """Adds a batch to the queue; its bound is kept by the caller."""
        with self._changed:
            self._queue.append(waiting)
            self._changed.notify()

    def stop(self) -> None:
        """Commits what waits, ends the thread and closes the segment."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        if self._segment is not None:
            self._harmlessly(self._segment.close)
            self._segment = None

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            group = self._next_group()
            if group is None:
                return
            if not group:
                self._look_for_room()
                continue
            fitting = group
            try:
                self._make_room(sum(len(waiting.batch) for waiting in group) * READING_BYTES)
                segment = self._segment or self._reopen()
                rows, records, fitting = self._encoded(group, loop)
                self._insert(segment, rows, records)
            except _NoRoomError as error:
                self._enter(error)
                loop.call_soon_threadsafe(self._events.refused, error, group)
            except _REFUSED_BY_DISK as error:
                self._failed(error)
                refusal = StorageError(f"journal {self._directory}: nothing was committed: {error}")
                loop.call_soon_threadsafe(self._events.refused, refusal, fitting)
            else:
                if records:
                    self._write_failed = False
                    self._enter(None)
                    loop.call_soon_threadsafe(self._events.committed, records, fitting)
                self._harmlessly(self._roll_if_full)

    def _next_group(self) -> list[Waiting] | None:
        """What waits; nothing after a while if there is no room, None at the end."""
        timeout = _LOOK_EVERY_S if self._trouble is not None else None
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing, timeout)
            group, self._queue = self._queue, []
            return None if self._closing and not group else group

    def _encoded(
        self, group: Sequence[Waiting], loop: asyncio.AbstractEventLoop
    ) -> tuple[list[Row], list[JournalRecord], list[Waiting]]:
        """Rows and records of a group; a batch that fits in no record is refused alone."""
        rows: list[Row] = []
        records: list[JournalRecord] = []
        fitting: list[Waiting] = []
        now, readings = self._clock.now_ns(), self._readings
        for waiting in group:
            batch = waiting.batch
            record = JournalRecord(self._head + 1 + len(records), now, readings, batch)
            try:
                data = encode(record)
            except _CANNOT_BE_ENCODED as error:
                refusal = StorageError(f"journal {self._directory}: a batch fits in no record: {error}")
                loop.call_soon_threadsafe(self._events.refused, refusal, [waiting])
                continue
            rows.append((record.offset, readings, len(batch), data))
            records.append(record)
            fitting.append(waiting)
            readings += len(batch)
        return rows, records, fitting

    def _insert(self, segment: SegmentWriter, rows: Sequence[Row], records: Sequence[JournalRecord]) -> None:
        if not rows:
            return
        started = self._clock.monotonic()
        segment.insert(rows)
        metrics.COMMIT_SECONDS.observe(self._clock.monotonic() - started)
        newest = records[-1]
        self._head = newest.offset
        self._readings = newest.readings_before + len(newest.batch)
        metrics.READINGS_COMMITTED.inc(self._readings - records[0].readings_before)
        metrics.RECORDS_COMMITTED.inc(len(records))

    def _failed(self, error: Exception) -> None:
        """Gives up the open segment after a failed commit; a disk that is full gets the reserve back."""
        self._abandon()
        self._write_failed = True
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or (
            isinstance(error, OSError) and error.errno in _NO_SPACE
        )
        if full:
            self._space.give_up()
        detail = f"nothing can be written to {self._directory}: {error}"
        self._enter(_NoRoomError(DISK_FULL if full else WRITE_FAILED, detail))
        metrics.COMMIT_FAILURES.inc()

    def _enter(self, error: _NoRoomError | None) -> None:
        """Tells of a trouble when it begins, changes its kind or ends."""
        before, loop = self._trouble, self._loop
        if (before.state if before else None) == (error.state if error else None) or loop is None:
            return
        self._trouble = None if error is None else Trouble(error.state, str(error), self._clock.now_ns())
        if error is not None:
            log.error("journal_takes_nothing", state=error.state, reason=str(error))
        else:
            log.info("journal_takes_again", directory=str(self._directory))
            self._harmlessly(self._space.keep)
        loop.call_soon_threadsafe(self._events.trouble, self._trouble)

    def _make_room(self, needed: int) -> None:
        """Deletes what may be deleted until a commit has room.

        Raises
        ------
        _NoRoomError
            There is none.

        """
        if not self._kept_below_cap():
            waiting = [
                f"{name} still needs it from record {position.offset + 1} on"
                for name, position in self._cursors.behind(self.segments[1].first - 1)
            ]
            raise _NoRoomError(
                SIZE_CAP,
                f"journal {self._directory} has reached max_bytes = {self._settings.max_bytes} and "
                f"{waiting[0] if waiting else 'no consumer is registered'}; nothing is taken until it has "
                "caught up",
            )
        if self._space.short_by(needed):
            self._space.keep()  # to detach consumers takes a write too
        if not self._shrink(lambda: self._space.short_by(needed) == 0):
            raise _NoRoomError(
                DISK_FULL,
                f"the disk of {self._directory} has {self._space.free() >> 20} MB left, less than "
                f"min_free_bytes = {self._settings.min_free_bytes}; free space on it, and readings are taken "
                "again at once",
            )

    def _kept_below_cap(self) -> bool:
        """False if the size cap is reached for good; a file that cannot be deleted holds no commit up."""
        try:
            return self._shrink(self._below_cap)
        except OSError as error:
            metrics.ROLL_FAILURES.inc()
            log.error("journal_segment_not_deleted", directory=str(self._directory), reason=str(error))
            return True

    def _below_cap(self) -> bool:
        return len(self.segments) < 2 or sum(self._sealed_bytes.values()) <= self._settings.max_bytes

    def _look_for_room(self) -> None:
        """Ends a trouble that is over although nothing waits; a failed write is over only with a commit."""
        if self._write_failed:
            return
        try:
            self._make_room(0)
        except _NoRoomError as error:
            self._enter(error)
        except _REFUSED_BY_DISK as error:
            log.error("journal_cannot_look_for_room", reason=str(error))
        else:
            self._enter(None)

    def _reopen(self) -> SegmentWriter:
        """Opens the newest segment, or the next one when that is sealed, and takes its end as the truth."""
        if not self.segments or self.segments[-1] in self._sealed_bytes:
            following = Segment.at(self._directory, self._head + 1)
            self._segment = SegmentWriter(following)
            if following not in self.segments:  # else the process died before its first record
                self.segments = (*self.segments, following)
            self._sealed_bytes.pop(following, None)
            return self._segment
        newest = self.segments[-1]
        self._segment = SegmentWriter(newest)
        end = self._segment.end()
        if end is not None:
            self._head, self._readings = end
        elif len(self.segments) > 1:
            previous = SegmentWriter(self.segments[-2])
            self._head, self._readings = previous.end() or (self._head, self._readings)
            previous.close()
        return self._segment

    def _harmlessly(self, finish: Callable[[], None]) -> None:
        """Does what follows a commit; a failure is counted and leaves what is committed as it is."""
        try:
            finish()
        except _REFUSED_BY_DISK as error:
            self._abandon()
            metrics.ROLL_FAILURES.inc()
            log.error("journal_roll_failed", directory=str(self._directory), reason=str(error))

    def _abandon(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            with suppress(sqlite3.Error):  # it is given up because of an error
                segment.abandon()

    def _roll_if_full(self) -> None:
        if self._segment is None:
            return
        size = self._segment.size
        metrics.JOURNAL_BYTES.set(size + sum(self._sealed_bytes.values()))
        if size >= self._settings.segment_bytes:
            self._seal()
            self._shrink(self._below_cap)
            self._space.keep()

    def _seal(self) -> None:
        """Closes the newest segment; the next commit begins another."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None
        if self.segments:
            newest = self.segments[-1]
            self._sealed_bytes[newest] = newest.path.stat().st_size

    def _shrink(self, enough: Callable[[], bool]) -> bool:
        """Deletes oldest segments until it is enough; False when a consumer that stops needs the next.

        Consumers that may be detached lose a segment only after the gap is durable.
        """
        while not enough():
            if len(self.segments) < 2:
                return False
            oldest, following = self.segments[:2]
            last = following.first - 1
            if last > self._cursors.floor:
                if last > self._cursors.stop_floor:
                    return False
                self._detach(last)
            remove(oldest)
            self.segments = self.segments[1:]
            self._sealed_bytes.pop(oldest, None)
            sync_directory(self._directory)
            metrics.SEGMENTS_DELETED.inc()
            log.info("journal_segment_deleted", segment=oldest.path.name)
        return True

    def _detach(self, last: int) -> None:
        reader = SegmentReader()
        try:
            readings = reader.readings_through(self.segments, last) or 0
        finally:
            reader.close()
        names = self._cursors.detach(last, readings)
        if names and self._loop is not None:
            log.warning("journal_consumers_detached", consumers=names, through=last)
            self._loop.call_soon_threadsafe(self._events.detached, names)
