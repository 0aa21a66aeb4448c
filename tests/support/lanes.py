"""Runs files of tests, each in a process of its own, a few at a time; started by :mod:`tests.support.beside`.

Arguments: directory for the results, number of lanes, niceness, files. Each file leaves a log, JUnit results
and, when its process has ended, an empty file that says so. SIGINT ends what runs, in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

END_S = 60.0
"""Time that an interrupted process gets to end what it has started [s]."""


class Lanes:
    """Files of tests and the processes that run them."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, file: Path) -> None:
        """Runs one file to its end."""
        if self._stopped:
            return
        junit = self._results / f"{file.stem}.xml"
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(file), f"--junitxml={junit}"]
        with (self._results / f"{file.stem}.log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._running.add(process)
        process.wait()
        self._running.discard(process)
        (self._results / f"{file.stem}.done").touch()

    def stop(self) -> None:
        """Interrupts what runs and begins nothing more."""
        self._stopped = True
        for process in [*self._running]:
            process.send_signal(signal.SIGINT)
        for process in [*self._running]:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def main(arguments: Sequence[str]) -> None:
    """Runs all files."""
    results, lanes, niceness, *files = arguments
    os.nice(int(niceness))
    work = Lanes(Path(results))
    with ThreadPoolExecutor(int(lanes)) as executor:
        ended = [executor.submit(work.run, Path(file)) for file in files]
        try:
            for one in ended:
                one.result()
        except KeyboardInterrupt:
            work.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
