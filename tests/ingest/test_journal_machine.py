"""A journal under appends, reads, reopenings and crashes, against a list."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ingest.config import JournalSettings
from ingest.journal.journal import Journal
from ingest.ports import JournalRecord, Position
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from tests.ingest.batches import batch

SETTINGS = JournalSettings(segment_bytes=1 << 16, max_bytes=1 << 18, max_queued_readings=2000)


class JournalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.generation = 0
        self.runner = asyncio.Runner()
        self.written: list[ReadingBatch] = []
        self.cursor = 0
        self.open()

    @property
    def directory(self) -> Path:
        return self.root / str(self.generation)

    def open(self) -> None:
        self.journal = Journal(self.directory, SETTINGS, ManualClock())
        self.runner.run(self.journal.__aenter__())
        self.journal.cursors.register("consumer")

    def close(self) -> None:
        self.runner.run(self.journal.__aexit__(None, None, None))

    @rule(sizes=st.lists(st.integers(0, 900), min_size=1, max_size=6))
    def append(self, sizes: list[int]) -> None:
        fresh = [batch([float(i)] * n, seq=len(self.written) + i) for i, n in enumerate(sizes)]
        self.runner.run(self.commit(fresh))
        self.written += fresh

    async def commit(self, fresh: list[ReadingBatch]) -> None:
        committed = await asyncio.gather(*map(self.journal.append, fresh))
        first = len(self.written) + 1
        assert [c.offset for c in committed] == list(range(first, first + len(fresh)))

    @rule(size=st.integers(1, 3000))
    def read(self, size: int) -> None:
        records: list[JournalRecord] = list(self.runner.run(self.read_some(size)))
        assert [r.offset for r in records] == list(range(self.cursor + 1, self.cursor + 1 + len(records)))
        assert records or self.cursor == len(self.written)
        for record in records:
            assert record.batch.same_as(self.written[record.offset - 1])
            assert record.readings_before == sum(map(len, self.written[: record.offset - 1]))
        self.cursor += len(records)
        self.runner.run(self.journal.cursors.save("consumer", Position(self.cursor)))

    async def read_some(self, size: int) -> list[JournalRecord]:
        return list(await self.journal.read(self.cursor, size))

    @rule()
    def reopen(self) -> None:
        self.close()
        self.open()

    @rule()
    def crash(self) -> None:
        """What is on disk now, the write-ahead logs included, is what the next process finds."""
        before = self.directory
        self.generation += 1
        shutil.copytree(before, self.directory)
        self.close()
        shutil.rmtree(before)
        self.open()

    @invariant()
    def counts_agree(self) -> None:
        assert self.journal.head == len(self.written)
        assert self.journal.readings == sum(map(len, self.written))
        assert self.runner.run(self.journal.cursors.load("consumer")).offset == self.cursor

    def teardown(self) -> None:
        self.close()
        self.runner.close()
        shutil.rmtree(self.root)


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
