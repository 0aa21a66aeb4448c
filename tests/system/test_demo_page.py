"""The demonstration as an operator sees it, in a real browser."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.support.demo import demo

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
GUARD_S = 240
ALARM_WITHIN_MS = 120_000
FLOW = '#diagram [data-branch="SHY-TAS"] .value'


async def picture(page: Page, name: str) -> None:
    """Keeps a screenshot when GREENBRIDGE_SHOTS names a directory; the README's comes from here."""
    directory = os.environ.get("GREENBRIDGE_SHOTS")
    if directory:
        await page.screenshot(path=str(Path(directory) / f"{name}.png"))


@pytest.mark.system("mosquitto", "chromium")
async def test_numbers_move_the_alarm_appears_and_is_acknowledged(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(GUARD_S),
        demo(tmp_path / "demo", tap_at_s=10, tap_for_s=90) as running,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = await browser.new_page(viewport={"width": 1440, "height": 900})
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            await page.goto(running.signin_url)
            await expect(page.locator("#feed-text")).to_have_text("live", timeout=20_000)
            await expect(page.locator("#diagram .label.bad")).to_have_count(0, timeout=30_000)
            flow = page.locator(FLOW)
            await expect(flow).to_contain_text("MW")
            first = await flow.text_content()
            await expect(flow).not_to_have_text(first or "", timeout=30_000)
            await picture(page, "calm")
            await expect(page.locator("#banner")).to_contain_text("30 MW tap", timeout=30_000)

            alarm = page.locator(".alarm.unacknowledged")
            await expect(alarm).to_have_count(1, timeout=ALARM_WITHIN_MS)
            await expect(alarm).to_contain_text("SHY-TAS")
            await alarm.locator("button.row").click()
            await picture(page, "alarm")
            await alarm.locator(".comment input").fill("calling Tashkent")
            await alarm.locator("button.acknowledge").click()
            await expect(page.locator(".alarm.acknowledged")).to_contain_text("calling Tashkent")
            await picture(page, "acknowledged")

            # the tap ends; an acknowledged alarm that is over leaves the list
            await expect(page.locator("#alarm-none")).to_be_visible(timeout=ALARM_WITHIN_MS)
            assert complaints == []
        finally:
            await browser.close()
