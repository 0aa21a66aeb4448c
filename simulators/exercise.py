"""What happens on the bench on purpose: scripted and injected faults, and what is announced of them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from simulators.bench import TapScript
from telemetry.errors import GreenbridgeError
from telemetry.settings import nearest

HISTORY = 100
"""Cleared faults and announcements that are kept for the status report."""
MAX_ACTIVE = 32
MAX_TAP_MW = 1000.0


class FaultError(GreenbridgeError):
    """A fault that cannot be injected or cleared as asked; the message says why."""


class NoSuchFaultError(FaultError):
    """A fault id that was never given out, or so long ago that it is forgotten."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault on the truth."""

    id: str
    kind: str
    target: str
    """Line that it strikes."""
    mw: float
    active: bool


@dataclass(frozen=True, slots=True)
class Announcement:
    """What people are told."""

    t_ns: int
    """[ns, UTC]."""
    text: str


class Exercise:
    """Keeps the faults; driven by its owner's time, it holds none of its own."""

    def __init__(self, scripts: Sequence[TapScript], lines: Collection[str]) -> None:
        self._scripts = tuple(scripts)
        self._lines = frozenset(lines)
        self._running: dict[int, str] = {}
        self._numbers = itertools.count(1)
        self._faults: dict[str, Fault] = {}
        self._announcements: list[Announcement] = []
        self._unheard: list[Announcement] = []

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Active faults and the latest cleared ones, oldest first."""
        return tuple(self._faults.values())

    @property
    def announcements(self) -> tuple[Announcement, ...]:
        """The latest announcements, newest last."""
        return tuple(self._announcements)

    @property
    def taps(self) -> dict[str, float]:
        """Load in the middle of each tapped line [MW]."""
        loads: dict[str, float] = {}
        for fault in self._faults.values():
            if fault.active:
                loads[fault.target] = loads.get(fault.target, 0.0) + fault.mw
        return loads

    def advance(self, elapsed_s: float, now_ns: int) -> list[Announcement]:
        """Begins and ends what is scripted; returns what was announced since the last call."""
        for i, script in enumerate(self._scripts):
            due = _due(script, elapsed_s)
            if due and i not in self._running:
                self._running[i] = self._begin(script.line, script.mw, now_ns).id
            elif not due and i in self._running:
                fault = self._faults.get(self._running.pop(i))
                if fault is not None and fault.active:
                    self._end(fault, now_ns)
        heard, self._unheard = self._unheard, []
        return heard

    def tap(self, line: str, mw: float, now_ns: int) -> Fault:
        """Hangs a load in the middle of a line.

        Raises
        ------
        FaultError
            No such line, an impossible load, or too many faults at once.

        """
        if line not in self._lines:
            raise FaultError(f'no such line "{line}" ({nearest(line, self._lines)})')
        if not 0 < mw <= MAX_TAP_MW:
            raise FaultError(f"mw = {mw:g} must be above 0 and at most {MAX_TAP_MW:g}")
        if sum(fault.active for fault in self._faults.values()) >= MAX_ACTIVE:
            raise FaultError(f"{MAX_ACTIVE} faults are active already; clear one first")
        return self._begin(line, mw, now_ns)

    def clear(self, fault_id: str, now_ns: int) -> Fault:
        """Ends a fault; one that has ended already stays as it is.

        Raises
        ------
        NoSuchFaultError
            The id names no fault.

        """
        fault = self._faults.get(fault_id)
        if fault is None:
            raise NoSuchFaultError(f'no such fault "{fault_id}" ({nearest(fault_id, self._faults)})')
        return self._end(fault, now_ns) if fault.active else fault

    def announce(self, text: str, now_ns: int) -> None:
        """Tells people something."""
        self._announcements.append(Announcement(now_ns, text))
        self._unheard.append(self._announcements[-1])
        del self._announcements[:-HISTORY]

    def _begin(self, line: str, mw: float, now_ns: int) -> Fault:
        fault = Fault(f"tap-{next(self._numbers)}", "tap", line, mw, active=True)
        self._faults[fault.id] = fault
        self.announce(f"Exercise: a {mw:g} MW tap in the middle of {line} begins", now_ns)
        return fault

    def _end(self, fault: Fault, now_ns: int) -> Fault:
        ended = replace(fault, active=False)
        self._faults[fault.id] = ended
        self.announce(f"Exercise: the {fault.mw:g} MW tap in the middle of {fault.target} is removed", now_ns)
        cleared = [key for key, known in self._faults.items() if not known.active]
        for key in cleared[:-HISTORY]:
            del self._faults[key]
        return ended


def _due(script: TapScript, elapsed_s: float) -> bool:
    since = elapsed_s - script.at_s
    if since < 0:
        return False
    return (since % script.repeat_s if script.repeat_s else since) < script.for_s
