"""The rules of tests/conftest.py: what a test leaves behind fails it, what a system test lacks is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

STORIES = """
import asyncio, subprocess, threading
kept = []

async def test_task():
    kept.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten"))

def test_thread():
    threading.Thread(target=threading.Event().wait, daemon=True, name="forgotten").start()

def test_process():
    kept.append(subprocess.Popen(["sleep", "3"]))

async def test_tidy():
    await asyncio.create_task(asyncio.to_thread(subprocess.run, ["true"], check=True))
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
"""


def run(folder: Path, body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST.read_text().replace("GRACE_S = 5.0", "GRACE_S = 0.1"))
    (folder / "test_story.py").write_text(body)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\nmarkers = system: programs\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-rasE", "-p", "no:cacheprovider", folder],
        cwd=folder,
        env={**os.environ, "GREENBRIDGE_CI": "", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_a_test_leaves_behind_fails_it(tmp_path: Path) -> None:
    done = run(tmp_path, STORIES)
    summary = done.stdout.partition("short test summary info")[2]
    assert "ERROR test_story.py::test_task - Failed: tasks left running: forgotten" in summary
    assert "ERROR test_story.py::test_thread - Failed: left running: thread forgotten" in summary
    assert "ERROR test_story.py::test_process - Failed: left running: process" in summary
    assert "test_tidy" not in summary
    assert "4 passed, 3 errors" in summary


def test_a_missing_program_skips_and_fails_in_ci(tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "bin")
    body = 'import pytest\n@pytest.mark.system("chromium")\ndef test_it(): ...\n'
    done = run(tmp_path, body, PATH=elsewhere)
    assert "chromium not found; on Debian: apt-get install chromium" in done.stdout
    assert "1 skipped" in done.stdout
    done = run(tmp_path, body, PATH=elsewhere, GREENBRIDGE_CI="1")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "chromium not found" in done.stderr
