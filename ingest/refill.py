"""Refill: a store that was detached from the journal is given what it missed, from a store that has it."""

from __future__ import annotations

import structlog

from ingest import metrics
from ingest.ports import Gap, Gaps, Position, Refillable, WrittenHistory

log = structlog.get_logger(__name__)

CHUNK = 20_000
"""Readings that are given in one step, so that live data waits for no more than one."""


class Refill:
    """Closes the gaps of one store, a chunk at a time; the store's pump calls it between its own writes.

    That order matters: a chunk holds the newest values that the source has, and while it is written no newer
    revision can reach the store, so that an old value never replaces a new one.
    """

    def __init__(self, gaps: Gaps, source: WrittenHistory, store: Refillable, chunk: int = CHUNK) -> None:
        self._gaps = gaps
        self._source = source
        self._store = store
        self._chunk = chunk

    @property
    def next_gap(self) -> Gap | None:
        """The oldest gap with something left to be given."""
        return next((gap for gap in self._gaps.gaps(self._store.name) if gap.open), None)

    async def step(self, position: Position) -> bool:
        """Gives the store one chunk, if it has passed a gap and the source knows all that it knows.

        Parameters
        ----------
        position
            How far the store has come.

        Returns
        -------
        bool
            True if something was done, so that another step may follow at once.

        Raises
        ------
        UnavailableError
            Source or store take no part now; the same chunk is to be tried again later.
        StorageError
            The progress could not be noted; the same chunk is to be tried again later.

        """
        gap = self.next_gap
        if gap is None or position.offset < gap.last:
            return False
        if (await self._source.position()).offset < position.offset:
            return False  # the source may still hold a value that the store has a revision of
        written = await self._source.written(max(gap.refilled, gap.first - 1), gap.last, self._chunk)
        if len(written.columns):
            await self._store.refill(written.columns)
        await self._gaps.save_refill(self._store.name, gap, written.through)
        metrics.REFILLED_READINGS.labels(self._store.name).inc(len(written.columns))
        if written.through >= gap.last:
            log.info("store_refilled", store=self._store.name, first=gap.first, last=gap.last)
        return True
