from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.routing import Mount, Route

from console.api import COOKIE
from console.app import Console
from console.config import ConsoleSettings
from console.sessions import Sessions
from tests.console.rig import TOKEN, Rig, connected, console_of

ACCESS = {
    ("GET", "/"): "page",
    ("GET", "/areas"): "page",
    ("GET", "/areas/{area}"): "page",
    ("GET", "/plants"): "page",
    ("GET", "/plants/{device}"): "page",
    ("GET", "/ties"): "page",
    ("GET", "/ties/{tie}"): "page",
    ("GET", "/trends"): "page",
    ("GET", "/alarms"): "page",
    ("GET", "/quality"): "page",
    ("GET", "/system"): "page",
    ("GET", "/audit"): "page",
    ("GET", "/api/v1/alarms/indicators"): "session",
    ("GET", "/api/v1/quality"): "session",
    ("GET", "/api/v1/machinery"): "session",
    ("GET", "/api/v1/audit"): "session",
    ("GET", "/api/v1/agreed"): "session",
    ("GET", "/api/v1/explanation"): "session",
    ("GET", "/signin"): "open",
    ("GET", "/healthz"): "open",
    ("GET", "/readyz"): "open",
    ("GET", "/metrics"): "local",
    ("GET", "/static"): "open",
    ("POST", "/api/v1/session"): "open",
    ("GET", "/api/v1/session"): "session",
    ("DELETE", "/api/v1/session"): "session",
    ("GET", "/api/v1/site"): "session",
    ("GET", "/api/v1/last"): "session",
    ("GET", "/api/v1/series"): "session",
    ("GET", "/api/v1/alarms"): "session",
    ("GET", "/api/v1/alarms/history"): "session",
    ("POST", "/api/v1/alarms/{alarm}/acknowledge"): "session",
    ("POST", "/api/v1/alarms/{alarm}/shelve"): "session",
    ("POST", "/api/v1/alarms/{alarm}/unshelve"): "session",
    ("POST", "/api/v1/alarms/{alarm}/reset"): "session",
    ("GET", "/acknowledge/{token}"): "open",
    ("GET", "/api/v1/acknowledgements/{token}"): "open",
    ("POST", "/api/v1/acknowledgements/{token}"): "open",
    ("GET", "/api/v1/indeterminate"): "session",
    ("GET", "/api/v1/status"): "session",
    ("GET", "/api/v1/announcements"): "session",
    ("GET", "/api/v1/schedules"): "session",
    ("POST", "/api/v1/schedules"): "session",
    ("GET", "/api/v1/ledger"): "session",
    ("GET", "/api/v1/stream"): "session",
    ("GET", "/api/v1/influx/query"): "session",
}
"""Every address, classified. A new route fails the walk until it stands here."""

Walker = tuple[Console, httpx.AsyncClient, str]


@pytest.fixture(params=[False, True], ids=["loopback", "behind a proxy"])
async def walker(request: pytest.FixtureRequest, rig: Rig) -> AsyncIterator[Walker]:
    """The application without a server, a stranger, and a session that it may use."""
    settings = ConsoleSettings(behind_proxy=request.param)
    async with Sessions(rig.path, rig.clock) as sessions:
        console, feed = console_of(rig, sessions, settings)
        # a closed feed answers the stream with 503 instead of streaming for ever
        await feed.close()
        await sessions.offer(TOKEN)
        session = await sessions.sign_in(TOKEN, "operator")
        assert session is not None
        async with connected(console) as client:
            yield console, client, session


def addresses(console: Console) -> list[tuple[str, str]]:
    found = []
    for route in console.routes:
        if isinstance(route, Mount):
            found.append(("GET", route.path))
        else:
            assert isinstance(route, Route)
            found += [(method, route.path) for method in route.methods or () if method != "HEAD"]
    return found


async def test_every_route_is_classified(walker: Walker) -> None:
    assert sorted(addresses(walker[0])) == sorted(ACCESS)


async def test_every_route_without_and_with_a_session(walker: Walker, request: pytest.FixtureRequest) -> None:
    console, client, session = walker
    behind_proxy = "proxy" in request.node.name
    # signing out comes last: it ends the session that the walk uses
    for method, path in sorted(addresses(console), key=lambda address: address[0] == "DELETE"):
        access = ACCESS[method, path]
        target = path.replace("{alarm}", "R6-SHY-TAS-1")
        if path == "/static":
            target = "/static/style.css"
        stranger = await client.request(method, target)
        member = await client.request(method, target, headers={"cookie": f"{COOKIE}={session}"})
        where = f"{method} {path}"
        if access == "page":
            assert (stranger.status_code, stranger.headers["location"]) == (303, "/signin"), where
        elif access == "session" or (access == "local" and behind_proxy):
            assert stranger.status_code == 401, where
            assert stranger.json()["error"], where
        else:
            assert "signed in" not in stranger.text, where
        assert member.status_code not in {303, 401}, where
        for answer in (stranger, member):
            assert "default-src 'none'" in answer.headers["content-security-policy"], where
            assert answer.headers["x-content-type-options"] == "nosniff", where


async def test_a_made_up_session_is_nobody(walker: Walker) -> None:
    _, client, session = walker
    for made_up in (session[:-1], session + "x", "", "é", "x" * 4000):
        cookie = f"{COOKIE}={made_up}".encode()
        answer = await client.get("/api/v1/session", headers=[(b"cookie", cookie)])
        assert answer.status_code == 401


async def test_pages_have_nothing_inline_and_nothing_from_outside(walker: Walker) -> None:
    _, client, session = walker
    for path in ("/", "/signin", "/acknowledge/token"):
        page = (await client.get(path, headers={"cookie": f"{COOKIE}={session}"})).text
        assert "<style" not in page
        assert " style=" not in page
        assert " onclick" not in page
        assert "http://" not in page
        assert "https://" not in page
        assert page.count("<script") == page.count('src="/static/')
