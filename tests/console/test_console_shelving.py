"""What people do to alarms on the page: shelving, taking back, resetting, and what an alarm explains."""

from __future__ import annotations

import os

import pytest
from playwright.async_api import expect

from alerts.alarms import AlarmState, Priority
from tests.console.rig import Rig, make_alarm
from tests.console.test_console_page import browsed, corridor_rig

pytestmark = pytest.mark.system("chromium")
__all__ = ["corridor_rig"]


async def test_an_alarm_is_shelved_and_taken_back_with_the_keyboard(corridor_rig: Rig) -> None:
    rig = corridor_rig
    now = rig.clock.now_ns()
    async with browsed(rig) as bench:
        page = bench.page
        await rig.desk.put(make_alarm(now))
        await rig.desk.put(
            make_alarm(
                now,
                id="R18-KZ-2",
                key="R18/KZ",
                rule="R18",
                asset="KZ",
                title="The state estimate does not fit",
                state=AlarmState.SUPPRESSED,
                parent="R6-SHY-TAS-1",
            )
        )
        await rig.desk.put(
            make_alarm(
                now,
                id="R8-AKT-ALT-3",
                key="R8/AKT-ALT",
                asset="AKT-ALT",
                title="AKT-ALT: a pole tripped",
                priority=Priority.URGENT,
                state=AlarmState.LATCHED_ACKNOWLEDGED,
            )
        )
        await bench.open()

        # one event is one line, which tells what it explains
        await expect(page.locator(".alarm")).to_have_count(2)
        alarm = page.locator('[data-alarm="R6-SHY-TAS-1"]')
        await expect(alarm.locator(".meta")).to_contain_text("explains 1 more")
        await expect(page.locator("#held")).to_be_hidden()
        await alarm.locator("button.row").press("Enter")
        await expect(alarm.locator(".children")).to_contain_text("The state estimate does not fit")

        # shelving asks for a reason and a time
        await alarm.locator(".shelving summary").press("Enter")
        reason = alarm.locator(".shelving input")
        await reason.press("Enter")
        await expect(alarm).to_be_visible()
        await reason.fill("patrol on its way")
        await alarm.locator("select").select_option("120")
        await reason.press("Enter")
        await expect(alarm).to_have_count(0)
        (_, hold), *_ = rig.desk.orders()
        assert hold.until is not None
        assert (hold.reason, round((hold.until - hold.since) / 60e9)) == ("patrol on its way", 120)

        # what is held back stays in sight, with its reason, and can be taken back
        await expect(page.locator("#held-title")).to_have_text("Held back (2)")
        await page.locator("#held-title").press("Enter")
        held = page.locator("#held-list")
        await expect(held).to_contain_text("patrol on its way · operator · until")
        if shots := os.environ.get("GREENBRIDGE_SHOTS"):
            await page.screenshot(path=f"{shots}/held.png")
        await held.get_by_role("button").press("Enter")
        await expect(alarm).to_have_count(1)
        await expect(page.locator("#held")).to_be_hidden()

        # an urgent or latched one offers no shelving; a latched one is reset
        latched = page.locator('[data-alarm="R8-AKT-ALT-3"]')
        await latched.locator("button.row").press("Enter")
        await expect(latched.locator(".shelving")).to_be_hidden()
        await latched.locator("button.reset").press("Enter")
        await expect(latched).to_have_count(0)
        assert bench.complaints == []
