"""A running subject and the ledger that it fills."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prove.ledger import Ledger, Message
from telemetry.clock import SystemClock

CLOCK = SystemClock()
"""The machine's: faults strike in real time."""

SMALL = {"segment_bytes": 1 << 20, "max_bytes": 8 << 20, "min_free_bytes": 0, "reserve_bytes": 0}
"""Settings of the journal under which segments roll and go all the time."""

_SHORTEST_S = 0.01
"""Time to wait on for which it pays to wait on [s]."""


class Subject:
    """One run of the process; what it confirms goes into the ledger as it comes."""

    def __init__(self, state: Path, ledger: Ledger, settings: Mapping[str, Any]) -> None:
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        self.ledger = ledger
        self.replayed = -1
        """Records that the store lacked at the start: those that are replayed; -1 before the start."""
        self.trouble = ""
        self.ended = ""
        """The last that it said, if it ended before it was killed."""
        self.level = False
        """The store has caught up with what was there at the start."""
        self.messages = 0
        """Acknowledged in this run."""
        self.started = CLOCK.monotonic()
        self.first_after_s = float("inf")
        """Time from the start to the first acknowledgement [s], less the wait for a processor."""
        self.starved_at_end_s = 0.0
        """Time that it had waited for a processor when it was killed [s]."""
        self._pipe = ours
        self._rest = b""
        self._errors = (state.parent / "subject.log").open("ab")
        arguments = [str(state), str(ledger.sessions), str(theirs), json.dumps(dict(settings))]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "prove.child", *arguments], pass_fds=[theirs], stderr=self._errors
        )
        ledger.sessions += 1
        os.close(theirs)

    def follow(
        self, seconds: float, messages: int = sys.maxsize, trouble: str = "", *, level: bool = False
    ) -> bool:
        """Reads confirmations for a time, until so many came in this run, a trouble, or the store is level.

        What is waited for has more time if the process was ready to run and got no processor: a busy machine
        is no fault of what is proven. Returns whether it came.
        """
        awaited = messages < sys.maxsize or bool(trouble) or level
        starved = self.starved_s
        deadline = CLOCK.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while self.messages < messages and not (
                (trouble and self.trouble == trouble) or (level and self.level)
            ):
                left = deadline - CLOCK.monotonic()
                if left <= 0:
                    more = self.starved_s - starved if awaited else 0.0
                    if more < -left + _SHORTEST_S:
                        return False
                    deadline, starved = deadline + more, starved + more
                elif selector.select(left) and not self._read():
                    return False  # it has ended
        return True

    @property
    def starved_s(self) -> float:
        """Time that the thread which waited longest for a processor was ready to run and had none [s].

        Field 2 of ``schedstat`` (Linux, Documentation/scheduler/sched-stats.rst).
        """
        waited = 0
        for thread in Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # a thread that ended meanwhile
                waited = max(waited, int(thread.read_text("ascii").split()[1]))
        return waited / 1e9

    @property
    def peak_mb(self) -> float:
        """Most memory that it had so far [MB] (proc(5), ``VmHWM``)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def kill(self) -> None:
        """Kills the process and reads what it confirmed to the last."""
        if self.process.poll() is not None:
            lines = Path(self._errors.name).read_text(errors="replace").strip().splitlines()
            self.ended = (
                " / ".join(map(str.strip, lines[-3:])) if lines else f"exit code {self.process.returncode}"
            )
        self.starved_at_end_s = self.starved_s
        self.process.kill()
        self.process.wait()
        self._drain()

    def freeze(self) -> None:
        """Stops the process between two instructions, as lost power does, and reads what it confirmed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self._drain()

    def close(self) -> None:
        """Ends it, whatever state it is in."""
        if self.process.poll() is None:
            self.kill()
        os.close(self._pipe)
        self._errors.close()

    def _drain(self) -> None:
        try:
            while self._read():
                pass
        except BlockingIOError:
            return  # a process that is only frozen keeps the pipe open

    def _read(self) -> bool:
        data = os.read(self._pipe, 1 << 20)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line.decode())
        return bool(data)

    def _take(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        if kind == "M":
            self.messages += 1
            if self.messages == 1:
                self.first_after_s = max(0.0, CLOCK.monotonic() - self.started - self.starved_s)
            self.ledger.acknowledge(Message(*map(int, rest.split())))
        elif kind == "L":
            self.ledger.letters += 1
        elif kind == "A":
            self.ledger.alarms.add(rest)
        elif kind == "R":
            self.replayed = int(rest)
        elif kind == "D":
            self.level = True
        elif kind == "T":
            self.trouble = rest


@contextmanager
def running(state: Path, ledger: Ledger, settings: Mapping[str, Any] | None = None) -> Iterator[Subject]:
    """A subject that is gone afterwards."""
    subject = Subject(state, ledger, SMALL if settings is None else settings)
    try:
        yield subject
    finally:
        subject.close()
