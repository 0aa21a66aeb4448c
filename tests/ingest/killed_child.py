"""A process that ingests until it is killed; it writes each acknowledged (source, sequence number) to a pipe.

Started by ``test_kill.py`` with: state directory, session, descriptor of the pipe.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import structlog

from ingest.config import EmbeddedSettings, JournalSettings
from ingest.fakes import FakeLetters
from ingest.intake import JournalIntake
from ingest.journal.journal import Journal
from ingest.pump import StorePump
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.batch import ReadingBatch
from telemetry.clock import SystemClock

SOURCES = 4
POINTS = 25
JOURNAL = JournalSettings(segment_bytes=1 << 18)


def reading(source: int, session: int, seq: int) -> ReadingBatch:
    return ReadingBatch.of(
        f"s/{source}",
        session,
        seq,
        seq,
        point=range(source * POINTS, (source + 1) * POINTS),
        t_source=[session * 1_000_000 + seq] * POINTS,
        value=[seq + i / 100 for i in range(POINTS)],
        quality=[0] * POINTS,
    )


async def produce(intake: JournalIntake, source: int, session: int, pipe: int) -> None:
    seq = 0
    while True:
        await intake.submit(reading(source, session, seq))
        os.write(pipe, f"{source} {session} {seq}\n".encode())
        if seq % 5 == 4:  # a sender that is not sure sends again
            await intake.submit(reading(source, session, seq - 1))
        seq += 1


async def ingest(state: Path, session: int, pipe: int) -> None:
    clock = SystemClock()
    async with (
        Journal(state / "journal", JOURNAL, clock) as journal,
        EmbeddedStore(state / "store.duckdb", EmbeddedSettings()) as store,
        asyncio.TaskGroup() as group,
    ):
        intake = JournalIntake(journal, FakeLetters(), clock)
        group.create_task(StorePump(journal, store, clock, cursors=journal.cursors).run())
        for source in range(SOURCES):
            group.create_task(produce(intake, source, session, pipe))


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(ingest(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
