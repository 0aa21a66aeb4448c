"""Every address, for a stranger, for every role and for API tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from starlette.routing import Mount, Route

from console.access import NEEDS, needed
from console.app import PAGES, Console
from console.config import ConsoleSettings
from console.entrance import COOKIE
from console.roles import RIGHTS, Right, Role, least_role
from console.sessions import Sessions
from tests.console.rig import FAST, TOKEN, Rig, connected, console_of

OPEN = {
    ("GET", "/signin"),
    ("GET", "/setup"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/static"),
    ("POST", "/api/v1/session"),
    ("POST", "/api/v1/setup"),
    # the token in the address says who may
    ("GET", "/acknowledge/{token}"),
    ("GET", "/api/v1/acknowledgements/{token}"),
    ("POST", "/api/v1/acknowledgements/{token}"),
}
"""What a stranger may use. A new address is neither here nor in NEEDS: the walk fails until it is."""

PASSWORD = "correct horse battery"


@dataclass
class Walker:
    """The application without a server, and somebody of each role at it."""

    console: Console
    client: httpx.AsyncClient
    sessions: Sessions
    cookies: dict[Role, str]
    tokens: dict[Role, str]
    """An API token of each role, with all of its rights."""
    settings: ConsoleSettings

    async def ask(self, method: str, path: str, **headers: str) -> httpx.Response:
        """The answer of an address; a cookie that another answer set does not stay."""
        self.client.cookies.clear()
        target = path.replace("{alarm}", "R6-SHY-TAS-1").replace("/static", "/static/style.css")
        return await self.client.request(method, target, headers=headers)


@pytest.fixture(params=[False, True], ids=["loopback", "behind a proxy"])
async def walker(request: pytest.FixtureRequest, rig: Rig) -> AsyncIterator[Walker]:
    settings = ConsoleSettings(behind_proxy=request.param)
    async with Sessions(rig.path, rig.clock, scrypt=FAST) as sessions:
        console, feed = console_of(rig, sessions, settings)
        # a closed feed answers the stream with 503 instead of streaming for ever
        await feed.close()
        cookies, tokens = {}, {}
        for role in Role:
            user = await sessions.accounts.add(f"anna-{role.value}", role, PASSWORD, "test")
            cookies[role] = await sessions.begin(user)
            _, tokens[role] = await sessions.accounts.add_token(user.name, "all", RIGHTS[role], 1, "test")
        async with connected(console) as client:
            yield Walker(console, client, sessions, cookies, tokens, settings)


def addresses(console: Console) -> list[tuple[str, str]]:
    found = []
    for route in console.routes:
        if isinstance(route, Mount):
            found.append(("GET", route.path))
        else:
            assert isinstance(route, Route)
            found += [(method, route.path) for method in route.methods or () if method != "HEAD"]
    # signing out comes last: it ends the session that the walk uses
    return sorted(found, key=lambda address: (address == ("DELETE", "/api/v1/session"), address))


async def test_every_address_is_classified(walker: Walker) -> None:
    assert sorted(addresses(walker.console)) == sorted(OPEN | set(NEEDS))
    assert not OPEN & set(NEEDS)
    with pytest.raises(LookupError, match=r"GET /new .* console/access\.py"):
        needed("GET", "/new")


async def test_every_address_for_every_role(walker: Walker) -> None:
    for method, path in addresses(walker.console):
        where, right = f"{method} {path}", NEEDS.get((method, path))
        stranger = await walker.ask(method, path)
        answers = [stranger]
        if path in PAGES:
            assert (stranger.status_code, stranger.headers["location"]) == (303, "/signin"), where
        elif right is None or (path == "/metrics" and walker.settings.is_local):
            assert "signed in" not in stranger.text, where
        else:
            assert stranger.status_code == 401, where
            assert stranger.json()["error"], where
        for role in Role:
            by_cookie = await walker.ask(method, path, cookie=f"{COOKIE}={walker.cookies[role]}")
            by_token = await walker.ask(method, path, authorization=f"Token {walker.tokens[role]}")
            for answer in (by_cookie, by_token):
                refused = answer.status_code == 403 and "has no right" in answer.text
                assert refused == (right is not None and right not in RIGHTS[role]), f"{where} {role}"
                assert right is None or answer.status_code not in {303, 401}, f"{where} {role}"
            answers += [by_cookie, by_token]
        for answer in answers:
            assert answer.status_code != 500, f"{where} {answer.text}"
            assert "default-src 'none'" in answer.headers["content-security-policy"], where
            assert answer.headers["x-content-type-options"] == "nosniff", where


def test_roles_grow_and_every_right_has_one() -> None:
    assert [len(RIGHTS[role]) for role in Role] == sorted({len(RIGHTS[role]) for role in Role})
    for lower, higher in zip(Role, list(Role)[1:], strict=False):
        assert RIGHTS[lower] < RIGHTS[higher]
    assert {right: least_role(right) for right in Right} == {
        Right.READ: Role.VIEWER,
        Right.METRICS: Role.VIEWER,
        Right.ALARMS: Role.OPERATOR,
        Right.AUDIT: Role.OPERATOR,
        Right.SERVICE: Role.ENGINEER,
        Right.SCHEDULES: Role.ENGINEER,
        Right.FAULTS: Role.ENGINEER,
        Right.RELOAD: Role.ENGINEER,
        Right.USERS: Role.ADMIN,
    }


async def test_other_methods_are_told_which_there_are(walker: Walker) -> None:
    for path, allowed in (("/api/v1/users", "GET, HEAD, POST"), ("/api/v1/site", "GET, HEAD")):
        answer = await walker.ask("PUT", path, origin="http://localhost")
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert (await walker.ask("PUT", "/static", origin="http://localhost")).status_code == 405


async def test_a_made_up_session_or_token_is_nobody(walker: Walker) -> None:
    session, token = walker.cookies[Role.ADMIN], walker.tokens[Role.ADMIN]
    path = "/api/v1/session"
    for made_up in (session[:-1], session + "x", "", "é", "x" * 4000):
        headers = [(b"cookie", f"{COOKIE}={made_up}".encode())]
        assert (await walker.client.get(path, headers=headers)).status_code == 401
    for made_up in (f"Token {token}x", f"Token {token[:-1]}", "Token", "Token ", f"Basic {token}", token, ""):
        # with an Authorization header the cookie beside it does not count
        answer = await walker.ask("GET", path, authorization=made_up, cookie=f"{COOKIE}={session}")
        assert answer.status_code == 401, made_up
    for good in (f"Token {token}", f"Bearer {token}", f"bearer  {token}"):
        assert (await walker.ask("GET", path, authorization=good)).status_code == 200, good


async def test_pages_have_nothing_inline_and_nothing_from_outside(walker: Walker) -> None:
    session = walker.cookies[Role.ADMIN]
    for path in ("/", "/signin", "/setup", "/acknowledge/token"):
        page = (await walker.ask("GET", path, cookie=f"{COOKIE}={session}")).text
        assert "<style" not in page
        assert " style=" not in page
        assert " onclick" not in page
        assert "http://" not in page
        assert "https://" not in page
        assert page.count("<script") == page.count('src="/static/')


async def test_the_demonstrations_link_has_no_right_to_users(walker: Walker) -> None:
    await walker.sessions.offer(TOKEN)
    session = await walker.sessions.sign_in(TOKEN, "operator")
    cookie = f"{COOKIE}={session}"
    assert (await walker.ask("GET", "/api/v1/users", cookie=cookie)).status_code == 403
    assert (await walker.ask("GET", "/api/v1/tokens", cookie=cookie)).status_code == 403
    assert (await walker.ask("GET", "/api/v1/session", cookie=cookie)).json()["role"] == "engineer"
