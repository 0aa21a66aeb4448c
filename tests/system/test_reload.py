"""Reload with real processes: a broker, simulated devices, greenbridge, and its command line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import duckdb
import pytest

from greenbridge.demo import broker
from greenbridge.demo.ledger import view_readings
from greenbridge.demo.operator import ConsoleClient, console_client
from ingest.audit import entries
from ingest.audit_chain import verify
from ingest.journal.points import declare
from tests.support.demo import CLOCK

GUARD_S = 170
TOKEN = "reload-" * 6
BENCH = """
seed = 7
host = "127.0.0.1"
control_port = {control}
[broker]
host = "127.0.0.1"
port = {broker}
[[gateway]]
id = "SHY"
port = {shy}
[[gateway]]
id = "TAS"
port = {tas}
[[device]]
id = "changed"
kind = "pm5xxx"
node = "SHY"
branch = "SHY-TAS"
gateway = "SHY"
unit = 1
[[device]]
id = "beside"
kind = "pm5xxx"
node = "SHY"
gateway = "SHY"
unit = 2
[[device]]
id = "steady"
kind = "pm5xxx"
node = "TAS"
branch = "SHY-TAS"
gateway = "TAS"
unit = 1
[[device]]
id = "published"
kind = "bus-meter"
node = "SHY"
topic = "t/published"
[[device]]
id = "added"
kind = "bus-meter"
node = "TAS"
topic = "t/added"
"""
MAIN = """
name = "Reload"
state_dir = "{state}"
grid = "{grid}"
profiles = ["own"]
[[modbus.gateway]]
id = "SHY"
host = "127.0.0.1"
port = {shy}
[[modbus.gateway]]
id = "TAS"
host = "127.0.0.1"
port = {tas}
[[mqtt.broker]]
id = "main"
host = "127.0.0.1"
port = {broker}
client_id = "reload"
[console]
port = {console}
"""
DEVICES = """
[[device]]
id = "changed"
profile = "{profile}"
node = "SHY"
branch = "SHY-TAS"
role = "main"
modbus = {{ gateway = "SHY", unit = 1 }}
[[device]]
id = "beside"
profile = "pm5xxx"
node = "SHY"
role = "injection"
modbus = {{ gateway = "SHY", unit = 2 }}
[[device]]
id = "steady"
profile = "pm5xxx"
node = "TAS"
branch = "SHY-TAS"
role = "main"
modbus = {{ gateway = "TAS", unit = 1 }}
[[device]]
id = "published"
profile = "bus-meter"
node = "SHY"
role = "injection"
mqtt = {{ broker = "main", topic = "t/published" }}
"""
ADDED = """
[[device]]
id = "added"
profile = "bus-meter"
node = "TAS"
role = "injection"
mqtt = { broker = "main", topic = "t/added" }
"""


def free_ports(*names: str) -> dict[str, int]:
    """Ports that were free a moment ago, all different."""
    with ExitStack() as held:
        sockets = {name: held.enter_context(socket.socket()) for name in names}
        for one in sockets.values():
            one.bind(("127.0.0.1", 0))
        return {name: one.getsockname()[1] for name, one in sockets.items()}


@asynccontextmanager
async def process(log: Path, *command: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as file:
        running = await asyncio.create_subprocess_exec(
            *command, stdout=file, stderr=asyncio.subprocess.STDOUT, env={**os.environ, **environment}
        )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()


async def listens(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await CLOCK.sleep(0.05)
        else:
            writer.close()
            return


async def ready(url: str, running: asyncio.subprocess.Process) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            assert running.returncode is None, "greenbridge ended; see its log"
            try:
                async with session.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await CLOCK.sleep(0.1)


class Bed:
    """A running greenbridge with what it reads."""

    def __init__(self, folder: Path, client: ConsoleClient, pid: int) -> None:
        self.folder = folder
        self.client = client
        self.pid = pid
        self.state = folder / "state"

    def write(self, *, profile: str = "pm5xxx", more: str = "") -> None:
        (self.folder / "devices.toml").write_text(DEVICES.format(profile=profile) + more)

    async def seen(self, count: int) -> None:
        """Waits until so many devices have delivered."""
        while True:
            status = await self.client.get("/api/v1/status")
            if (status["devices"], status["devices_seen"]) == (count, count):
                return
            await CLOCK.sleep(0.2)

    async def readings(self, more: int) -> None:
        """Waits until so many more readings were committed."""
        before = (await self.client.get("/api/v1/status"))["readings"]
        while (await self.client.get("/api/v1/status"))["readings"] < before + more:
            await CLOCK.sleep(0.2)

    async def reload(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of the command."""
        command = (sys.executable, "-m", "greenbridge", "reload", *arguments)
        running = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await running.communicate()
        return running.returncode or 0, output.decode()

    async def logged(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Waits for so many log lines of an event."""
        while True:
            lines = (self.folder / "greenbridge.log").read_text().splitlines()
            found = [json.loads(line) for line in lines if f'"event": "{event}"' in line]
            if len(found) >= count:
                return found
            await CLOCK.sleep(0.1)


@asynccontextmanager
async def bed(folder: Path) -> AsyncIterator[Bed]:
    ports = free_ports("shy", "tas", "broker", "control", "console")
    (folder / "bench.toml").write_text(BENCH.format(**ports))
    grid = files("greenbridge") / "corridor" / "grid.toml"
    (folder / "greenbridge.toml").write_text(MAIN.format(state=folder / "state", grid=grid, **ports))
    bundled = (files("adapters.modbus") / "profiles" / "pm5xxx.toml").read_text("utf-8")
    (folder / "own").mkdir()
    own = re.sub(r"(?m)^(id = .*)$", 'id = "own-meter"', bundled, count=1).replace(
        "[points.Hz]", "[points.HzNew]"
    )
    (folder / "own" / "own.toml").write_text(own.replace("\nHz = {", "\nHzNew = {"))
    (folder / "devices.toml").write_text(DEVICES.format(profile="pm5xxx"))
    server = broker.prepare(folder / "broker", ports["broker"], prefer="mosquitto")
    me = (sys.executable, "-m", "greenbridge")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(process(folder / "broker.log", *server.command))
        await listens(ports["broker"])
        run = process(
            folder / "greenbridge.log",
            *me,
            "run",
            str(folder / "greenbridge.toml"),
            GREENBRIDGE_SIGNIN_TOKEN=TOKEN,
        )
        running = await stack.enter_async_context(run)
        url = f"http://127.0.0.1:{ports['console']}"
        await ready(url, running)
        simulate = process(folder / "bench.log", *me, "simulate", str(folder / "bench.toml"))
        await stack.enter_async_context(simulate)
        client = await stack.enter_async_context(console_client(url))
        await client.sign_in(TOKEN)
        yield Bed(folder, client, running.pid)


def stored(state: Path) -> Mapping[tuple[str, str], list[int]]:
    """Source times [ns] of the good readings of each point, by device and name."""
    registry = declare(state / "points.sqlite")
    with duckdb.connect(str(state / "store.duckdb"), read_only=True) as db:
        view_readings(db)
        rows = db.execute(
            "SELECT point, list(t_source ORDER BY t_source) FROM reading WHERE quality < 128 GROUP BY point"
        ).fetchall()
    return {(registry.key(point).device, registry.key(point).name): times for point, times in rows}


def longest_step_s(times: list[int]) -> float:
    return max(b - a for a, b in pairwise(times)) / 1e9


@pytest.mark.system("mosquitto")
async def test_only_what_changed_is_restarted_and_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    async with asyncio.timeout(GUARD_S), bed(tmp_path) as site:
        main = str(tmp_path / "greenbridge.toml")
        await site.seen(4)
        await site.readings(100)

        site.write(profile="own-meter", more=ADDED)
        code, told = await site.reload(main, "--dry-run")
        assert code == 0
        assert '~ device changed (profile: "pm5xxx" -> "own-meter")' in told
        assert "+ device added (bus-meter at TAS, mqtt/main)" in told
        assert "modbus/SHY runs on; of its devices only these are touched: changed" in told
        assert "mqtt/main runs on; of its devices only these are touched: added" in told
        assert "Links that" not in told
        code, told = await site.reload(main, "--yes")
        assert (code, told.splitlines()[-1]) == (0, "Applied.")
        await site.seen(5)
        shown = await site.client.get("/api/v1/site")
        assert {device["id"] for device in shown["devices"]} == {
            *("changed", "beside", "steady", "published", "added")
        }
        assert "changed/HzNew" in {point["path"] for point in shown["points"]}
        await site.readings(100)

        site.write(profile="no-such-profile")
        code, told = await site.reload(main, "--yes")
        assert code == 2
        assert 'device[0].profile = "no-such-profile": no such profile' in told
        assert "Nothing was changed." in told
        # without a configuration, or by signal, it is refused as well
        code, told = await site.reload("--state", str(site.state), "--yes")
        assert (code, "no such profile" in told) == (2, True)
        os.kill(site.pid, signal.SIGHUP)
        await site.logged("reload_refused", 3)
        assert (await site.client.get("/api/v1/status"))["devices"] == 5

        site.write(profile="own-meter")
        os.kill(site.pid, signal.SIGHUP)
        await site.logged("reload_done", 2)
        await site.seen(4)
        assert (await site.client.get("/api/v1/status"))["stores"][0]["holds"]
        await site.readings(50)
        assert len(await site.logged("mqtt_connected")) == 1, "the connection was not opened anew"

    times = stored(site.state)
    # "beside" is behind the gateway of "changed", "published" on the broker of "added"
    for untouched in ("beside", "steady", "published"):
        for (device, _), moments in times.items():
            if device == untouched:
                assert longest_step_s(moments) < 2.5, device
    assert times["changed", "HzNew"][0] > times["changed", "Hz"][-1]
    assert longest_step_s(times["changed", "TotW"]) < 5
    assert ("added", "TotW") in times
    written = entries(site.state / "audit.sqlite")
    assert verify(written) == written[-1]
    reloads = [entry.act for entry in written if entry.act.action == "reload"]
    assert [(act.outcome, act.who.partition(" ")[0]) for act in reloads] == [
        ("done", "uid"),
        ("refused", "uid"),
        ("refused", "uid"),
        ("refused", "SIGHUP"),
        ("done", "SIGHUP"),
    ]
    assert "Traceback" not in (tmp_path / "greenbridge.log").read_text()
