"""Tests that run beside the others: a process for each file of ``tests/system``, which mostly waits, and for
each that only computes for minutes, which fills what is left of the cores.

Switched on by the environment variable ``GREENBRIDGE_BESIDE``, which ``tests/check`` sets for a whole run.
Their results appear in this run as if the tests had run in it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

SWITCH = "GREENBRIDGE_BESIDE"
GIVING_WAY = 10
"""Niceness of this run once the others are started: they keep real time, these tests do not."""
LANES = 2
"""Files at one time: each starts several programs, and many starts at once take longer than any limit."""
FILLING = 15
"""Niceness of the files that only compute."""
END_S = 90.0
"""Time that the interrupted lanes get to end what they have started [s]."""
_LOOK_S = 0.5


class BesideError(Exception):
    """A test that failed in its own process; carries that process's output."""


class BesideFiles:
    """The files of tests that run in processes of their own."""

    def __init__(self, files: Sequence[Path], results: Path, lanes: int, niceness: int) -> None:
        self._results = results
        how = map(str, (results, lanes, niceness, *files))
        environment = {name: value for name, value in os.environ.items() if name != SWITCH}
        self._lanes = subprocess.Popen(
            [sys.executable, "-m", "tests.support.lanes", *how],
            env=environment,
            stdin=subprocess.DEVNULL,
        )

    def result(self, path: Path, name: str) -> None:
        """Waits for a file and takes over the outcome of a test.

        Raises
        ------
        BesideError
            It failed, or the process ended without it.

        """
        while not (self._results / f"{path.stem}.done").exists() and self._lanes.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._lanes.wait(_LOOK_S)  # a pause that ends early with the last file
        log, results = self._results / f"{path.stem}.log", self._results / f"{path.stem}.xml"
        output = log.read_text(errors="replace") if log.exists() else ""
        cases = ET.parse(results).iter("testcase") if results.exists() else []  # noqa: S314 - our own file
        outcomes = [case for case in cases if case.get("name") == name]
        if not outcomes:
            raise BesideError(f"{name} was not run\n{output}")
        for case in outcomes:
            skipped = case.find("skipped")
            if skipped is not None:
                pytest.skip(str(skipped.get("message")))
            if case.find("failure") is not None or case.find("error") is not None:
                raise BesideError(f"failed in a process of its own\n{output}")

    def end(self) -> None:
        """Interrupts what runs, which then ends what it has started."""
        if self._lanes.poll() is None:
            self._lanes.send_signal(signal.SIGINT)
            try:
                self._lanes.wait(END_S)
            except subprocess.TimeoutExpired:
                self._lanes.kill()
                self._lanes.wait()


class BesideItem(pytest.Item):
    """Stands for a test that runs in another process."""

    def __init__(
        self, *, files: BesideFiles, location: tuple[Path, int | None, str], **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self._files = files
        self._location = location

    def runtest(self) -> None:
        """Waits for the result."""
        self._files.result(self.path, self.name)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the test itself is written."""
        return self._location

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The output of the other process instead of a trace through this one."""
        if isinstance(excinfo.value, BesideError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


class Beside:
    """Plugin: starts the files after collection, puts their tests last and ends what is left.

    ``folder`` holds the files that mostly wait, ``computing`` are those that only compute.
    """

    def __init__(self, folder: Path, computing: Sequence[Path] = ()) -> None:
        self._folder = folder
        self._computing = frozenset(computing)
        self._groups: list[BesideFiles] = []
        self._results = tempfile.TemporaryDirectory(prefix="greenbridge-beside-")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Replaces the tests of the files, except those that are skipped anyway."""
        if session.config.option.collectonly:
            return
        waiting = [item for item in session.items if self._awake(item) and self._waits(item)]
        computing = [item for item in session.items if self._awake(item) and item.path in self._computing]
        taken = {*waiting, *computing}
        session.items[:] = [
            *(item for item in session.items if item not in taken),
            *self._stand_ins(waiting, LANES, 0),
            *self._stand_ins(computing, 1, FILLING),
        ]
        if self._groups:
            os.nice(GIVING_WAY)

    def pytest_sessionfinish(self) -> None:
        """Ends the processes of a run that was cut short."""
        for files in self._groups:
            files.end()
        self._results.cleanup()

    @staticmethod
    def _awake(item: pytest.Item) -> bool:
        return item.get_closest_marker("skip") is None

    def _waits(self, item: pytest.Item) -> bool:
        return item.path.is_relative_to(self._folder)

    def _stand_ins(self, items: Sequence[pytest.Item], lanes: int, niceness: int) -> list[pytest.Item]:
        made: list[pytest.Item] = []
        if not items:
            return made
        paths = [*dict.fromkeys(item.path for item in items)]
        files = BesideFiles(paths, Path(self._results.name), lanes, niceness)
        self._groups.append(files)
        for item in items:
            path, line, name = item.reportinfo()
            location = (Path(path), line, name)
            assert item.parent is not None
            made.append(BesideItem.from_parent(item.parent, name=item.name, files=files, location=location))
        return made
