"""Where polls leave their batches: several commits under way, bounded, in order."""

from __future__ import annotations

import asyncio
from collections import deque

from adapters.link import LinkState
from ingest.ports import Committed, Intake
from telemetry.batch import ReadingBatch


class Outlet:
    """Hands batches to the intake without waiting for each commit, a bounded number at a time.

    When ``limit`` batches wait, the next one waits too, and with it the polling: nothing is dropped.
    """

    def __init__(self, intake: Intake, limit: int, link: LinkState) -> None:
        self._intake = intake
        self._limit = limit
        self._link = link
        self._pending: deque[asyncio.Task[Committed]] = deque()

    async def put(self, batch: ReadingBatch) -> None:
        """Starts the commit of a batch; raises the StorageError of an earlier one that failed."""
        while self._pending and self._pending[0].done():
            self._pending.popleft().result()
        if len(self._pending) >= self._limit:
            self._link.count("back_pressure")
            await self._pending[0]
            self._pending.popleft()
        self._pending.append(asyncio.create_task(self._intake.submit(batch), name=f"commit {batch.source}"))

    async def close(self) -> None:
        """Gives up the commits that are under way; they are unacknowledged and may or may not happen."""
        for task in self._pending:
            task.cancel()
        outcomes = await asyncio.gather(*self._pending, return_exceptions=True)
        lost = sum(isinstance(outcome, BaseException) for outcome in outcomes)
        if lost:
            self._link.count("batches_given_up", lost)
        self._pending.clear()
