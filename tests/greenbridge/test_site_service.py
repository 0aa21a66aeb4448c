"""What greenbridge tells the service manager that started it; a socket stands in systemd's place."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenbridge.cli import EXIT_USAGE, app
from greenbridge.service import READY, STOPPING, ServiceManager
from tests.adapters.brokers import free_port
from tests.greenbridge.test_reload_hangup import MAIN
from tests.greenbridge.test_site_settings import GRID

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "greenbridge.service"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)
        yield channel


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "60000000"}, 60.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "41"}, 60.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "42"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_what_the_environment_says(
    environment: dict[str, str], watchdog_s: float | None
) -> None:
    assert ServiceManager(environment, 41).watchdog_s == watchdog_s


def test_an_abstract_address_and_a_deaf_manager(tmp_path: Path) -> None:
    name = f"greenbridge-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0{name}")
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}, 1).tell(READY, "STATUS=well")
        assert channel.recv(100) == b"READY=1\nSTATUS=well"
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")}, 1).tell(READY)
    ServiceManager({}, 1).tell(READY)


async def test_a_running_greenbridge_is_ready_alive_and_stops(tmp_path: Path, manager: socket.socket) -> None:
    (tmp_path / "greenbridge.toml").write_text(MAIN.format(state=tmp_path / "state", port=free_port()))
    (tmp_path / "grid.toml").write_text(GRID)
    (tmp_path / "devices.toml").write_text("")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenbridge", "run", str(tmp_path)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"},
    )
    loop, told = asyncio.get_running_loop(), list[str]()
    try:
        async with asyncio.timeout(120):
            while READY not in told or told.count("WATCHDOG=1") < 3:
                told.append((await loop.sock_recv(manager, 100)).decode())
            assert STOPPING not in told
            process.send_signal(signal.SIGTERM)
            while told[-1] != STOPPING:
                told.append((await loop.sock_recv(manager, 100)).decode())
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert told.count(READY) == 1


def test_the_unit_names_commands_that_exist() -> None:
    unit = UNIT.read_text()
    commands = {command.callback.__name__ for command in app.registered_commands if command.callback}
    for line in re.findall(r"^Exec\w+=/opt/greenbridge/\.venv/bin/greenbridge (\w+) ", unit, re.MULTILINE):
        assert line in commands
    assert f"RestartPreventExitStatus={EXIT_USAGE}" in unit
    assert "Type=notify\n" in unit
    assert int(re.findall(r"^WatchdogSec=(\d+)$", unit, re.MULTILINE)[0]) >= 30
