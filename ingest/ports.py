"""The ports of the pipeline.

Each has a fake with behaviour in :mod:`ingest.fakes`; one conformance suite runs over all implementations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from telemetry.batch import Columns, ReadingBatch
from telemetry.errors import GreenbridgeError


@dataclass(frozen=True, slots=True)
class Committed:
    """Proof that a batch is durable."""

    offset: int
    """Position of the record in the journal; the first is 1, without gaps."""
    t_committed: int
    """Wall time of the commit [ns, UTC]."""


@dataclass(frozen=True, slots=True, eq=False)
class JournalRecord:
    """A durable batch."""

    offset: int
    t_committed: int
    readings_before: int
    """Number of readings in all records before this one: makes conservation a subtraction."""
    batch: ReadingBatch


class ReinjectionError(GreenbridgeError):
    """A dead letter that still cannot become readings."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something received that cannot become a reading; kept with its reason, never dropped silently."""

    t_received: int
    """Wall time of receipt [ns, UTC]."""
    source: str
    """Adapter and link, for example ``mqtt/main``."""
    address: str
    """Topic or register address."""
    reason: str
    """Bounded label, for example ``not_json``; becomes a metric label."""
    detail: str
    """For people: what exactly is wrong."""
    payload: bytes
    """The first bytes of what was received."""
    size: int
    """Full size of what was received [B]."""


class Reinjectable(Protocol):
    """A source that can decode again what it once could not."""

    @property
    def name(self) -> str:
        """Adapter and link, as in its dead letters: ``mqtt/main``."""
        ...

    async def reinject(self, letter: DeadLetter) -> None:
        """Decodes the payload of a letter as of its receipt and makes its readings durable.

        Raises
        ------
        ReinjectionError
            It cannot become readings this time either.
        StorageError
            The readings are not durable; to be tried again.

        """
        ...


class Intake(Protocol):
    """Where a source hands over what it received; both calls return after the commit."""

    async def submit(self, batch: ReadingBatch) -> Committed:
        """Makes a batch durable.

        Raises
        ------
        StorageError
            The batch is not durable and must not be acknowledged.

        """
        ...

    async def reject(self, letters: Sequence[DeadLetter]) -> None:
        """Makes dead letters durable, all or none, and counts them.

        Raises
        ------
        StorageError
            None is durable, and what they hold must not be acknowledged.

        """
        ...


class OnFull(StrEnum):
    """What a journal without room means for a consumer that has not read everything yet."""

    STOP = "stop"
    """Nothing more is taken, and nothing acknowledged, until it has caught up."""
    DETACH = "detach"
    """The records are deleted without it; what it lacks is noted as a gap and comes later from elsewhere."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that were deleted before a detached consumer had read them, or that it is to be given again."""

    first: int
    """Offset of the first such record."""
    last: int
    """Offset of the last one."""
    readings: int
    """Number of readings in them that it never got."""
    refilled: int = 0
    """Newest record of the gap whose readings the consumer was given from elsewhere; 0 for none."""

    @property
    def open(self) -> bool:
        """There is something left to be given."""
        return self.refilled < self.last


class Trouble(NamedTuple):
    """Why the journal takes nothing now."""

    state: str
    """Bounded label: ``disk_full``, ``size_cap``, ``write_failed``."""
    detail: str
    """For people: what is wrong and what to do."""
    since: int
    """[ns, UTC]."""


@dataclass(frozen=True, slots=True)
class Ailment:
    """A part of greenbridge that cannot do its work, as it says itself."""

    part: str
    """``journal``, ``alarms``, ``store/influx`` ..."""
    state: str
    """Bounded label: ``disk_full``, ``unauthorized`` ..."""
    detail: str
    """For people: what is wrong."""
    since: int
    """[ns, UTC]."""


class JournalReader(Protocol):
    """Reading side of the journal, for consumers with a cursor of their own."""

    @property
    def head(self) -> int:
        """Offset of the newest durable record; 0 when there is none."""
        ...

    @property
    def readings(self) -> int:
        """Number of readings ever committed."""
        ...

    async def read(self, after: int, max_readings: int = 20_000) -> Sequence[JournalRecord]:
        """Records after an offset, in order: one if there is one, then more up to about ``max_readings``."""
        ...

    async def wait(self, after: int) -> None:
        """Returns as soon as there is a record after an offset."""
        ...


class JournalCursors(Protocol):
    """Named positions in the journal. For a consumer without transactions this copy is the truth."""

    async def load(self, name: str) -> Position:
        """Position of a consumer; the start if it has none yet."""
        ...

    async def save(self, name: str, position: Position) -> None:
        """Makes a position durable; it must not be behind the saved one."""
        ...


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of the readings that a store was given, counted since its beginning."""

    stored: int = 0
    """New keys."""
    revised: int = 0
    """Same key, other value or quality."""
    duplicates: int = 0
    """Same key, same value and quality."""
    suppressed: int = 0
    """Held back by a deadband."""
    dead_lettered: int = 0
    """Refused by the store and kept as dead letters."""
    expired: int = 0
    """Older than what the store keeps, so not stored."""
    missed: int = 0
    """In journal records that the store never got: damaged on disk, or dropped before it first started."""

    @property
    def accounted(self) -> int:
        """Sum of the terms: the number of readings up to and including the position."""
        return (
            self.stored
            + self.revised
            + self.duplicates
            + self.suppressed
            + self.dead_lettered
            + self.expired
            + self.missed
        )

    def plus(self, other: Totals) -> Totals:
        """Sum, term by term."""
        return Totals(
            self.stored + other.stored,
            self.revised + other.revised,
            self.duplicates + other.duplicates,
            self.suppressed + other.suppressed,
            self.dead_lettered + other.dead_lettered,
            self.expired + other.expired,
            self.missed + other.missed,
        )


@dataclass(frozen=True, slots=True)
class Position:
    """How far a consumer has come."""

    offset: int = 0
    """Newest record that is applied; 0 at the start."""
    event: int = 0
    """Sequence number of the newest event record that is applied; 0 at the start."""
    totals: Totals = field(default_factory=Totals)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An alarm transition, settlement interval, estimate or KPI: text is allowed, the key is idempotent."""

    kind: str
    """Table or measurement, for example ``alarm``."""
    key: str
    """Same kind and key replaces the earlier record."""
    t: int
    """Time of the event [ns, UTC]."""
    tags: Mapping[str, str]
    """What it is selected by: area, asset, rule, priority ..."""
    fields: Mapping[str, float | int | str | bool]


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """Readings of a store by the record that wrote them last."""

    columns: Columns
    through: int
    """Every reading of the records asked for up to this offset is among them or was revised since."""


class WrittenHistory(Protocol):
    """A store that can be read in the order of the journal, long after its records are deleted there."""

    async def position(self) -> Position:
        """How far this store has come."""
        ...

    async def written(self, after: int, through: int, max_readings: int = 20_000) -> Written:
        """Current readings whose newest record is in after < record <= through, oldest record first.

        Whole records only: at least one if there is one, then more up to about ``max_readings``. A reading
        that a later record revised belongs to that one, and comes with it.

        Raises
        ------
        UnavailableError
            The store cannot be asked now.

        """
        ...


class Refillable(Protocol):
    """A store that takes readings out of order."""

    @property
    def name(self) -> str:
        """Label of the store."""
        ...

    async def refill(self, columns: Columns) -> None:
        """Stores readings that it missed; its position and totals stay as they are. Twice is as once.

        Raises
        ------
        UnavailableError
            Nothing is lost; the same readings are to be given again later.

        """
        ...


class Gaps(Protocol):
    """The gaps of detached consumers, durable."""

    def gaps(self, name: str) -> Sequence[Gap]:
        """Gaps of a consumer, oldest first."""
        ...

    async def save_refill(self, name: str, gap: Gap, through: int) -> None:
        """Notes that the records of a gap up to an offset were given to the consumer."""
        ...


class EventLog(Protocol):
    """A source of event records with a sequence, for example the alarm journal."""

    async def events(self, after: int, limit: int = 1000) -> Sequence[tuple[int, EventRecord]]:
        """Event records after a sequence number, in order."""
        ...

    async def wait_events(self, after: int) -> None:
        """Returns as soon as there is an event after a sequence number."""
        ...


class Store(Protocol):
    """A sink of readings and events. Applying a record twice leaves it as applying it once."""

    @property
    def name(self) -> str:
        """Label of the store: ``embedded`` or ``influx``."""
        ...

    async def position(self) -> Position:
        """How far this store has come."""
        ...

    async def apply(self, records: Sequence[JournalRecord]) -> Position:
        """Stores records, which follow the position without a gap, and advances the position.

        Raises
        ------
        UnavailableError
            Nothing is lost; the same records are to be applied again later.

        """
        ...

    async def apply_events(self, events: Sequence[tuple[int, EventRecord]]) -> Position:
        """Stores events and advances the event position."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A store that can work ahead while it waits for its server."""

    async def prepare(self, records: Sequence[JournalRecord]) -> None:
        """Prepares records that follow those being applied; only how long these take depends on it.

        Raises
        ------
        StorageError
            They do not follow.

        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Down-sampled readings of one point: one entry for each interval that holds readings."""

    t: NDArray[np.int64]
    """Start of the interval [ns, UTC]."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    last: NDArray[np.float64]
    """Value of the newest usable reading of the interval."""
    count: NDArray[np.int64]
    """Number of usable (not bad) readings; low, high, mean and last are of these, NaN without any."""
    worst: NDArray[np.uint8]
    """Worst quality code in the interval."""


class QueryPort(Protocol):
    """One way to ask every store."""

    async def last(self, points: Sequence[int]) -> Columns:
        """Newest reading of each point, by source time; points without one are left out."""
        ...

    async def range(self, points: Sequence[int], start: int, end: int, limit: int = 100_000) -> Columns:
        """Readings with start <= t_source < end [ns, UTC], ordered by point, then time; at most ``limit``."""
        ...

    async def series(self, point: int, start: int, end: int, step: int) -> Series:
        """Readings of one point summed up over intervals of ``step`` [ns], aligned to multiples of it."""
        ...

    async def events(self, kind: str, start: int, end: int, limit: int = 1000) -> Sequence[EventRecord]:
        """Events with start <= t < end [ns, UTC], newest first."""
        ...
