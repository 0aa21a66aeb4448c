from __future__ import annotations

import math

import numpy as np
import pytest

from ingest.fakes import FakeJournal, FakeLetters
from ingest.intake import JournalIntake
from ingest.latency import Latency
from ingest.ports import Committed, DeadLetter
from ingest.stages.soundness import sound
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from telemetry.quality import Quality
from tests.ingest.batches import batch


class AsyncJournal:
    """A journal whose commit takes 20 ms."""

    def __init__(self, clock: ManualClock) -> None:
        self.inner = FakeJournal(clock)
        self.clock = clock

    @property
    def readings(self) -> int:
        return self.inner.readings

    async def append(self, one: ReadingBatch) -> Committed:
        await self.clock.advance(0.02)
        return self.inner.append(one)


async def test_received_is_what_is_in_the_journal_and_what_was_rejected(clock: ManualClock) -> None:
    journal, letters = AsyncJournal(clock), FakeLetters()
    intake = JournalIntake(journal, letters, clock)
    assert (await intake.submit(batch([1.0, 2.0]))).offset == 1
    await intake.reject([DeadLetter(n, "mqtt/main", "t", "not_json", "", b"", 0) for n in range(2)])
    assert (intake.received, intake.rejected) == (4, 2)
    assert intake.latency.percentile(50) == pytest.approx(0.02, rel=0.05)


async def test_a_value_that_is_not_finite_is_never_committed_as_good(clock: ManualClock) -> None:
    journal = AsyncJournal(clock)
    await JournalIntake(journal, FakeLetters(), clock).submit(batch([1.0, math.inf, math.nan]))
    (record,) = journal.inner.records
    np.testing.assert_array_equal(record.batch.value, [1.0, math.nan, math.nan])
    assert record.batch.quality.tolist() == [0, Quality.NOT_A_NUMBER, Quality.NOT_A_NUMBER]


def test_a_bad_quality_keeps_its_reason() -> None:
    lost = int(Quality.LINK_LOST)
    given = ReadingBatch.of("s", 1, 1, 0, point=[0], t_source=[0], value=[-math.inf], quality=[lost])
    checked, wrong = sound(given)
    assert (math.isnan(checked.value[0]), checked.quality.tolist(), wrong) == (True, [lost], 0)
    clean = batch([1.0])
    assert sound(clean)[0] is clean


def test_percentiles_are_within_a_bucket() -> None:
    latency = Latency()
    assert math.isnan(latency.percentile(50))
    for milliseconds in range(1, 101):
        latency.observe(milliseconds / 1000)
    latency.observe(-1)
    assert latency.count == 101
    assert latency.percentile(50) == pytest.approx(0.050, rel=0.05)
    assert latency.percentile(99) == pytest.approx(0.099, rel=0.05)
    latency.observe(1e9)
    assert math.isinf(latency.percentile(100))
