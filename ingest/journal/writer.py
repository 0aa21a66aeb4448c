"""The one thread that writes the journal: group commit, rolling of segments, retention."""

from __future__ import annotations

import asyncio
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
from ingest.journal.format import encode
from ingest.journal.segments import Segment, SegmentWriter, remove, segments_in
from ingest.ports import Committed, JournalRecord
from telemetry.batch import ReadingBatch
from telemetry.clock import Clock
from telemetry.errors import StorageError

log = structlog.get_logger(__name__)

_REFUSED_BY_DISK = (sqlite3.Error, StorageError, OSError)
_CANNOT_BE_ENCODED = (struct.error, ValueError, OverflowError)


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


class GroupWriter:
    """Commits everything that waits, again and again; there is no timer.

    After a failed commit the segment is opened again and its end read from disk, so that memory never runs
    ahead of what is durable; the next group is then tried as usual. That is how a full disk heals. A segment
    that cannot be closed or deleted takes nothing back: the next commit opens it again, the next roll tries
    again.
    """

    def __init__(
        self,
        directory: Path,
        settings: JournalSettings,
        clock: Clock,
        floor: Callable[[], int],
        events: Events,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._clock = clock
        self._floor = floor
        self._events = events
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
            The newest segment is damaged or of a newer version.

        """
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
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                group, self._queue = self._queue, []
            if not group:
                return
            try:
                records = self._commit([waiting.batch for waiting in group])
            except (*_REFUSED_BY_DISK, *_CANNOT_BE_ENCODED) as error:
                self._abandon()
                metrics.COMMIT_FAILURES.inc()
                log.error("journal_commit_failed", directory=str(self._directory), reason=str(error))
                refusal = StorageError(f"journal {self._directory}: nothing was committed: {error}")
                loop.call_soon_threadsafe(self._events.refused, refusal, group)
            else:
                loop.call_soon_threadsafe(self._events.committed, records, group)
                self._harmlessly(self._roll_if_full)

    def _commit(self, batches: Sequence[ReadingBatch]) -> list[JournalRecord]:
        segment = self._segment or self._reopen()
        started = self._clock.monotonic()
        now = self._clock.now_ns()
        records = []
        readings = self._readings
        for offset, batch in enumerate(batches, start=self._head + 1):
            records.append(JournalRecord(offset, now, readings, batch))
            readings += len(batch)
        segment.insert([(r.offset, r.readings_before, len(r.batch), encode(r)) for r in records])
        self._head += len(records)
        metrics.READINGS_COMMITTED.inc(readings - self._readings)
        metrics.RECORDS_COMMITTED.inc(len(records))
        self._readings = readings
        metrics.COMMIT_SECONDS.observe(self._clock.monotonic() - started)
        return records

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
            self._retain()

    def _seal(self) -> None:
        """Closes the newest segment; the next commit begins another."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None
        if self.segments:
            newest = self.segments[-1]
            self._sealed_bytes[newest] = newest.path.stat().st_size

    def _retain(self) -> None:
        """Deletes oldest segments while the journal is too large and every registered cursor has passed."""
        floor = self._floor()
        while len(self.segments) > 1 and sum(self._sealed_bytes.values()) > self._settings.max_bytes:
            oldest, following = self.segments[:2]
            if following.first - 1 > floor:
                log.warning(
                    "journal_above_size_cap", max_bytes=self._settings.max_bytes, slowest_cursor=floor
                )
                return
            remove(oldest)
            self.segments = self.segments[1:]
            del self._sealed_bytes[oldest]
            sync_directory(self._directory)
            metrics.SEGMENTS_DELETED.inc()
            log.info("journal_segment_deleted", segment=oldest.path.name)
