"""A journal without room: it takes nothing, says so, stays readable and goes on by itself."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from ingest.config import JournalSettings
from ingest.conservation import conservation
from ingest.databases import recovery
from ingest.fakes import FakeStore
from ingest.journal.cursors import CURSORS
from ingest.journal.journal import Journal
from ingest.journal.segments import SEGMENT, SegmentWriter
from ingest.journal.space import RESERVE, DiskSpace
from ingest.ports import Gap, OnFull, Position, Totals
from telemetry.clock import ManualClock
from telemetry.errors import StorageError
from tests.ingest.batches import batch
from tests.support.disk import fill, small_disk

MB = 1 << 20
WIDE = [float(i) for i in range(1000)]
CAPPED = JournalSettings(segment_bytes=1 << 16, max_bytes=150_000, min_free_bytes=0, reserve_bytes=0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 8) as path:
        yield path


async def trouble_of(journal: Journal) -> str:
    """State of the trouble as soon as there is one; the writer's thread tells the loop of it."""
    async with asyncio.timeout(60):
        trouble = await journal.wait_trouble(None)
    return trouble.state if trouble else ""


async def fill_up(journal: Journal) -> int:
    """Appends until the journal refuses; returns the number of records taken."""
    for seq in range(1000):
        try:
            await journal.append(batch(WIDE, seq=seq))
        except StorageError:
            break
    return journal.head


def size_of(directory: Path) -> int:
    size = 0
    for path in directory.glob("*.journal"):
        with suppress(FileNotFoundError):  # the writer deletes it meanwhile
            size += path.stat().st_size
    return size


async def test_at_its_size_cap_it_waits_for_the_consumer_that_needs_it(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with Journal(tmp_path, CAPPED, clock) as journal:
        journal.cursors.register("rules", OnFull.STOP)
        taken = await fill_up(journal)
        assert await trouble_of(journal) == "size_cap"
        assert journal.trouble is not None
        assert "rules still needs it from record 1 on" in journal.trouble.detail
        assert size_of(tmp_path) < 400_000
        assert len(await journal.read(0, 1 << 30)) == taken
        await journal.cursors.save("rules", Position(taken))
        assert (await journal.append(batch())).offset == taken + 1
        assert journal.trouble is None


async def test_thingsboard_1483_what_a_dead_store_has_not_read_is_bounded_and_holds_nobody_up(
    tmp_path: Path, clock: ManualClock
) -> None:
    slow, fast = FakeStore("influx"), FakeStore("embedded")
    async with Journal(tmp_path, CAPPED, clock) as journal:
        journal.cursors.register("influx", OnFull.DETACH)
        journal.cursors.register("embedded", OnFull.STOP)
        await journal.append(batch(WIDE))
        await journal.cursors.save("influx", await slow.apply(await journal.read(0)))
        for seq in range(1, 30):
            offset = (await journal.append(batch(WIDE, seq=seq))).offset
            position = await fast.apply(await journal.read(offset - 1))
            await journal.cursors.save("embedded", position)
            assert size_of(tmp_path) < 400_000
    async with Journal(tmp_path, CAPPED, clock) as journal:
        (gap,) = journal.cursors.gaps("influx")
        assert journal.first > 10
        assert gap == Gap(2, journal.first - 1, (journal.first - 2) * 1000)
        report = await conservation(journal, slow)
        assert report.holds
        assert report.detached == gap.readings
        assert report.totals.accounted == 1000
        assert (await conservation(journal, fast)).holds
        position = await slow.apply(await journal.read(1))
        assert position.totals.missed == gap.readings
        assert (await conservation(journal, slow)).holds
        await journal.cursors.save_refill("influx", gap, 7)
    async with Journal(tmp_path, CAPPED, clock) as journal:
        (refilled,) = journal.cursors.gaps("influx")
        assert (refilled.refilled, refilled.open) == (7, True)


async def test_a_second_outage_is_a_gap_of_its_own(tmp_path: Path, clock: ManualClock) -> None:
    async with Journal(tmp_path, CAPPED, clock) as journal:
        journal.cursors.register("influx", OnFull.DETACH)
        journal.cursors.register("embedded", OnFull.STOP)
        for seq in range(40):
            head = (await journal.append(batch(WIDE, seq=seq))).offset
            await journal.cursors.save("embedded", Position(head))
            if seq == 19:
                before = Position(head, 0, Totals(stored=0, missed=head * 1000))
                await journal.cursors.save("influx", before)
    async with Journal(tmp_path, CAPPED, clock) as journal:
        first, second = journal.cursors.gaps("influx")
        assert first.first == 1
        assert (second.first, second.last) == (21, journal.first - 1)
        assert second.readings == (second.last - 20) * 1000


async def test_nothing_is_detached_that_the_other_store_lacks(tmp_path: Path, clock: ManualClock) -> None:
    async with Journal(tmp_path, CAPPED, clock) as journal:
        journal.cursors.register("influx", OnFull.DETACH)
        journal.cursors.register("embedded", OnFull.STOP)
        await fill_up(journal)
        assert journal.first == 1
        assert not journal.cursors.gaps("influx")


@pytest.mark.parametrize("floor", [2 * MB, 0])
async def test_a_full_disk_stops_the_commits_and_they_go_on_by_themselves(
    disk: Path, clock: ManualClock, floor: int
) -> None:
    settings = JournalSettings(segment_bytes=MB, min_free_bytes=floor, reserve_bytes=0)
    async with Journal(disk / "journal", settings, clock) as journal:
        taken = await fill_up(journal)
        assert await trouble_of(journal) == "disk_full"
        assert DiskSpace(disk, settings).free() >= floor
        assert taken > 50
        for after in (0, taken - 1):
            assert (await journal.read(after))[0].offset == after + 1
        assert journal.head == taken
        with pytest.raises(StorageError):
            await journal.append(batch(WIDE))
        # consumers catch up: closed segments go, and that alone makes room
        journal.cursors.register("rules")
        try:
            await journal.cursors.save("rules", Position(taken))
        except StorageError:
            assert floor == 0, "above the floor there is room for a cursor"
        else:
            assert (await journal.append(batch())).offset == taken + 1
            assert journal.trouble is None
    async with Journal(disk / "journal", settings.model_copy(update={"min_free_bytes": 0}), clock) as journal:
        assert journal.head >= taken
        assert [r.offset for r in await journal.read(journal.head - 1)] == [journal.head]


async def test_when_others_fill_the_disk_the_reserve_is_what_cursors_are_written_with(
    disk: Path, clock: ManualClock
) -> None:
    settings = JournalSettings(segment_bytes=MB, min_free_bytes=2 * MB, reserve_bytes=MB)
    async with Journal(disk / "journal", settings, clock) as journal:
        journal.cursors.register("rules")
        await journal.append(batch())
        assert (disk / "journal" / RESERVE).stat().st_size == MB
        ballast = fill(disk)
        with pytest.raises(StorageError, match="free space on it, and readings are taken again at once"):
            await journal.append(batch())
        assert await trouble_of(journal) == "disk_full"
        assert not (disk / "journal" / RESERVE).exists()
        await journal.cursors.save("rules", Position(1))
        ballast.unlink()
        trouble = journal.trouble
        async with asyncio.timeout(60):  # nobody appends: the writer must look for itself
            while trouble is not None:
                trouble = await journal.wait_trouble(trouble)
        assert (disk / "journal" / RESERVE).stat().st_size == MB
        assert (await journal.append(batch())).offset == 2


async def test_a_full_disk_at_the_start_opens_and_reads(disk: Path, clock: ManualClock) -> None:
    settings = JournalSettings(segment_bytes=MB, min_free_bytes=MB, reserve_bytes=MB)
    async with Journal(disk / "journal", settings, clock) as journal:
        await journal.append(batch())
    ballast = fill(disk)
    async with Journal(disk / "journal", settings, clock) as journal:
        assert [r.offset for r in await journal.read(0)] == [1]
        with pytest.raises(StorageError):
            await journal.append(batch())
        ballast.unlink()
        assert (await journal.append(batch())).offset == 2


async def test_no_error_of_sqlite_or_the_system_escapes_from_opening(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StorageError, match="cannot be used"):
        await Journal(file / "journal", CAPPED, clock).__aenter__()

    def fails(_: SegmentWriter) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with Journal(tmp_path / "j", CAPPED, clock) as journal:
        await journal.append(batch())
        await journal.cursors.save("rules", Position(9))
    monkeypatch.setattr(SegmentWriter, "end", fails)
    with pytest.raises(StorageError, match="disk I/O error; check the disk"):
        await Journal(tmp_path / "j", CAPPED, clock).__aenter__()


@pytest.mark.parametrize("name", ["00000000000000000002.journal", "cursors.sqlite"])
async def test_a_file_whose_creation_a_power_cut_undid_is_made_again(
    tmp_path: Path, clock: ManualClock, name: str
) -> None:
    """The header says what it is, SQLite's journal beside it takes everything back at the first look."""
    async with Journal(tmp_path / "whole", CAPPED, clock) as journal:
        await journal.append(batch())
    (tmp_path / "cut").mkdir()
    if name.endswith(".journal"):
        shutil.copytree(tmp_path / "whole", tmp_path / "cut", dirs_exist_ok=True)
    kind = SEGMENT if name.endswith(".journal") else CURSORS
    half = tmp_path / "cut" / name
    with closing(sqlite3.connect(half, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE gone (x)")
        connection.execute("DROP TABLE gone")
        connection.execute(f"PRAGMA application_id = {kind.application_id}")
        connection.execute(f"PRAGMA user_version = {kind.version}")
    async with Journal(tmp_path / "cut", CAPPED, clock) as journal:
        expected = journal.head + 1
        assert (await journal.append(batch())).offset == expected
        assert expected == (2 if kind is SEGMENT else 1)


async def test_the_recovery_command_of_a_damaged_file_gets_the_journal_running(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "cursors.sqlite"
    path.write_bytes(b"junk" * 1000)
    with pytest.raises(StorageError, match="is damaged") as refused:
        await Journal(tmp_path, CAPPED, clock).__aenter__()
    command = recovery(path, CURSORS).split("`")[1]
    assert command in str(refused.value)
    process = await asyncio.create_subprocess_shell(command)
    assert await process.wait() == 0
    async with Journal(tmp_path, CAPPED, clock) as journal:
        assert (await journal.append(batch())).offset == 1
    assert (tmp_path / "damaged" / "cursors.sqlite").exists()


async def test_a_cursor_file_of_an_older_format_is_left_untouched(tmp_path: Path, clock: ManualClock) -> None:
    async with Journal(tmp_path, CAPPED, clock) as journal:
        await journal.cursors.save("rules", Position(3))
    with sqlite3.connect(tmp_path / "cursors.sqlite") as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    before = (tmp_path / "cursors.sqlite").read_bytes()
    with pytest.raises(StorageError, match=r"has format version 1, .* left untouched: .* mv "):
        await Journal(tmp_path, CAPPED, clock).__aenter__()
    assert (tmp_path / "cursors.sqlite").read_bytes() == before
