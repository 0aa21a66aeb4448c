"""How the demonstration ends: in order on Ctrl-C, and without orphans when it is killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from greenbridge.demo.operator import ConsoleClient, console_client
from tests.support.demo import CLOCK

GUARD_S = 120


def descendants(pid: int) -> list[int]:
    """Processes below one, nearest first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in map(int, children) for found in (child, *descendants(child))]


async def gone(pids: list[int]) -> None:
    """Returns when none of the processes is left."""
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):  # noqa: ASYNC240 - proc(5) does not block
        await CLOCK.sleep(0.05)


@asynccontextmanager
async def running_demo(
    state: Path, broker: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, str]]:
    """The command as people start it; yields the process, the console's address and the token."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenbridge", "demo", "--state", str(state), "--broker", broker),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        while not (match := re.search(rb"(http://\S+)/signin\?token=(\S+)", await process.stdout.readline())):
            assert process.returncode is None
        yield process, match[1].decode(), match[2].decode()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def all_seen(client: ConsoleClient) -> None:
    """Returns when every device has delivered."""
    while True:
        status = await client.get("/api/v1/status")
        if status["devices_seen"] == status["devices"]:
            return
        await CLOCK.sleep(0.2)


@pytest.mark.system("mosquitto")
@pytest.mark.parametrize("broker", ["mosquitto", "nats-server"])
async def test_ctrl_c_ends_every_child_and_every_open_stream(tmp_path: Path, broker: str) -> None:
    async with asyncio.timeout(GUARD_S), running_demo(tmp_path, broker) as (process, url, token):
        children = descendants(process.pid)
        assert len(children) == 3
        jar = aiohttp.CookieJar(unsafe=True)
        async with console_client(url) as client, aiohttp.ClientSession(cookie_jar=jar) as session:
            await client.sign_in(token)
            await all_seen(client)
            client.share_cookies(jar)
            async with session.get(f"{url}/api/v1/stream") as stream:
                assert stream.status == 200
                await stream.content.readline()
                process.send_signal(signal.SIGINT)
                await stream.content.read()  # until the server ends it
        assert await process.wait() == 0
        await gone(children)
        log = (tmp_path / "logs" / "greenbridge.log").read_bytes()
        assert b"Traceback" not in log
        assert b"greenbridge_stopped" in log


@pytest.mark.system("mosquitto")
async def test_a_killed_demonstration_leaves_no_orphan_and_can_be_started_again(tmp_path: Path) -> None:
    for _ in range(2):
        async with asyncio.timeout(GUARD_S), running_demo(tmp_path, "mosquitto") as (process, _, _):
            children = descendants(process.pid)
            assert len(children) == 3
            process.kill()
            await process.wait()
            await gone(children)
