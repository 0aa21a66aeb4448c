"""Child processes that end with their supervisor and are started again when they die."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from telemetry.clock import Clock

log = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1
_MAX_LINE = 1 << 20
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 5.0
_SETTLED_S = 30.0
_KEPT_LINES = 12
_REFUSALS = frozenset({2})
"""Exit codes of wrong use or configuration (see :mod:`greenbridge.cli`): starting again changes nothing."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to start."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log_file: Path
    """Its output is appended here."""


class Child:
    """Keeps one program running until it is stopped."""

    def __init__(self, program: Program, clock: Clock, on_line: Callable[[str, str], None]) -> None:
        self.program = program
        self.restarts = 0
        self._clock = clock
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()
        self.refused = asyncio.Event()
        """Set when the program says that it cannot run as it is configured: it is not started again."""
        self.last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        """End of its output."""

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self) -> None:
        """Starts the program and starts it again, with a growing delay, whenever it ends by itself."""
        delay = _FIRST_DELAY_S
        try:
            while True:
                started = self._clock.monotonic()
                code = await self._once()
                if self._stopping.is_set():
                    return
                if code in _REFUSALS:
                    self.refused.set()
                    return
                self.restarts += 1
                if self._clock.monotonic() - started > _SETTLED_S:
                    delay = _FIRST_DELAY_S
                log.warning("child_ended", child=self.program.name, exit_code=code, restart_in_s=delay)
                await self._clock.sleep(delay)
                await self._free.wait()
                delay = min(2 * delay, _LONGEST_DELAY_S)
        finally:
            self.kill()

    async def stop(self, grace_s: float) -> None:
        """Asks the program to end and kills it when it has not after a time [s]."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(grace_s):
                await process.wait()
        except TimeoutError:
            log.warning("child_killed", child=self.program.name, grace_s=grace_s)
            self.kill()
            await process.wait()

    def kill(self) -> None:
        """Ends the program at once."""
        if self.pid is not None and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def hold(self) -> None:
        """Ends the program at once, and does not start it again before :meth:`release`."""
        self._free.clear()
        self.kill()

    def release(self) -> None:
        """Starts the program again after :meth:`hold`."""
        self._free.set()

    async def _once(self) -> int:
        self.program.log_file.parent.mkdir(parents=True, exist_ok=True)
        supervisor = os.getpid()
        # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which ends the children.
        self._process = process = await asyncio.create_subprocess_exec(
            *self.program.command,
            env=dict(self.program.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_MAX_LINE,
            start_new_session=True,
            preexec_fn=lambda: _die_with(supervisor),
        )
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        with self.program.log_file.open("ab") as file:
            while True:
                try:
                    line = await process.stdout.readline()
                except ValueError:
                    continue  # a line above the limit: the rest of it follows
                if not line:
                    break
                file.write(line)
                file.flush()
                text = line.decode(errors="replace").rstrip()
                self.last_lines.append(text)
                self._on_line(self.program.name, text)
        return await process.wait()


def _die_with(supervisor: int) -> None:
    """Runs in the child before its program: the kernel shall kill it when the supervisor dies (prctl(2))."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)  # it died before the request was made
