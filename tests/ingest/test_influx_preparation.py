"""What is prepared while the batch before is being written is what would be prepared after it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.fakes import FakeJournal
from ingest.ports import JournalRecord
from ingest.stages.deadband import Deadbands, References
from ingest.stages.deduplication import HighWaterMarks
from ingest.stores.influx.encoding import Encoder
from ingest.stores.influx.preparation import Prepared, Standing
from ingest.stores.influx.preparing import Preparing
from ingest.stores.influx.schema import Schema
from telemetry.batch import ReadingBatch
from telemetry.errors import StorageError
from telemetry.registry import PointRegistry
from telemetry.site import Site
from tests.ingest.batches import batch

START = Standing(0, References(), HighWaterMarks())


@pytest.fixture
async def preparing(site: Site, registry: PointRegistry) -> AsyncIterator[Preparing]:
    one = Preparing("preparing", Deadbands({0: (1.0, 10**9)}), Encoder(Schema(site, registry)))
    yield one
    await one.close()


def told(prepared: Prepared) -> tuple[object, ...]:
    outcome = prepared.outcome
    lines = None if outcome is None else outcome.lines.body(0, len(outcome.lines))
    after = prepared.after
    marks = after.marks.to_bytes() if after.marks is not None else b""
    counts = (prepared.suppressed, prepared.missed, prepared.suspects.tolist(), after.accounted)
    return lines, after.references.to_bytes(), marks, counts


READINGS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from([1.0, 1.5, 7.0, float("nan")])),
    min_size=1,
    max_size=6,
)


@given(st.lists(READINGS, min_size=2, max_size=6), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
async def test_ahead_or_in_turn_makes_no_difference(
    site: Site, registry: PointRegistry, batches: list[list[tuple[int, int, float]]], marked: bool
) -> None:
    journal = FakeJournal()
    for rows in batches:
        point, t, value = zip(*rows, strict=True)
        journal.append(
            ReadingBatch.of("s", 1, 1, 0, point=point, t_source=t, value=value, quality=[0] * len(rows))
        )
    records = [[record] for record in await journal.read(0)]
    start = Standing(0, References(), HighWaterMarks() if marked else None)

    async def carried(ahead: bool) -> list[tuple[object, ...]]:
        found, standing = [], start
        one = Preparing("preparing", Deadbands({0: (1.0, 10**9)}), Encoder(Schema(site, registry)))
        for this, following in zip(records, [*records[1:], None], strict=True):
            prepared = await one.batch(this, standing)
            if ahead and following is not None:
                await one.next(following)
            found.append(told(prepared))
            standing = prepared.after
        await one.close()
        return found

    assert await carried(ahead=True) == await carried(ahead=False)


async def two(journal: FakeJournal) -> tuple[list[JournalRecord], list[JournalRecord]]:
    journal.append(batch([5.0], at=0))
    journal.append(batch([5.2], at=1))
    first, second = await journal.read(0)
    return [first], [second]


async def test_what_was_prepared_is_used_if_the_store_stands_as_expected(preparing: Preparing) -> None:
    first, second = await two(FakeJournal())
    prepared = await preparing.batch(first, START)
    await preparing.next(second)
    used = await preparing.batch(list(second), prepared.after)
    assert used.before is prepared.after
    assert used.suppressed == 1


async def test_a_refused_line_makes_it_prepared_again(preparing: Preparing) -> None:
    first, second = await two(FakeJournal())
    prepared = await preparing.batch(first, START)
    await preparing.next(second)
    refused = prepared.after.without(np.array([0], np.uint32))
    assert refused is not prepared.after
    assert (await preparing.batch(second, refused)).suppressed == 0  # nothing to compare it with
    assert prepared.after.without(np.zeros(0, np.uint32)) is prepared.after


async def test_other_records_than_foreseen_are_prepared_in_turn(preparing: Preparing) -> None:
    journal = FakeJournal()
    first, second = await two(journal)
    journal.append(batch([9.0], at=2))
    prepared = await preparing.batch(first, START)
    await preparing.next(second)
    both = await journal.read(1)
    used = await preparing.batch(both, prepared.after)
    assert used.after.accounted == 3
    assert used.outcome is not None
    assert len(used.outcome.lines) == 1


async def test_late_readings_wait_until_the_server_can_be_asked(preparing: Preparing) -> None:
    _, second = await two(FakeJournal())
    prepared = await preparing.batch(second, Standing(1, References(), HighWaterMarks()))
    again = await preparing.batch(second, Standing(1, References(), prepared.after.marks))
    assert again.outcome is None
    outcome = await preparing.settled(again, again.suspects, np.array([5.2]), np.array([0], np.uint8))
    assert (outcome.plan.duplicates, len(outcome.lines)) == (1, 0)


async def test_records_of_another_journal_are_refused(preparing: Preparing) -> None:
    first, second = await two(FakeJournal())
    await preparing.batch(second, Standing(1, References(), HighWaterMarks()))
    with pytest.raises(StorageError, match="different states"):
        await preparing.next(first)
