"""Fakes with behaviour for every port of :mod:`ingest.ports`, all in memory.

They keep the contracts (order, back-pressure aside, deduplication, revision, totals), so that a test of a
consumer needs no file and no thread. The conformance suite runs over :class:`FakeStore` too.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ingest.growth import Growth
from ingest.ports import (
    Committed,
    DeadLetter,
    EventRecord,
    Gap,
    JournalRecord,
    Position,
    Series,
    Totals,
    Written,
)
from ingest.stages.continuity import missed
from ingest.stages.summary import summed
from telemetry.batch import Columns, ReadingBatch
from telemetry.clock import Clock, ManualClock
from telemetry.errors import GreenbridgeError, StorageError


class FakeJournal:
    """A journal in memory: :class:`ingest.ports.JournalReader` with an ``append`` of its own."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.records: list[JournalRecord] = []
        self._readings = 0
        self._deleted = 0
        self._growth = Growth()

    @property
    def head(self) -> int:
        """Offset of the newest record."""
        return self.records[-1].offset if self.records else 0

    @property
    def first(self) -> int:
        """Offset of the oldest record that is still there."""
        return self.records[0].offset if self.records else 1

    @property
    def readings(self) -> int:
        """Number of readings ever appended."""
        return self._readings

    def append(self, batch: ReadingBatch) -> Committed:
        """Adds a batch as the next record, at once."""
        record = JournalRecord(self.head + 1, self.clock.now_ns(), self._readings, batch)
        self.records.append(record)
        self._readings += len(batch)
        self._growth.notify()
        return Committed(record.offset, record.t_committed)

    async def read(self, after: int, max_readings: int = 20_000) -> Sequence[JournalRecord]:
        """Records after an offset."""
        chosen: list[JournalRecord] = []
        total = 0
        for record in self.records:
            if record.offset <= after:
                continue
            total += len(record.batch)
            if chosen and total > max_readings:
                break
            chosen.append(record)
        return chosen

    async def wait(self, after: int) -> None:
        """Returns as soon as there is a record after an offset."""
        while self.head <= after:
            await self._growth.wait()

    async def readings_through(self, offset: int) -> int:
        """Number of readings in the records up to and including an offset."""
        through = self._deleted
        return through + sum(len(record.batch) for record in self.records if record.offset <= offset)

    def delete(self, through: int) -> None:
        """Deletes records up to an offset, as retention does; the newest one stays."""
        while len(self.records) > 1 and self.records[0].offset <= through:
            self._deleted += len(self.records.pop(0).batch)


class FakeIntake:
    """Keeps what sources hand over; can hold commits back and refuse them."""

    def __init__(self, journal: FakeJournal | None = None) -> None:
        self.journal = journal or FakeJournal()
        self.letters: list[DeadLetter] = []
        self.refusal: StorageError | None = None
        """Raised by every call as long as it is set, as with a full disk."""
        self._open = asyncio.Event()
        self._open.set()
        self._growth = Growth()

    @property
    def batches(self) -> list[ReadingBatch]:
        """Every batch committed so far."""
        return [record.batch for record in self.journal.records]

    def hold(self) -> None:
        """Keeps every later call waiting, as a slow disk does."""
        self._open.clear()

    def release(self) -> None:
        """Lets the held calls commit."""
        self._open.set()

    async def submit(self, batch: ReadingBatch) -> Committed:
        """Commits a batch to the fake journal."""
        await self._open.wait()
        if self.refusal is not None:
            raise self.refusal
        committed = self.journal.append(batch)
        self._growth.notify()
        return committed

    async def reject(self, letters: Sequence[DeadLetter]) -> None:
        """Keeps dead letters."""
        await self._open.wait()
        if self.refusal is not None:
            raise self.refusal
        self.letters.extend(letters)
        self._growth.notify()

    async def wait_for(self, batches: int = 0, letters: int = 0) -> None:
        """Returns as soon as at least so many batches and dead letters have arrived."""
        while len(self.journal.records) < batches or len(self.letters) < letters:
            await self._growth.wait()


class FakeCursors:
    """Named positions in memory."""

    def __init__(self) -> None:
        self.positions: dict[str, Position] = {}
        self.gaps_of: dict[str, list[Gap]] = {}
        self.marks: dict[str, bytes] = {}
        self.references: dict[str, bytes] = {}

    async def load(self, name: str) -> Position:
        """Position of a consumer."""
        return self.positions.get(name, Position())

    def gaps(self, name: str) -> Sequence[Gap]:
        """Gaps of a consumer."""
        return self.gaps_of.get(name, [])

    async def save_refill(self, name: str, gap: Gap, through: int) -> None:
        """Notes what was given."""
        known = self.gaps_of[name]
        known[known.index(gap)] = replace(gap, refilled=through)

    async def load_marks(self, name: str) -> bytes:
        """High-water marks saved with the position."""
        return self.marks.get(name, b"")

    async def load_references(self, name: str) -> bytes:
        """References of deadbands saved with the position."""
        return self.references.get(name, b"")

    async def save(
        self, name: str, position: Position, marks: bytes = b"", references: bytes | None = None
    ) -> None:
        """Keeps a position."""
        saved = self.positions.get(name, Position())
        if position.offset < saved.offset or position.event < saved.event:
            raise StorageError(f"cursor {name}: {position} is behind the saved {saved}")
        self.positions[name] = position
        if marks:
            self.marks[name] = marks
        if references is not None:
            self.references[name] = references


class FakeLetters:
    """Dead letters in memory, by origin."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, DeadLetter]] = []

    def total(self, origin: str = "intake") -> int:
        """Number of letters of an origin."""
        return sum(one == origin for one, _ in self.letters)

    async def add(self, letters: Sequence[DeadLetter], origin: str = "intake") -> None:
        """Keeps letters."""
        self.letters += [(origin, letter) for letter in letters]


class FakeEventLog:
    """A sequence of event records in memory."""

    def __init__(self, events: Iterable[EventRecord] = ()) -> None:
        self.records: list[EventRecord] = list(events)
        self._growth = Growth()

    def append(self, event: EventRecord) -> int:
        """Adds an event and returns its sequence number."""
        self.records.append(event)
        self._growth.notify()
        return len(self.records)

    async def events(self, after: int, limit: int = 1000) -> Sequence[tuple[int, EventRecord]]:
        """Events after a sequence number."""
        return list(enumerate(self.records, start=1))[after : after + limit]

    async def wait_events(self, after: int) -> None:
        """Returns as soon as there is an event after a sequence number."""
        while len(self.records) <= after:
            await self._growth.wait()


class FakeStore:
    """A store and its queries in memory, one reading at a time: the plain statement of the semantics."""

    def __init__(self, name: str = "fake", bands: Mapping[int, tuple[float, int]] | None = None) -> None:
        """``bands``: deadbands by point: width [unit] and longest silence [ns]."""
        self._name = name
        self._bands = bands or {}
        self._handed_on: dict[int, tuple[int, float, int]] = {}
        self._position = Position()
        self.rows: dict[tuple[int, int], tuple[float, int]] = {}
        self._record: dict[tuple[int, int], int] = {}
        self.event_rows: dict[tuple[str, str], EventRecord] = {}
        self.failures: list[GreenbridgeError] = []
        """Each is raised by one call of ``apply`` or ``apply_events``, in order."""

    @property
    def name(self) -> str:
        """Label of the store."""
        return self._name

    async def position(self) -> Position:
        """How far the store has come."""
        return self._position

    async def count(self) -> int:
        """Number of rows held."""
        return len(self.rows)

    async def apply(self, records: Sequence[JournalRecord]) -> Position:
        """Stores records; those already applied are passed over."""
        self._fail_if_told()
        for record in records:
            if record.offset <= self._position.offset:
                continue
            counts = Counter[str](missed=missed([record], self._position.totals.accounted))
            batch = record.batch
            columns = (
                batch.point.tolist(),
                batch.t_source.tolist(),
                batch.value.tolist(),
                batch.quality.tolist(),
            )
            for point, t, value, quality in zip(*columns, strict=True):
                if self.says_nothing_new(point, t, value, quality):
                    counts["suppressed"] += 1
                    continue
                outcome = self._put((point, t), (value, quality))
                counts[outcome] += 1
                if outcome != "duplicates":
                    self._record[point, t] = record.offset
            totals = self._position.totals.plus(Totals(**counts))
            self._position = Position(record.offset, self._position.event, totals)
        return self._position

    async def apply_events(self, events: Sequence[tuple[int, EventRecord]]) -> Position:
        """Stores events."""
        self._fail_if_told()
        for number, event in events:
            if number > self._position.event:
                self.event_rows[event.kind, event.key] = event
                self._position = Position(self._position.offset, number, self._position.totals)
        return self._position

    async def written(self, after: int, through: int, max_readings: int = 20_000) -> Written:
        """Readings by the record that wrote them last."""
        keys = sorted((record, key) for key, record in self._record.items() if after < record <= through)
        if len(keys) > max_readings:
            through = max(keys[0][0], keys[max_readings][0] - 1)
        return Written(self._columns([key for record, key in keys if record <= through]), through)

    async def refill(self, columns: Columns) -> None:
        """Stores readings out of order; position and totals stay."""
        self._fail_if_told()
        names = (columns.point, columns.t_source, columns.value, columns.quality)
        for point, t, value, quality in zip(*(column.tolist() for column in names), strict=True):
            self.rows[point, t] = (value, quality)

    async def last(self, points: Sequence[int]) -> Columns:
        """Newest reading of each point."""
        newest: dict[int, int] = {}
        for point, t in self.rows:
            newest[point] = max(t, newest.get(point, t))
        return self._columns([(point, newest[point]) for point in dict.fromkeys(points) if point in newest])

    async def range(self, points: Sequence[int], start: int, end: int, limit: int = 100_000) -> Columns:
        """Readings of some points in a time range."""
        wanted = set(points)
        keys = sorted(key for key in self.rows if key[0] in wanted and start <= key[1] < end)
        return self._columns(keys[:limit])

    async def series(self, point: int, start: int, end: int, step: int) -> Series:
        """Down-sampled readings of one point."""
        return summed(await self.range([point], start, end, len(self.rows)), step)

    async def events(self, kind: str, start: int, end: int, limit: int = 1000) -> Sequence[EventRecord]:
        """Events of a kind, newest first."""
        found = [e for e in self.event_rows.values() if e.kind == kind and start <= e.t < end]
        return sorted(found, key=lambda e: (-e.t, e.key))[:limit]

    def says_nothing_new(self, point: int, t: int, value: float, quality: int) -> bool:
        """Whether the point's deadband holds a reading back; notes it if not."""
        if point not in self._bands:
            return False
        width, silence = self._bands[point]
        before = self._handed_on.get(point)
        if before is not None and before[0] < t < before[0] + silence and before[2] == quality:
            unknown = math.isnan(value) and math.isnan(before[1])
            if unknown or abs(value - before[1]) <= width:
                return True
        if before is None or t >= before[0]:
            self._handed_on[point] = (t, value, quality)
        return False

    def _put(self, key: tuple[int, int], row: tuple[float, int]) -> str:
        before = self.rows.get(key)
        self.rows[key] = row
        if before is None:
            return "stored"
        same_value = before[0] == row[0] or (math.isnan(before[0]) and math.isnan(row[0]))
        return "duplicates" if same_value and before[1] == row[1] else "revised"

    def _columns(self, keys: Sequence[tuple[int, int]]) -> Columns:
        rows = [self.rows[key] for key in keys]
        return Columns.of(
            [point for point, _ in keys],
            [t for _, t in keys],
            [value for value, _ in rows],
            [quality for _, quality in rows],
        )

    def _fail_if_told(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
