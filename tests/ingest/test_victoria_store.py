"""The VictoriaMetrics store: a 204 is not durable, and nothing is lost for that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from ingest.config import VictoriaSettings
from ingest.fakes import FakeCursors, FakeJournal, FakeLetters
from ingest.ports import EventRecord, Position, Totals
from ingest.retry import RetryLaterError
from ingest.stores.victoria.holdback import HoldBack
from ingest.stores.victoria.store import VictoriaStore
from telemetry.clock import ManualClock
from telemetry.registry import PointRegistry
from telemetry.site import Site
from tests.ingest.batches import T0, batch
from tests.support.victoria import Victoria

METRIC = "meter_TotW"
SECOND = 1_000_000_000


def test_a_position_is_released_once_and_only_after_its_time() -> None:
    held = HoldBack(60)
    for second in range(5):
        held.reached(float(second), Position(second + 1), bytes([second]))
    assert held.ripe(59.9) is None
    assert held.ripe(62.0) == (Position(3), b"\x02")
    assert held.ripe(62.0) is None
    held.clear()
    assert held.ripe(1000.0) is None


@dataclass
class Bench:
    store: VictoriaStore
    journal: FakeJournal
    cursors: FakeCursors
    letters: FakeLetters
    clock: ManualClock

    def append(self, seconds: range) -> None:
        for second in seconds:
            self.journal.append(batch([float(second)], at=second * SECOND))

    async def carry(self) -> int:
        """Does what the pump does until the store is at the head; returns how often the store went back."""
        back = 0
        position = await self.store.position()
        while position.offset < self.journal.head:
            try:
                reached = await self.store.apply(await self.journal.read(position.offset))
            except RetryLaterError:
                reached = await self.store.position()
            back += reached.offset < position.offset
            position = reached
        return back


@pytest.fixture
def its_site(site: Site) -> Site:
    return site


@pytest.fixture
async def bench(victoria: Victoria, its_site: Site, registry: PointRegistry) -> AsyncIterator[Bench]:
    clock, cursors, letters = ManualClock(), FakeCursors(), FakeLetters()
    settings = VictoriaSettings(url=victoria.url)
    async with VictoriaStore(
        settings, its_site, registry, cursors=cursors, letters=letters, clock=clock
    ) as store:
        yield Bench(store, FakeJournal(clock), cursors, letters, clock)


def expected(seconds: int) -> dict[int, float]:
    return {T0 // 1_000_000 + second * 1000: float(second) for second in range(seconds)}


@pytest.mark.system("victoria-metrics")
async def test_readings_arrive_and_the_durable_position_trails(bench: Bench, victoria: Victoria) -> None:
    bench.append(range(20))
    assert await bench.carry() == 0
    assert victoria.samples(METRIC) == expected(20)
    assert await bench.store.position() == Position(20, 0, Totals(stored=20))
    assert bench.cursors.positions == {}
    await bench.clock.advance(61)
    bench.append(range(20, 21))
    await bench.carry()
    assert bench.cursors.positions["victoria"] == Position(20, 0, Totals(stored=20))
    assert not bench.letters.letters


@pytest.mark.system("victoria-metrics")
async def test_what_a_killed_server_had_only_in_memory_is_written_again(
    bench: Bench, victoria: Victoria
) -> None:
    bench.append(range(50))
    await bench.carry()
    victoria.kill()
    bench.append(range(50, 60))
    with pytest.raises(RetryLaterError):
        await bench.store.apply(await bench.journal.read(50))
    assert await bench.store.position() == Position()
    victoria.start()
    assert len(victoria.samples(METRIC)) < 50, "the kill lost nothing: the run proves nothing"
    assert await bench.carry() == 0
    assert victoria.samples(METRIC) == expected(60)
    assert (await bench.store.position()).totals == Totals(stored=60)


@pytest.mark.system("victoria-metrics")
async def test_a_restart_between_two_writes_does_not_go_unnoticed(bench: Bench, victoria: Victoria) -> None:
    bench.append(range(30))
    await bench.carry()
    victoria.kill()
    victoria.start()
    await bench.clock.advance(61)
    bench.append(range(30, 40))
    assert await bench.carry() == 1
    assert victoria.samples(METRIC) == expected(40)
    await bench.clock.advance(61)
    bench.append(range(40, 41))
    assert await bench.carry() == 0
    assert bench.cursors.positions["victoria"].offset == 40


@pytest.mark.system("victoria-metrics")
async def test_events_are_passed_over(bench: Bench, victoria: Victoria) -> None:
    event = EventRecord("alarm", "a", T0, {}, {"text": "high"})
    assert (await bench.store.apply_events([(3, event)])).event == 3
    assert victoria.samples("alarm_event_t") == {}


class TestDeadband:
    @pytest.fixture
    def its_site(self, thin_site: Site) -> Site:
        return thin_site

    @pytest.mark.system("victoria-metrics")
    async def test_after_a_restart_the_same_readings_are_left_out(
        self, bench: Bench, victoria: Victoria
    ) -> None:
        def append(*values: float) -> None:
            for value in values:
                bench.journal.append(batch([value], at=bench.journal.head * SECOND))

        append(1.0, 1.4)
        await bench.carry()
        await bench.clock.advance(61)
        append(1.3, 1.8, 1.9)
        await bench.carry()
        assert bench.cursors.positions["victoria"].offset == 2
        victoria.kill()
        victoria.start()
        await bench.clock.advance(61)
        append(1.5)
        assert await bench.carry() == 1
        found = set(victoria.samples(METRIC).values())
        assert 1.8 in found
        assert found <= {1.0, 1.8}, "the first may have been lost with the server's memory"
        assert (await bench.store.position()).totals == Totals(stored=2, suppressed=4)
