from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapters.link import LinkState
from greenbridge.live import LiveValues
from greenbridge.settings import load
from greenbridge.status import SystemStatus, WatchedStore
from ingest.config import DeadLetterSettings, EmbeddedSettings, JournalSettings
from ingest.deadletters import DeadLetters
from ingest.intake import JournalIntake
from ingest.journal.journal import Journal
from ingest.live import LiveTable
from ingest.pump import StorePump
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from telemetry.quality import Quality
from telemetry.registry import PointRegistry
from telemetry.site import Site

DEVICE = "SHY-TAS_SHY_main"
LINK = "modbus/SHY"


@pytest.fixture(scope="module")
def site() -> Site:
    configuration = load("corridor", {})
    return configuration.site(PointRegistry(configuration.keys()))


class Bench:
    """Journal, store and live table of the corridor, without sources."""

    def __init__(self, site: Site, clock: ManualClock, journal: Journal, letters: DeadLetters) -> None:
        self.site, self.clock, self.journal = site, clock, journal
        self.intake = JournalIntake(journal, letters, clock)
        self.table = LiveTable(journal)
        self.link = LinkState(LINK)
        self.points = [point.index for point in site.points_of(DEVICE)]
        self.seq = 0

    async def deliver(self, quality: int = Quality.GOOD) -> None:
        """One batch of the device, as its source would hand it over."""
        now, n = self.clock.now_ns(), len(self.points)
        self.seq += 1
        batch = ReadingBatch.of(
            *(LINK, 1, self.seq, now),
            point=self.points,
            t_source=np.full(n, now),
            value=np.full(n, 1.0),
            quality=np.full(n, quality),
        )
        committed = await self.intake.submit(batch)
        self.table.take(await self.journal.read(committed.offset - 1))


@asynccontextmanager
async def benched(site: Site, clock: ManualClock, path: Path) -> AsyncIterator[Bench]:
    async with (
        Journal(path / "journal", JournalSettings(), clock) as journal,
        DeadLetters(path / "letters.sqlite", DeadLetterSettings()) as letters,
    ):
        yield Bench(site, clock, journal, letters)


async def test_values_grow_stale_and_say_when_their_link_is_lost(
    site: Site, clock: ManualClock, tmp_path: Path
) -> None:
    async with benched(site, clock, tmp_path) as bench:
        live = LiveValues(site, bench.table, clock, {LINK: bench.link})
        assert len(live.latest(bench.points)) == 0
        bench.link.up(clock.now_ns())
        await bench.deliver()
        await clock.advance(5.0)
        assert set(live.latest(bench.points).quality) == {Quality.GOOD}
        await clock.advance(0.1)
        assert set(live.latest(bench.points).quality) == {Quality.STALE}
        bench.link.down()
        assert set(live.latest(bench.points).quality) == {Quality.LINK_LOST}
        await bench.deliver(Quality.PROTOCOL_DOUBT)
        await clock.advance(60)
        assert set(live.latest(bench.points).quality) == {Quality.PROTOCOL_DOUBT}


async def test_a_point_that_is_read_rarely_grows_stale_by_its_own_period(
    clock: ManualClock, tmp_path: Path
) -> None:
    configuration = load("corridor", {})
    profile = configuration.profiles["pm5xxx"]
    assert profile.modbus is not None
    registers = dict(profile.modbus.registers)
    registers["TotWhExp"] = registers["TotWhExp"].model_copy(update={"period_s": 900.0})
    modbus = profile.modbus.model_copy(update={"registers": registers})
    profiles = {**configuration.profiles, "pm5xxx": profile.model_copy(update={"modbus": modbus})}
    configuration = replace(configuration, profiles=profiles)
    site = configuration.site(PointRegistry(configuration.keys()))
    rare = site.find(DEVICE, "TotWhExp")
    assert rare is not None
    async with benched(site, clock, tmp_path) as bench:
        live = LiveValues(site, bench.table, clock, {LINK: bench.link})
        bench.link.up(clock.now_ns())
        await bench.deliver()
        await clock.advance(2700.0)
        latest = live.latest(bench.points)
        assert latest.point[latest.quality == Quality.GOOD].tolist() == [rare.index]
        await clock.advance(0.1)
        assert set(live.latest(bench.points).quality) == {Quality.STALE}


async def test_a_link_that_is_connected_but_silent_is_not_called_up(
    site: Site, clock: ManualClock, tmp_path: Path
) -> None:
    async with (
        benched(site, clock, tmp_path) as bench,
        EmbeddedStore(tmp_path / "store.duckdb", EmbeddedSettings()) as store,
    ):
        pump = StorePump(bench.journal, store, clock)
        status = SystemStatus(
            site,
            clock,
            journal=bench.journal,
            intake=bench.intake,
            table=bench.table,
            stores=[WatchedStore(store, pump)],
            links={LINK: bench.link},
        )
        (link,) = status.status().links
        assert not link.up
        bench.link.up(clock.now_ns())
        await bench.deliver()
        (link,) = status.status().links
        assert (link.up, link.detail) == (True, "")
        await clock.advance(11)
        bench.link.failed(clock.now_ns(), f"{DEVICE}: no reply within 1.0 s")
        await bench.deliver(Quality.DEVICE_TIMEOUT)
        (link,) = status.status().links
        assert not link.up
        assert link.detail == f"connected, but nothing answers: {DEVICE}: no reply within 1.0 s"
        assert status.status().devices_seen == 0
        await bench.deliver()
        assert status.status().links[0].up
        assert status.status().devices_seen == 1
        assert status.status().stores[0].received == 0, "nothing is claimed before the first check"


async def test_what_is_reported_by_exception_does_not_age_but_is_lost_with_its_link(
    site: Site, clock: ManualClock, tmp_path: Path
) -> None:
    name = "mirny-wind-farm-spb"
    async with benched(site, clock, tmp_path) as bench:
        bench.points = [point.index for point in site.points_of(name)]
        host = LinkState("sparkplug/main")
        links = {host.name: host, LINK: bench.link}
        live = LiveValues(site, bench.table, clock, links)
        status = SystemStatus(
            site, clock, journal=bench.journal, intake=bench.intake, table=bench.table, stores=[], links=links
        )
        for link in links.values():
            link.up(clock.now_ns())
        await bench.deliver()
        await clock.advance(3600)
        assert set(live.latest(bench.points).quality) == {Quality.GOOD}
        assert {link.link: link.up for link in status.status().links} == {host.name: True, LINK: False}
        host.note = "3 metrics of 1 devices could be configured"
        assert status.status().links[0].detail == host.note
        host.down()
        assert set(live.latest(bench.points).quality) == {Quality.LINK_LOST}
        host.up(clock.now_ns())
        await bench.deliver(Quality.STALE)
        assert set(live.latest(bench.points).quality) == {Quality.STALE}
        assert not status.status().links[0].up, "every edge node is dead"


def test_a_host_without_devices_is_up_while_it_is_connected(
    site: Site, clock: ManualClock, tmp_path: Path
) -> None:
    looking = LinkState("sparkplug/other")
    looking.up(clock.now_ns())
    journal = Journal(tmp_path / "journal", JournalSettings(), clock)
    letters = DeadLetters(tmp_path / "letters.sqlite", DeadLetterSettings())
    status = SystemStatus(
        site,
        clock,
        journal=journal,
        intake=JournalIntake(journal, letters, clock),
        table=LiveTable(journal),
        stores=[],
        links={looking.name: looking},
    )
    assert status._link(looking.name, looking).up
