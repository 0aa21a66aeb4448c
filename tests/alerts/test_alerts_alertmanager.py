"""Alerts against a real Alertmanager: what fires, what ends, and the heartbeat."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.config import Alertmanager, Occasion
from alerts.notify.alertmanager import HEARTBEAT, AlertmanagerFeed
from alerts.notify.channel import Notification, RefusedError
from telemetry.clock import SystemClock
from telemetry.errors import UnavailableError
from tests.support.alertmanager import alertmanager

CLOCK = SystemClock()
GUARD_S = 60


def alarm(rule: str = "R6", state: AlarmState = AlarmState.UNACKNOWLEDGED) -> Alarm:
    now = CLOCK.now_ns()
    return Alarm(
        f"{rule}-A-B-1", f"{rule}/A-B", rule, 1, "A-B", "", f"{rule}: 30 MW missing", Priority.HIGH, state,
        30.0, 7.0, "MW", "good", now, now, now, now, cause="A tap.", response="Call.",
    )  # fmt: skip


def feed(url: str, active: list[Alarm], *, judging: bool = True, labels: str = "") -> AlertmanagerFeed:
    settings = Alertmanager(id="am", url=url, every_s=5, labels={"team": labels} if labels else {})
    return AlertmanagerFeed(
        settings,
        "corridor",
        console="https://gb.example.org",
        bearer="",
        clock=CLOCK,
        active=lambda: active,
        judging=lambda: judging,
    )


@pytest.mark.system("prometheus-alertmanager")
async def test_what_fires_and_what_ends(tmp_path: Path) -> None:
    async with asyncio.timeout(GUARD_S), alertmanager(tmp_path) as manager:
        active: list[Alarm] = []
        sender = feed(manager.url, active, labels="grid")
        one, other = alarm("R6"), alarm("R1")
        await sender.deliver(Notification("k-1", Occasion.RAISED, 0, one))
        await manager.until_told("R6", "firing")
        active += [one, other]
        beating = asyncio.create_task(sender.beat.run())
        await manager.until_told("R1", "firing")
        await manager.until_told(HEARTBEAT, "firing")
        firing = {found["labels"]["alertname"]: found for found in await manager.alerts()}
        assert firing.keys() == {"R6", "R1", HEARTBEAT}
        assert firing["R6"]["labels"] == {
            "alertname": "R6",
            "asset": "A-B",
            "severity": "high",
            "site": "corridor",
            "source": "greenbridge",
            "team": "grid",
        }
        assert firing["R6"]["annotations"]["summary"] == "R6: 30 MW missing"
        assert firing["R6"]["annotations"]["response"] == "Call."
        # one ends by what has happened, the other because it is no longer among what is active
        over = replace(one, state=AlarmState.RETURNED)
        active.clear()
        await sender.deliver(Notification("k-2", Occasion.RETURNED, 0, over))
        await manager.until_told("R6", "resolved")
        await manager.until_told("R1", "resolved")
        beating.cancel()
        await asyncio.wait([beating])
        assert manager.names("firing") == ["R6", "R1"], "each was told once, however often it was posted"


@pytest.mark.system("prometheus-alertmanager")
async def test_without_judgement_the_heartbeat_is_withheld(tmp_path: Path) -> None:
    async with asyncio.timeout(GUARD_S), alertmanager(tmp_path) as manager:
        beating = asyncio.create_task(feed(manager.url, [alarm()], judging=False).beat.run())
        await manager.until_told("R6", "firing")
        beating.cancel()
        await asyncio.wait([beating])
        assert [found["labels"]["alertname"] for found in await manager.alerts()] == ["R6"]
        with pytest.raises(RefusedError, match=r"Alertmanager am answered 404.*check its url"):
            await feed(f"{manager.url}/x", []).deliver(Notification("k", Occasion.RAISED, 0, alarm()))


async def test_an_alertmanager_that_is_away(unused_tcp_port: int) -> None:
    sender = feed(f"http://127.0.0.1:{unused_tcp_port}", [])
    with pytest.raises(UnavailableError, match="Alertmanager am"):
        await sender.deliver(Notification("k", Occasion.RAISED, 0, alarm()))
