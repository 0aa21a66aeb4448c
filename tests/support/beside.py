"""System tests that mostly wait run beside the others: one process for each file of ``tests/system``.

Switched on by the environment variable ``GREENBRIDGE_BESIDE``, which ``tests/check`` sets for a whole run.
Their results appear in this run as if the tests had run in it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

SWITCH = "GREENBRIDGE_BESIDE"
GIVING_WAY = 10
"""Niceness of this run once the others are started: they keep real time, these tests do not."""
END_S = 60.0
"""Time that an interrupted process gets to end what it has started [s]."""


class BesideError(Exception):
    """A test that failed in its own process; carries that process's output."""


class BesideFile:
    """One file of tests in a process of its own."""

    def __init__(self, path: Path, results: Path) -> None:
        self._results = results / f"{path.stem}.xml"
        self._log = results / f"{path.stem}.log"
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(path)]
        command.append(f"--junitxml={self._results}")
        environment = {name: value for name, value in os.environ.items() if name != SWITCH}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def result(self, name: str) -> None:
        """Waits for the process and takes over the outcome of a test.

        Raises
        ------
        BesideError
            It failed, or the process ended without it.

        """
        self._process.wait()
        output = self._log.read_text(errors="replace")
        cases = ET.parse(self._results).iter("testcase") if self._results.exists() else []  # noqa: S314 - our own file
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
        """Interrupts the process, which then ends what it has started."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class BesideItem(pytest.Item):
    """Stands for a test that runs in another process."""

    def __init__(self, *, file: BesideFile, location: tuple[Path, int | None, str], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._file = file
        self._location = location

    def runtest(self) -> None:
        """Waits for the result."""
        self._file.result(self.name)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the test itself is written."""
        return self._location

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The output of the other process instead of a trace through this one."""
        if isinstance(excinfo.value, BesideError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


class Beside:
    """Plugin: starts the files after collection, puts their tests last and ends what is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, BesideFile] = {}
        self._results = tempfile.TemporaryDirectory(prefix="greenbridge-beside-")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Replaces the tests of the folder, except those that are skipped anyway."""
        if session.config.option.collectonly:
            return
        here = [item for item in session.items if not self._apart(item)]
        session.items[:] = [*here, *self._stand_ins(item for item in session.items if self._apart(item))]
        if self._files:
            os.nice(GIVING_WAY)

    def pytest_sessionfinish(self) -> None:
        """Ends the processes of a run that was cut short."""
        for file in self._files.values():
            file.end()
        self._results.cleanup()

    def _apart(self, item: pytest.Item) -> bool:
        return item.path.is_relative_to(self._folder) and item.get_closest_marker("skip") is None

    def _stand_ins(self, items: Iterable[pytest.Item]) -> list[pytest.Item]:
        made: list[pytest.Item] = []
        for item in items:
            if item.path not in self._files:
                self._files[item.path] = BesideFile(item.path, Path(self._results.name))
            file = self._files[item.path]
            path, line, name = item.reportinfo()
            location = (Path(path), line, name)
            assert item.parent is not None
            made.append(BesideItem.from_parent(item.parent, name=item.name, file=file, location=location))
        return made
