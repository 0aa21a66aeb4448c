"""kill -9 in the middle of ingesting: every acknowledged reading is in journal and store, exactly once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ingest.config import EmbeddedSettings
from ingest.conservation import conservation
from ingest.journal.journal import Journal
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.clock import ManualClock
from tests.ingest.killed_child import JOURNAL, POINTS, SOURCES, reading

Ack = tuple[int, int, int]
"""Source, session, sequence number."""


def ingest_until_killed(state: Path, session: int, acknowledgements: int) -> set[Ack]:
    """Kills the child after so many acknowledgements; returns all that it gave."""
    ours, theirs = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.ingest.killed_child", str(state), str(session), str(theirs)],
        pass_fds=[theirs],
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    acks: set[Ack] = set()
    with os.fdopen(ours) as pipe:
        for line in pipe:
            source, its_session, seq = map(int, line.split())
            acks.add((source, its_session, seq))
            if len(acks) == acknowledgements:
                child.kill()
    assert child.wait() == -9
    assert len(acks) >= acknowledgements
    return acks


@pytest.mark.parametrize("kills", [(3, 90, 41, 160)])
async def test_every_acknowledged_reading_is_there_exactly_once(
    tmp_path: Path, clock: ManualClock, kills: tuple[int, ...]
) -> None:
    acked: set[Ack] = set()
    replayed = 0
    for session, acknowledgements in enumerate(kills):
        acked |= ingest_until_killed(tmp_path, session, acknowledgements)
        async with (
            Journal(tmp_path / "journal", JOURNAL, clock) as journal,
            EmbeddedStore(tmp_path / "store.duckdb", EmbeddedSettings()) as store,
        ):
            position = await store.position()
            replayed += journal.head - position.offset
            seen: Counter[Ack] = Counter()
            after = 0
            while records := await journal.read(after):
                for record in records:
                    batch = record.batch
                    ack = (int(batch.source[2:]), batch.session, batch.seq)
                    seen[ack] += 1
                    assert batch.same_as(reading(*ack))
                after = records[-1].offset
            assert acked <= set(seen)
            assert max(seen.values()) <= 2, "the senders repeat some once, on purpose"
            while records := await journal.read((await store.position()).offset):
                await store.apply(records)
            report = await conservation(journal, store)
            assert report.holds
            assert report.pending == 0
            assert report.totals.stored == len(seen) * POINTS
            assert report.totals.duplicates == (seen.total() - len(seen)) * POINTS
            stored = await store.query.range(range(SOURCES * POINTS), 0, 1 << 60, limit=1 << 30)
            assert len(stored) == len(set(zip(stored.point.tolist(), stored.t_source.tolist(), strict=True)))
    assert report.totals.duplicates
    assert replayed, "no kill hit between commit and store: the run proves nothing"
