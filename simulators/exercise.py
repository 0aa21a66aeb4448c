"""What happens on the bench on purpose: scripted and injected faults, and what is announced of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from simulators.faults.model import Assets, Fault, Where
from simulators.scenario import Timed
from telemetry.errors import GreenbridgeError
from telemetry.settings import nearest

HISTORY = 100
"""Cleared faults and announcements that are kept for the status report."""
MAX_ACTIVE = 64

Kind = TypeVar("Kind", bound=Fault)


class FaultError(GreenbridgeError):
    """A fault that cannot be injected or cleared as asked; the message says why."""


class NoSuchFaultError(FaultError):
    """A fault id that was never given out, or so long ago that it is forgotten."""


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault that is or was at work."""

    id: str
    fault: Fault
    active: bool
    began_ns: int
    """[ns, UTC]."""
    ends_ns: int | None = None
    """When it ends by itself, or has ended [ns, UTC]."""

    def document(self) -> dict[str, Any]:
        """For JSON: its id, kind, target and parameters, whether it is active, since and until when."""
        times = {"began_ns": self.began_ns, "ends_ns": self.ends_ns}
        return {"id": self.id, **self.fault.model_dump(), "active": self.active, **times}


@dataclass(frozen=True, slots=True)
class Announcement:
    """What people are told."""

    t_ns: int
    """[ns, UTC]."""
    text: str


class Exercise:
    """Keeps the faults; driven by its owner's time, it holds none of its own."""

    def __init__(self, scripts: Sequence[Timed], assets: Assets) -> None:
        self._scripts = tuple(scripts)
        self._assets = assets
        self._running: dict[int, str] = {}
        self._numbers = itertools.count(1)
        self._faults: dict[str, Injected] = {}
        self._announcements: list[Announcement] = []
        self._unheard: list[Announcement] = []

    @property
    def faults(self) -> tuple[Injected, ...]:
        """Active faults and the latest cleared ones, oldest first."""
        return tuple(self._faults.values())

    def targets(self, where: Where) -> Sequence[str]:
        """Names of everything that a fault of a kind can strike here."""
        return sorted(self._assets.names.get(where, ()))

    @property
    def announcements(self) -> tuple[Announcement, ...]:
        """The latest announcements, newest last."""
        return tuple(self._announcements)

    def active(self, *kinds: type[Kind]) -> Mapping[str, Kind]:
        """Faults of some kinds that are at work, by id, oldest first."""
        return {
            name: injected.fault
            for name, injected in self._faults.items()
            if injected.active and isinstance(injected.fault, kinds)
        }

    def advance(self, elapsed_s: float, now_ns: int) -> list[Announcement]:
        """Begins and ends what is scripted; returns what was announced since the last call."""
        for i, script in enumerate(self._scripts):
            due = script.due(elapsed_s)
            if due and i not in self._running:
                self._running[i] = self._begin(script.fault, now_ns, None).id
            elif not due and i in self._running:
                scripted = self._faults.get(self._running.pop(i))
                if scripted is not None and scripted.active:
                    self._end(scripted, now_ns)
        for injected in self.faults:
            if injected.active and injected.ends_ns is not None and injected.ends_ns <= now_ns:
                self._end(injected, now_ns)
        heard, self._unheard = self._unheard, []
        return heard

    def inject(self, fault: Fault, now_ns: int, for_s: float | None = None) -> Injected:
        """Lets a fault begin, for a time [s] or until it is cleared.

        Raises
        ------
        FaultError
            It has no such target, an impossible size, or too many faults are active.

        """
        problems = [
            f"{problem.key} = {problem.value}: {problem.reason} ({problem.fix})"
            for problem in fault.problems("fault", "fault", self._assets)
        ]
        if for_s is not None and not 0 < for_s <= 1e7:
            problems.append(f"for_s = {for_s:g} must be above 0 and at most 1e7")
        if problems:
            raise FaultError("; ".join(problems))
        if len(self.active(Fault)) >= MAX_ACTIVE:
            raise FaultError(f"{MAX_ACTIVE} faults are active already; clear one first")
        return self._begin(fault, now_ns, None if for_s is None else now_ns + round(for_s * 1e9))

    def clear(self, fault_id: str, now_ns: int) -> Injected:
        """Ends a fault; one that has ended already stays as it is.

        Raises
        ------
        NoSuchFaultError
            The id names no fault.

        """
        injected = self._faults.get(fault_id)
        if injected is None:
            raise NoSuchFaultError(f'no such fault "{fault_id}" ({nearest(fault_id, self._faults)})')
        return self._end(injected, now_ns) if injected.active else injected

    def clear_all(self, now_ns: int) -> list[Injected]:
        """Ends every fault that is active."""
        return [self._end(injected, now_ns) for injected in self.faults if injected.active]

    def announce(self, text: str, now_ns: int) -> None:
        """Tells people something."""
        self._announcements.append(Announcement(now_ns, text))
        self._unheard.append(self._announcements[-1])
        del self._announcements[:-HISTORY]

    def _begin(self, fault: Fault, now_ns: int, ends_ns: int | None) -> Injected:
        injected = Injected(f"{fault.name}-{next(self._numbers)}", fault, True, now_ns, ends_ns)
        self._faults[injected.id] = injected
        self.announce(f"Exercise: a {fault.title} begins", now_ns)
        return injected

    def _end(self, injected: Injected, now_ns: int) -> Injected:
        ended = replace(injected, active=False, ends_ns=now_ns)
        self._faults[ended.id] = ended
        self.announce(f"Exercise: the {ended.fault.title} {ended.fault.ends}", now_ns)
        cleared = [key for key, known in self._faults.items() if not known.active]
        for key in cleared[:-HISTORY]:
            del self._faults[key]
        return ended
