"""System tests in processes of their own, seen from a run of a small tree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.beside import FILLING, SWITCH

LOWEST = 19
"""Niceness cannot be more (nice(2))."""

CONFTEST = """
import os
from pathlib import Path
from tests.support.beside import SWITCH, Beside

def pytest_configure(config):
    os.environ.pop("GREENBRIDGE_CI", None)
    if os.environ.get(SWITCH):
        here = Path(__file__).parent
        config.pluginmanager.register(Beside(here / "system", [here / "test_computing.py"]))
"""

APART = """
import os, pytest

@pytest.mark.parametrize("number", [1, 2])
def test_good(number):
    (open(os.environ["TRACE"], "a")).write(f"{os.getpid()} ")

def test_bad():
    assert 1 == 2, "the reason"

def test_skipped_on_the_way():
    pytest.skip("too dark")

@pytest.mark.skip(reason="known before")
def test_skipped():
    ...
"""

DEADLY = """
import os
def test_deadly():
    os._exit(3)
"""

COMPUTING = """
import os
def test_computing():
    assert os.nice(0) == LOW
    (open(os.environ["TRACE"], "a")).write(f"{os.getpid()} ")
"""

HERE = """
import os
def test_here():
    (open(os.environ["TRACE"], "a")).write(f"{os.getpid()} ")
"""


def test_outcomes_of_other_processes_are_those_of_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "checks" / "system"
    folder.mkdir(parents=True)
    (folder.parent / "conftest.py").write_text(CONFTEST)
    (folder.parent / "test_here.py").write_text(HERE)
    (folder / "test_apart.py").write_text(APART)
    (folder.parent / "test_computing.py").write_text(
        COMPUTING.replace("LOW", str(min(os.nice(0) + FILLING, LOWEST)))
    )
    (folder / "test_deadly.py").write_text(DEADLY)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    trace = tmp_path / "trace"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pytest", "-rs", "-p", "no:cacheprovider", "-p", "no:asyncio"],
        cwd=tmp_path,
        env={**os.environ, SWITCH: "1", "TRACE": str(trace)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "2 failed, 4 passed, 2 skipped" in done.stdout.splitlines()[-1], done.stdout
    for told in ("the reason", "too dark", "known before", "test_deadly was not run"):
        assert told in done.stdout
    processes = trace.read_text().split()
    # the two tests of one file, the file that computes, and the run itself
    assert sorted(processes.count(process) for process in set(processes)) == [1, 1, 2]
