"""The consumer that derives points: reads the journal and puts what follows back into it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from ingest import metrics
from ingest.ports import Committed, JournalCursors, JournalReader, JournalRecord, Position
from ingest.stages.derivation import SOURCE, Derivation, Formula
from telemetry.batch import ReadingBatch
from telemetry.clock import Clock

CONSUMER = "derivation"
"""Its name among the consumers of the journal. It may be detached: if it held the journal back when that is
full, it would wait for room for its own results for ever."""

SAVE_EVERY_S = 1.0
"""Longest time between two saves of the position [s]."""

_MAX_READINGS = 5_000


class DerivingJournal(JournalReader, Protocol):
    """A journal that can be read and appended to."""

    async def append(self, batch: ReadingBatch) -> Committed:
        """Makes a batch durable."""
        ...


class MarkedCursors(JournalCursors, Protocol):
    """Cursors that keep a state with a position."""

    async def load_marks(self, name: str) -> bytes:
        """State saved with the position; empty if none was."""
        ...

    async def save(self, name: str, position: Position, marks: bytes = b"") -> None:
        """Makes a position durable, with its state."""
        ...


class Deriving:
    """Derives points until it is cancelled; ``run`` never returns by itself.

    A crash between a result and the saved position derives the same again, with the same source times:
    duplicates, which change nothing.
    """

    def __init__(
        self, formulas: Sequence[Formula], journal: DerivingJournal, cursors: MarkedCursors, clock: Clock
    ) -> None:
        self._formulas = formulas
        self._journal = journal
        self._cursors = cursors
        self._clock = clock

    async def run(self) -> None:
        """Follows the journal from the saved position.

        Raises
        ------
        StorageError
            The journal takes or gives nothing now; run it again.

        """
        stage = Derivation(self._formulas)
        offset = (await self._cursors.load(CONSUMER)).offset
        stage.restore(await self._cursors.load_marks(CONSUMER))
        saved_at, saved = self._clock.monotonic(), offset
        while True:
            records = await self._journal.read(offset, _MAX_READINGS)
            if not records:
                await self._journal.wait(offset)
                continue
            await asyncio.gather(*map(self._journal.append, _results(stage, records)))
            offset = records[-1].offset
            if offset > saved and self._clock.monotonic() - saved_at >= SAVE_EVERY_S:
                await self._cursors.save(CONSUMER, Position(offset), stage.save())
                saved_at, saved = self._clock.monotonic(), offset


def _results(stage: Derivation, records: Sequence[JournalRecord]) -> list[ReadingBatch]:
    batches = []
    for record in records:
        columns = stage.take(record)
        if len(columns):
            metrics.DERIVED_READINGS.inc(len(columns))
            batches.append(
                ReadingBatch(
                    SOURCE,
                    0,
                    record.offset,
                    record.batch.t_received,
                    columns.point,
                    columns.t_source,
                    columns.value,
                    columns.quality,
                )
            )
    return batches
