"""The ledger at work: intervals close, late data and schedules revise them, and a crash changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from alerts.ledger_config import SettlementSettings
from alerts.schedules import Party, Piece, ScheduleBook, Version
from alerts.settlement.interval import MINUTE, EnergyQuality, Interval
from alerts.settlement_journal import Settled, SettlementJournal
from alerts.settling import CONSUMER, Settlement
from ingest.fakes import FakeCursors, FakeJournal, FakeStore
from ingest.ports import EventRecord
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock, settle
from telemetry.errors import StorageError
from tests.alerts.settlement_site import SECOND, T0, ends, flows, meters, points, settled_site

STEP_S = 20
SETTINGS = SettlementSettings(close_after_s=60, every_s=20)


class KilledError(Exception):
    """The process would be gone."""


class MortalJournal(SettlementJournal):
    """Dies at its n-th write, before or after that took effect."""

    def __init__(self, path: Path, after: int = 10**9, *, done: bool = True) -> None:
        super().__init__(path)
        self.left = after
        self._done = done

    async def settle(self, intervals: Sequence[Interval], settled: Settled) -> Sequence[Interval]:
        if not self._mortal():
            return await super().settle(intervals, settled)
        if self._done:
            await super().settle(intervals, settled)
        raise KilledError

    async def tell(self, seq: int) -> None:
        if not self._mortal():
            await super().tell(seq)
            return
        if self._done:
            await super().tell(seq)
        raise KilledError

    def _mortal(self) -> bool:
        self.left -= 1
        return self.left == 0


class Desk:
    """A settlement on a manual clock; meters send every twenty seconds."""

    def __init__(self, path: Path) -> None:
        self.site = settled_site()
        self.clock = ManualClock(T0 - 60 * SECOND)
        self.reader = FakeJournal(self.clock)
        self.store = FakeStore()
        self.cursors = FakeCursors()
        self.path = path
        self.told: dict[str, EventRecord] = {}
        self.flows = flows(self.site)
        self.silent: set[str] = set()
        self.kept: list[tuple[int, list[int], list[float]]] = []
        """What silent ties would have sent."""
        self.refuse = False
        self.applied = 0

    async def tell(self, records: Sequence[EventRecord]) -> None:
        if self.refuse:
            raise StorageError("disk full")
        self.told |= {record.key: record for record in records}

    async def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.send()
            await self.clock.advance(STEP_S)
            await self.io()

    def send(self) -> None:
        now = self.clock.now_ns()
        found: list[int] = []
        values: list[float] = []
        for tie, node in ends(self.site):
            mine = list(points(self.site, tie, node))
            read = list(meters(self.flows[tie, node], (now - T0) / SECOND + 3600))
            if tie in self.silent:
                self.kept.append((now, mine, read))
            else:
                found, values = found + mine, values + read
        self.append(found, values, now)

    def append(self, found: list[int], values: list[float], t: int) -> None:
        n, now = len(found), self.clock.now_ns()
        self.reader.append(
            ReadingBatch.of("s", 1, 1, now, point=found, t_source=[t] * n, value=values, quality=[0] * n)
        )

    def send_kept(self) -> None:
        """The silent ties deliver what they have gathered."""
        for t, found, values in self.kept:
            self.append(found, values, t)
        self.kept.clear()

    async def keep_up(self) -> None:
        records = await self.reader.read(self.applied, 10**9)
        if records:
            self.applied = (await self.store.apply(records)).offset

    async def io(self) -> None:
        for _ in range(12):
            await self.journal.settled()
            await settle()

    @asynccontextmanager
    async def settling(self, after: int = 10**9, *, done: bool = True) -> AsyncIterator[Settlement]:
        await self.keep_up()
        async with MortalJournal(self.path, after, done=done) as self.journal:
            self.book = ScheduleBook(self.site.grid, await self.journal.versions())
            self.settlement = Settlement(
                self.site,
                SETTINGS,
                reader=self.reader,
                journal=self.journal,
                schedules=self.book,
                clock=self.clock,
                history=self.store,
                tell=self.tell,
                cursors=self.cursors,
            )
            self.task = asyncio.create_task(self.settlement.run())
            await self.io()
            try:
                yield self.settlement
            finally:
                self.task.cancel()
                await asyncio.wait([self.task])
                if not self.task.cancelled() and not isinstance(self.task.exception(), KilledError):
                    self.task.result()

    async def intervals(self, account: str = "", minutes: int = 15) -> list[Interval]:
        found = await self.journal.intervals(0, 2**62, account=account, minutes=minutes)
        return sorted(found, key=lambda i: (i.start, i.account, i.revision))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "settlement.sqlite")


async def test_an_interval_closes_and_everybody_is_told(desk: Desk) -> None:
    async with desk.settling() as settlement:
        await desk.run(60 + 900 + 50)
        assert not [i for i in await desk.intervals() if i.start == T0], "not before its time"
        await desk.run(40)
        (closed,) = [i for i in await desk.intervals("AKT-ALT") if i.start == T0]
        assert closed.metered_mwh == pytest.approx(200)
        assert (closed.quality, closed.completeness_pct) == (EnergyQuality.COUNTER, 100)
        assert (closed.revision, closed.reason) == (0, "closed")
        record = desk.told[f"AKT-ALT-15-{T0}-0"]
        assert record.t == T0
        assert record.tags == {"account": "AKT-ALT", "kind": "tie", "area": "KZ", "minutes": "15"}
        assert record.fields["metered_mwh"] == pytest.approx(200)
        open_ = {(r.account, r.minutes): r for r in settlement.open}
        assert open_["AKT-ALT", 60].metered_mwh == pytest.approx(800 / 3600 * (60 * 17 - 30), abs=25)
        assert settlement.latest["UZ-AZ"].wheeled_mwh == pytest.approx(75)
        # the quarter in which it was started is closed too, as far as it is known
        assert {i.quality for i in await desk.intervals("AKT-ALT") if i.start < T0} == {
            EnergyQuality.INCOMPLETE
        }
        assert desk.cursors.positions[CONSUMER].offset > 0


async def test_late_data_make_a_revision_and_the_old_one_stays(desk: Desk) -> None:
    async with desk.settling():
        await desk.run(60)
        desk.silent = {"SHY-TAS"}
        await desk.run(900 + 90)
        (first,) = [i for i in await desk.intervals("SHY-TAS") if i.start == T0]
        assert (first.quality, first.metered_mwh) == (EnergyQuality.MISSING, None)
        desk.silent = set()
        await desk.run(60)
        bridged = [i for i in await desk.intervals("SHY-TAS") if i.start == T0][-1]
        assert (bridged.revision, bridged.quality) == (1, EnergyQuality.BRIDGED)
        assert bridged.metered_mwh == pytest.approx(80.75), "the counter knows, though not when"
        desk.send_kept()
        await desk.run(60)
        found = [i for i in await desk.intervals("SHY-TAS") if i.start == T0]
        assert [i.revision for i in found] == [0, 1, 2]
        assert found[0] == first
        assert (found[2].quality, found[2].reason) == (EnergyQuality.COUNTER, "late data")
        assert found[2].metered_mwh == pytest.approx(80.75)
        assert f"SHY-TAS-15-{T0}-2" in desk.told
        assert not [i for i in await desk.intervals("AKT-ALT") if i.revision], "the others are as they were"
        again = len(await desk.intervals())
        await desk.run(120)
        assert len(await desk.intervals()) == again, "nothing new, no revision"


async def test_data_of_long_ago_are_settled_with_what_the_store_holds(desk: Desk) -> None:
    async with desk.settling():
        await desk.run(60)
        desk.silent = {"SHY-TAS"}
        await desk.run(900)
        desk.silent = set()
        await desk.run(120)
        before = [i for i in await desk.intervals("SHY-TAS") if i.start == T0][-1]
        assert before.quality is EnergyQuality.BRIDGED
        await desk.keep_up()
        await desk.clock.advance(5 * 3600)
        await desk.run(60)
        # the store is slow: what comes late now is not in it yet
        kept, desk.kept = desk.kept[len(desk.kept) // 2 :], desk.kept[: len(desk.kept) // 2]
        desk.send_kept()
        await desk.run(60)
        desk.kept = kept
        desk.send_kept()
        await desk.run(60)
        after = [i for i in await desk.intervals("SHY-TAS") if i.start == T0][-1]
        assert (after.quality, after.completeness_pct) == (EnergyQuality.COUNTER, 100)
        assert after.revision == before.revision + 2


async def test_another_schedule_settles_closed_intervals_again(desk: Desk) -> None:
    async with desk.settling() as settlement:
        await desk.run(60 + 1800 + 90)
        piece = Piece(T0 + 15 * MINUTE, T0 + 120 * MINUTE, 700.0)
        (version,) = await desk.journal.take([Version(0, "AKT-ALT", Party.OWN, "a", "b", T0, (piece,))])
        desk.book.add(version)
        settlement.reschedule(version)
        await desk.run(30)
        second = [i for i in await desk.intervals("AKT-ALT") if i.start == piece.start]
        assert [i.scheduled_mwh for i in second] == [200, pytest.approx(175 + 5 / 60 * 25, abs=1e-6)]
        assert (second[1].reason, second[1].version) == ("schedule version 1", 1)
        ramped = [i for i in await desk.intervals("AKT-ALT") if i.start == T0]
        assert ramped[-1].revision == 1, "the ramp begins five minutes before"
    # a version that came while nothing ran is taken into account at the start
    async with SettlementJournal(desk.path) as journal:
        await journal.take([Version(0, "MGC-SAM", Party.OWN, "a", "b", T0, (Piece(T0, piece.end, -600.0),))])
    async with desk.settling():
        await desk.run(60)
        found = [i for i in await desk.intervals("MGC-SAM") if i.start == piece.start]
        assert [(i.revision, i.version) for i in found] == [(0, 0), (1, 2)]


async def test_a_standstill_leaves_gaps_that_are_seen(desk: Desk) -> None:
    async with desk.settling():
        await desk.run(60 + 300)
    await desk.clock.advance(3 * 3600)
    async with desk.settling():
        await desk.run(180)
        found = await desk.intervals("AKT-ALT")
        assert [i.start for i in found] == [T0 + n * 15 * MINUTE for n in range(-1, 12)]
        assert [i.quality for i in found][2:] == [EnergyQuality.MISSING] * 10 + [EnergyQuality.MISSING]


async def test_what_cannot_be_told_is_told_later(desk: Desk) -> None:
    desk.refuse = True
    async with desk.settling():
        await desk.run(60 + 900 + 120)
        assert not desk.told
        assert len(await desk.intervals()) > 0
        desk.refuse = False
        await desk.run(60)
        assert f"AKT-ALT-15-{T0}-0" in desk.told


async def story(
    desk: Desk, kills: Sequence[tuple[int, bool]]
) -> tuple[list[Interval], dict[str, EventRecord]]:
    """Three quarters of an hour with a silent tie whose readings come late, through some deaths."""
    pending = list(kills)
    plan = [(60 + 600, False), (600, True), (900, False), (300, None), (600, False)]
    for seconds, silent in plan:
        if silent is None:
            desk.send_kept()
        else:
            desk.silent = {"SHY-TAS"} if silent else set()
        left = seconds / STEP_S
        while left > 0:
            after, done = pending.pop(0) if pending else (10**9, True)
            async with desk.settling(after, done=done):
                while left > 0 and not desk.task.done():
                    await desk.run(STEP_S)
                    left -= 1
    async with desk.settling():
        await desk.run(60)
        return await desk.intervals() + await desk.intervals(minutes=60), desk.told


async def test_deaths_lose_and_double_nothing(tmp_path: Path) -> None:
    calm, told_calm = await story(Desk(tmp_path / "calm.sqlite"), [])
    for i, done in enumerate((False, True)):
        kills = [(n, done) for n in (1, 2, 3, 5, 1, 4)]
        found, told = await story(Desk(tmp_path / f"killed-{i}.sqlite"), kills)
        compare(calm, found, told_calm, told)


def compare(
    calm: list[Interval],
    found: list[Interval],
    told_calm: dict[str, EventRecord],
    told: dict[str, EventRecord],
) -> None:
    """The killed runs end as the calm one did; each revision was told once, and none is missing."""

    def ends_of(intervals: list[Interval]) -> dict[tuple[str, int, int], tuple[object, ...]]:
        """What the newest revision of each interval says."""
        return {
            (i.account, i.minutes, i.start): (i.scheduled_mwh, i.metered_mwh, i.inadvertent_mwh, i.quality)
            for i in intervals
            if i.start >= T0
        }

    assert ends_of(found) == ends_of(calm)
    for interval in found:
        assert f"{interval.account}-{interval.minutes}-{interval.start}-{interval.revision}" in told
    assert len(told) == len(found), "nothing that is not in the ledger"
    assert {k for k in told_calm if k.endswith("-0")} == {k for k in told if k.endswith("-0")}
    numbers: dict[tuple[str, int, int], list[int]] = {}
    for i in found:
        numbers.setdefault((i.account, i.minutes, i.start), []).append(i.revision)
    assert all(revisions == list(range(len(revisions))) for revisions in numbers.values())
