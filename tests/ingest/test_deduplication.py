"""The vectorised deduplication against the plain statement of it, however the journal is cut into batches."""

from __future__ import annotations

import asyncio
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.fakes import FakeJournal, FakeStore
from ingest.ports import Totals
from ingest.stages.deduplication import HighWaterMarks, keyed, resolve
from telemetry.batch import Columns, ReadingBatch

Reading = tuple[int, int, float, int]
readings = st.tuples(
    st.integers(0, 2), st.integers(-1, 3), st.sampled_from([1.0, 2.0, math.nan]), st.sampled_from([0, 129])
)


class DictStore:
    """Applies resolutions to a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], tuple[float, int]] = {}
        self.marks = HighWaterMarks()
        self.totals = Totals()
        self.looked_up = 0

    def apply(self, chunk: list[Reading]) -> None:
        point, t, value, quality = zip(*chunk, strict=True) if chunk else ((), (), (), ())
        batch = keyed(Columns.of(point, t, value, quality))
        c = batch.columns
        suspects = np.flatnonzero(batch.first & ~self.marks.above(c))
        self.looked_up += len(suspects)
        held = [i for i in suspects.tolist() if (int(c.point[i]), int(c.t_source[i])) in self.rows]
        stored = [self.rows[int(c.point[i]), int(c.t_source[i])] for i in held]
        plan = resolve(
            batch,
            np.array(held, np.intp),
            np.array([v for v, _ in stored], float),
            np.array([q for _, q in stored], np.uint8),
        )
        for row in [*plan.insert.tolist(), *plan.update.tolist()]:
            self.rows[int(c.point[row]), int(c.t_source[row])] = (float(c.value[row]), int(c.quality[row]))
        newest = c.where(batch.newest)
        self.marks.raise_to(newest.point, newest.t_source)
        self.totals = self.totals.plus(Totals(plan.stored, plan.revised, plan.duplicates))


@given(st.lists(st.lists(readings, max_size=8), max_size=8))
def test_agrees_with_one_reading_at_a_time(chunks: list[list[Reading]]) -> None:
    vectorised, plain, journal = DictStore(), FakeStore(), FakeJournal()
    for chunk in chunks:
        vectorised.apply(chunk)
        point, t, value, quality = zip(*chunk, strict=True) if chunk else ((), (), (), ())
        batch = ReadingBatch.of("s", 1, 1, 0, point=point, t_source=t, value=value, quality=quality)
        journal.append(batch)
    asyncio.run(plain.apply(journal.records))
    assert repr(sorted(vectorised.rows.items())) == repr(sorted(plain.rows.items()))
    assert vectorised.totals == asyncio.run(plain.position()).totals


def test_rows_above_the_mark_are_never_looked_up() -> None:
    store = DictStore()
    for second in range(5):
        store.apply([(point, second, 1.0, 0) for point in range(100)])
    assert store.looked_up == 0
    store.apply([(3, 4, 1.0, 0), (3, 5, 1.0, 0), (200, 0, 1.0, 0)])
    assert store.looked_up == 1


def test_marks_survive_their_bytes() -> None:
    marks = HighWaterMarks.of(np.array([3, 0], np.uint32), np.array([7, -5]))
    again = HighWaterMarks.from_bytes(marks.to_bytes())
    columns = Columns.of([0, 0, 3, 3, 1, 900], [-5, -4, 7, 8, 0, 0], [0.0] * 6, [0] * 6)
    assert again.above(columns).tolist() == [False, True, False, True, True, True]
    assert again.reached_by(columns).tolist() == [True] * 6
    assert again.known(columns.point).tolist() == [True, True, True, True, False, False]
