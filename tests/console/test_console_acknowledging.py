"""Acknowledgement by the link in a message: a real server, a real browser, and links that are not good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from playwright.async_api import expect

from alerts.alarms import AlarmState
from alerts.notify.config import Links
from alerts.notify.links import PATH, MessageLinks
from alerts.notify.signing import Claim, signed
from console.config import ConsoleSettings
from console.ports import Ports
from console.server import serving
from console.sessions import Sessions
from telemetry.errors import ConfigError
from tests.console.rig import Rig, make_alarm
from tests.console.test_console_page import browsed

KEY = "a key of links that is long enough 0123456789"
HOUR = 3600 * 10**9


class LinkedRig(Rig):
    """A rig whose messages have links."""

    links: MessageLinks | None = None

    @property
    def ports(self) -> Ports:
        return replace(super().ports, links=lambda: self.links)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    return file


def linked(rig: Rig, key_file: Path, url: str = "http://127.0.0.1") -> LinkedRig:
    found = LinkedRig(**{name: getattr(rig, name) for name in Rig.__dataclass_fields__})
    found.links = MessageLinks(Links(console_url=url, key_file=key_file, hours=2), "greenbridge.toml")
    return found


@asynccontextmanager
async def served(rig: LinkedRig) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        Sessions(rig.path, rig.clock) as sessions,
        serving(ConsoleSettings(port=0), rig.clock, rig.site, rig.ports, sessions) as console,
        httpx.AsyncClient(base_url=console.url, headers={"origin": console.url}) as client,
    ):
        yield client


def api(link: str) -> str:
    return f"/api/v1/acknowledgements/{link.partition(PATH)[2]}"


async def test_only_the_post_acknowledges(rig: Rig, key_file: Path) -> None:
    found = linked(rig, key_file)
    assert found.links is not None
    await found.desk.put(make_alarm(found.clock.now_ns()))
    link = found.links.acknowledge("R6-SHY-TAS-1", "ann", found.clock.now_ns())
    async with served(found) as client:
        page = await client.get(link.removeprefix("http://127.0.0.1"))
        assert page.status_code == 200
        assert "Acknowledge" in page.text
        for method in ("GET", "HEAD"):
            looked = await client.request(method, api(link))
            assert looked.status_code in {200, 405}
        looked = await client.get(api(link))
        assert looked.json()["waits"] is True
        assert looked.json()["recipient"] == "ann"
        assert [alarm.state for alarm in found.desk.active()] == [AlarmState.UNACKNOWLEDGED]

        strange = await client.post(api(link), json={}, headers={"origin": "https://elsewhere.example"})
        assert strange.status_code == 403
        assert [alarm.state for alarm in found.desk.active()] == [AlarmState.UNACKNOWLEDGED]

        done = await client.post(api(link), json={"comment": "on my way"})
        assert done.status_code == 200
        (alarm,) = found.desk.active()
        assert (alarm.state, alarm.acknowledged_by) == (AlarmState.ACKNOWLEDGED, "ann (link)")
        assert alarm.comment == "on my way"

        again = await client.post(api(link), json={"comment": "again"})
        assert again.json()["waits"] is False
        assert found.desk.active()[0] == alarm, "twice changes nothing"


async def test_links_that_are_not_good(rig: Rig, key_file: Path) -> None:
    found = linked(rig, key_file)
    assert found.links is not None
    now = found.clock.now_ns()
    await found.desk.put(make_alarm(now))
    good = api(found.links.acknowledge("R6-SHY-TAS-1", "ann", now))
    other = signed(b"another key that is long enough, 0123456789", Claim("R6-SHY-TAS-1", "ann", now + HOUR))
    expired = signed(KEY.encode(), Claim("R6-SHY-TAS-1", "ann", now - HOUR))
    gone = signed(KEY.encode(), Claim("R6-SHY-TAS-99", "ann", now + HOUR))
    base = "/api/v1/acknowledgements/"
    swapped = good.replace(good.split(".")[0], base + other.split(".")[0])
    cases = [
        (good[:-1], 403, "altered"),
        (good[:-2] + ("AA" if not good.endswith("AA") else "BB"), 403, "altered"),
        (swapped[: len(swapped) - 3], 403, "altered"),
        (base + other, 403, "altered"),
        (base + "x" * 3000, 403, "altered"),
        (base + "%F0%9F%92%A9.é", 403, "altered"),
        (base + expired, 410, "expired"),
        (base + gone, 404, "there is no alarm R6-SHY-TAS-99"),
    ]
    async with served(found) as client:
        for target, status, said in cases:
            for answer in (await client.get(target), await client.post(target, json={})):
                assert (answer.status_code, said in answer.json()["error"]) == (status, True), target
                assert answer.json()["fix"]
        assert [alarm.state for alarm in found.desk.active()] == [AlarmState.UNACKNOWLEDGED]
        found.links = None
        assert (await client.get(good)).status_code == 404


async def test_a_link_is_for_one_alarm(rig: Rig, key_file: Path) -> None:
    found = linked(rig, key_file)
    assert found.links is not None
    now = found.clock.now_ns()
    for number in (1, 2):
        await found.desk.put(make_alarm(now, id=f"R6-SHY-TAS-{number}"))
    async with served(found) as client:
        await client.post(api(found.links.acknowledge("R6-SHY-TAS-2", "ann", now)), json={})
    states = {alarm.id: alarm.state for alarm in found.desk.active()}
    assert states["R6-SHY-TAS-1"] is AlarmState.UNACKNOWLEDGED
    assert states["R6-SHY-TAS-2"] is AlarmState.ACKNOWLEDGED


def test_a_key_that_is_short_or_missing_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("secret")
    for file, said in ((short, "the key is too short"), (tmp_path / "none", "No such file")):
        with pytest.raises(ConfigError, match=f"greenbridge.toml: alerts.notify.links.key_file.*{said}"):
            MessageLinks(Links(console_url="http://127.0.0.1", key_file=file), "greenbridge.toml")


@pytest.mark.system("chromium")
async def test_the_page_on_a_telephone(rig: Rig, key_file: Path) -> None:
    found = linked(rig, key_file)
    assert found.links is not None
    await found.desk.put(make_alarm(found.clock.now_ns()))
    link = found.links.acknowledge("R6-SHY-TAS-1", "ann", found.clock.now_ns())
    async with browsed(found, 390, 844) as bench:
        url = await bench.start()
        page = bench.page
        await page.goto(url + link.removeprefix("http://127.0.0.1"))
        await expect(page.locator("#title")).to_have_text("SHY-TAS: 29.8 MW missing between the two ends")
        await expect(page.locator("#advice")).to_contain_text("call both dispatchers")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        box = await page.locator("#confirm").bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["y"] + box["height"] < 844, "the button is in reach without scrolling"
        await page.fill("#comment", "on my way")
        await page.click("#confirm")
        await expect(page.locator("#outcome")).to_contain_text("Acknowledged by ann (link)")
        await expect(page.locator("#outcome")).to_contain_text("on my way")
        await expect(page.locator("#form")).to_be_hidden()
        await page.goto(f"{url}{PATH}made.up")
        await expect(page.locator("#problem")).to_contain_text("This link is not complete, or was altered")
        await expect(page.locator("#card")).to_be_hidden()
        assert [text for text in bench.complaints if "403" not in text] == []
