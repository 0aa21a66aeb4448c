"""A hang-up while greenbridge starts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from telemetry.clock import SystemClock
from tests.adapters.brokers import free_port
from tests.greenbridge.test_site_settings import GRID

MAIN = """
name = "Empty"
state_dir = "{state}"
[console]
port = {port}
"""


async def test_a_hang_up_during_the_start_reloads_once_it_runs(tmp_path: Path) -> None:
    (tmp_path / "greenbridge.toml").write_text(MAIN.format(state=tmp_path / "state", port=free_port()))
    (tmp_path / "grid.toml").write_text(GRID)
    (tmp_path / "devices.toml").write_text("")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenbridge", "run", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            while not (tmp_path / "state" / "run.lock").exists():
                await SystemClock().sleep(0.005)
            process.send_signal(signal.SIGHUP)
            told = b""
            while b"reload_without_change" not in told:
                line = await process.stdout.readline()
                assert line, f"it ended: {told.decode()}"
                told += line
            process.terminate()
            await process.communicate()
    finally:
        if process.returncode is None:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode == 0
