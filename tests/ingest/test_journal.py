from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from ingest.config import JournalSettings
from ingest.journal import writer
from ingest.journal.journal import Journal
from ingest.journal.segments import Segment, SegmentWriter
from ingest.ports import Position, Totals
from telemetry.clock import ManualClock
from telemetry.errors import StorageError
from tests.ingest.batches import batch

SMALL = JournalSettings(segment_bytes=1 << 16, min_free_bytes=0, reserve_bytes=0)
CAPPED = SMALL.model_copy(update={"max_bytes": 150_000})
TIGHT = SMALL.model_copy(update={"max_bytes": 1 << 16})
WIDE = [float(i) for i in range(1000)]  # three of these fill a small segment


@pytest.fixture
async def journal(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Journal]:
    async with Journal(tmp_path, SMALL, clock) as opened:
        yield opened


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.journal"))


async def reopened(directory: Path, clock: ManualClock, stack: AsyncExitStack) -> Journal:
    return await stack.enter_async_context(Journal(directory, SMALL, clock))


async def test_offsets_are_contiguous_from_one_and_records_say_what_came_before(
    journal: Journal, clock: ManualClock
) -> None:
    assert (journal.head, journal.readings) == (0, 0)
    batches = [batch([float(i)] * (i % 3), seq=i) for i in range(10)]
    committed = await asyncio.gather(*map(journal.append, batches))
    assert [c.offset for c in committed] == list(range(1, 11))
    assert {c.t_committed for c in committed} == {clock.now_ns()}
    records = await journal.read(0)
    assert [r.offset for r in records] == list(range(1, 11))
    assert all(r.batch.same_as(b) for r, b in zip(records, batches, strict=True))
    assert [r.readings_before for r in records] == [sum(i % 3 for i in range(n)) for n in range(10)]
    assert journal.readings == 9
    assert [await journal.readings_through(n) for n in (0, 1, 2, 9, 10, 99)] == [0, 0, 1, 9, 9, 9]


async def test_everything_is_there_after_reopening_over_several_segments(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with Journal(tmp_path, SMALL, clock) as journal:
        for seq in range(12):
            await journal.append(batch(WIDE, seq=seq))
    assert len(segments(tmp_path)) == 4
    async with Journal(tmp_path, SMALL, clock) as journal:
        assert (journal.head, journal.readings) == (12, 12_000)
        seen = 0
        while seen < journal.head:
            records = await journal.read(seen, max_readings=5000)
            assert len(records) <= 5
            assert [r.batch.seq for r in records] == [r.offset - 1 for r in records]
            seen = records[-1].offset
        assert [await journal.readings_through(n) for n in (0, 3, 4, 11)] == [0, 3000, 4000, 11_000]
        assert (await journal.append(batch())).offset == 13


async def test_one_record_comes_even_if_it_is_larger_than_asked_for(journal: Journal) -> None:
    await journal.append(batch(WIDE))
    assert len(await journal.read(0, max_readings=10)) == 1
    assert await journal.read(1) == []


async def test_a_waiting_consumer_is_woken_by_the_commit(journal: Journal) -> None:
    waiting = asyncio.create_task(journal.wait(0))
    await asyncio.gather(journal.append(batch()), waiting)
    await journal.wait(0)


async def test_a_full_queue_holds_sources_back_in_order(tmp_path: Path, clock: ManualClock) -> None:
    settings = JournalSettings(max_queued_readings=1500)
    async with Journal(tmp_path, settings, clock) as journal:
        committed = await asyncio.gather(*(journal.append(batch(WIDE, seq=i)) for i in range(8)))
        assert [c.offset for c in committed] == list(range(1, 9))
        assert [r.batch.seq for r in await journal.read(0)] == list(range(8))


async def test_a_refusing_disk_refuses_the_batch_and_heals_by_itself(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with Journal(tmp_path, SMALL, clock) as journal:
        obstacle = tmp_path / "00000000000000000001.journal"
        obstacle.mkdir()
        for _ in range(2):
            with pytest.raises(StorageError, match="nothing was committed"):
                await journal.append(batch())
        assert (journal.head, journal.readings) == (0, 0)
        obstacle.rmdir()
        assert (await journal.append(batch())).offset == 1
        assert len(await journal.read(0)) == 1


async def test_after_a_failed_commit_the_end_on_disk_is_the_truth(journal: Journal, tmp_path: Path) -> None:
    await journal.append(batch())
    with closing(sqlite3.connect(segments(tmp_path)[0])) as connection, connection:
        connection.execute("INSERT INTO record VALUES (2, 1, 5, x'00')")
    with pytest.raises(StorageError, match="nothing was committed"):
        await journal.append(batch())
    assert (await journal.append(batch())).offset == 3
    assert [(r.offset, r.readings_before) for r in await journal.read(0)] == [(1, 0), (3, 6)]


class FailsOnce:
    """Raises at the first call and then does what it stands for."""

    def __init__(self, inner: Callable[..., object], error: Exception) -> None:
        self.inner = inner
        self.error: Exception | None = error

    def __call__(self, *arguments: object) -> object:
        error, self.error = self.error, None
        if error is not None:
            raise error
        return self.inner(*arguments)

    def __get__(self, instance: object, owner: type) -> Callable[..., object]:
        return partial(self, instance)


def roll_failures() -> float:
    return REGISTRY.get_sample_value("greenbridge_journal_roll_failures_total") or 0.0


@pytest.mark.parametrize(
    ("target", "name", "error", "firsts"),
    [
        (SegmentWriter, "close", sqlite3.OperationalError("disk I/O error"), [1, 5, 8]),
        (writer, "remove", OSError("Read-only file system"), [7]),
    ],
)
async def test_a_roll_that_fails_takes_nothing_back_and_is_tried_again(
    tmp_path: Path,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    target: object,
    name: str,
    error: Exception,
    firsts: list[int],
) -> None:
    failures = roll_failures()
    monkeypatch.setattr(target, name, FailsOnce(getattr(target, name), error))
    async with Journal(tmp_path, TIGHT if name == "remove" else SMALL, clock) as journal:
        if name == "remove":
            journal.cursors.register("rules")
            await journal.cursors.save("rules", Position(100))
        async with asyncio.timeout(10):
            committed = [await journal.append(batch(WIDE, seq=seq)) for seq in range(9)]
        assert [c.offset for c in committed] == list(range(1, 10))
    assert roll_failures() == failures + 1
    assert [int(path.stem) for path in segments(tmp_path)] == firsts
    async with Journal(tmp_path, TIGHT if name == "remove" else SMALL, clock) as journal:
        assert [r.offset for r in await journal.read(firsts[0] - 1)] == list(range(firsts[0], 10))


async def test_a_segment_that_fails_to_close_at_the_end_is_whole_at_the_next_start(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    monkeypatch.setattr(SegmentWriter, "close", FailsOnce(SegmentWriter.close, error))
    async with Journal(tmp_path, SMALL, clock) as journal:
        await journal.append(batch())
    async with Journal(tmp_path, SMALL, clock) as journal:
        assert [r.offset for r in await journal.read(0)] == [1]


async def test_a_batch_that_fits_in_no_record_is_refused_and_the_next_is_not(journal: Journal) -> None:
    async with asyncio.timeout(10):
        bad = asyncio.create_task(journal.append(batch(seq=1 << 63)))
        neighbour = asyncio.create_task(journal.append(batch()))
        with pytest.raises(StorageError, match="fits in no record"):
            await bad
        assert (await neighbour).offset == 1
        assert (await journal.append(batch())).offset == 2


async def test_a_closed_journal_refuses(tmp_path: Path, clock: ManualClock) -> None:
    async with Journal(tmp_path, SMALL, clock) as journal:
        pass
    with pytest.raises(StorageError, match="closed"):
        await journal.append(batch())


async def test_whole_segments_go_when_all_registered_cursors_are_past_them(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with Journal(tmp_path, CAPPED, clock) as journal:
        journal.cursors.register("embedded")
        journal.cursors.register("rules")
        await journal.cursors.save("embedded", Position(8))
        await journal.cursors.save("rules", Position(4))
        await journal.cursors.save("of another day", Position(0))
        for seq in range(9):
            await journal.append(batch(WIDE, seq=seq))
    assert [p.stem.lstrip("0") for p in segments(tmp_path)] == ["4", "7"]
    async with Journal(tmp_path, CAPPED, clock) as journal:
        journal.cursors.register("embedded")
        journal.cursors.register("rules")
        assert [r.offset for r in await journal.read(0, max_readings=1)] == [4]
        await journal.cursors.save("rules", Position(8))
        for seq in range(3):
            await journal.append(batch(WIDE, seq=seq))
    assert [p.stem.lstrip("0") for p in segments(tmp_path)] == ["7", "11"]
    async with Journal(tmp_path, CAPPED, clock) as journal:
        assert journal.readings == 12_000


async def test_nothing_goes_while_no_consumer_is_registered(tmp_path: Path, clock: ManualClock) -> None:
    async with Journal(tmp_path, SMALL, clock) as journal:
        for seq in range(12):
            await journal.append(batch(WIDE, seq=seq))
    assert len(segments(tmp_path)) == 4


def contents(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


def change(path: Path, offset: int, data: bytes | None) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        if data is None:
            connection.execute("DELETE FROM record WHERE offset = ?", (offset,))
        else:
            connection.execute("UPDATE record SET data = ? WHERE offset = ?", (data, offset))


async def test_vector_17644_damaged_records_are_passed_over_counted_and_neighbours_read(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with Journal(tmp_path, SMALL, clock) as journal:
        for seq in range(6):
            await journal.append(batch([1.0, 2.0], seq=seq))
    (path,) = segments(tmp_path)
    change(path, 2, b"GBR junk")
    change(path, 4, None)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE record SET data = (SELECT data FROM record WHERE offset = 5) WHERE offset = 3"
        )
    async with Journal(tmp_path, SMALL, clock) as journal:
        for _ in range(2):
            assert [r.offset for r in await journal.read(0)] == [1, 5, 6]
        assert journal.damaged == 3
        assert await journal.readings_through(4) == 8


async def test_a_damaged_end_makes_nobody_spin(tmp_path: Path, clock: ManualClock) -> None:
    async with Journal(tmp_path, SMALL, clock) as journal:
        for _ in range(3):
            await journal.append(batch())
    change(segments(tmp_path)[0], 3, b"")
    async with Journal(tmp_path, SMALL, clock) as journal:
        assert await journal.read(2) == []
        waiting = asyncio.create_task(journal.wait(2))
        await asyncio.sleep(0)  # noqa: TID251  one turn, to see that it waits
        assert not waiting.done()
        assert (await journal.append(batch())).offset == 4
        await waiting
        assert [r.offset for r in await journal.read(2)] == [4]


async def test_telegraf_18528_a_destroyed_segment_loses_only_its_own_records(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with Journal(tmp_path, SMALL, clock) as journal:
        for seq in range(12):
            await journal.append(batch(WIDE, seq=seq))
    oldest, second, *_ = segments(tmp_path)
    oldest.write_bytes(b"x" * 70_000)
    broken = bytearray(second.read_bytes())
    broken[8192:40_000] = b"\xff" * (40_000 - 8192)
    second.write_bytes(broken)
    async with Journal(tmp_path, SMALL, clock) as journal:
        offsets = [r.offset for r in await journal.read(0)]
        assert offsets[-6:] == [7, 8, 9, 10, 11, 12]
        assert journal.damaged >= 4
        assert len(offsets) + journal.damaged == 12


async def test_a_damaged_newest_segment_stops_the_start_with_the_fix_and_no_offset_comes_again(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with Journal(tmp_path, SMALL, clock) as journal:
        await journal.append(batch([1.0, 2.0]))
        await journal.cursors.save("rules", Position(1))
        await journal.cursors.save("embedded", Position(1, 0, Totals(stored=2)))
    (path,) = segments(tmp_path)
    path.write_bytes(b"junk" * 1000)
    with pytest.raises(StorageError, match=r"is damaged: .*run `mkdir -p .*/damaged && mv .*1\.journal\* "):
        await Journal(tmp_path, SMALL, clock).__aenter__()
    path.unlink()
    async with Journal(tmp_path, SMALL, clock) as journal:
        assert (journal.head, journal.readings) == (1, 2)
        assert (await journal.append(batch())).offset == 2
        assert [(r.offset, r.readings_before) for r in await journal.read(1)] == [(2, 2)]
    async with Journal(tmp_path, SMALL, clock) as journal:
        assert (journal.head, journal.readings) == (2, 3)


async def test_a_process_that_died_before_the_first_record_of_a_segment_leaves_no_trace(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with Journal(tmp_path, SMALL, clock) as journal:
        for seq in range(3):
            await journal.append(batch(WIDE, seq=seq))
        await journal.cursors.save("embedded", Position(3))
    SegmentWriter(Segment.at(tmp_path, 4)).close()
    async with Journal(tmp_path, SMALL, clock) as journal:
        assert (await journal.append(batch())).offset == 4
    for path in segments(tmp_path)[1:]:
        path.unlink()
    # the consumer is ahead of what is left, and the segment that was to follow it is empty
    async with Journal(tmp_path, SMALL, clock) as journal:
        await journal.cursors.save("embedded", Position(9))
    os.close(os.open(Segment.at(tmp_path, 10).path, os.O_CREAT))
    async with Journal(tmp_path, SMALL, clock) as journal:
        assert (await journal.append(batch())).offset == 10
        assert [r.offset for r in await journal.read(0)] == [1, 2, 3, 10]
    assert [p.stem.lstrip("0") for p in segments(tmp_path)] == ["1", "10"]


async def test_a_newer_format_is_refused_and_left_untouched(tmp_path: Path, clock: ManualClock) -> None:
    async with Journal(tmp_path, SMALL, clock) as journal:
        await journal.append(batch())
    (path,) = segments(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    before = contents(tmp_path)
    with pytest.raises(StorageError, match="version 2, this program knows up to 1"):
        await Journal(tmp_path, SMALL, clock).__aenter__()
    after = contents(tmp_path)
    assert before[path.name] == after[path.name]
    assert set(before) == set(after)


async def test_cursors_survive_and_never_go_back(tmp_path: Path, clock: ManualClock) -> None:
    position = Position(5, 2, Totals(1, 2, 3, 4, 5, 6))
    async with Journal(tmp_path, SMALL, clock) as journal:
        assert await journal.cursors.load("influx") == Position()
        assert await journal.cursors.load_marks("influx") == b""
        await journal.cursors.save("influx", position, b"marks")
        await journal.cursors.save("influx", position)
    async with Journal(tmp_path, SMALL, clock) as journal:
        assert await journal.cursors.load("influx") == position
        assert await journal.cursors.load_marks("influx") == b"marks"
        with pytest.raises(StorageError, match="behind"):
            await journal.cursors.save("influx", Position(4, 2))
