"""A journal under appends, reads, refusals, damage, reopenings and crashes, against a list: 10^4 steps."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ingest.config import JournalSettings
from ingest.journal.journal import Journal
from ingest.ports import Committed, JournalRecord, OnFull, Position, Totals
from ingest.stages.continuity import missed
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from telemetry.errors import StorageError
from tests.ingest.batches import batch

SETTINGS = JournalSettings(
    segment_bytes=1 << 16,
    max_bytes=150_000,
    max_queued_readings=2000,
    min_free_bytes=0,
    reserve_bytes=0,
)
MEMORY = Path("/dev/shm")  # where a file system in memory is, nothing waits for a disk
STEPS, EXAMPLES = 50, 200


class JournalMachine(RuleBasedStateMachine):
    """``rules`` stops the journal when it is full, ``influx`` is detached."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.generation = 0
        self.runner = asyncio.Runner()
        self.written: list[ReadingBatch] = []
        self.damaged: set[int] = set()
        self.cursor = 0
        self.slow = Position()
        self.open()

    @property
    def directory(self) -> Path:
        return self.root / str(self.generation)

    def open(self) -> None:
        self.journal = Journal(self.directory, SETTINGS, ManualClock())
        self.runner.run(self.journal.__aenter__())
        self.journal.cursors.register("rules", OnFull.STOP)
        self.journal.cursors.register("influx", OnFull.DETACH)

    def close(self) -> None:
        self.runner.run(self.journal.__aexit__(None, None, None))

    def before(self, offset: int) -> int:
        """Readings in all records before one."""
        return sum(map(len, self.written[: offset - 1]))

    @rule(sizes=st.lists(st.integers(0, 900), min_size=1, max_size=6))
    def append(self, sizes: list[int]) -> None:
        """What is acknowledged is there, in order; the rest is not, and only a full journal refuses."""
        fresh = [batch([float(i)] * n, seq=len(self.written) + i) for i, n in enumerate(sizes)]
        taken = [
            one for one, outcome in zip(fresh, self.runner.run(self.commit(fresh)), strict=True) if outcome
        ]
        self.written += taken
        self.settle()

    def settle(self) -> None:
        """Waits until the writer has rolled and deleted what it will: it takes one group after the other."""

        async def append_nothing() -> None:
            for _ in range(2):  # the first may itself be what fills a segment that was taken over
                with suppress(StorageError):
                    await self.journal.append(batch(seq=1 << 63))  # fits in no record

        self.runner.run(append_nothing())

    async def commit(self, fresh: list[ReadingBatch]) -> list[Committed | None]:
        outcomes = await asyncio.gather(*map(self.journal.append, fresh), return_exceptions=True)
        committed: list[Committed | None] = []
        expected = len(self.written)
        for outcome in outcomes:
            if isinstance(outcome, Committed):
                expected += 1
                assert outcome.offset == expected
                committed.append(outcome)
            else:
                assert isinstance(outcome, StorageError)
                assert "size_cap" in str(self.journal.trouble)
                assert self.cursor < len(self.written), "nobody has anything left to read"
                committed.append(None)
        return committed

    @rule(size=st.integers(1, 6000))
    def read(self, size: int) -> None:
        """The consumer that stops the journal gets every record that is not damaged, once, in order."""
        records = list(self.runner.run(self.read_some(self.cursor, size)))
        reached = records[-1].offset if records else len(self.written)
        wanted = [n for n in range(self.cursor + 1, reached + 1) if n not in self.damaged]
        assert [r.offset for r in records] == wanted
        for record in records:
            assert record.batch.same_as(self.written[record.offset - 1])
            assert record.readings_before == self.before(record.offset)
        self.cursor = reached
        self.runner.run(self.journal.cursors.save("rules", Position(self.cursor)))
        self.settle()

    async def read_some(self, after: int, size: int) -> list[JournalRecord]:
        return list(await self.journal.read(after, size))

    @rule()
    def read_slowly(self) -> None:
        """The consumer that may be detached can account for every reading: it got it, or knows of it."""
        records = self.runner.run(self.read_some(self.slow.offset, 2000))
        if not records:
            return
        assert all(r.batch.same_as(self.written[r.offset - 1]) for r in records)
        gaps = missed(records, self.slow.totals.accounted)
        stored = sum(len(r.batch) for r in records)
        self.slow = Position(records[-1].offset, 0, self.slow.totals.plus(Totals(stored, missed=gaps)))
        assert self.slow.totals.accounted == self.before(self.slow.offset + 1)
        self.runner.run(self.journal.cursors.save("influx", self.slow))
        self.settle()

    @rule()
    def reopen(self) -> None:
        self.close()
        self.open()

    @rule(torn=st.binary(max_size=300))
    def crash(self, torn: bytes) -> None:
        """What is on disk now is what the next process finds, behind it a write that never ended."""
        self.settle()
        before = self.directory
        self.generation += 1
        shutil.copytree(before, self.directory)
        self.close()
        shutil.rmtree(before)
        for log in self.directory.glob("*-wal"):
            with log.open("ab") as file:
                file.write(torn)
        self.open()

    @rule(where=st.integers(0, 1000), rubbish=st.binary(min_size=1, max_size=80))
    def damage(self, where: int, rubbish: bytes) -> None:
        """A record rots on the disk. Nothing is drawn from the state, which depends on how commits group."""
        there = range(self.journal.first, len(self.written) + 1)
        if not there:
            return
        offset = there[where % len(there)]
        self.close()
        segment = max(p for p in self.directory.glob("*.journal") if int(p.stem) <= offset)
        with closing(sqlite3.connect(segment)) as connection, connection:
            connection.execute("UPDATE record SET data = ? WHERE offset = ?", (rubbish, offset))
        self.damaged.add(offset)
        self.open()

    @invariant()
    def counts_agree(self) -> None:
        assert self.journal.head == len(self.written)
        assert self.journal.readings == self.before(len(self.written) + 1)
        assert self.runner.run(self.journal.cursors.load("rules")).offset == self.cursor
        assert self.journal.first <= self.cursor + 1, "a record was deleted that a consumer needs"

    @invariant()
    def gaps_are_known(self) -> None:
        """What the slow consumer lost, and nothing else, is in a gap."""
        lost = self.journal.first - 1
        if lost > self.slow.offset:
            gap = self.journal.cursors.gaps("influx")[-1]
            assert gap.last == lost
            assert gap.first <= self.slow.offset + 1
            assert gap.readings == self.before(lost + 1) - self.slow.totals.accounted

    def teardown(self) -> None:
        self.close()
        self.runner.close()
        shutil.rmtree(self.root)


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
