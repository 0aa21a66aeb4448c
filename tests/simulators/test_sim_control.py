from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from simulators.control import MAX_BODY, ControlServer, Status, application
from simulators.exercise import Exercise
from telemetry.clock import ManualClock


@pytest.fixture
def exercise() -> Exercise:
    return Exercise([], ["SHY-TAS", "KUN-AKT"])


@pytest.fixture
async def api(exercise: Exercise, clock: ManualClock) -> AsyncIterator[aiohttp.ClientSession]:
    def status() -> Status:
        return Status(5, 1.0, 7, None, exercise.announcements, exercise.faults)

    server = ControlServer(application(exercise, clock, status))
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
    status, fault = await call(api, "POST", "faults", b'{"kind": "tap", "line": "SHY-TAS", "mw": 30}')
    assert status == 201
    assert fault == {"id": fault["id"], "kind": "tap", "target": "SHY-TAS", "mw": 30.0, "active": True}
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
    assert await call(api, "DELETE", f"faults/{fault['id']}") == (200, fault | {"active": False})
    assert (await call(api, "GET", "status"))[1]["faults"] == [fault | {"active": False}]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "faults", b"{", 400, "truncated"),
        ("POST", "faults", b'{"kind": "trip", "line": "SHY-TAS", "mw": 1}', 400, "trip"),
        ("POST", "faults", b'{"kind": "tap", "line": "SHY-TAS"}', 400, "mw"),
        ("POST", "faults", b'{"kind": "tap", "line": "SHY-TAS", "mw": "1"}', 400, "mw"),
        ("POST", "faults", b'{"kind": "tap", "line": "SHY-TAS", "mw": 1, "x": 1}', 400, "x"),
        ("POST", "faults", b'{"kind": "tap", "line": "SHY-TAZ", "mw": 1}', 422, "SHY-TAS"),
        ("POST", "faults", b'{"kind": "tap", "line": "SHY-TAS", "mw": -1}', 422, "above 0"),
        ("POST", "faults", b" " * (MAX_BODY + 1), 413, "larger"),
        ("DELETE", "faults/tap-9", None, 404, "tap-9"),
        ("PUT", "faults", b"", 405, "Not Allowed"),
        ("GET", "nothing", None, 404, "Not Found"),
    ],
)
async def test_bad_requests_are_told_why(
    api: aiohttp.ClientSession,
    exercise: Exercise,
    method: str,
    path: str,
    body: bytes | None,
    status: int,
    words: str,
) -> None:
    code, answer = await call(api, method, path, body)
    assert code == status
    assert words in answer["error"]
    assert exercise.faults == ()
