"""A reading journal without a disk, for virtual time."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.fakes import FakeCursors
from ingest.growth import Growth
from ingest.journal import format as record_format
from ingest.ports import Committed, JournalRecord
from telemetry.batch import ReadingBatch
from telemetry.clock import Clock


class MemoryJournal:
    """Keeps records in memory, each as the real record format gives it back.

    A commit is inline. Consumers see what was committed when :meth:`show` is called, as those of the real
    journal see a group of records after its commit. Records that every consumer has passed are dropped.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: list[JournalRecord] = []
        self._fresh: list[JournalRecord] = []
        self._newest = 0
        self._readings = 0
        self._growth = Growth()
        self.cursors = FakeCursors()
        """Positions of the consumers; what lies behind all of them is dropped."""

    @property
    def head(self) -> int:
        """Offset of the newest record that consumers see."""
        return self._newest - len(self._fresh)

    @property
    def readings(self) -> int:
        """Number of readings ever committed."""
        return self._readings

    async def append(self, batch: ReadingBatch) -> Committed:
        """Makes a batch the next record."""
        self._newest += 1
        record = JournalRecord(self._newest, self._clock.now_ns(), self._readings, batch)
        self._readings += len(batch)
        self._fresh.append(record_format.decode(record_format.encode(record)))
        return Committed(record.offset, record.t_committed)

    def show(self) -> None:
        """Lets consumers see what was committed until now."""
        if not self._fresh:
            return
        positions = self.cursors.positions.values()
        behind = min((position.offset for position in positions), default=0) - self.first + 1
        if behind > len(self._records) // 2:
            del self._records[:behind]
        self._records += self._fresh
        self._fresh.clear()
        self._growth.notify()

    async def read(self, after: int, max_readings: int = 20_000) -> Sequence[JournalRecord]:
        """Records after an offset: one if there is one, then more up to about ``max_readings``."""
        at = max(0, after + 1 - self.first)
        total, end = 0, at
        while end < len(self._records) and (end == at or total <= max_readings):
            total += len(self._records[end].batch)
            end += 1
        return self._records[at:end]

    async def wait(self, after: int) -> None:
        """Returns as soon as there is a record after an offset."""
        while self.head <= after:
            await self._growth.wait()

    async def readings_through(self, offset: int) -> int:
        """Number of readings in the records up to and including an offset that is not dropped yet."""
        following = offset + 1 - self.first
        if 0 <= following < len(self._records):
            return self._records[following].readings_before
        return self._readings - sum(len(record.batch) for record in self._fresh)

    @property
    def first(self) -> int:
        """Offset of the oldest record that is there; beyond the head when there is none."""
        return self._records[0].offset if self._records else self.head + 1
