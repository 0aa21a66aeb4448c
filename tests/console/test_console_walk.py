"""Every page in a real browser: what it shows, whether it can be used by everybody, whether it fits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from alerts.alarms import AlarmState, Indeterminate, Priority
from console.insight import Audited, DeviceQuality
from console.ports import Announcement
from ingest.ports import JournalRecord
from telemetry.batch import ReadingBatch
from telemetry.clock import SystemClock
from telemetry.quality import Quality
from telemetry.site import Site
from tests.console.rig import Rig, make_alarm
from tests.console.test_console_page import HOSTILE, Bench, browsed

pytestmark = pytest.mark.system("chromium")

AXE = (Path(__file__).parents[1] / "vendor" / "axe" / "axe.min.js").read_text()
S = 1_000_000_000
PAGES = {
    "/": "#diagram",
    "/alarms": "#alarm-list .alarm",
    "/areas/KZ": "tbody tr",
    "/ties/SHY-TAS": "tbody tr",
    "/plants/mirny-wind": "tbody tr",
    "/trends?point=SHY-TAS_SHY_main/TotW&point=SHY_injection/Hz": ".uplot",
    "/quality": "tbody tr",
    "/system": "tbody tr",
    "/audit": "tbody tr",
    "/account": ".page-title",
}
"""Each page, and what shows that it has something to say."""


@pytest.fixture
async def lively_rig(tmp_path: Path, corridor: Site) -> Rig:
    """A corridor with alarms of all kinds, bad values, and something in every list."""
    rig = Rig.of(SystemClock(), tmp_path / "console.sqlite", corridor)
    rig.live.stale_after_s = 600.0
    rig.put_base_case()
    now = rig.clock.now_ns()
    rig.live.put(rig.point("SHU-ALM_SHU_main/TotW"), 900.0, Quality.LINK_LOST)
    rig.live.put(rig.point("SHU-ALM_ALM_main/TotW"), -890.0, Quality.STALE)
    for i, priority in enumerate(Priority):
        await rig.desk.put(make_alarm(now - i * S, id=f"a{i}", asset="ALM", priority=priority))
    for i, state in enumerate(AlarmState):
        await rig.desk.put(make_alarm(now, id=f"s{i}", key=f"R6/{i}", state=state, held_reason="patrol"))
    rig.desk.unjudged = [Indeterminate("R6", "NAV-BUK", "leg is stale", now)]
    rig.announcements.made.append(Announcement(now, "Exercise: a tap begins"))
    rig.status.link_down(min(corridor.links), now, "connection refused")
    rig.insight.devices[0] = DeviceQuality("d", "l", 2, 0, now, now + 9 * S, 1.0, (60, 0, 30) * 20, 60.0)
    rig.insight.entries = [
        Audited(1, now, "anna", "shelve", "R6/MGC-SAM", "refused", {"why": "x"}, "ab" * 32)
    ]
    rig.insight.words = {"SHY-TAS": {"Explanation": "a tap of 29 MW"}}
    power = rig.point("SHY-TAS_SHY_main/TotW")
    times = [now - (900 - k) * S for k in range(900) if not 300 < k < 400]
    batch = ReadingBatch.of(
        *("modbus/SHY", 1, 1, now),
        point=[power] * len(times),
        t_source=times,
        value=[-322.0 + k % 7 for k in range(len(times))],
        quality=[Quality.STALE if 600 < k < 650 else 0 for k in range(len(times))],
    )
    await rig.store.apply([JournalRecord(1, now, 0, batch)])
    return rig


LEVELS = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
CONTRAST = {"type": "rule", "values": ["color-contrast"]}


async def _violations(page: Page, rules: dict[str, Any]) -> list[str]:
    """What axe-core finds by WCAG 2.1 A and AA."""
    # the browser's tools may evaluate what the page's own policy would refuse
    await page.evaluate(AXE)
    found: dict[str, Any] = await page.evaluate(
        "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", rules
    )
    return [
        f"{violation['id']}: {node['html'][:160]} {node['failureSummary'][:240]}"
        for violation in found["violations"]
        for node in violation["nodes"][:2]
    ]


def _content(path: Path) -> bytes:
    return path.read_bytes()


async def _opened(bench: Bench, path: str) -> None:
    await bench.page.goto(f"http://127.0.0.1:{bench.port}{path}")
    await expect(bench.page.locator(PAGES[path]).first).to_be_visible()
    await expect(bench.page.locator("#feed-text")).to_have_text("live")
    await expect(bench.page.locator(".problem[role=alert]:visible")).to_have_count(0)


async def test_every_page_is_accessible_and_fits_a_phone(lively_rig: Rig) -> None:
    async with browsed(lively_rig) as bench:
        await bench.open()
        found: dict[str, list[str]] = {}
        for path in PAGES:
            await bench.page.set_viewport_size({"width": 1440, "height": 900})
            await _opened(bench, path)
            found[path] = await _violations(bench.page, LEVELS)
            # only colours differ in the dark
            await bench.page.emulate_media(color_scheme="dark")
            found[path] += await _violations(bench.page, CONTRAST)
            await bench.page.emulate_media(color_scheme="light")
            await bench.page.set_viewport_size({"width": 390, "height": 844})
            wide = await bench.page.evaluate("document.documentElement.scrollWidth")
            if wide > 390:
                found[path].append(f"{wide} px wide on a screen of 390")
        assert {path: faults for path, faults in found.items() if faults} == {}
        assert bench.complaints == []


async def test_pages_are_reached_by_links_keys_and_addresses(lively_rig: Rig) -> None:
    async with browsed(lively_rig) as bench:
        page = bench.page
        await bench.open()
        # within the page nothing is loaded again: the feed goes on
        await page.evaluate("window.kept = true")
        await page.get_by_role("link", name="Kazakhstan").click()
        await expect(page.locator(".page-title")).to_have_text("Kazakhstan")
        await page.get_by_role("link", name="SHY-TAS", exact=True).click()
        await expect(page.locator(".page-title")).to_contain_text("Shymkent")
        await expect(page.locator(".facts")).to_contain_text("a tap of 29 MW")
        await page.get_by_label("Line").select_option("AKT-ALT")
        await expect(page).to_have_url(f"http://127.0.0.1:{bench.port}/ties/AKT-ALT")
        await page.go_back()
        await expect(page.locator(".page-title")).to_contain_text("SHY-TAS")
        assert await page.evaluate("window.kept") is True

        # where the navigation names no asset the first one is shown
        for name in ("Areas", "Ties", "Plants"):
            await page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
            await expect(page).to_have_url(f"http://127.0.0.1:{bench.port}/{name.lower()}")
            await expect(page.locator(".page-title")).to_be_visible()
            await expect(page.locator("main")).not_to_contain_text("There is no")

        # an old value never looks current
        await _opened(bench, "/areas/KZ")
        lily = page.get_by_role("row", name="SHU-ALM")
        assert await lily.count() == 0
        await page.goto(f"http://127.0.0.1:{bench.port}/ties/SHU-ALM")
        await expect(page.locator(".reading.bad .why").first).to_have_text("link lost")

        # the address holds what a trend shows; drawing follows the buttons
        await _opened(bench, "/trends?point=SHY-TAS_SHY_main/TotW&point=SHY_injection/Hz")
        await expect(page.locator(".pad > .note")).to_contain_text(re.compile(r"; [1-9]\d* readings"))
        async with page.expect_download() as saved:
            await page.get_by_role("button", name="Save as CSV").click()
        csv = _content(await (await saved.value).path()).decode()
        assert csv.startswith("time_utc,point,unit,low,mean,high")
        assert '"SHY-TAS_SHY_main/TotW"' in csv
        async with page.expect_download() as saved:
            await page.get_by_role("button", name="Save as a picture").click()
        assert _content(await (await saved.value).path())[1:4] == b"PNG"
        await page.get_by_role("button", name="Earlier").click()
        await expect(page).to_have_url(re.compile("start=.*end="))
        assert bench.complaints == []


async def test_the_desk_without_a_mouse(lively_rig: Rig) -> None:
    async with browsed(lively_rig) as bench:
        page = bench.page
        await bench.open()
        await page.goto(f"http://127.0.0.1:{bench.port}/alarms?state=due&priority=medium")
        rows = page.locator("#alarm-list > li")
        await expect(rows).to_have_count(1)
        await expect(page.locator("#alarm-none")).to_contain_text("do not match the filter")
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await expect(rows.locator(".detail")).to_be_visible()
        await page.keyboard.press("a")
        await expect(rows).to_have_count(0)
        await page.get_by_label("Priority", exact=False).first.select_option("")

        # what is held back keeps the focus while other alarms come
        unshelve = page.locator("#held-list button:visible").first
        await unshelve.focus()
        await lively_rig.desk.put(make_alarm(lively_rig.clock.now_ns(), id="new", key="R1/x", asset="ALM"))
        await expect(page.locator('[data-alarm="new"]')).to_be_visible()
        await expect(unshelve).to_be_focused()

        # a sound only once somebody has switched it on, and it can be muted
        sound = page.locator("#sound")
        await expect(sound).to_have_attribute("aria-pressed", "false")
        await sound.click()
        await expect(sound).to_have_attribute("aria-pressed", "true")
        assert bench.complaints == []


async def test_names_from_outside_are_text_on_every_page(lively_rig: Rig) -> None:
    now = lively_rig.clock.now_ns()
    texts = dict.fromkeys(("title", "cause", "held_reason", "held_by", "comment"), HOSTILE)
    for asset in ("ALM", "SHY-TAS", "mirny-wind"):
        await lively_rig.desk.put(make_alarm(now, id=asset, key=asset, asset=asset, **texts))
    lively_rig.insight.devices[1] = DeviceQuality(HOSTILE, HOSTILE, 2, 0, None, None, 1.0)
    lively_rig.insight.entries = [
        Audited(1, now, HOSTILE, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, HOSTILE)
    ]
    lively_rig.insight.words = {"SHY-TAS": {HOSTILE: HOSTILE}}
    lively_rig.status.link_down(max(lively_rig.site.links), now, HOSTILE)
    async with browsed(lively_rig) as bench:
        await bench.open()
        for path in PAGES:
            await _opened(bench, path)
            if path not in {
                "/trends?point=SHY-TAS_SHY_main/TotW&point=SHY_injection/Hz",
                "/system",
                "/account",
            }:
                await expect(bench.page.locator("main")).to_contain_text(HOSTILE)
            assert await bench.page.locator("img").count() == 0, path
            assert await bench.page.title() != "1", path
        assert bench.complaints == []
