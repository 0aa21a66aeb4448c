"""What a rule says about its asset at one instant, and how long it must say so before people hear of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from alerts.alarms import Priority
from alerts.alignment import Leg, Snapshot, worst_quality


@dataclass(frozen=True, slots=True)
class Grade:
    """One step of severity of a rule."""

    priority: Priority
    on_s: float
    """How long the condition must hold before the alarm is raised [s]."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The grades of a rule, mildest first, and its way back."""

    grades: tuple[Grade, ...]
    off_s: float
    """How long the condition must be over before the alarm returns to normal [s]."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A rule and the asset that it watches."""

    rule: str
    """Rule of the catalogue: ``R6``."""
    version: int
    asset: str
    area: str

    @property
    def key(self) -> str:
        """Identity of the condition: ``R6/SHY-TAS``."""
        return f"{self.rule}/{self.asset}"

    def unknown(self, at: int, reason: str) -> Finding:
        """Neither an alarm nor an all-clear."""
        return Finding(self, at, indeterminate=reason, quality=reason)

    def early(self, at: int, reason: str) -> Finding:
        """Neither an alarm nor an all-clear, and nothing that anybody could put right: data are gathered."""
        return Finding(self, at, indeterminate=reason, quality=reason, gathering=True)


@dataclass(frozen=True, slots=True)
class Texts:
    """What a person who is woken at night reads."""

    title: str
    """One line for a list or a pager."""
    cause: str
    consequence: str
    response: str
    evidence: Mapping[str, float | str]
    """Input values and findings by name, rounded."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The judgement of one rule on one asset at one instant; without memory of earlier ones."""

    subject: Subject
    at: int
    """Instant that is judged [ns, UTC]."""
    level: int = 0
    """Number of grades whose limit is passed; 0 when none is."""
    held_level: int = 0
    """Number of grades whose limit less the deadband is passed: a condition that began stays until then."""
    value: float = float("nan")
    """Magnitude that was judged [unit]."""
    limit: float = float("nan")
    """Limit of the grade reached, of the first grade when none is [unit]."""
    unit: str = ""
    quality: str = "good"
    """Worst quality of the inputs: ``good`` or a reason."""
    t_source: int = 0
    """[ns, UTC]."""
    t_received: int = 0
    """Newest receipt among the inputs [ns, UTC]."""
    indeterminate: str = ""
    """Why nothing can be said: ``leg SHY-TAS at TAS is stale``; empty when something can."""
    gathering: bool = False
    """Indeterminate only because a long window is not filled yet; not shown as something that is blind."""
    texts: Texts | None = None
    """Given whenever ``held_level`` is above 0."""

    @property
    def says_nothing(self) -> bool:
        """No limit is passed and nothing is missing: of no matter to a condition that is calm already."""
        return not self.level and (not self.indeterminate or self.gathering)


class Rule(Protocol):
    """A rule of the catalogue on one asset, evaluated on aligned inputs."""

    @property
    def subject(self) -> Subject:
        """What it is and what it watches."""
        ...

    @property
    def timing(self) -> Timing:
        """Grades and delays."""
        ...

    @property
    def inputs(self) -> Sequence[int]:
        """Indices of the points that it reads."""
        ...

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the asset at the snapshot's instant; instants follow one another."""
        ...


def level_of(value: float, limits: Sequence[float], deadband: float) -> tuple[int, int]:
    """Number of limits (ascending) passed by a magnitude, at their value and less a deadband.

    Parameters
    ----------
    value
        Magnitude to judge.
    limits
        Limits in the same unit, mildest first.
    deadband
        Part of each limit by which the value must fall below it to be over, 0 to 1.

    """
    return (
        sum(value > limit for limit in limits),
        sum(value > limit * (1 - deadband) for limit in limits),
    )


def graded(
    subject: Subject,
    at: int,
    value: float,
    limits: Sequence[float],
    *,
    unit: str,
    legs: Sequence[Leg],
    texts: Callable[[float], Texts],
    deadband: float = 0.0,
    less: float = 0.0,
) -> Finding:
    """The finding on a magnitude.

    Parameters
    ----------
    subject, at
        What is judged, and when [ns, UTC].
    value
        Magnitude [unit].
    limits
        Limits of the grades, mildest first [unit].
    unit
        Unit of both.
    legs
        Inputs that were used: their worst quality and newest receipt are the finding's.
    texts
        Makes the texts from the limit that counts.
    deadband
        Part of each limit by which the value must fall below it to be over, 0 to 1.
    less
        What it must fall below it besides [unit].

    """
    level, _ = level_of(value, limits, 0.0)
    held = max(level, sum(value > limit * (1 - deadband) - less for limit in limits))
    limit = limits[max(level, 1) - 1]
    return Finding(
        subject,
        at,
        level,
        held,
        value,
        limit,
        unit,
        worst_quality(legs),
        at,
        max(leg.t_received for leg in legs),
        texts=texts(limit) if held else None,
    )
