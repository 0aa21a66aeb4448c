"""Where polls leave their batches: several commits under way, bounded, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from adapters.link import LinkState
from ingest.ports import Intake
from telemetry.batch import ReadingBatch


class Outlet:
    """Hands batches to the intake without waiting for each commit, a bounded number at a time.

    When ``limit`` batches wait, the next one waits too, and with it the polling: nothing is dropped. After a
    commit that failed the outlet is of no use any more; whatever it did not commit is counted as
    ``batches_given_up`` when it is closed.
    """

    def __init__(self, intake: Intake, limit: int, link: LinkState) -> None:
        self._intake = intake
        self._limit = limit
        self._link = link
        self._pending: deque[asyncio.Task[None]] = deque()
        self._turn = asyncio.Lock()
        self._refused = 0
        self._name = f"commit {link.name}"

    async def put(self, batch: Callable[[], ReadingBatch]) -> None:
        """Starts the commit of a batch, after those of all earlier calls.

        Parameters
        ----------
        batch
            Makes it, when the polls that go on at this moment have been heard: so all of them are decoded
            together.

        Raises
        ------
        StorageError
            An earlier batch could not be made durable; this one is given up.

        """
        self._refused += 1
        async with self._turn:
            self.check()
            if len(self._pending) >= self._limit:
                self._link.count("back_pressure")
                await asyncio.wait({self._pending[0]})
                self.check()
            self._refused -= 1
            self._pending.append(asyncio.create_task(self._commit(batch), name=self._name))

    async def _commit(self, batch: Callable[[], ReadingBatch]) -> None:
        await self._intake.submit(batch())

    def check(self) -> None:
        """Notes what was committed; raises the StorageError of the first batch that was not.

        To be called now and then while there is nothing to put, too: what was told once would otherwise never
        be told again.
        """
        while self._pending and self._pending[0].done():
            self._pending[0].result()
            self._pending.popleft()

    async def close(self) -> None:
        """Gives up the commits that are under way; they are unacknowledged and may or may not happen."""
        for task in self._pending:
            task.cancel()
        outcomes = await asyncio.gather(*self._pending, return_exceptions=True)
        lost = self._refused + sum(isinstance(outcome, BaseException) for outcome in outcomes)
        if lost:
            self._link.count("batches_given_up", lost)
        self._pending.clear()
