"""The intake: where sources hand over batches and dead letters, and what came of them in sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ingest import metrics
from ingest.latency import Latency
from ingest.ports import Committed, DeadLetter
from ingest.stages.soundness import sound
from telemetry.batch import ReadingBatch
from telemetry.clock import Clock


class BatchLog(Protocol):
    """What the intake needs of a journal."""

    @property
    def readings(self) -> int:
        """Number of readings ever committed."""
        ...

    async def append(self, batch: ReadingBatch) -> Committed:
        """Makes a batch durable."""
        ...


class LetterBox(Protocol):
    """What the intake needs of a store of dead letters."""

    def total(self, origin: str = ...) -> int:
        """Number of letters ever kept."""
        ...

    async def add(self, letters: Sequence[DeadLetter], origin: str = ...) -> None:
        """Makes letters durable."""
        ...


class JournalIntake:
    """The :class:`ingest.ports.Intake` over a journal and a store of dead letters.

    In sum: received = readings in the journal + rejected; all three count since the beginning of the state.
    """

    def __init__(self, journal: BatchLog, letters: LetterBox, clock: Clock) -> None:
        self._journal = journal
        self._letters = letters
        self._clock = clock
        self.latency = Latency()
        """From receipt of a batch to its acknowledgement, since the start."""

    @property
    def rejected(self) -> int:
        """Payloads that could not become readings."""
        return self._letters.total()

    @property
    def received(self) -> int:
        """Readings committed and payloads rejected."""
        return self._journal.readings + self.rejected

    async def submit(self, batch: ReadingBatch) -> Committed:
        """Makes a batch durable; values that are not finite become NaN of bad quality first.

        Raises
        ------
        StorageError
            The batch is not durable and must not be acknowledged.

        """
        checked, wrong = sound(batch)
        metrics.NOT_FINITE.inc(wrong)
        committed = await self._journal.append(checked)
        seconds = (self._clock.now_ns() - batch.t_received) / 1e9
        self.latency.observe(seconds)
        metrics.READ_TO_DURABLE_SECONDS.observe(max(0.0, seconds))
        return committed

    async def reject(self, letters: Sequence[DeadLetter]) -> None:
        """Makes dead letters durable in one transaction, all or none, and counts them.

        Raises
        ------
        StorageError
            None is durable, and what they hold must not be acknowledged.

        """
        await self._letters.add(letters)
