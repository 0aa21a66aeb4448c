"""Rules that hold for every test: what it starts, it ends; what it needs, it names."""

from __future__ import annotations

import asyncio
import inspect
import os
import select
import shutil
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import suppress
from pathlib import Path

import hypothesis
import pytest
import structlog

from telemetry.clock import ManualClock, settle
from tests.support.beside import SWITCH, Beside

# a busy machine is no fault of what is tested
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

SYSTEM_PROGRAMS = {
    "mosquitto": "mosquitto",
    "influxd": "influxdb",
    "victoria-metrics": "victoria-metrics",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "chromium": "chromium",
}
"""Programs that system tests use, with the Debian package of each."""

GRACE_S = 5.0
"""Time that a thread or process gets to end after its owner has told it to [s]."""

BASELINE = pytest.StashKey[tuple[set[threading.Thread], set[int]]]()


def pytest_configure(config: pytest.Config) -> None:
    # Debian keeps daemons in a directory that an ordinary user's PATH leaves out
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    if os.environ.get(SWITCH):
        tests = Path(__file__).parent
        plays = tests / "greenbridge" / "test_scenario_plays.py"
        config.pluginmanager.register(Beside(tests / "system", [plays]), "beside")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips system tests whose programs are missing; in CI a missing program is an error.

    ``@pytest.mark.system("influxd")`` needs what it names, a bare ``@pytest.mark.system`` all programs.
    """
    missing = {program for program in SYSTEM_PROGRAMS if shutil.which(program) is None}
    for item in items:
        marker = item.get_closest_marker("system")
        if marker is None:
            continue
        lacking = sorted(missing & set(marker.args or SYSTEM_PROGRAMS))
        if not lacking:
            continue
        packages = " ".join(SYSTEM_PROGRAMS[program] for program in lacking)
        reason = f"{', '.join(lacking)} not found; on Debian: apt-get install {packages}"
        if os.environ.get("GREENBRIDGE_CI"):
            raise pytest.UsageError(f"{item.nodeid}: {reason}")
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(autouse=True)
def _logs_as_they_were(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command under test sets up logging for its process, which here is that of all tests."""
    monkeypatch.setattr("greenbridge.logs.configure", lambda *_: None)
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _baseline(request: pytest.FixtureRequest) -> None:
    """Notes what runs before the test; fixtures of wider scope have started theirs by now."""
    request.node.stash[BASELINE] = (set(threading.enumerate()), _children())
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("_no_task_left")


@pytest.fixture
async def _no_task_left() -> AsyncIterator[None]:
    yield
    await settle()
    here = asyncio.current_task()
    left = [task.get_name() + f" {task.get_coro()}" for task in asyncio.all_tasks() if task is not here]
    if left:
        pytest.fail("tasks left running: " + "; ".join(left), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """After the last teardown of a test, no thread or child process of it may be left."""
    try:
        return (yield)
    finally:
        baseline = item.stash.get(BASELINE, None)
        if baseline is not None:
            left = _left_threads(baseline[0]) + _left_children(baseline[1])
            if left:
                pytest.fail("left running: " + ", ".join(left), pytrace=False)


def _left_threads(before: set[threading.Thread]) -> list[str]:
    left = []
    for thread in set(threading.enumerate()) - before:
        thread.join(GRACE_S)
        if thread.is_alive():
            left.append(f"thread {thread.name}")
    return left


def _left_children(before: set[int]) -> list[str]:
    left = []
    for pid in _children() - before:
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                ended = select.select([handle], [], [], GRACE_S)[0]
            finally:
                os.close(handle)
            if not ended:
                command = (
                    Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                left.append(f"process {pid} {command.strip()}")
    return left


def _children() -> set[int]:
    """Child processes of this one (proc(5), ``/proc/pid/task/tid/children``)."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.update(map(int, task.read_text().split()))
    return found
