"""The dead-man's heartbeat against a real server, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from alerts.notify.config import Heartbeat
from alerts.notify.heartbeat import Pulse
from telemetry.clock import ManualClock

if TYPE_CHECKING:
    from tests.alerts.conftest import Bench

GUARD_S = 30
KEY = b"shared with whoever listens"


class Listener:
    """Hears heartbeats, and can be told to refuse them."""

    def __init__(self) -> None:
        self.status = 200
        self.heard: list[tuple[Mapping[str, str], bytes]] = []
        self.came = asyncio.Condition()
        self.asked = 0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self.came:
            self.asked += 1
            if self.status == 200:
                self.heard.append((request.headers.copy(), body))
            self.came.notify_all()
        return web.Response(status=self.status)

    async def asked_for(self, count: int) -> None:
        async with asyncio.timeout(GUARD_S), self.came:
            await self.came.wait_for(lambda: self.asked >= count)


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Listener, str]]:
    listener = Listener()
    app = web.Application()
    app.router.add_post("/", listener.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield listener, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


class BedsideClock(ManualClock):
    """A clock that tells whether somebody sleeps by it."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asleep.set()
        try:
            await super().sleep(seconds)
        finally:
            self.asleep.clear()


async def slept(clock: BedsideClock) -> None:
    """Returns when the beat is asleep again: its request has been answered."""
    async with asyncio.timeout(GUARD_S):
        await clock.asleep.wait()


async def test_it_leaves_every_minute_signed_and_tells_when_it_cannot() -> None:
    clock = BedsideClock()
    judging = True
    async with listening() as (listener, url):
        pulse = Pulse(Heartbeat(url=url), "corridor", KEY, clock, lambda: judging)
        task = asyncio.create_task(pulse.beat.run())
        for number in range(1, 4):
            await listener.asked_for(number)
            await slept(clock)
            await clock.advance(59)
            assert listener.asked == number, "not before its time"
            await clock.advance(1)
        await listener.asked_for(4)
        headers, body = listener.heard[0]
        assert json.loads(body)["site"] == "corridor"
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        signature = base64.b64encode(hmac.new(KEY, content, "sha256").digest()).decode()
        assert headers["webhook-signature"] == f"v1,{signature}"

        await slept(clock)
        judging = False
        await clock.advance(180)
        assert listener.asked == 4, "withheld: alarms are not judged"
        judging = True
        listener.status = 500
        await clock.advance(60)
        await listener.asked_for(5)
        await slept(clock)
        assert pulse.beat.ailments() == [], "one that is missing may pass"
        for _ in range(12):
            await clock.advance(60)
            await slept(clock)
        (ailment,) = pulse.beat.ailments()
        assert (ailment.part, ailment.state) == ("notify/heartbeat", "failing")
        assert "heartbeat answered 500" in ailment.detail
        listener.status = 200
        await clock.advance(60)
        await listener.asked_for(listener.asked)
        await slept(clock)
        await clock.advance(60)
        await slept(clock)
        assert pulse.beat.ailments() == []
        task.cancel()
        await asyncio.wait([task])


async def test_the_pulse_is_that_of_judgement(bench: Bench) -> None:
    async with bench.running():
        assert bench.engine.judging
        await bench.run(5)
        assert bench.engine.judging
        bench.task.cancel()
        await asyncio.wait([bench.task])
        await bench.clock.advance(29)
        assert bench.engine.judging
        await bench.clock.advance(2)
        assert not bench.engine.judging


def test_a_pace_that_is_no_heartbeat_is_refused() -> None:
    with pytest.raises(ValueError, match="every_s"):
        Heartbeat(url="http://127.0.0.1/", every_s=1)
