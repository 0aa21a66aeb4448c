from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import msgspec
import pytest

from console.config import ConsoleSettings
from console.corridor import site_view
from console.feed import Feed
from console.server import ConsoleError, run, serving
from console.sessions import Sessions
from console.stream import EventStream
from telemetry.clock import settle
from tests.console.rig import TOKEN, Rig, served


async def events(answer: httpx.Response) -> AsyncIterator[tuple[str, object]]:
    name = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, msgspec.json.decode(line.removeprefix("data: "))


@asynccontextmanager
async def signed_in(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, headers={"origin": url}) as client:
        assert (await client.post("/api/v1/session", json={"token": TOKEN})).status_code == 200
        yield client


@pytest.fixture
async def operator(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody signed in at a running server."""
    async with served(rig) as url, signed_in(url) as client:
        yield client


async def test_a_page_is_told_everything_and_then_the_changes(operator: httpx.AsyncClient, rig: Rig) -> None:
    point = rig.point("SHY-TAS_SHY_main/TotW")
    rig.live.put(point, -322.0)
    async with asyncio.timeout(20), operator.stream("GET", "/api/v1/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["content-security-policy"]
        told = events(answer)
        first = [(await anext(told))[0] for _ in range(7)]
        assert first == ["site", "values", "alarms", "indeterminate", "status", "announcements", "tick"]
        rig.live.put(point, -300.0)
        async for name, data in told:
            if name == "values":
                assert isinstance(data, list)
                assert [reading[:2] for reading in data] == [[point, -300.0]]
                break


async def test_stopping_the_server_ends_open_streams_properly(rig: Rig) -> None:
    async with asyncio.timeout(20), AsyncExitStack() as clients:
        async with served(rig) as url:
            client = await clients.enter_async_context(signed_in(url))
            answers = [
                await clients.enter_async_context(client.stream("GET", "/api/v1/stream")) for _ in range(3)
            ]
            streams = [events(answer) for answer in answers]
            for stream in streams:
                await anext(stream)
        # had the server's grace run out, the answers would break off and httpx would raise
        for stream in streams:
            assert [name async for name, _ in stream][-1] == "tick"


async def test_a_cancelled_run_stops_in_the_same_way(rig: Rig) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with asyncio.timeout(20), Sessions(rig.path, rig.clock) as sessions:
        await sessions.offer(TOKEN)
        running = asyncio.create_task(
            run(ConsoleSettings(port=port), rig.clock, rig.site, rig.ports, sessions)
        )
        url = f"http://127.0.0.1:{port}"
        transport = httpx.AsyncHTTPTransport(retries=8)
        async with httpx.AsyncClient(base_url=url, headers={"origin": url}, transport=transport) as client:
            await client.post("/api/v1/session", json={"token": TOKEN})
            async with client.stream("GET", "/api/v1/stream") as answer:
                told = events(answer)
                await anext(told)
                running.cancel()
                assert [name async for name, _ in told][-1] == "tick"
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_signing_out_ends_the_stream(operator: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20), operator.stream("GET", "/api/v1/stream") as answer:
        told = events(answer)
        await anext(told)
        await operator.delete("/api/v1/session")
        async for _ in told:
            pass


async def test_streams_are_limited_and_given_back(rig: Rig) -> None:
    settings = ConsoleSettings(port=0, max_streams=1)
    async with (
        asyncio.timeout(20),
        Sessions(rig.path, rig.clock) as sessions,
        serving(settings, rig.clock, rig.site, rig.ports, sessions) as console,
    ):
        await sessions.offer(TOKEN)
        async with signed_in(console.url) as client:
            async with client.stream("GET", "/api/v1/stream") as answer:
                await anext(events(answer))
                refused = await client.get("/api/v1/stream")
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
                assert "max_streams" in refused.json()["fix"]
            # the server notices at its next turn that the client has left
            while True:
                async with client.stream("GET", "/api/v1/stream") as answer:
                    if answer.status_code == 200:
                        break


async def test_a_client_that_takes_nothing_is_let_go(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.stream.SEND_TIMEOUT_S", 0.01)
    feed = Feed(rig.clock, site_view(rig.site), rig.ports)
    await feed.turn()
    blocked = asyncio.Event()

    async def send(message: object) -> None:
        await blocked.wait()

    async def receive() -> dict[str, str]:
        await blocked.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(20):
        await EventStream(feed, lambda: True)({"type": "http"}, receive, send)
    await settle()


async def test_an_address_in_use_is_named(rig: Rig) -> None:
    async with served(rig) as url, Sessions(rig.path.with_name("other.sqlite"), rig.clock) as sessions:
        port = int(url.rpartition(":")[2])
        with pytest.raises(ConsoleError, match=str(port)):
            async with serving(ConsoleSettings(port=port), rig.clock, rig.site, rig.ports, sessions):
                pass
