"""The page in a real browser, with fakes behind the server."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

from alerts.alarms import AlarmState, Indeterminate, Priority
from console.config import ConsoleSettings
from console.ports import Announcement
from console.server import serving
from console.sessions import Sessions
from telemetry.clock import SystemClock
from telemetry.quality import Quality
from telemetry.site import Site
from tests.console.rig import TOKEN, Rig, build_site, make_alarm

pytestmark = pytest.mark.system("chromium")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# how long a busy machine may take before a missing change is a fault [ms]
expect.set_options(timeout=20_000)
HOSTILE = "<img src=x onerror=document.title=1>"
FLOW = '#diagram [data-branch="SHY-TAS"] .value'


@dataclass
class Bench:
    """A page on a console that can be stopped and started on the same port."""

    rig: Rig
    page: Page
    complaints: list[str] = field(default_factory=list)
    """What the browser reported: script errors and violations of the content security policy."""
    port: int = 0
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> str:
        sessions = await self._running.enter_async_context(Sessions(self.rig.path, self.rig.clock))
        settings = ConsoleSettings(port=self.port)
        console = await self._running.enter_async_context(
            serving(settings, self.rig.clock, self.rig.site, self.rig.ports, sessions)
        )
        self.port = int(console.url.rpartition(":")[2])
        await sessions.offer(TOKEN)
        return console.url

    async def stop(self) -> None:
        await self._running.aclose()

    async def open(self) -> None:
        """Signs in as a newcomer would, and waits until the page is live."""
        await self.page.goto(f"{await self.start()}/signin?token={TOKEN}")
        await expect(self.page.locator("#feed-text")).to_have_text("live")


@asynccontextmanager
async def browsed(rig: Rig, width: int = 1440, height: int = 900) -> AsyncIterator[Bench]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = await browser.new_page(viewport={"width": width, "height": height})
        bench = Bench(rig, page)
        page.on("pageerror", lambda error: bench.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                bench.complaints.append(message.text)
                if message.type == "error" and "ERR_" not in message.text
                else None
            ),
        )
        try:
            yield bench
        finally:
            await bench.stop()
            await browser.close()


@pytest.fixture
def corridor_rig(tmp_path: Path, corridor: Site) -> Rig:
    # the page is given all the time that a busy machine needs: what is put stays fresh
    rig = Rig.of(SystemClock(), tmp_path / "console.sqlite", corridor)
    rig.live.stale_after_s = 600.0
    rig.put_base_case()
    return rig


async def test_an_operators_watch(corridor_rig: Rig) -> None:
    rig = corridor_rig
    async with browsed(rig) as bench:
        page = bench.page
        await bench.open()
        assert TOKEN not in page.url

        # numbers move
        await expect(page.locator("#diagram .label")).to_have_count(18)
        await expect(page.locator(FLOW)).to_have_text("327 MW")
        await expect(page.locator("#alarm-none")).to_be_visible()
        rig.put_base_case(1.1)
        await expect(page.locator(FLOW)).to_have_text("359 MW")

        # a value that is not known is never shown as current
        rig.live.put(rig.point("SHY-TAS_SHY_main/TotW"), -350.0, Quality.LINK_LOST)
        await expect(page.locator('#diagram [data-branch="SHY-TAS"]')).to_contain_text("one end")
        rig.live.put(rig.point("SHY-TAS_TAS_main/TotW"), 360.0, Quality.STALE)
        label = page.locator('#diagram .label.bad[data-branch="SHY-TAS"]')
        await expect(label.locator(".hatch")).to_be_visible()
        await expect(label.locator(".reason")).to_have_text("link lost")
        await expect(label).to_have_attribute("aria-label", "SHY-TAS: flow not known, link lost")
        rig.put_base_case()

        # an alarm appears, explains itself and is acknowledged with a comment
        now = rig.clock.now_ns()
        rig.announcements.made.append(Announcement(now, "Exercise: a 30 MW tap begins"))
        rig.desk.unjudged = [Indeterminate("R6", "NAV-BUK", "leg NAV-BUK at BUK is stale", now)]
        await rig.desk.put(make_alarm(now))
        await expect(page.locator("#banner")).to_contain_text("Exercise: a 30 MW tap begins")
        await expect(page.locator("#indeterminate-list")).to_contain_text("leg NAV-BUK at BUK is stale")
        alarm = page.locator(".alarm.unacknowledged")
        await expect(alarm).to_contain_text("29.8 MW missing between the two ends")
        await expect(alarm).to_contain_text("High · Unacknowledged · SHY-TAS · 29.8 MW, limit 6.1 MW")
        await expect(page.locator("#diagram .mark.high.unacknowledged")).to_have_count(1)
        await alarm.locator("button.row").press("Enter")
        await expect(alarm).to_contain_text("Compare the parallel circuits")
        await expect(alarm).to_contain_text("P at SHY [MW]")
        await alarm.locator(".comment input").fill("calling Tashkent")
        await alarm.locator("button.acknowledge").click()
        await expect(page.locator(".alarm.acknowledged")).to_contain_text("calling Tashkent")
        (held,) = rig.desk.active()
        assert (held.state, held.acknowledged_by) == (AlarmState.ACKNOWLEDGED, "operator")
        await rig.desk.clear(held.id)
        await expect(page.locator("#alarm-none")).to_be_visible()

        # the trend follows what is clicked and what is chosen
        await page.locator('#diagram [data-node="TAS"]').click()
        await expect(page.locator("#trend-point")).to_have_value("TAS_injection/TotW")
        await page.locator("#trend-point").fill("bash-wind/W")
        await page.locator("#trend-point").press("Enter")
        await expect(page.locator("#trend-note")).to_have_text(
            "Active power of the plant [MW], no readings in this window"
        )
        await page.get_by_text("6 h", exact=True).click()
        await expect(page.locator("#trend-problem")).to_be_hidden()

        # without the server everything is stale; with it, still signed in, live again
        await bench.stop()
        await expect(page.locator("#feed-text")).to_contain_text("stale since")
        assert (
            await page.locator(FLOW).evaluate("node => getComputedStyle(node).textDecorationLine")
            == "line-through"
        )
        await expect(page.locator("#alarm-stale")).to_be_visible()
        await bench.start()
        await expect(page.locator("#feed-text")).to_have_text("live")
        assert (
            await page.locator(FLOW).evaluate("node => getComputedStyle(node).textDecorationLine") == "none"
        )
        assert bench.complaints == []

        # a used token leads nowhere
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.locator("h1")).to_have_text("greenbridge")
        await page.goto(f"http://127.0.0.1:{bench.port}/signin?token={TOKEN}")
        await expect(page.locator("#message")).to_contain_text("already used")
        await page.goto(f"http://127.0.0.1:{bench.port}/")
        await expect(page).to_have_url(f"http://127.0.0.1:{bench.port}/signin")


async def test_alarms_that_are_over_are_not_active(corridor_rig: Rig) -> None:
    desk, now = corridor_rig.desk, corridor_rig.clock.now_ns()
    over = {"state": AlarmState.RETURNED, "cleared_at": now}
    await desk.put(make_alarm(now, id="a", asset="NAV-BUK", priority=Priority.URGENT, **over))
    async with browsed(corridor_rig) as bench:
        page = bench.page
        await bench.open()
        count, summary = page.locator("#alarm-count"), page.locator("#summary")
        await expect(count).to_have_text("1 over, to acknowledge")
        await expect(summary).to_be_empty()
        await expect(page.locator(".alarm .meta")).to_contain_text("Over, not acknowledged")

        # an active alarm counts more than one that is over, whatever their priorities
        await desk.put(
            make_alarm(now, id="b", asset="NAV-BUK", evidence=dict.fromkeys(map(str, range(99)), 1.0))
        )
        await desk.put(make_alarm(now, id="c", asset="ALM", state=AlarmState.ACKNOWLEDGED))
        await expect(count).to_have_text("2 active, 1 to acknowledge; 1 over, to acknowledge")
        await expect(summary).to_contain_text("2 high")
        await expect(summary).not_to_contain_text("urgent")
        await expect(page.locator("#diagram .mark.high.unacknowledged")).to_have_count(1)
        await expect(page.locator("#diagram .mark.urgent")).to_have_count(0)
        await expect(page.locator(".alarm .back")).to_have_count(1)

        # one alarm's details at a time, and never more than most of the screen
        for alarm in ("a", "b"):
            await page.locator(f'[data-alarm="{alarm}"] button.row').click()
            await expect(page.locator(".detail:visible")).to_have_count(1)
        detail = page.locator('[data-alarm="b"] .detail')
        assert await detail.evaluate("node => node.clientHeight <= innerHeight * 0.6 < node.scrollHeight")
        assert bench.complaints == []


async def test_the_picture_stays_where_it_is(corridor_rig: Rig) -> None:
    rig, now = corridor_rig, corridor_rig.clock.now_ns()
    async with browsed(rig) as bench:
        page = bench.page
        await bench.open()
        node, banner = page.locator('#diagram [data-node="TAS"]'), page.locator("#banner")
        calm = await node.bounding_box()

        # one announcement or many, alarms, links that are down: no node moves
        rig.announcements.made += [Announcement(now, f"Exercise {i} begins {'now ' * 99}") for i in range(3)]
        down = sorted(rig.site.links)[1:]
        for link in down:
            rig.status.link_down(link, now, "connection refused")
        await rig.desk.put(make_alarm(now))
        await expect(banner.locator("p")).to_contain_text("Exercise 2 begins")
        await banner.get_by_text("and 2 more").click()
        await expect(banner.locator("li:visible")).to_have_count(3)
        links = page.locator("#strip .abnormal", has_text="Links")
        await expect(links).to_contain_text(f"Links!1 of {len(down) + 1} up, down: {down[0]}, ")
        await expect(links.locator(".down").first).to_have_attribute(
            "title", re.compile("connection refused")
        )
        await expect(page.locator(".alarm")).to_have_count(1)
        assert await node.bounding_box() == calm

        # what goes wrong with the trend is told inside its panel
        await bench.stop()
        await expect(page.locator("#trend-problem")).to_be_visible()
        await page.wait_for_function(
            """() => {
                const bottom = (found) => document.querySelector(found).getBoundingClientRect().bottom;
                const chart = bottom("#trend-chart");
                return bottom(".u-legend") <= chart && chart <= bottom(".trend-panel");
            }"""
        )
        assert bench.complaints == []


async def test_names_never_become_markup(tmp_path: Path) -> None:
    site = build_site(HOSTILE, nodes=("SHY", "TAS"), rename=_hostile)
    rig = Rig.of(SystemClock(), tmp_path / "console.sqlite", site)
    rig.live.stale_after_s = 600.0
    rig.put_base_case()
    now = rig.clock.now_ns()
    texts = {
        name: f"{name} {HOSTILE}"
        for name in (
            "asset",
            "area",
            "title",
            "unit",
            "quality",
            "cause",
            "consequence",
            "response",
            "comment",
        )
    }
    evidence = {HOSTILE: HOSTILE}
    await rig.desk.put(
        make_alarm(now, **texts, evidence=evidence, acknowledged_at=now, acknowledged_by=HOSTILE)
    )
    rig.desk.unjudged = [Indeterminate(HOSTILE, HOSTILE, HOSTILE, now)]
    rig.announcements.made.append(Announcement(now, HOSTILE))
    rig.status.link_down(min(site.links), now, HOSTILE)
    async with browsed(rig) as bench:
        page = bench.page
        await bench.open()
        await page.locator(".alarm button.row").click()
        await page.locator("#history summary").click()
        for place in (
            "#site-name",
            "#illustrative",
            "#banner",
            "#indeterminate",
            ".alarm .title",
            ".facts",
            "#history-list",
        ):
            await expect(page.locator(place)).to_contain_text(HOSTILE)
        await expect(page.locator('#diagram [data-node="SHY"] title')).to_contain_text(HOSTILE)
        assert await page.locator("img").count() == 0
        assert await page.title() == HOSTILE
        assert bench.complaints == []


def _hostile(text: str) -> str:
    for name in ("Shymkent", "Kazakhstan", "KEGOC", "Active power", "Ratings and"):
        text = text.replace(name, HOSTILE)
    return text


async def test_a_narrow_screen_scrolls_only_the_diagram(corridor_rig: Rig) -> None:
    async with browsed(corridor_rig, 390, 800) as bench:
        await bench.open()
        assert await bench.page.evaluate("document.documentElement.scrollWidth") <= 390
        # everything stacks; nothing grows without end
        assert await bench.page.evaluate("document.documentElement.scrollHeight") < 2500
        assert bench.complaints == []
