"""A mark in every secret, looked for in everything that leaves the process."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from console.access import NEEDS
from console.accounts import FILE, Accounts
from console.roles import RIGHTS, Role
from console.sessions import unaudited
from telemetry.clock import SystemClock
from tests.greenbridge.test_site_settings import DEVICE, GRID, MAIN

GUARD_S = 90.0
SECRETS = {
    name: f"canary-of-{name}-{'0123456789abcdef' * 2}"
    for name in ("influx", "feed", "heartbeat", "links", "signin", "password", "wrong", "key")
}
# nobody listens on port 1: every connection fails, and is complained of
SETTINGS = """
[console]
port = 0
[logs]
level = "debug"
[influx]
url = "http://127.0.0.1:1"
org = "o"
bucket = "b"
token_file = "influx"
[[alerts.webhook]]
id = "feed"
url = "http://127.0.0.1:1/"
secret_file = "feed"
[alerts.notify.heartbeat]
url = "http://127.0.0.1:1/"
every_s = 5.0
secret_file = "heartbeat"
[alerts.notify.links]
console_url = "http://127.0.0.1:8080"
key_file = "links"
"""


async def test_no_secret_leaves_the_process(tmp_path: Path) -> None:
    site, state = tmp_path, tmp_path / "state"
    await asyncio.to_thread(write, site)
    clock = SystemClock()
    async with Accounts(state / FILE, clock, unaudited) as accounts:
        await accounts.add("anna", Role.ADMIN, SECRETS["password"], "test")
        _, token = await accounts.add_token("anna", "all", RIGHTS[Role.ADMIN], 1, "test")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenbridge", "run", str(site)),
        cwd=site,
        env={**os.environ, "GREENBRIDGE_SIGNIN_TOKEN": SECRETS["signin"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    log, heard = b"", ""
    try:
        async with asyncio.timeout(GUARD_S):
            while b"greenbridge_started" not in log:
                log += (line := await process.stdout.readline())
                assert line, log
            start = log.splitlines()[-1]
            url = re.search(rb"http://127[0-9.:]+", start)
            assert url is not None, start
            heard = await walk(url[0].decode(), token)
            # each of those that hold a secret has failed at least once by then
            for word in (b"http://127.0.0.1:1 cannot", b"beat_failed"):
                while word not in log:
                    log += (line := await process.stdout.readline())
                    assert line, log
    finally:
        process.terminate()
        log += await process.stdout.read()
        await process.wait()
    leaked = [name for name, secret in SECRETS.items() if secret in heard or secret.encode() in log]
    assert leaked == []
    assert token not in heard
    assert token.encode() not in log
    kept = await asyncio.to_thread(content, state)
    assert [name for name, secret in (SECRETS | {"token": token}).items() if secret.encode() in kept] == []


def write(site: Path) -> None:
    (site / "state").mkdir()
    (site / "greenbridge.toml").write_text(MAIN + SETTINGS)
    (site / "grid.toml").write_text(GRID)
    (site / "devices.toml").write_text(DEVICE)
    for name in ("influx", "feed", "heartbeat", "links"):
        (site / name).write_text(SECRETS[name])


def content(state: Path) -> bytes:
    return b"".join(file.read_bytes() for file in state.rglob("*") if file.is_file())


async def walk(url: str, token: str) -> str:
    """Everything that the console says to an admin, to a stranger and to those who are refused."""
    heard = []
    async with httpx.AsyncClient(base_url=url, headers={"origin": url}, timeout=GUARD_S) as client:

        async def ask(
            method: str, path: str, headers: Mapping[str, str] | None = None, **body: object
        ) -> None:
            answer = await client.request(method, path, headers=headers, json=body or None)
            heard.append(f"{answer.headers} {answer.text}")

        sign_in = "/api/v1/session"
        await ask("POST", sign_in, token=SECRETS["wrong"])
        await ask("POST", sign_in, name="anna", password=SECRETS["wrong"])
        await ask("POST", sign_in, name=SECRETS["wrong"], password=SECRETS["wrong"])
        await ask("POST", sign_in, name="anna", password=SECRETS["password"], more=SECRETS["wrong"])
        await ask("POST", sign_in, token=SECRETS["signin"])
        client.cookies.clear()
        await ask("POST", sign_in, name="anna", password=SECRETS["password"])
        client.cookies.clear()
        await ask("GET", "/api/v1/site", {"authorization": f"Token {SECRETS['key']}"})
        mine = {"authorization": f"Token {token}"}
        await ask("POST", "/api/v1/users", mine, name="boris", role="viewer", password=SECRETS["wrong"][:3])
        await ask("POST", "/api/v1/users", mine, name="boris", role="king", password=SECRETS["wrong"])
        for method, path in NEEDS:
            if method == "GET" and path != "/api/v1/stream":
                await ask(method, path, mine)
    return "\n".join(heard)
