from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from alerts.alarms import Indeterminate
from console.corridor import site_view
from console.feed import Feed, changes
from console.ports import Announcement
from telemetry.clock import ManualClock, settle
from telemetry.quality import Quality
from telemetry.site import Site
from tests.console.rig import Rig, make_alarm


@pytest.fixture
def manual(clock: ManualClock, tmp_path: Path, site: Site) -> Rig:
    return Rig.of(clock, tmp_path / "console.sqlite", site)


@pytest.fixture
def feed(manual: Rig) -> Feed:
    view = msgspec.structs.replace(site_view(manual.site), live=sorted(manual.site.points))
    return Feed(manual.clock, view, manual.ports)


def names(events: list[tuple[str, object]]) -> list[str]:
    return [name for name, _ in events]


def test_from_nothing_everything_is_told(feed: Feed) -> None:
    assert names(changes(None, feed.snapshot())) == [
        "site",
        "values",
        "alarms",
        "indeterminate",
        "status",
        "announcements",
        "tick",
    ]


async def test_only_what_changed_is_told(feed: Feed, manual: Rig, clock: ManualClock) -> None:
    one, other = manual.point("SHY-TAS_SHY_main/TotW"), manual.point("SHY-TAS_TAS_main/TotW")
    manual.live.put(one, -322.0)
    manual.live.put(other, 323.0)
    before = feed.snapshot()
    assert names(changes(before, feed.snapshot())) == ["tick"]
    manual.live.put(one, -300.0)
    await manual.desk.put(make_alarm(clock.now_ns()))
    manual.desk.unjudged = [Indeterminate("R6", "SHY-TAS", "leg stale", clock.now_ns())]
    manual.announcements.made.append(Announcement(clock.now_ns(), "Exercise"))
    manual.status.committed(10, 10.0, 2)
    told = dict(changes(before, feed.snapshot()))
    assert [reading.point for reading in told["values"]] == [one]  # type: ignore[attr-defined]
    assert told["alarms"] == {"version": 1}
    assert set(told) == {"values", "alarms", "indeterminate", "status", "announcements", "tick"}


def test_another_site_is_told_so_that_pages_load_themselves_again(feed: Feed, manual: Rig) -> None:
    before = feed.snapshot()
    site = manual.site
    kept = {name: device for name, device in site.devices.items() if name != "SHY-TAS_SHY_main"}
    other = site_view(replace(site, devices=kept))
    assert other.version != before.site
    assert site_view(site).version == site_view(site).version
    feed.show(other)
    told = dict(changes(before, feed.snapshot()))
    assert told["site"] == {"version": other.version}
    assert "site" not in dict(changes(feed.snapshot(), feed.snapshot()))


async def test_going_stale_is_a_change_without_a_new_reading(
    feed: Feed, manual: Rig, clock: ManualClock
) -> None:
    point = manual.point("SHY-TAS_SHY_main/TotW")
    manual.live.put(point, -322.0)
    before = feed.snapshot()
    await clock.advance(6.0)
    after = feed.snapshot()
    assert names(changes(before, after))[0] == "values"
    reading = after.values[point]
    assert (reading.quality, reading.reason) == (Quality.STALE, "stale")


async def test_a_slow_stream_skips_snapshots(feed: Feed, clock: ManualClock) -> None:
    running = asyncio.create_task(feed.run())
    turn = await feed.next(0)
    assert turn is not None
    await clock.advance(5.0)
    later = await feed.next(turn[0])
    assert later is not None
    assert later[0] == turn[0] + 5
    assert later[1].now == turn[1].now + 5000
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_closing_ends_every_wait(feed: Feed) -> None:
    waiting = [asyncio.create_task(feed.next(0)) for _ in range(3)]
    await settle()
    await feed.close()
    assert await asyncio.gather(*waiting) == [None, None, None]
