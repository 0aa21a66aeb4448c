"""The clock of a process from its environment."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from greenbridge.announcements import SimulatorAnnouncements
from greenbridge.pace import EPOCH, SPEED, START, clock
from telemetry.clock import Pace, SystemClock
from telemetry.errors import ConfigError


def test_without_a_word_the_clock_is_the_machines() -> None:
    assert clock({}).pace.speed == 1.0
    assert abs(clock({}).now_ns() - clock({SPEED: "1"}).now_ns()) < 10**9


def test_the_same_environment_is_the_same_time() -> None:
    environment = {SPEED: "60", START: "2026-01-13T10:00:00Z", EPOCH: "2026-11-24T09:00:00+00:00"}
    expected = Pace(60.0, 1_768_298_400 * 10**9, 1_795_510_800 * 10**9)
    assert clock(environment).pace == clock(environment).pace == expected


def test_a_start_without_an_epoch_holds_from_now_on() -> None:
    started = clock({START: "2026-01-13T15:00:00+05:00"})
    assert 0 <= started.now_ns() - 1_768_298_400 * 10**9 < 10**9


@pytest.mark.parametrize(
    ("name", "value"),
    [(SPEED, "fast"), (SPEED, "0"), (SPEED, "1001"), (START, "2026-01-13"), (START, "soon"), (EPOCH, "x")],
)
def test_a_faulty_value_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} = {value}"):
        clock({name: value})


async def test_a_change_of_the_simulators_speed_is_followed_at_its_moment() -> None:
    theirs, ours = SystemClock(), SystemClock()
    asked = asyncio.Event()

    async def status(_: web.Request) -> web.Response:
        asked.set()
        pace = theirs.upcoming
        shown = {"speed": pace.speed, "wall_ns": pace.wall_ns, "epoch_ns": pace.epoch_ns}
        return web.json_response({"announcements": [{"t_ns": 1, "text": "Exercise"}], "pace": shown})

    site = web.Application()
    site.router.add_get("/api/v1/status", status)
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    announcements = SimulatorAnnouncements(f"http://{host}:{port}", ours)
    following = asyncio.create_task(announcements.run())
    try:
        async with asyncio.timeout(20):
            await asked.wait()
            theirs.set_speed(20.0, after_s=30.0)
            while ours.upcoming != theirs.upcoming:
                await SystemClock().sleep(0.05)
        assert ours.pace.speed == 1.0
        assert [entry.text for entry in announcements.announcements()] == ["Exercise"]
    finally:
        following.cancel()
        await asyncio.wait({following})
        await runner.cleanup()
