"""The verification finds what is missing, late, doubled, lost and altered, and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from ingest.config import DeadLetterSettings, EmbeddedSettings, JournalSettings
from ingest.deadletters import DeadLetters
from ingest.journal.journal import Journal
from ingest.ports import DeadLetter
from ingest.stages.deadband import Deadbands
from ingest.stores.embedded.store import EmbeddedStore
from ingest.verification import SECOND, Expectation, Tally, Verification, Window, verify
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from telemetry.quality import Quality
from tests.ingest.batches import T0

START = T0 // (60 * SECOND) * 60 * SECOND
EXPECTED = {0: Expectation(1.0, 5.0), 1: Expectation(None, 5.0), 7: Expectation(10.0, 30.0)}
WINDOW = Window(START, START + 120 * SECOND, 60 * SECOND)
NAN = float("nan")


def reading(point: int, second: float, value: float, *, delay: float = 0.1, quality: int = 0) -> ReadingBatch:
    t = START + round(second * SECOND)
    return ReadingBatch.of(
        "s", 1, 1, t + round(delay * SECOND), point=[point], t_source=[t], value=[value], quality=[quality]
    )


async def a_state(state: Path, clock: ManualClock) -> None:
    """Two minutes of readings with everything that can happen to them."""
    bad = int(Quality.OUT_OF_RANGE)
    batches = [reading(0, s, float(s)) for s in range(120) if s not in {10, 11, 70}]
    batches += [reading(0, 20, 20.0), reading(0, 20, 20.0)]  # repetitions
    batches += [reading(0, 21, 1234.0)]  # a revision
    batches += [reading(0, 10, 10.0, delay=600)]  # late
    batches += [reading(1, 5, NAN, quality=bad), reading(1, 5, NAN, quality=bad)]
    batches += [reading(3, 5, 1.0), reading(0, 500, 1.0)]  # not asked for
    async with Journal(state / "journal", JournalSettings(), clock) as journal:
        await asyncio.gather(*map(journal.append, batches))
        async with EmbeddedStore(state / "store.duckdb", EmbeddedSettings()) as store:
            await store.apply(await journal.read(0, 1 << 30))
        await journal.append(reading(7, 1, 7.0))
    letter = DeadLetter(START + 61 * SECOND, "mqtt/main", "t", "not_json", "d", b"", 0)
    async with DeadLetters(state / "deadletters.sqlite", DeadLetterSettings()) as letters:
        await letters.add([letter, letter])


@pytest.fixture
async def state(tmp_path: Path, clock: ManualClock) -> Path:
    await a_state(tmp_path, clock)
    return tmp_path


def tally(report: Verification, point: int, slot: int = 0) -> Tally:
    (found,) = [t for t in report.tallies if (t.point, t.start) == (point, START + slot * 60 * SECOND)]
    return found


def test_every_term_is_counted_for_its_point_and_interval(state: Path) -> None:
    report = verify(state, EXPECTED, WINDOW, 0)
    assert report.holds
    assert report.store == ""
    first, second = tally(report, 0), tally(report, 0, 1)
    assert first == Tally(0, START, 60, 62, keys=59, late=1, duplicates=2, revised=1)
    assert first.missing == 1
    assert (second.received, second.missing) == (59, 1)
    assert tally(report, 1) == Tally(1, START, None, 2, keys=1, duplicates=1, bad=1)
    assert (tally(report, 7).expected, tally(report, 7).pending, tally(report, 7).missing) == (6, 1, 5)
    assert [(x.reason, x.start, x.count) for x in report.letters] == [("not_json", START + 60 * SECOND, 2)]
    assert report.totals["missing"] == 1 + 1 + 5 + 6


def test_without_a_window_it_is_what_the_journal_holds(state: Path, clock: ManualClock) -> None:
    report = verify(state, EXPECTED, None, 60 * SECOND)
    assert report.window.start <= clock.now_ns() < report.window.end
    assert report.totals["expected"] == 0, "everything was committed in one moment"
    assert (report.first, report.head) == (1, report.applied + 1)


@pytest.mark.parametrize(
    ("damage", "field", "count"),
    [
        ("DELETE FROM hot WHERE point = 0 AND t_source % 60000000000 = 3000000000", "lost", 2),
        ("UPDATE hot SET value = 0 WHERE value = 1234", "differing", 1),
        ("UPDATE hot SET quality = 0 WHERE point = 1", "differing", 1),
        (
            "INSERT INTO hot SELECT point, t_source + 5, 1, 0, 3 FROM hot WHERE value = 1234",
            "spurious",
            1,
        ),
        ("INSERT INTO hot SELECT * FROM hot WHERE value = 1234", "duplicate_keys", 1),
    ],
)
def test_what_is_wrong_in_the_store_is_found(state: Path, damage: str, field: str, count: int) -> None:
    with closing(duckdb.connect(str(state / "store.duckdb"))) as db:
        db.execute(damage)
    report = verify(state, EXPECTED, WINDOW, 0)
    assert not report.holds
    assert report.totals.get(field, getattr(report, field, None)) == count
    others = {"lost", "differing"} - {field}
    assert not any(report.totals[other] for other in others)


BANDED = {0: Expectation(1.0, 5.0, (0.5, 10.0)), 1: Expectation(1.0, 5.0, (0.0, 30.0))}


async def thinned_state(state: Path, clock: ManualClock) -> None:
    """A minute of two points with deadbands; of point 0 one reading late and beyond its band, one revised."""
    batches = [reading(0, s, 1.0 + 0.1 * (s % 7)) for s in range(60) if s != 33]
    batches += [reading(1, s, NAN, quality=int(Quality.LINK_LOST)) for s in range(60)]
    batches += [reading(0, 33, 9.0, delay=30), reading(0, 20, 5.0), reading(0, 21, 1.0, delay=60)]
    deadbands = Deadbands({0: (0.5, 10 * SECOND), 1: (0.0, 30 * SECOND)})
    async with Journal(state / "journal", JournalSettings(), clock) as journal:
        await asyncio.gather(*map(journal.append, batches))
        async with EmbeddedStore(state / "store.duckdb", EmbeddedSettings(), deadbands) as store:
            await store.apply(await journal.read(0, 1 << 30))


async def test_what_a_deadband_leaves_out_is_told_from_what_is_lost(
    tmp_path: Path, clock: ManualClock
) -> None:
    await thinned_state(tmp_path, clock)
    report = verify(tmp_path, BANDED, WINDOW, 0)
    assert report.holds
    assert (report.totals["lost"], report.totals["keys"]) == (0, 120)
    assert report.left_out >= report.totals["suppressed"] > 90
    assert tally(report, 1).suppressed == 58
    with closing(duckdb.connect(str(tmp_path / "store.duckdb"))) as db:
        db.execute("DELETE FROM hot WHERE point = 1 AND t_source = ?", [START + 30 * SECOND])
        db.execute("DELETE FROM hot WHERE point = 0 AND t_source = ?", [START + 33 * SECOND])
    again = verify(tmp_path, BANDED, WINDOW, 0)
    assert not again.holds
    assert tally(again, 1).lost == 30, "from the end of the silence on nothing says what they said"
    assert tally(again, 0).lost == 1
    without = verify(tmp_path, EXPECTED | {1: Expectation(1.0, 5.0)}, WINDOW, 0)
    assert without.totals["lost"] == again.totals["lost"] + again.totals["suppressed"]


async def test_a_store_in_use_is_not_compared_and_said_so(state: Path) -> None:
    (state / "store.duckdb").rename(state / "elsewhere")
    report = verify(state, EXPECTED, WINDOW, 0)
    assert report.store.endswith("does not exist")
    assert report.totals["lost"] == report.totals["pending"] == 0
    assert tally(report, 0).received == 62


async def test_an_empty_state_is_no_error(tmp_path: Path, clock: ManualClock) -> None:
    async with Journal(tmp_path / "journal", JournalSettings(), clock):
        pass
    report = verify(tmp_path, EXPECTED, None, 60 * SECOND)
    assert (report.head, len(report.tallies), report.holds) == (0, 0, True)
