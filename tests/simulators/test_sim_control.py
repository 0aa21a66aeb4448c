from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from simulators.control import MAX_BODY, ControlServer, Status, application
from simulators.devices.payloads import Said
from simulators.devices.registers import Held
from simulators.exercise import Exercise
from simulators.faults.model import Assets, Where
from telemetry.clock import ManualClock, SystemClock


class Stand:
    """What the interface needs of a bench."""

    def __init__(self) -> None:
        assets = Assets({Where.LINE: ["SHY-TAS", "KUN-AKT"], Where.METER: ["meter-1"]}, ["meter-1"])
        self.exercise = Exercise([], assets)
        self.units = {"meter-1": object()}
        self.publishers = {"bus-1"}
        self.restored = 0

    def status(self) -> Status:
        faults = [injected.document() for injected in self.exercise.faults]
        return Status(5, 1.0, 7, None, self.exercise.announcements, faults)

    def registers(self, device_id: str) -> list[Held]:
        return [Held("holding", 3059, device_id, (0x447A, 0), 1000.0, "kW")]

    def said(self, device_id: str) -> list[Said]:
        return [Said(5, f"plants/{device_id}", {"ts": 4, "p_mw": -1.5})]

    def restore(self) -> None:
        self.restored += 1


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.fixture
async def api(stand: Stand, clock: ManualClock) -> AsyncIterator[aiohttp.ClientSession]:
    server = ControlServer(application(stand, clock))
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.create_task(server.run_on(listener))
    async with aiohttp.ClientSession(url) as session:
        yield session
        server.should_exit = True
        async with asyncio.timeout(5):
            await serving


async def call(
    api: aiohttp.ClientSession, method: str, path: str, body: bytes | None = None
) -> tuple[int, Any]:
    async with api.request(method, f"/api/v1/{path}", data=body) as response:
        assert response.content_type == "application/json"
        return response.status, json.loads(await response.read())


async def test_a_fault_is_injected_seen_and_cleared(api: aiohttp.ClientSession, clock: ManualClock) -> None:
    status, fault = await call(api, "POST", "faults", b'{"kind": "tap", "target": "SHY-TAS", "mw": 30}')
    assert status == 201
    known = {
        "kind": "tap",
        "target": "SHY-TAS",
        "mw": 30.0,
        "active": True,
        "began_ns": clock.now_ns(),
        "ends_ns": None,
    }
    assert fault == {"id": fault["id"]} | known
    assert await call(api, "GET", "faults") == (200, [fault])
    status, seen = await call(api, "GET", "status")
    assert (status, seen["started_ns"], seen["speed"], seen["steps"], seen["collapse"]) == (
        200,
        5,
        1.0,
        7,
        None,
    )
    assert seen["faults"] == [fault]
    begins = {"t_ns": clock.now_ns(), "text": "Exercise: a 30 MW tap in the middle of SHY-TAS begins"}
    assert seen["announcements"] == [begins]
    await clock.advance(5)
    cleared = fault | {"active": False, "ends_ns": clock.now_ns()}
    assert await call(api, "DELETE", f"faults/{fault['id']}") == (200, cleared)
    assert (await call(api, "GET", "status"))[1]["faults"] == [cleared]


async def test_all_faults_are_cleared_at_once(api: aiohttp.ClientSession, stand: Stand) -> None:
    assert await call(api, "DELETE", "faults") == (200, [])
    for line in ("SHY-TAS", "KUN-AKT"):
        await call(api, "POST", "faults", b'{"kind": "tap", "target": "%s", "mw": 30}' % line.encode())
    _, cleared = await call(api, "DELETE", "faults")
    assert [(fault["target"], fault["active"]) for fault in cleared] == [
        ("SHY-TAS", False),
        ("KUN-AKT", False),
    ]
    assert not [fault for fault in stand.exercise.faults if fault.active]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "faults", b"{", 400, "truncated"),
        ("POST", "faults", b'{"kind": "trip", "target": "SHY-TAS", "mw": 1}', 400, 'kind "trip"'),
        ("POST", "faults", b'{"kind": "tapp", "target": "SHY-TAS", "mw": 1}', 400, 'did you mean "tap"?'),
        ("POST", "faults", b'{"target": "SHY-TAS", "mw": 1}', 400, "kind is missing"),
        ("POST", "faults", b'{"kind": "tap", "mw": 1}', 400, "target is missing: line"),
        ("POST", "faults", b'{"kind": 1, "target": "SHY-TAS"}', 400, 'kind "1"'),
        ("POST", "faults", b"[]", 400, "object"),
        ("POST", "faults", b'{"a":' + b"[" * 9000, 400, "too deep"),
        ("POST", "faults", b"\xff{}", 400, ""),
        ("POST", "faults", b'{"kind": "tap", "target": "SHY-TAS"}', 400, "mw is missing: above 0 to 1000"),
        ("POST", "faults", b'{"kind": "tap", "target": "SHY-TAS", "mw": "1"}', 400, "mw"),
        (
            "POST",
            "faults",
            b'{"kind": "tap", "target": "SHY-TAS", "mw": 1, "m": 1}',
            400,
            'a tap has no "m" (did you mean "mw"?)',
        ),
        ("POST", "faults", b'{"kind": "tap", "target": "SHY-TAZ", "mw": 1}', 422, "SHY-TAS"),
        (
            "POST",
            "faults",
            b'{"kind": "tap", "target": "SHY-TAS", "mw": -1}',
            400,
            "mw = -1: above 0 to 1000",
        ),
        ("POST", "faults", b'{"kind": "tap", "target": "SHY-TAS", "mw": 1, "for_s": 0}', 422, "for_s"),
        ("POST", "faults", b'{"kind": "tap", "target": "SHY-TAS", "mw": 1, "for_s": "1"}', 422, "of seconds"),
        ("POST", "faults", b" " * (MAX_BODY + 1), 413, "larger"),
        ("PUT", "clock", b'{"speed": 2}', 422, "cannot be changed"),
        ("GET", "devices/meter-2/registers", None, 404, "meter-1"),
        ("GET", "devices/bus-2/registers", None, 404, "bus-1"),
        ("DELETE", "faults/tap-9", None, 404, "tap-9"),
        ("PUT", "faults", b"", 405, "Not Allowed"),
        ("GET", "nothing", None, 404, "Not Found"),
    ],
)
async def test_bad_requests_are_told_why(
    api: aiohttp.ClientSession,
    stand: Stand,
    method: str,
    path: str,
    body: bytes | None,
    status: int,
    words: str,
) -> None:
    code, answer = await call(api, method, path, body)
    assert code == status
    assert words in answer["error"]
    assert stand.exercise.faults == ()


async def test_kinds_devices_registers_and_restoration(api: aiohttp.ClientSession, stand: Stand) -> None:
    _, kinds = await call(api, "GET", "faults/kinds")
    assert kinds["tap"]["target"] == "line"
    assert kinds["tap"]["parameters"] == {"mw": "above 0 to 1000"}
    assert kinds["tap"]["targets"] == ["KUN-AKT", "SHY-TAS"]
    assert kinds["weather"]["parameters"] == {"weather": "dry_snow, rain or hoarfrost"}
    assert kinds["exception_storm"]["parameters"]["code"] == "1 to 255, usually 6"
    assert kinds["exchanged"]["parameters"] == {"serial": "a text"}
    assert await call(api, "GET", "devices") == (200, ["bus-1", "meter-1"])
    _, (held,) = await call(api, "GET", "devices/meter-1/registers")
    assert (held["address"], held["words"], held["value"], held["unit"]) == (3059, [0x447A, 0], 1000.0, "kW")
    said = {"t_ns": 5, "topic": "plants/bus-1", "payload": {"ts": 4, "p_mw": -1.5}}
    assert await call(api, "GET", "devices/bus-1/registers") == (200, [said])
    assert (await call(api, "POST", "grid/restore"))[0] == 200
    assert stand.restored == 1


async def test_the_time_factor_changes_and_tells_how_to_share_it(stand: Stand) -> None:
    clock = SystemClock()
    server = ControlServer(application(stand, clock))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.run_on(listener))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{listener.getsockname()[1]}") as session:
        _, pace = await call(session, "PUT", "clock", b'{"speed": 20}')
        assert clock.pace.speed == 1, "those who share the time have some of it to learn of the change"
        assert clock.upcoming.speed == pace["speed"] == 20
        assert pace["environment"]["GREENBRIDGE_SPEED"] == "20"
        told = (await call(session, "GET", "status"))[1]
        assert (told["speed"], told["pace"]["epoch_ns"]) == (1, pace["epoch_ns"])
        status, refused = await call(session, "PUT", "clock", b'{"speed": 0}')
        assert (status, "0.1 to 1000" in refused["error"]) == (422, True)
        server.should_exit = True
        async with asyncio.timeout(5):
            await serving


async def test_a_web_page_changes_nothing(api: aiohttp.ClientSession, stand: Stand) -> None:
    body = {"kind": "tap", "target": "SHY-TAS", "mw": 30.0}
    headers = {"Origin": "http://example.org", "Content-Type": "text/plain"}
    async with api.post("/api/v1/faults", data=json.dumps(body), headers=headers) as answer:
        assert answer.status == 403
        assert "web page" in (await answer.json())["error"]
    assert not stand.exercise.faults
