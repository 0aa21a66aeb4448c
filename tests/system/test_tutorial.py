"""Follows docs/tutorial.md: its files are written, its commands run, in its order, with other ports."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp
import pytest

from telemetry.clock import SystemClock

ROOT = Path(__file__).parents[2]
PORTS = ("15600", "15601", "15602", "15680")
STAYS = {"simulate", "run"}
"""Commands that go on running in a terminal of their own."""

GUARD_S = 200
"""Ends only what would never come."""

BLOCK = re.compile(r"^```(toml|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Reader:
    """Somebody who does what the page says."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.started: list[subprocess.Popen[bytes]] = []
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
        self.ports = dict(zip(PORTS, (str(s.getsockname()[1]) for s in sockets), strict=True))
        for each in sockets:
            each.close()

    def write(self, block: str) -> None:
        """A block of TOML names its file in the first line."""
        first, _, text = block.partition("\n")
        name, _, where = first.removeprefix("# ").partition(", ")
        for port, other in self.ports.items():
            text = text.replace(port, other)
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("a" if where == "at its end" else "x") as file:
            file.write(text)

    def command(self, line: str) -> list[str]:
        program, *arguments = shlex.split(line, comments=True)
        assert program == "./run"
        return [sys.executable, "-m", "greenbridge", *arguments]

    def start(self, line: str) -> None:
        """In a terminal of its own."""
        self.started.append(self._stack.enter_context(_running(self.command(line), self._folder)))

    def log(self, command: str) -> str:
        """What it has printed."""
        return (self._folder / f"{command}.log").read_text()

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(line), cwd=self._folder, capture_output=True, text=True, check=False, timeout=120,
            env=_environment(),
        )  # fmt: skip


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("GREENBRIDGE_")}


@contextmanager
def _running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{command[3]}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=_environment())
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()
                process.wait(60)


async def test_the_tutorial_leads_where_it_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text()
    done: dict[str, str] = {}
    with ExitStack() as stack:
        reader = Reader(tmp_path, stack)
        for kind, block in BLOCK.findall(page):
            if kind == "toml":
                reader.write(block)
                continue
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words[1] in STAYS:
                    reader.start(line)
                    async with asyncio.timeout(GUARD_S):
                        await _up(words[1], reader)
                    continue
                if words[1:3] == ["alarms", "list"]:
                    async with asyncio.timeout(GUARD_S):
                        await _raised(reader)
                finished = reader.run(line)
                assert finished.returncode == 0, (line, finished.stdout, finished.stderr)
                done[" ".join(words[1:3])] = finished.stdout
        listed = json.loads(reader.run("./run alarms list first/greenbridge.toml --json").stdout)
    assert "CUSTOM-line-in-use-1" in done["alarms list"]
    assert "TotW" in done["query first/greenbridge.toml"]
    assert "acknowledged" in json.dumps(listed)
    assert json.loads((tmp_path / "first/dashboards/ties.json").read_text())["title"].startswith("First site")
    assert any((tmp_path / "first" / "restored").iterdir())


async def _up(command: str, reader: Reader) -> None:
    """Waits until what was started answers, and the site has readings: a person reads on meanwhile."""
    clock = SystemClock()
    process = reader.started[-1]
    if command == "simulate":
        path = f"http://127.0.0.1:{reader.ports['15600']}/api/v1/status"
    else:
        path = f"http://127.0.0.1:{reader.ports['15680']}/readyz"
    async with aiohttp.ClientSession() as session:
        while True:
            assert process.poll() is None, reader.log(command)
            try:
                async with session.get(path) as answer:
                    if answer.status == 200:
                        break
            except aiohttp.ClientError:
                pass
            await clock.sleep(0.2)
    while command == "run" and "TotW" not in reader.run(f"{QUERY} --json").stdout:
        await clock.sleep(0.2)


QUERY = "./run query first/greenbridge.toml 'shy-main/*'"


async def _raised(reader: Reader) -> None:
    """The page says: some seconds later."""
    while "CUSTOM-line-in-use-1" not in reader.run("./run alarms list first/greenbridge.toml").stdout:
        await SystemClock().sleep(0.2)


@pytest.mark.parametrize("name", ["tutorial.md"])
def test_no_block_of_the_page_is_passed_over(name: str) -> None:
    page = (ROOT / "docs" / name).read_text()
    assert page.count("\n```") == 2 * len(BLOCK.findall(page))
