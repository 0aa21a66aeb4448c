"""The deadband: what it holds back, that nobody is misled, and that batches and restarts change nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.config import EmbeddedSettings
from ingest.fakes import FakeJournal, FakeStore
from ingest.stages.deadband import Deadbands, References, handed_on, thinned
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.batch import Columns, ReadingBatch
from telemetry.quality import Quality
from tests.ingest.batches import T0

NAN = math.nan
LOST = int(Quality.LINK_LOST)
BANDS = {1: (0.5, 10), 3: (0.0, 3)}
"""Of point 1: 0.5 and 10 ns; of point 3: nothing but repetitions, 3 ns."""

Reading = tuple[int, int, float, int]
"""Point, time [ns], value, quality."""


def columns(readings: Sequence[Reading]) -> Columns:
    return (
        Columns.of(*(list(column) for column in zip(*readings, strict=True))) if readings else Columns.empty()
    )


def kept(*readings: Reading, bands: Deadbands | None = None) -> list[bool]:
    mask, _ = thinned(columns(readings), bands or Deadbands(BANDS), References())
    return [bool(one) for one in mask]


@pytest.mark.parametrize(
    ("second", "passes"),
    [
        ((1, 1, 10.5, 0), False),
        ((1, 1, 9.5, 0), False),
        ((1, 1, 10.51, 0), True),
        ((1, 9, 10.0, 0), False),
        ((1, 10, 10.0, 0), True),
        ((1, 1, 10.0, 65), True),
        ((1, 1, NAN, LOST), True),
        ((1, 0, 10.0, 0), True),
        ((1, 0, 10.1, 0), True),
        ((1, -5, 10.0, 0), True),
        ((2, 1, 10.0, 0), True),
    ],
    ids=[
        "on the band above",
        "on the band below",
        "beyond it",
        "unchanged and not long silent",
        "silent for too long",
        "another quality",
        "bad",
        "a repetition: deduplication must see it",
        "a revision",
        "late",
        "another point",
    ],
)
def test_after_a_reading_of_10_at_0(second: Reading, passes: bool) -> None:
    assert kept((1, 0, 10.0, 0), second) == [True, passes]


def test_small_steps_in_one_direction_add_up() -> None:
    drift = [(1, i, 10.0 + 0.25 * i, 0) for i in range(8)]
    assert kept(*drift) == [True, False, False, True, False, False, True, False]


def test_a_link_that_stays_lost_is_told_once_and_after_each_silence() -> None:
    lost = [(3, i, NAN, LOST) for i in range(7)]
    assert kept(*lost) == [True, False, False, True, False, False, True]


def test_points_without_a_deadband_are_not_touched() -> None:
    assert kept((0, 0, 1.0, 0), (0, 1, 1.0, 0), (9, 0, 1.0, 0), (9, 1, 1.0, 0)) == [True] * 4
    assert kept((1, 0, 1.0, 0), (1, 1, 1.0, 0), bands=Deadbands()) == [True] * 2
    assert kept() == []


def test_absurd_times_hide_nothing() -> None:
    last, first = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    assert kept((1, 0, 1.0, 0), (1, last, 1.0, 0), (1, 1, 1.0, 0), (1, first, 1.0, 0)) == [True] * 4
    assert kept((1, first, 1.0, 0), (1, first + 1, 1.0, 0)) == [True] * 2


def test_references_survive_their_bytes() -> None:
    _, references = thinned(columns([(3, 7, NAN, LOST), (1, 5, 1.5, 0)]), Deadbands(BANDS), References())
    again = References.from_bytes(references.to_bytes())
    after = columns([(1, 6, 1.5, 0), (3, 8, NAN, LOST)])
    assert thinned(after, Deadbands(BANDS), again)[0].tolist() == [False, False]
    gone = again.without(np.array([1], np.uint32))
    assert thinned(after, Deadbands(BANDS), gone)[0].tolist() == [True, False]


def test_after_a_gap_every_point_is_told_again() -> None:
    journal = FakeJournal()
    for second in range(4):
        journal.append(a_batch([(1, second, 1.0, 0)]))
    records = [record for record in journal.records if record.offset != 3]
    found, held_back, _ = handed_on(records, 0, Deadbands(BANDS), References())
    assert (found.t_source.tolist(), held_back) == ([0, 3], 1)


READINGS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 3]),
        st.integers(0, 40),
        st.sampled_from([0.0, 0.25, 0.5, 1.0, 5.0, NAN]),
        st.sampled_from([0, 0, 0, LOST]),
    ),
    max_size=60,
)


@given(READINGS, st.lists(st.integers(0, 60), max_size=6))
def test_batches_and_restarts_do_not_matter_and_a_plain_loop_agrees(
    readings: list[Reading], cuts: list[int]
) -> None:
    whole, _ = thinned(columns(readings), Deadbands(BANDS), References())
    edges = sorted({0, len(readings), *(min(cut, len(readings)) for cut in cuts)})
    references, pieces = References(), []
    for start, end in pairwise(edges):
        mask, references = thinned(columns(readings[start:end]), Deadbands(BANDS), references)
        references = References.from_bytes(references.to_bytes())
        pieces += mask.tolist()
    assert pieces == whole.tolist()
    oracle = FakeStore(bands=BANDS)
    assert [not oracle.says_nothing_new(*reading) for reading in readings] == whole.tolist()


VALUES = st.lists(
    st.tuples(st.integers(1, 4), st.floats(-2, 2, width=32), st.sampled_from([0, 0, 0, 64, LOST])),
    max_size=80,
)


@given(VALUES, st.integers(1, 20))
def test_whoever_holds_the_last_stored_value_is_within_the_deadband(
    steps: list[tuple[int, float, int]], size: int
) -> None:
    t, readings = 0, []
    value = 0.0
    for step, change, quality in steps:
        t, value = t + step, value + change
        readings.append((1, t, value, quality))
    references, stored = References(), []
    for start in range(0, len(readings), size):
        part = readings[start : start + size]
        mask, references = thinned(columns(part), Deadbands(BANDS), references)
        stored += [reading for reading, passes in zip(part, mask.tolist(), strict=True) if passes]
    for _, at, value, quality in readings:
        _, since, held, its_quality = max((one for one in stored if one[1] <= at), key=lambda one: one[1])
        assert abs(value - held) <= 0.5
        assert its_quality == quality
        assert at - since < 10
    assert {one for one in readings if one[3]} >= {one for one in stored if one[3]}


def a_batch(readings: Sequence[Reading]) -> ReadingBatch:
    c = columns(readings)
    return ReadingBatch.of(
        "s", 1, 1, T0, point=c.point, t_source=c.t_source, value=c.value, quality=c.quality
    )


@settings(max_examples=15, deadline=None)
@given(READINGS, st.integers(1, 9))
async def test_a_store_that_is_opened_again_between_records_holds_the_same(
    tmp_path_factory: pytest.TempPathFactory, readings: list[Reading], size: int
) -> None:
    journal, oracle = FakeJournal(), FakeStore(bands=BANDS)
    for start in range(0, len(readings), size):
        journal.append(a_batch(readings[start : start + size]))
    wanted = await oracle.apply(await journal.read(0, 1 << 30))
    path: Path = tmp_path_factory.mktemp("thin") / "store.duckdb"
    half = journal.head // 2
    for records in (journal.records[:half], journal.records[half:]):
        async with EmbeddedStore(path, EmbeddedSettings(), Deadbands(BANDS)) as store:
            reached = await store.apply(records)
            found = await store.query.range([0, 1, 3], -1, 1 << 60)
    if journal.records:
        assert reached.totals == wanted.totals
        assert reached.totals.accounted == journal.readings
    assert rows(found) == rows(await oracle.range([0, 1, 3], -1, 1 << 60))


def rows(found: Columns) -> list[str]:
    """As text, in which NaN equals NaN."""
    named = (found.point, found.t_source, found.value, found.quality)
    return [str(row) for row in zip(*(column.tolist() for column in named), strict=True)]
