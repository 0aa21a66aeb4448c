"""Agreed exchanges over time: ramps, versions with their validity, and which of them holds; pure.

A tie or contract has a standing schedule in the grid model. Versions replace it within their validity; where
several cover a time, the newest holds. Sums of energy follow the ramp, as rules and settlement must
(comparing with steps would show a deviation at every change that is followed perfectly).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from telemetry.grid import Grid, ScheduleStep

SECOND = 1_000_000_000
HOUR_S = 3600.0

RAMP_S = 300.0
"""Half the length of a schedule's ramp: it runs from 5 min before a change to 5 min after it [s]."""
_HALF = round(RAMP_S * SECOND)
_ALWAYS = -(2**63)


class Step(NamedTuple):
    """From this time on the agreed exchange has this value."""

    start: int
    """[ns, UTC]."""
    mw: float
    """[MW]."""


class Piece(NamedTuple):
    """A row of a version: one agreed value from a time to another."""

    start: int
    """[ns, UTC]."""
    end: int
    """[ns, UTC]; not part of it."""
    mw: float
    """[MW]; of a tie in the sense of its meter at the delivery node, of a contract into the transit area."""


class Party(StrEnum):
    """Whose view of an agreed exchange it is."""

    OWN = "own"
    COUNTERPART = "counterpart"


@dataclass(frozen=True, slots=True)
class Version:
    """What a party says was agreed for a tie or contract, for a time without gaps."""

    number: int
    """Grows with every version that is taken in."""
    subject: str
    """Tie or contract."""
    party: Party
    author: str
    """Who sent it."""
    source: str
    """Where it came from: a file, an address."""
    received_at: int
    """When it was taken in [ns, UTC]."""
    pieces: tuple[Piece, ...]
    """In order, each beginning where the one before it ends."""

    @property
    def start(self) -> int:
        """Begin of its validity [ns, UTC]."""
        return self.pieces[0].start

    @property
    def end(self) -> int:
        """End of its validity [ns, UTC]."""
        return self.pieces[-1].end


class RampedSchedule:
    """An agreed exchange over time, with linear ramps of +-5 min around each change; ramps that overlap add.

    Parameters
    ----------
    steps
        In any order; before the first one its value holds.

    """

    def __init__(self, steps: Sequence[Step]) -> None:
        ordered = sorted(steps)
        changes = [(b.start, b.mw - a.mw) for a, b in pairwise(ordered) if b.mw != a.mw]
        self._middles = [middle for middle, _ in changes]
        self._changes = [change for _, change in changes]
        self._levels = [ordered[0].mw]
        for _, change in changes:
            self._levels.append(self._levels[-1] + change)

    def at(self, instant: int) -> float:
        """Agreed exchange [MW] at an instant [ns, UTC]."""
        done = bisect_right(self._middles, instant - _HALF)
        mw = self._levels[done]
        for i in range(done, bisect_left(self._middles, instant + _HALF)):
            mw += self._changes[i] * (0.5 + (instant - self._middles[i]) / (2 * _HALF))
        return mw

    def energy_mwh(self, start: int, end: int) -> float:
        """Agreed energy [MWh] between two times [ns, UTC]: the exact integral of :meth:`at`."""
        first = bisect_right(self._middles, start - _HALF)
        last = bisect_left(self._middles, end + _HALF)
        corners = {
            corner
            for middle in self._middles[first:last]
            for corner in (middle - _HALF, middle + _HALF)
            if start < corner < end
        }
        knots = [(t, self.at(t)) for t in sorted({start, end, *corners})]
        area = sum((t2 - t1) * (mw1 + mw2) / 2 for (t1, mw1), (t2, mw2) in pairwise(knots))
        return area / SECOND / HOUR_S


class Agreed:
    """The schedule of a tie or contract that holds now; it follows every version that is taken in."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.revision = 0
        """Grows with every change."""
        self._ramped = RampedSchedule(steps)

    def at(self, instant: int) -> float:
        """Agreed exchange [MW] at an instant [ns, UTC]."""
        return self._ramped.at(instant)

    def energy_mwh(self, start: int, end: int) -> float:
        """Agreed energy [MWh] between two times [ns, UTC]."""
        return self._ramped.energy_mwh(start, end)

    def replace(self, steps: Sequence[Step]) -> None:
        """Holds other steps from now on."""
        self._ramped = RampedSchedule(steps)
        self.revision += 1


class ScheduleBook:
    """Every schedule of a site: the standing ones, and the versions of both parties.

    Parameters
    ----------
    grid
        Its ties and contracts, with their standing schedules.
    versions
        Taken in before, oldest first.

    """

    def __init__(self, grid: Grid, versions: Iterable[Version] = ()) -> None:
        self._standing = standing_of(grid)
        self._versions: dict[tuple[str, Party], list[Version]] = {}
        for version in versions:
            self._versions.setdefault((version.subject, version.party), []).append(version)
        self._agreed = {subject: Agreed(self.steps(subject)) for subject in self._standing}

    @property
    def subjects(self) -> Sequence[str]:
        """Ties and contracts with a schedule."""
        return [*self._standing]

    def of(self, subject: str) -> Agreed:
        """The schedule of a tie or contract that holds, by our own versions."""
        return self._agreed[subject]

    def steps(self, subject: str, party: Party = Party.OWN) -> list[Step]:
        """A schedule as steps: the standing one with a party's versions laid over it."""
        return painted(self._standing[subject], self._versions.get((subject, party), ()))

    def versions(self, subject: str, party: Party) -> Sequence[Version]:
        """Versions of a party, oldest first."""
        return self._versions.get((subject, party), [])

    def holding(self, subject: str, instant: int, party: Party = Party.OWN) -> Version | None:
        """The version that holds at an instant [ns, UTC]; None where the standing schedule does."""
        found = self._versions.get((subject, party), [])
        return next((v for v in reversed(found) if v.start <= instant < v.end), None)

    def since(self, number: int) -> list[Version]:
        """Our own versions with larger numbers, oldest first."""
        found = [v for (_, party), each in self._versions.items() if party is Party.OWN for v in each]
        return sorted((v for v in found if v.number > number), key=lambda v: v.number)

    def add(self, version: Version) -> None:
        """Takes in a version; what follows the schedule sees it from now on."""
        self._versions.setdefault((version.subject, version.party), []).append(version)
        if version.party is Party.OWN and version.subject in self._agreed:
            self._agreed[version.subject].replace(self.steps(version.subject))

    def stand(self, grid: Grid) -> None:
        """Takes the ties, contracts and standing schedules of another grid model."""
        self._standing = standing_of(grid)
        for subject in self._standing:
            if subject in self._agreed:
                self._agreed[subject].replace(self.steps(subject))
            else:
                self._agreed[subject] = Agreed(self.steps(subject))


def standing_of(grid: Grid) -> dict[str, list[Step]]:
    """The standing schedules of a grid model, by tie and contract."""
    standing = {tie.id: steps_of(tie.schedule) for tie in grid.tie}
    return standing | {contract.id: steps_of(contract.schedule) for contract in grid.contract}


def steps_of(schedule: Sequence[ScheduleStep]) -> list[Step]:
    """The steps of a standing schedule."""
    return [Step(round(step.start.timestamp()) * SECOND, step.mw) for step in schedule]


def painted(standing: Sequence[Step], versions: Iterable[Version]) -> list[Step]:
    """Steps with versions laid over them, oldest first: each replaces what is there within its validity."""
    ordered = sorted(standing)
    starts = [_ALWAYS, *(step.start for step in ordered[1:])]
    values = [step.mw for step in ordered]
    for version in versions:
        first, last = bisect_left(starts, version.start), bisect_right(starts, version.end)
        # what held at its end goes on from there
        after = values[last - 1]
        starts[first:last] = [*(piece.start for piece in version.pieces), version.end]
        values[first:last] = [*(piece.mw for piece in version.pieces), after]
    return [Step(start, mw) for start, mw in zip(starts, values, strict=True)]


def value_at(steps: Sequence[Step], instant: int) -> float:
    """Value of ordered steps at an instant, without ramps [MW]."""
    at = bisect_right(steps, instant, key=lambda step: step.start)
    return steps[max(at - 1, 0)].mw
