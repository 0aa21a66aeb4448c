"""Preparing a batch while the one before is being written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.ports import JournalRecord
from ingest.stages.deadband import Deadbands
from ingest.stages.deduplication import Rows
from ingest.stores.influx.encoding import Encoder, Lines
from ingest.stores.influx.preparation import (
    NO_QUALITIES,
    NO_ROWS,
    NO_VALUES,
    Outcome,
    Prepared,
    Standing,
    prepare,
    settle,
)
from ingest.threads import OwnerThread
from telemetry.batch import Columns


class Preparing:
    """Prepares batches in a thread of its own, one of them while the one before is being written."""

    def __init__(self, name: str, deadbands: Deadbands, encoder: Encoder) -> None:
        self._thread = OwnerThread(name)
        self._deadbands = deadbands
        self._encoder = encoder
        self._expected: Standing | None = None
        self._ahead: Prepared | None = None

    async def close(self) -> None:
        """Waits for what is being prepared and ends the thread."""
        await self._thread.close()

    async def batch(self, records: Sequence[JournalRecord], standing: Standing) -> Prepared:
        """Records that are to be written now: as prepared before, if that still fits.

        Raises
        ------
        StorageError
            The records are of another journal.

        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.before is standing and ahead.records == records:
            self._expected = ahead.after
            return ahead
        return await self._thread.call(self._now, records, standing)

    async def next(self, records: Sequence[JournalRecord]) -> None:
        """Prepares the records that follow those of the last call of :meth:`batch`; one batch is kept.

        Raises
        ------
        StorageError
            They do not follow.

        """
        self._ahead = await self._thread.call(self._following, records)

    async def settled(
        self,
        prepared: Prepared,
        held: Rows = NO_ROWS,
        value: NDArray[np.float64] = NO_VALUES,
        quality: NDArray[np.uint8] = NO_QUALITIES,
    ) -> Outcome:
        """What a batch comes to, with what the server holds of the suspects (as :func:`settle`)."""
        if prepared.outcome is not None:
            return prepared.outcome
        return await self._thread.call(settle, prepared.batch, held, value, quality, self._encoder)

    async def encoded(self, columns: Columns, revises: NDArray[np.bool_] | None = None) -> Lines:
        """Lines of readings (as :meth:`Encoder.encode`)."""
        return await self._thread.call(self._encoder.encode, columns, revises)

    def _now(self, records: Sequence[JournalRecord], standing: Standing) -> Prepared:
        prepared = prepare(records, standing, self._deadbands, self._encoder)
        self._expected = prepared.after  # here, not on the event loop: what follows is next in this thread
        return prepared

    def _following(self, records: Sequence[JournalRecord]) -> Prepared | None:
        if self._expected is None:
            return None
        return prepare(records, self._expected, self._deadbands, self._encoder)
