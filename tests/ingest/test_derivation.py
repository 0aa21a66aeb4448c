"""Derived points: when they are evaluated, with which time and quality, and that a replay gives the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.config import JournalSettings
from ingest.derivation import CONSUMER, SAVE_EVERY_S, Deriving
from ingest.fakes import FakeCursors, FakeJournal
from ingest.journal.journal import Journal
from ingest.ports import Committed, JournalRecord, OnFull, Position
from ingest.stages.derivation import SOURCE, Derivation, Formula
from telemetry.batch import Columns, ReadingBatch
from telemetry.clock import ManualClock, settle
from telemetry.expressions import parse
from telemetry.points import Unit
from telemetry.quality import Quality
from tests.ingest.batches import T0

SECOND = 1_000_000_000
UNITS = {"a/P": Unit.MW, "b/P": Unit.MW}
GOOD, STALE = int(Quality.GOOD), int(Quality.STALE)


def formula(text: str, point: int = 9, max_age_s: float = 10.0) -> Formula:
    expression = parse(text, UNITS)
    indices = {"a/P": 0, "b/P": 1}
    inputs = {path: indices[path] for path in expression.points}
    return Formula(point, expression, inputs, round(max_age_s * SECOND))


SUM = formula("{a/P} + {b/P}")
ONE = formula("{a/P} > 5 MW", point=10)


def readings(
    *rows: tuple[int, float, float], received: float | None = None, source: str = "s"
) -> ReadingBatch:
    """Readings as (point, time [s], value)."""
    newest = max(second for _, second, _ in rows)
    return ReadingBatch.of(
        source,
        1,
        1,
        T0 + round((newest if received is None else received) * SECOND),
        point=[point for point, _, _ in rows],
        t_source=[T0 + round(second * SECOND) for _, second, _ in rows],
        value=[value for _, _, value in rows],
        quality=[GOOD] * len(rows),
    )


def taken(stage: Derivation, *batches: ReadingBatch) -> list[tuple[int, float, float, int]]:
    """Everything derived, as (point, time [s], value, quality)."""
    found = []
    for number, batch in enumerate(batches, start=1):
        c = stage.take(JournalRecord(number, 0, 0, batch))
        found += [
            (p, (t - T0) / SECOND, v, q)
            for p, t, v, q in zip(
                c.point.tolist(), c.t_source.tolist(), c.value.tolist(), c.quality.tolist(), strict=True
            )
        ]
    return found


def test_a_result_comes_with_each_newer_input_once_all_were_received() -> None:
    stage = Derivation([SUM])
    assert taken(stage, readings((0, 1, 10.0))) == []
    assert taken(stage, readings((1, 2, 5.0), (7, 3, 1.0))) == [(9, 2.0, 15.0, GOOD)]
    assert taken(stage, readings((0, 3, 11.0), (1, 3, 6.0))) == [(9, 3.0, 17.0, GOOD)], "one for the record"
    assert taken(stage, readings((7, 4, 1.0))) == []


def test_late_readings_change_nothing_and_revisions_of_now_do() -> None:
    stage = Derivation([SUM])
    taken(stage, readings((0, 5, 1.0), (1, 5, 1.0)))
    assert taken(stage, readings((0, 4, 99.0))) == []
    assert taken(stage, readings((0, 5, 2.0))) == [(9, 5.0, 3.0, GOOD)]


def test_an_input_that_fell_behind_is_stale() -> None:
    stage = Derivation([SUM])
    taken(stage, readings((0, 0, 1.0), (1, 0, 1.0)))
    assert taken(stage, readings((0, 10, 2.0))) == [(9, 10.0, 3.0, GOOD)]
    ((_, second, value, quality),) = taken(stage, readings((0, 10.5, 2.0)))
    assert (second, np.isnan(value), quality) == (10.5, True, STALE)
    assert taken(stage, readings((1, 11, 4.0))) == [(9, 11.0, 6.0, GOOD)]


def test_a_clock_in_the_future_does_not_stop_a_formula() -> None:
    stage = Derivation([SUM])
    taken(stage, readings((0, 1, 1.0), (1, 1, 1.0)))
    assert taken(stage, readings((0, 9000, 2.0), received=2)) == [(9, 2.0, 3.0, GOOD)]
    assert taken(stage, readings((0, 3, 4.0))) == [(9, 3.0, 5.0, GOOD)]


def test_nothing_feeds_itself() -> None:
    assert taken(Derivation([ONE]), readings((0, 1, 10.0), source=SOURCE)) == []


def test_a_condition_is_0_or_1_and_not_known_when_its_input_is_bad() -> None:
    stage = Derivation([ONE])
    assert taken(stage, readings((0, 1, 10.0)), readings((0, 2, 1.0))) == [
        (10, 1.0, 1.0, GOOD),
        (10, 2.0, 0.0, GOOD),
    ]
    lost = ReadingBatch.of(
        "s", 1, 1, T0 + 3 * SECOND, point=[0], t_source=[T0 + 3 * SECOND], value=[np.nan], quality=[STALE]
    )
    ((_, _, value, quality),) = taken(stage, lost)
    assert (np.isnan(value), quality) == (True, STALE)


ROWS = st.tuples(st.integers(0, 2), st.integers(0, 20), st.floats(-10, 10))


@given(
    st.lists(st.lists(ROWS, min_size=1, max_size=4), max_size=12),
    st.integers(0, 12),
)
def test_a_replay_from_any_saved_state_gives_the_same(
    batches: list[list[tuple[int, int, float]]], cut: int
) -> None:
    records = [readings(*rows) for rows in batches]
    whole = Derivation([SUM, ONE])
    expected = taken(whole, *records)
    first, second = Derivation([SUM, ONE]), Derivation([ONE, SUM])
    before = taken(first, *records[:cut])
    second.restore(first.save())
    after = taken(second, *records[cut:])
    assert sorted(map(str, before + after)) == sorted(map(str, expected))


def test_a_formula_that_is_new_begins_without_a_state() -> None:
    old = Derivation([ONE])
    taken(old, readings((0, 1, 10.0)))
    stage = Derivation([ONE, SUM])
    stage.restore(old.save())
    assert taken(stage, readings((1, 2, 1.0))) == [(9, 2.0, 11.0, GOOD)], "the input was known already"
    stage.restore(b"")


class Appending(FakeJournal):
    """A fake journal whose append can be awaited."""

    async def append(self, batch: ReadingBatch) -> Committed:  # type: ignore[override]
        return super().append(batch)


async def derived(journal: Appending) -> list[tuple[int, float]]:
    return [
        (int(record.batch.seq), float(record.batch.value[0]))
        for record in journal.records
        if record.batch.source == SOURCE
    ]


async def test_results_go_into_the_journal_and_a_restart_derives_at_most_the_same_again(
    clock: ManualClock,
) -> None:
    journal, cursors = Appending(clock), FakeCursors()

    async def some(batches: Sequence[ReadingBatch]) -> None:
        task = asyncio.create_task(Deriving([ONE], journal, cursors, clock).run())
        for batch in batches:
            await journal.append(batch)
            await settle()
            await clock.advance(SAVE_EVERY_S / 2)
        task.cancel()
        await asyncio.wait({task})

    await some([readings((0, second, 10.0 * (second % 2))) for second in range(1, 6)])
    assert [value for _, value in await derived(journal)] == [1.0, 0.0, 1.0, 0.0, 1.0]
    assert cursors.positions[CONSUMER].offset > 3
    before = await derived(journal)
    await some([readings((0, 9, 10.0))])
    after = await derived(journal)
    assert set(before) < set(after)
    assert len(set(after)) == 6, "whatever was derived again is the same"


async def test_a_full_journal_is_not_held_up_by_who_waits_for_room_in_it(
    tmp_path: Path, clock: ManualClock
) -> None:
    settings = JournalSettings(segment_bytes=1 << 16, max_bytes=150_000, min_free_bytes=0, reserve_bytes=0)
    async with Journal(tmp_path, settings, clock) as journal:
        journal.cursors.register(CONSUMER, OnFull.DETACH)
        journal.cursors.register("embedded")
        wide = Columns.of([0] * 1000, [T0 + i for i in range(1000)], [1.0] * 1000, [0] * 1000)
        batch = ReadingBatch("s", 1, 1, T0, wide.point, wide.t_source, wide.value, wide.quality)
        for _ in range(20):
            committed = await journal.append(batch)
            await journal.cursors.save("embedded", Position(committed.offset))
        task = asyncio.create_task(Deriving([ONE], journal, journal.cursors, clock).run())
        async with asyncio.timeout(10):
            await journal.wait(committed.offset)
        task.cancel()
        await asyncio.wait({task})
        assert (await journal.read(committed.offset))[0].batch.source == SOURCE
        assert journal.first > 1


@pytest.mark.parametrize("text", ["{a/P} + {b/P}", "{a/P} > 5 MW"])
def test_the_state_is_small_and_comes_back(text: str) -> None:
    stage = Derivation([formula(text)])
    taken(stage, readings((0, 1, 10.0), (1, 1, 5.0)))
    other = Derivation([formula(text)])
    other.restore(stage.save())
    assert other.save() == stage.save()
