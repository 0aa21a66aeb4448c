"""Where polls leave their batches: several commits under way, bounded, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from adapters.link import LinkState
from ingest.ports import Intake
from telemetry.batch import ReadingBatch

LAST_COMMITS_S = 5.0
"""How long commits may go on after the end of polling [s], if nothing else is said."""

MakeBatch = Callable[[], ReadingBatch]


class Outlet:
    """Hands batches to the intake without waiting for each commit, a bounded number at a time.

    When ``limit`` batches wait, the next one waits too, and with it the polling: nothing is dropped. After a
    commit that failed the outlet is of no use any more; whatever it did not commit is counted as
    ``batches_given_up`` when it is closed.
    """

    def __init__(self, intake: Intake, limit: int, link: LinkState, last_s: float = LAST_COMMITS_S) -> None:
        self._intake = intake
        self._limit = limit
        self._link = link
        self._last_s = last_s
        self._pending: deque[asyncio.Task[None]] = deque()
        self._waiting: deque[MakeBatch] = deque()
        """Handed over, their commits not begun; at most one for each poll that goes on."""
        self._turn = asyncio.Lock()
        self._name = f"commit {link.name}"

    async def put(self, batch: MakeBatch) -> None:
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
        self.leave(batch)
        async with self._turn:
            self.check()
            if len(self._pending) >= self._limit:
                self._link.count("back_pressure")
                await asyncio.wait({self._pending[0]})
                self.check()
            self._begin(self._waiting.popleft())

    def leave(self, batch: MakeBatch) -> None:
        """Leaves a batch, as :meth:`put`, whose commit begins when the outlet is closed at the latest."""
        self._waiting.append(batch)

    def _begin(self, batch: MakeBatch) -> None:
        self._pending.append(asyncio.create_task(self._commit(batch), name=self._name))

    async def _commit(self, batch: MakeBatch) -> None:
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
        """Commits what was left, and gives up what takes too long; that may or may not happen."""
        lost = 0
        if any(task.done() and task.exception() is not None for task in self._pending):
            lost = len(self._waiting)
        else:
            for batch in self._waiting:
                self._begin(batch)
        self._waiting.clear()
        try:
            if self._pending:
                await asyncio.wait(self._pending, timeout=self._last_s)
        finally:
            for task in self._pending:
                task.cancel()
            outcomes = await asyncio.gather(*self._pending, return_exceptions=True)
            lost += sum(isinstance(outcome, BaseException) for outcome in outcomes)
            if lost:
                self._link.count("batches_given_up", lost)
            self._pending.clear()
