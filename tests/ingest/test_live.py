from __future__ import annotations

import asyncio
import math

import pytest

from ingest.fakes import FakeJournal
from ingest.live import LiveReadings, LiveTable
from telemetry.batch import Columns, ReadingBatch
from telemetry.clock import ManualClock, settle


def reading(point: int, t: int, value: float, received: int = 100) -> ReadingBatch:
    return ReadingBatch.of("s", 1, 1, received, point=[point], t_source=[t], value=[value], quality=[0])


def shown(readings: LiveReadings) -> list[tuple[int, int, int, float]]:
    columns = (readings.point, readings.t_source, readings.t_received, readings.value)
    return [(int(p), int(t), int(r), float(v)) for p, t, r, v in zip(*columns, strict=True)]


async def test_it_follows_the_journal_from_its_head_or_from_a_position(clock: ManualClock) -> None:
    journal = FakeJournal(clock)
    journal.append(reading(0, 1, 1.0))
    tables = LiveTable(journal), LiveTable(journal)
    tasks = [asyncio.create_task(tables[0].run()), asyncio.create_task(tables[1].run(after=0))]
    await settle()
    journal.append(reading(3, 2, 2.0, received=200))
    assert [await table.wait(n) for n, table in enumerate(tables)] == [1, 2]
    assert shown(tables[0].snapshot()) == [(3, 2, 200, 2.0)]
    assert shown(tables[1].snapshot()) == [(0, 1, 100, 1.0), (3, 2, 200, 2.0)]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_only_newer_or_revised_readings_change_a_point(clock: ManualClock) -> None:
    journal, version = FakeJournal(clock), 0
    table = LiveTable(journal)
    steps = [
        ([reading(0, 5, 5.0), reading(1, 1, 1.0)], [(0, 5.0), (1, 1.0)]),
        ([reading(0, 4, 4.0)], []),
        ([reading(0, 5, 5.5), reading(0, 4, 9.0)], [(0, 5.5)]),
        ([reading(1, 2, 2.0), reading(1, 2, 2.5), reading(1, 3, math.inf)], [(1, math.inf)]),
        ([], []),
    ]
    for batches, changes in steps:
        before = journal.head
        for batch in batches:
            journal.append(batch)
        table.take(await journal.read(before))
        changed = table.changed_since(version)
        assert [(p, v) for p, _, _, v in shown(changed)] == changes
        version = changed.version
    assert len(table.snapshot()) == 2


async def test_primed_readings_are_known_but_not_their_receipt(clock: ManualClock) -> None:
    table = LiveTable(FakeJournal(clock))
    table.prime(Columns.of([2], [7], [1.5], [0]), 50)
    table.prime(Columns.empty(), 50)
    assert shown(table.snapshot()) == [(2, 7, 0, 1.5)]
    assert table.version == 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await table.wait(1)


async def test_a_clock_that_was_ahead_hides_nothing_once_it_is_right(clock: ManualClock) -> None:
    journal = FakeJournal(clock)
    table = LiveTable(journal)
    table.prime(Columns.of([1], [9000], [7.0], [0]), 100)
    journal.append(reading(1, 5000, 1.0, received=200))
    journal.append(reading(1, 201, 2.0, received=201))
    table.take(await journal.read(0))
    assert shown(table.snapshot()) == [(1, 201, 201, 2.0)]
