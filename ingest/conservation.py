"""The conservation sum of a store: every reading received is accounted for, checked against its own rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ingest.ports import JournalReader, Store, Totals


class CountingJournal(JournalReader, Protocol):
    """A journal that can say how many readings lie before a position."""

    @property
    def first(self) -> int:
        """Offset of the oldest record that is still there; one above the head when there is none."""
        ...

    async def readings_through(self, offset: int) -> int:
        """Number of readings in the records up to and including an offset."""
        ...


class CountingStore(Store, Protocol):
    """A store that can count its rows independently of its totals."""

    async def count(self) -> int | None:
        """Number of rows held; None if it cannot count them exactly."""
        ...


@dataclass(frozen=True, slots=True)
class Conservation:
    """What became of every reading that was committed to the journal, for one store."""

    store: str
    received: int
    """Readings in the journal, ever."""
    pending: int
    """Readings in records that the store has not applied yet."""
    detached: int
    """Readings in records that the journal has deleted and the store has not passed yet; then ``missed``."""
    totals: Totals
    rows: int | None
    """Rows that the store counts; None if it cannot."""

    @property
    def holds(self) -> bool:
        """True when the terms add up to what was received and the rows are those stored."""
        return (
            self.received == self.totals.accounted + self.pending + self.detached
            and self.pending >= 0
            and (self.rows is None or self.rows == self.totals.stored)
        )


async def conservation(journal: CountingJournal, store: CountingStore) -> Conservation:
    """Takes the sum for one store; it may go on working meanwhile.

    Raises
    ------
    UnavailableError, StorageError
        The store or the journal cannot be asked.

    """
    while True:
        position = await store.position()
        rows = await store.count()
        if (await store.position()).offset == position.offset:
            break
    through = await journal.readings_through(max(position.offset, journal.first - 1))
    deleted = position.offset < journal.first - 1
    detached = through - position.totals.accounted if deleted else 0
    received = journal.readings
    return Conservation(store.name, received, received - through, detached, position.totals, rows)
