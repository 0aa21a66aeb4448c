"""Coming in: passwords, the first user, one's own password and tokens, and what slows an attacker down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from console.entrance import MAX_WAITING
from console.roles import Right, Role
from console.sessions import Sessions
from ingest.audit_chain import Act
from telemetry.clock import ManualClock
from telemetry.site import Site
from tests.console.rig import FAST, Rig, connected, console_of, make_alarm

PASSWORD, OTHER = "correct horse battery", "another long password"


@pytest.fixture
async def sessions(rig: Rig) -> AsyncIterator[Sessions]:
    async with Sessions(rig.path, rig.clock, scrypt=FAST) as sessions:
        yield sessions


@pytest.fixture
async def client(rig: Rig, sessions: Sessions) -> AsyncIterator[httpx.AsyncClient]:
    async with connected(console_of(rig, sessions)[0]) as client:
        yield client


async def signed_in(
    client: httpx.AsyncClient, sessions: Sessions, name: str, role: Role
) -> httpx.AsyncClient:
    await sessions.accounts.add(name, role, PASSWORD, "test")
    answer = await client.post("/api/v1/session", json={"name": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return client


async def test_the_first_user(client: httpx.AsyncClient, sessions: Sessions) -> None:
    sessions.accounts.offer_setup("t" * 40)
    body = {"token": "t" * 40, "name": "anna", "password": "short"}
    assert (await client.post("/api/v1/setup", json=body)).status_code == 409
    assert (await client.post("/api/v1/setup", json=body | {"token": "u"})).status_code == 401
    made = await client.post("/api/v1/setup", json=body | {"password": PASSWORD})
    assert made.status_code == 200
    assert "httponly" in made.headers["set-cookie"].lower()
    assert "samesite=strict" in made.headers["set-cookie"].lower()
    assert (await client.get("/api/v1/users")).json()[0]["role"] == "admin"
    again = body | {"name": "boris", "password": PASSWORD}
    assert (await client.post("/api/v1/setup", json=again)).status_code == 401


async def test_wrong_passwords_slow_down_the_user_and_the_address(
    client: httpx.AsyncClient, sessions: Sessions
) -> None:
    await sessions.accounts.add("anna", Role.VIEWER, PASSWORD, "test")
    wrong = {"name": "anna", "password": OTHER}
    burst = await asyncio.gather(*(client.post("/api/v1/session", json=wrong) for _ in range(12)))
    # however many come at once, five are looked at
    assert sorted(answer.status_code for answer in burst) == [401] * 5 + [429] * 7
    right = await client.post("/api/v1/session", json={"name": "anna", "password": PASSWORD})
    assert right.status_code == 429
    assert int(right.headers["retry-after"]) >= 1


async def test_who_came_who_went_and_who_was_refused_is_audited(rig: Rig) -> None:
    acts: list[Act] = []

    async def audit(act: Act) -> None:
        acts.append(act)

    async with Sessions(rig.path, rig.clock, audit=audit, scrypt=FAST) as sessions:
        await sessions.accounts.add("anna", Role.VIEWER, PASSWORD, "test")
        del acts[:]
        async with connected(console_of(rig, sessions)[0]) as client:
            for name, password in [("anna", OTHER), (PASSWORD, "anna"), ("anna", PASSWORD)]:
                await client.post("/api/v1/session", json={"name": name, "password": password})
            await client.delete("/api/v1/session")
    assert [(act.who, act.action, act.outcome) for act in acts] == [
        ("anna", "sign in", "refused"),
        ("somebody", "sign in", "refused"),
        ("anna", "sign in", "done"),
        ("anna", "sign out", "done"),
    ]
    assert PASSWORD not in repr(acts)
    assert OTHER not in repr(acts)


async def test_a_user_is_slowed_down_also_from_elsewhere(rig: Rig, sessions: Sessions) -> None:
    console, _ = console_of(rig, sessions)
    await sessions.accounts.add("anna", Role.VIEWER, PASSWORD, "test")
    statuses = []
    for i in range(6):
        transport = httpx.ASGITransport(console.app, client=(f"192.0.2.{i}", 1))
        headers = {"origin": "http://localhost"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", headers=headers
        ) as one:
            answer = await one.post("/api/v1/session", json={"name": "anna", "password": OTHER})
            statuses.append(answer.status_code)
    assert statuses == [401] * 5 + [429]


async def test_more_than_some_at_once_are_sent_away(client: httpx.AsyncClient, sessions: Sessions) -> None:
    await sessions.accounts.add("anna", Role.VIEWER, PASSWORD, "test")
    body = {"name": "anna", "password": PASSWORD}
    burst = await asyncio.gather(*(client.post("/api/v1/session", json=body) for _ in range(60)))
    statuses = [answer.status_code for answer in burst]
    assert set(statuses) <= {200, 429}
    assert statuses.count(200) >= MAX_WAITING


async def test_ones_own_password(client: httpx.AsyncClient, sessions: Sessions) -> None:
    await signed_in(client, sessions, "anna", Role.VIEWER)
    before = client.cookies["greenbridge_session"]
    wrong = await client.post("/api/v1/password", json={"old": OTHER, "new": OTHER})
    assert wrong.status_code == 401
    short = await client.post("/api/v1/password", json={"old": PASSWORD, "new": "short"})
    assert short.status_code == 409
    assert (await client.post("/api/v1/password", json={"old": PASSWORD, "new": OTHER})).status_code == 200
    assert client.cookies["greenbridge_session"] != before
    assert sessions.who(before) is None
    assert (await client.get("/api/v1/session")).json()["who"] == "anna"


async def test_tokens_of_ones_own(client: httpx.AsyncClient, sessions: Sessions, rig: Rig) -> None:
    await rig.desk.put(make_alarm(rig.clock.now_ns()))
    await signed_in(client, sessions, "anna", Role.OPERATOR)
    body = {"label": "grafana", "rights": ["read"], "days": 1}
    made = (await client.post("/api/v1/tokens", json=body)).json()
    assert made["secret"].startswith("gb_")
    listed = (await client.get("/api/v1/tokens")).json()
    assert [(token["label"], token["rights"], token["secret"]) for token in listed] == [
        ("grafana", ["read"], "")
    ]
    headers = {"authorization": f"Token {made['secret']}"}
    acknowledge = "/api/v1/alarms/R6-SHY-TAS-1/acknowledge"
    # a token needs no Origin, and has only its own rights, whatever session comes with it
    del client.headers["origin"]
    assert (await client.get("/api/v1/alarms", headers=headers)).status_code == 200
    assert (await client.post(acknowledge, json={}, headers=headers)).status_code == 403
    assert (await client.post("/api/v1/tokens", json=body, headers=headers)).status_code == 403
    _, secret = await sessions.accounts.add_token("anna", "acknowledger", {Right.ALARMS}, 1, "test")
    done = await client.post(acknowledge, json={}, headers={"authorization": f"Bearer {secret}"})
    assert done.json()["acknowledged_by"] == "anna by token acknowledger"
    foreign = {"authorization": f"Bearer {secret}", "origin": "http://evil.example"}
    assert (await client.post(acknowledge, json={}, headers=foreign)).status_code == 403
    assert (await client.post(acknowledge, json={})).status_code == 403  # the session alone needs its Origin


async def test_users_by_an_admin(client: httpx.AsyncClient, sessions: Sessions) -> None:
    await signed_in(client, sessions, "anna", Role.ADMIN)
    body = {"name": "boris", "role": "viewer", "password": PASSWORD}
    assert (await client.post("/api/v1/users", json=body)).status_code == 201
    assert (await client.post("/api/v1/users", json=body)).status_code == 409
    unknown = await client.post("/api/v1/users", json=body | {"name": "c", "role": "king"})
    assert unknown.status_code == 400
    role = await client.post("/api/v1/users/boris/role", json={"role": "operator"})
    assert role.json()["role"] == "operator"
    again = await client.post("/api/v1/users/boris/password", json={"password": OTHER})
    assert again.status_code == 200
    assert await sessions.accounts.check("boris", OTHER) is not None
    assert (await client.delete("/api/v1/users/boris")).status_code == 204
    assert (await client.delete("/api/v1/users/anna")).status_code == 409
    assert [user["name"] for user in (await client.get("/api/v1/users")).json()] == ["anna"]


async def test_an_open_page_alone_keeps_nobody_signed_in(
    tmp_path: Path, site: Site, clock: ManualClock
) -> None:
    rig = Rig.of(clock, tmp_path / "console.sqlite", site)
    async with (
        Sessions(rig.path, clock, idle_hours=1.0, scrypt=FAST) as sessions,
        connected(console_of(rig, sessions)[0]) as client,
    ):
        await signed_in(client, sessions, "anna", Role.VIEWER)
        background = {"x-background": "1"}
        for headers, still in (({}, 200), ({}, 200), (background, 200), (background, 401)):
            await clock.advance(1900.0)
            assert (await client.get("/api/v1/alarms", headers=headers)).status_code == still
