"""What a scenario showed against what it expects and forbids; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from alerts.alarms import Priority
from alerts.lifecycle import Event
from simulators.scenario import Expected, Scenario

_RANK = {priority: rank for rank, priority in enumerate(Priority)}
PRIORITIES = tuple(priority.value for priority in Priority)
"""Priorities that an expectation can name, the lowest first."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A step of an alarm."""

    t_s: float
    """Virtual time from the start [s]."""
    event: Event
    rule: str
    asset: str
    priority: Priority
    title: str


class Outcome(StrEnum):
    """What became of an expected alarm."""

    SEEN = "seen"
    MISSING = "missing"
    LATE = "late"
    TOO_LOW = "priority too low"
    NOT_CLEARED = "not cleared"
    NEEDS = "rule not built"


class Result(StrEnum):
    """What became of a scenario."""

    PASSED = "passed"
    FAILED = "failed"
    NEEDS = "needs rules"


@dataclass(frozen=True, slots=True)
class Judged:
    """An expected alarm and what became of it."""

    expected: Expected
    outcome: Outcome
    raised_s: float | None = None
    cleared_s: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one play."""

    result: Result
    needs: tuple[str, ...]
    """Rules that the scenario needs and that are not built."""
    expected: tuple[Judged, ...]
    forbidden: tuple[Seen, ...]
    """Raised although forbidden."""
    tolerated: tuple[Seen, ...]
    """Raised, neither expected nor forbidden."""


def judge(
    scenario: Scenario, seen: Sequence[Seen], built: Collection[str], broken: Collection[str] = ()
) -> Verdict:
    """Compares the changes of alarms, in their order, with what a scenario expects and forbids.

    A play that broke promises of the pipeline fails, whatever its alarms.

    An expected alarm accounts for one raise within its window (or, late, after it) and for its escalations;
    every other raise is forbidden if a pattern fits it.
    """
    needs = tuple(missing_rules(scenario, built))
    used: set[int] = set()
    judged = tuple(_judged(expected, seen, used, built) for expected in scenario.expect)
    rest = [s for i, s in enumerate(seen) if s.event is Event.RAISE and i not in used]
    forbidden = tuple(
        s
        for s in rest
        if any(fnmatchcase(s.rule, f.rule) and fnmatchcase(s.asset, f.asset) for f in scenario.forbid)
    )
    tolerated = tuple(s for s in rest if s not in forbidden)
    if broken or forbidden or any(j.outcome not in {Outcome.SEEN, Outcome.NEEDS} for j in judged):
        result = Result.FAILED
    else:
        result = Result.NEEDS if needs else Result.PASSED
    return Verdict(result, needs, judged, forbidden, tolerated)


def missing_rules(scenario: Scenario, built: Collection[str]) -> list[str]:
    """Rules that a scenario needs, or expects an alarm of, and that are not built."""
    wanted = {*scenario.needs, *(expected.rule for expected in scenario.expect)}
    return sorted(wanted - set(built), key=lambda rule: int(rule[1:]))


def _judged(expected: Expected, seen: Sequence[Seen], used: set[int], built: Collection[str]) -> Judged:
    if expected.rule not in built:
        return Judged(expected, Outcome.NEEDS)
    first, last = expected.within
    own = [i for i, s in enumerate(seen) if (s.rule, s.asset) == (expected.rule, expected.asset)]
    raises = [i for i in own if seen[i].event is Event.RAISE and i not in used and seen[i].t_s >= first]
    if not raises:
        return Judged(expected, Outcome.MISSING)
    at = raises[0]
    used.add(at)
    raised_s = seen[at].t_s
    after = [i for i in own if i > at]
    end = next((i for i in after if seen[i].event is Event.CLEAR), None)
    cleared_s = seen[end].t_s if end is not None else None
    if raised_s > last:
        return Judged(expected, Outcome.LATE, raised_s, cleared_s)
    if expected.priority is not None:
        life = [seen[at], *(seen[i] for i in after if end is None or i < end)]
        reached = max(_RANK[s.priority] for s in life if s.t_s <= last)
        if reached < _RANK[Priority(expected.priority)]:
            return Judged(expected, Outcome.TOO_LOW, raised_s, cleared_s)
    if expected.clears_by is not None and (cleared_s is None or cleared_s > expected.clears_by):
        return Judged(expected, Outcome.NOT_CLEARED, raised_s, cleared_s)
    return Judged(expected, Outcome.SEEN, raised_s, cleared_s)
