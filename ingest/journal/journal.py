"""The journal: batches become durable here, and every consumer reads them from here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from ingest import metrics
from ingest.config import JournalSettings
from ingest.growth import Growth
from ingest.journal.cursors import Cursors
from ingest.journal.format import MAX_SOURCE_BYTES
from ingest.journal.segments import Damage, SegmentReader
from ingest.journal.space import DiskSpace
from ingest.journal.writer import STATES, Events, GroupWriter, Waiting
from ingest.ports import Committed, JournalRecord, Trouble
from ingest.threads import OwnerThread
from telemetry.batch import ReadingBatch
from telemetry.clock import Clock
from telemetry.errors import StorageError

log = structlog.get_logger(__name__)

_TAIL_READINGS = 50_000
_MAX_REPORTED = 10_000


class Journal:
    """A log of batches in a directory; ``async with`` opens it, and closes it when all that waits is durable.

    One thread writes: a commit takes everything that waits and starts as soon as the previous one ends. One
    other thread reads; the newest records also stay in memory, so that consumers at the head read no file.
    """

    def __init__(self, directory: Path, settings: JournalSettings, clock: Clock) -> None:
        self._directory = directory
        self._settings = settings
        self.cursors = Cursors(directory / "cursors.sqlite")
        """Positions of the consumers; those registered hold back retention."""
        self._stack = AsyncExitStack()
        self._reading = OwnerThread("journal-reader")
        self._reader = SegmentReader()
        self._space = DiskSpace(directory, settings)
        self._writer = GroupWriter(
            directory,
            settings,
            clock,
            space=self._space,
            cursors=self.cursors,
            events=Events(self._committed, self._refused, self._troubled, self._detached),
        )
        self.trouble: Trouble | None = None
        self._trouble_changes = Growth()
        """Why nothing is taken now; None when all is well."""
        self._head = 0
        self._readings = 0
        self._tail: deque[JournalRecord] = deque()
        self._tail_readings = 0
        self._growth = Growth()
        self._unreadable: tuple[int, int] | None = None
        self._reported: set[int] = set()
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._queued = 0
        self._open = False

    async def __aenter__(self) -> Self:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(self._space.keep)  # to open a database takes space too
        except OSError as error:
            raise StorageError(
                f"journal {self._directory} cannot be used: {error}; check free space and rights"
            ) from error
        await self._stack.enter_async_context(self.cursors)
        try:
            self._head, self._readings = await asyncio.to_thread(self._writer.open, *self.cursors.furthest)
        except StorageError:
            await self._stack.aclose()
            raise
        self._writer.start(asyncio.get_running_loop())
        self._open = True
        log.info("journal_opened", directory=str(self._directory), head=self._head, readings=self._readings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        await asyncio.to_thread(self._writer.stop)
        await self._reading.call(self._reader.close)
        await self._reading.close()
        await self._stack.aclose()

    @property
    def head(self) -> int:
        """Offset of the newest durable record; 0 when there is none."""
        return self._head

    @property
    def readings(self) -> int:
        """Number of readings ever committed."""
        return self._readings

    @property
    def first(self) -> int:
        """Offset of the oldest record that is still there; one above the head when there is none."""
        segments = self._writer.segments
        return segments[0].first if segments else self._head + 1

    @property
    def queued(self) -> int:
        """Readings that wait to be made durable."""
        return self._queued

    @property
    def damaged(self) -> int:
        """Damaged records passed over since the journal was opened."""
        return len(self._reported)

    async def append(self, batch: ReadingBatch) -> Committed:
        """Makes a batch durable; waits while the queue in front of the writer is full.

        Raises
        ------
        StorageError
            The batch is not durable: the journal is closed, or the disk refused.
        ValueError
            The batch cannot be written as a record.

        """
        if len(batch.source.encode()) > MAX_SOURCE_BYTES:
            raise ValueError(f"source name of more than {MAX_SOURCE_BYTES} bytes: {batch.source[:40]}...")
        async with self._turn:  # first come, first served
            while self._queued and self._queued + len(batch) > self._settings.max_queued_readings:
                self._room.clear()
                await self._room.wait()
        if not self._open:
            raise StorageError(f"journal {self._directory} is closed")
        waiting = Waiting(batch, asyncio.get_running_loop().create_future())
        self._queued += len(batch)
        metrics.QUEUED_READINGS.set(self._queued)
        self._writer.put(waiting)
        return await waiting.committed

    async def read(self, after: int, max_readings: int = 20_000) -> Sequence[JournalRecord]:
        """Records after an offset, in order: one if there is one, then more up to about ``max_readings``.

        Damaged records are passed over, counted and logged once.

        Raises
        ------
        StorageError
            A file cannot be opened or read now, for example because the disk is full; nothing is passed over.

        """
        if after >= self._head:
            return []
        if self._tail and after >= self._tail[0].offset - 1:
            return self._from_tail(after, max_readings)
        head = self._head
        records, damages = await self._reading.call(
            self._reader.read, self._writer.segments, after, head, max_readings
        )
        self._report(damages)
        if not records:
            self._unreadable = (after, head)
        return records

    async def wait(self, after: int) -> None:
        """Returns as soon as there is a readable record after an offset."""
        while True:
            low, high = self._unreadable or (0, 0)
            if self._head > (max(after, high) if after >= low else after):
                return
            await self._growth.wait()

    async def readings_through(self, offset: int) -> int:
        """Number of readings in the records up to and including an offset.

        Raises
        ------
        StorageError
            The segment with the offset is deleted or damaged.

        """
        if offset >= self._head:
            return self._readings
        if self._tail and offset >= self._tail[0].offset:
            record = self._tail[offset - self._tail[0].offset]
            return record.readings_before + len(record.batch)
        found = await self._reading.call(self._reader.readings_through, self._writer.segments, offset)
        if found is None:
            raise StorageError(f"journal {self._directory}: record {offset} is no longer readable")
        return found

    def _from_tail(self, after: int, max_readings: int) -> list[JournalRecord]:
        records: list[JournalRecord] = []
        total = 0
        for i in range(after + 1 - self._tail[0].offset, len(self._tail)):
            total += len(self._tail[i].batch)
            if records and total > max_readings:
                break
            records.append(self._tail[i])
        return records

    def _report(self, damages: Sequence[Damage]) -> None:
        fresh = [d for d in damages if d.offset not in self._reported]
        fresh = fresh[: _MAX_REPORTED - len(self._reported)]
        self._reported.update(damage.offset for damage in fresh)
        metrics.DAMAGED_RECORDS.inc(len(fresh))
        for (path, reason), group in groupby(fresh, lambda d: (d.path, d.reason)):
            offsets = [damage.offset for damage in group]
            log.error(
                "journal_records_damaged",
                segment=str(path),
                first=offsets[0],
                last=offsets[-1],
                count=len(offsets),
                reason=reason,
            )

    def _committed(self, records: Sequence[JournalRecord], group: Sequence[Waiting]) -> None:
        self._leave_queue(group)
        if self._tail and records[0].offset != self._tail[-1].offset + 1:
            # a commit that was reported as failed had reached the disk
            self._tail.clear()
            self._tail_readings = 0
        for record in records:
            self._tail.append(record)
            self._tail_readings += len(record.batch)
        self._head = records[-1].offset
        self._readings = records[-1].readings_before + len(records[-1].batch)
        while len(self._tail) > 1 and self._tail_readings > _TAIL_READINGS:
            self._tail_readings -= len(self._tail.popleft().batch)
        self._growth.notify()
        for record, waiting in zip(records, group, strict=True):
            if not waiting.committed.done():
                waiting.committed.set_result(Committed(record.offset, record.t_committed))

    def _refused(self, error: StorageError, group: Sequence[Waiting]) -> None:
        self._leave_queue(group)
        for waiting in group:
            if not waiting.committed.done():
                waiting.committed.set_exception(error)

    async def wait_trouble(self, known: Trouble | None) -> Trouble | None:
        """Returns the trouble, or None without any, as soon as it is not the known one."""
        while self.trouble == known:
            await self._trouble_changes.wait()
        return self.trouble

    def _troubled(self, trouble: Trouble | None) -> None:
        self.trouble = trouble
        self._trouble_changes.notify()
        for state in STATES:
            metrics.JOURNAL_TROUBLE.labels(state).set(trouble is not None and trouble.state == state)

    def _detached(self, names: Sequence[str]) -> None:
        for name in names:
            metrics.DETACHED_READINGS.labels(name).set(sum(gap.readings for gap in self.cursors.gaps(name)))
        self._growth.notify()

    def _leave_queue(self, group: Sequence[Waiting]) -> None:
        self._queued -= sum(len(waiting.batch) for waiting in group)
        metrics.QUEUED_READINGS.set(self._queued)
        self._room.set()
