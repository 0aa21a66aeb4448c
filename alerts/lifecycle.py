"""The life of an alarm: one transition table, and the decision when to step through it.

States and events follow ISA-18.2 / IEC 62682. The diagram in
``docs/alarm-lifecycle.md`` is drawn from the table: ``python -m alerts.lifecycle > docs/alarm-lifecycle.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from alerts.alarms import AlarmState
from alerts.rules.finding import Finding, Timing

SECOND = 1_000_000_000

LONGEST_STEP = 5 * SECOND
"""More time than this between two findings does not count for a delay: nothing is known about it [ns]."""

JOIN = 5 * SECOND
"""A higher grade that is due within this time is raised together with the lower one: one cause that builds up
over some seconds is one notification [ns]."""


class Event(StrEnum):
    """What moves an alarm from one state to the next."""

    RAISE = "raise"
    """The condition has held for the on-delay."""
    ESCALATE = "escalate"
    """A higher grade of the condition has held for its on-delay; asks for attention again."""
    CLEAR = "clear"
    """The condition has been over for the off-delay."""
    ACKNOWLEDGE = "acknowledge"
    """A person has taken notice."""
    LATCH = "latch"
    """The condition of a latching alarm has been over for the off-delay."""
    RESET = "reset"
    """A person has reset a latched alarm."""
    SHELVE = "shelve"
    """An operator sets it aside for a while."""
    UNSHELVE = "unshelve"
    """The time of shelving is over, or the operator ended it."""
    SUPPRESS = "suppress"
    """Another alarm explains it, or an outage was planned."""
    RELEASE = "release"
    """Nothing suppresses it any more."""
    REMOVE = "remove"
    """It is taken out of service."""
    RESTORE = "restore"
    """It is put back into service."""


_SHOWN: Mapping[tuple[AlarmState, Event], AlarmState] = MappingProxyType(
    {
        (AlarmState.NORMAL, Event.RAISE): AlarmState.UNACKNOWLEDGED,
        (AlarmState.UNACKNOWLEDGED, Event.ESCALATE): AlarmState.UNACKNOWLEDGED,
        (AlarmState.UNACKNOWLEDGED, Event.ACKNOWLEDGE): AlarmState.ACKNOWLEDGED,
        (AlarmState.UNACKNOWLEDGED, Event.CLEAR): AlarmState.RETURNED,
        (AlarmState.ACKNOWLEDGED, Event.ESCALATE): AlarmState.UNACKNOWLEDGED,
        (AlarmState.ACKNOWLEDGED, Event.CLEAR): AlarmState.NORMAL,
        (AlarmState.RETURNED, Event.RAISE): AlarmState.UNACKNOWLEDGED,
        (AlarmState.RETURNED, Event.ACKNOWLEDGE): AlarmState.NORMAL,
        (AlarmState.UNACKNOWLEDGED, Event.LATCH): AlarmState.LATCHED_UNACKNOWLEDGED,
        (AlarmState.ACKNOWLEDGED, Event.LATCH): AlarmState.LATCHED_ACKNOWLEDGED,
        (AlarmState.LATCHED_UNACKNOWLEDGED, Event.RAISE): AlarmState.UNACKNOWLEDGED,
        (AlarmState.LATCHED_UNACKNOWLEDGED, Event.ACKNOWLEDGE): AlarmState.LATCHED_ACKNOWLEDGED,
        (AlarmState.LATCHED_ACKNOWLEDGED, Event.RAISE): AlarmState.UNACKNOWLEDGED,
        (AlarmState.LATCHED_ACKNOWLEDGED, Event.RESET): AlarmState.NORMAL,
    }
)
"""Steps between the states that people are told of."""

_HOLDS = (
    (AlarmState.SHELVED, Event.SHELVE, Event.UNSHELVE),
    (AlarmState.SUPPRESSED, Event.SUPPRESS, Event.RELEASE),
    (AlarmState.OUT_OF_SERVICE, Event.REMOVE, Event.RESTORE),
)
"""Each held state with the event that begins and the one that ends it; a later one outweighs an earlier."""

HOLDING: Mapping[AlarmState, Event] = MappingProxyType({state: begin for state, begin, _ in _HOLDS})
"""The event that leads into each held state."""

LEAVING: Mapping[AlarmState, Event] = MappingProxyType({state: end for state, _, end in _HOLDS})
"""The event that leads out of each held state."""


def _held() -> Iterator[tuple[tuple[AlarmState, Event], AlarmState]]:
    """Any state leads into a held one, unless a weightier hold has it; a hold can be renewed; leaving begins
    again from normal.
    """
    shown = [state for state in AlarmState if state not in HOLDING]
    for rank, (state, begin, end) in enumerate(_HOLDS):
        for before in [*shown, *(lighter for lighter, _, _ in _HOLDS[: rank + 1])]:
            yield (before, begin), state
        yield (state, end), AlarmState.NORMAL
        for event in (Event.RAISE, Event.ESCALATE, Event.CLEAR):
            # noted in the history, told to nobody
            yield (state, event), state


TRANSITIONS: Mapping[tuple[AlarmState, Event], AlarmState] = MappingProxyType({**_SHOWN, **dict(_held())})
"""State and event to the next state; an event that is not listed for a state changes nothing."""


def strongest(holds: Iterable[AlarmState]) -> AlarmState | None:
    """The held state that several holds at once amount to; None without any."""
    found = frozenset(holds)
    return next((state for state, _, _ in reversed(_HOLDS) if state in found), None)


ACTIVE = frozenset({AlarmState.UNACKNOWLEDGED, AlarmState.ACKNOWLEDGED})
"""States in which the condition holds."""


def next_state(state: AlarmState, event: Event) -> AlarmState | None:
    """State after an event; None when the event means nothing in this state."""
    return TRANSITIONS.get((state, event))


@dataclass(frozen=True, slots=True)
class Timers:
    """How long a condition has held or been over; only time for which that is known counts."""

    on_ns: tuple[int, ...]
    """For each grade, mildest first: how long it has held [ns]; -1 when it does not."""
    off_ns: int = -1
    """How long the condition of an active alarm has been over [ns]; -1 when it is not."""
    at: int = 0
    """Instant of the latest finding [ns, UTC]; 0 before the first."""

    @classmethod
    def idle(cls, timing: Timing) -> Timers:
        """Nothing holds."""
        return cls((-1,) * len(timing.grades))

    @property
    def running(self) -> bool:
        """A delay is running or a grade holds."""
        return self.off_ns >= 0 or any(held >= 0 for held in self.on_ns)


class Reason(StrEnum):
    """Why a decision was taken."""

    BELOW_LIMIT = "below_limit"
    ON_DELAY_RUNNING = "on_delay_running"
    ON_DELAY_OVER = "on_delay_over"
    STILL_ABOVE_LIMIT = "still_above_limit"
    HIGHER_GRADE = "higher_grade"
    OFF_DELAY_RUNNING = "off_delay_running"
    OFF_DELAY_OVER = "off_delay_over"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a finding."""

    reason: Reason
    timers: Timers
    event: Event | None = None
    level: int = 0
    """Grade that is raised or escalated to, counted from 1."""


def decide(timing: Timing, timers: Timers, active_level: int, finding: Finding) -> Decision:
    """Decides what a finding means for an alarm.

    Time is that of the findings. An indeterminate finding stops the delays without resetting them. The
    priority of an occurrence only rises; it falls back when the alarm has returned to normal.

    Parameters
    ----------
    timing
        Grades and delays of the condition.
    timers
        As the previous decision left them.
    active_level
        Grade of the active alarm, counted from 1; 0 when the condition is not active.
    finding
        The newest judgement.

    """
    if finding.indeterminate:
        return Decision(Reason.INDETERMINATE, Timers(timers.on_ns, timers.off_ns, finding.at))
    step = min(max(finding.at - timers.at, 0), LONGEST_STEP) if timers.at else 0
    on_ns = tuple(
        _advanced(held, step) if grade <= (finding.held_level if held >= 0 else finding.level) else -1
        for grade, held in enumerate(timers.on_ns, start=1)
    )
    if active_level == 0:
        return _while_inactive(timing, Timers(on_ns, -1, finding.at))
    off_ns = -1 if any(held >= 0 for held in on_ns) else _advanced(timers.off_ns, step)
    return _while_active(timing, Timers(on_ns, off_ns, finding.at), active_level)


def _while_inactive(timing: Timing, timers: Timers) -> Decision:
    if _due(timing, timers.on_ns):
        return Decision(Reason.ON_DELAY_OVER, timers, Event.RAISE, _due(timing, timers.on_ns, JOIN))
    return Decision(Reason.ON_DELAY_RUNNING if timers.running else Reason.BELOW_LIMIT, timers)


def _while_active(timing: Timing, timers: Timers, level: int) -> Decision:
    due = _due(timing, timers.on_ns)
    if due > level:
        return Decision(Reason.HIGHER_GRADE, timers, Event.ESCALATE, due)
    if timers.off_ns < 0:
        return Decision(Reason.STILL_ABOVE_LIMIT, timers)
    if timers.off_ns >= timing.off_s * SECOND:
        return Decision(Reason.OFF_DELAY_OVER, Timers(timers.on_ns, -1, timers.at), Event.CLEAR)
    return Decision(Reason.OFF_DELAY_RUNNING, timers)


def _advanced(held: int, step: int) -> int:
    return held + step if held >= 0 else 0


def _due(timing: Timing, on_ns: tuple[int, ...], slack: int = 0) -> int:
    """Highest grade whose on-delay is over, or will be within a slack [ns]; 0 when there is none."""
    due = 0
    for level, (grade, held) in enumerate(zip(timing.grades, on_ns, strict=True), start=1):
        if held >= 0 and held + slack >= grade.on_s * SECOND:
            due = level
    return due


_NAMES = {
    AlarmState.NORMAL: "Normal",
    AlarmState.UNACKNOWLEDGED: "Unacknowledged",
    AlarmState.ACKNOWLEDGED: "Acknowledged",
    AlarmState.RETURNED: "Returned",
    AlarmState.LATCHED_UNACKNOWLEDGED: "LatchedUnacknowledged",
    AlarmState.LATCHED_ACKNOWLEDGED: "LatchedAcknowledged",
    AlarmState.SHELVED: "Shelved",
    AlarmState.SUPPRESSED: "Suppressed",
    AlarmState.OUT_OF_SERVICE: "OutOfService",
}

_MEANINGS = {
    AlarmState.NORMAL: "The condition does not hold, and everybody who had to know knows.",
    AlarmState.UNACKNOWLEDGED: "The condition holds, and nobody has taken notice.",
    AlarmState.ACKNOWLEDGED: "The condition holds, and somebody has taken notice.",
    AlarmState.RETURNED: "The condition is over, and nobody has taken notice.",
    AlarmState.LATCHED_UNACKNOWLEDGED: "Over, nobody has taken notice, and it waits for a reset.",
    AlarmState.LATCHED_ACKNOWLEDGED: "Over and acknowledged; it waits for a reset.",
    AlarmState.SHELVED: "An operator set it aside, with a reason and until a time.",
    AlarmState.SUPPRESSED: "Another alarm explains it, or an outage was planned.",
    AlarmState.OUT_OF_SERVICE: "Taken out of service until somebody puts it back.",
}

_EVENT_MEANINGS = {
    Event.RAISE: "The condition has held for the on-delay of its grade.",
    Event.ESCALATE: "A higher grade has held for its on-delay; people are told again.",
    Event.CLEAR: "The condition has been over, deadband included, for the off-delay.",
    Event.ACKNOWLEDGE: "A person acknowledged the alarm.",
    Event.LATCH: "As clear, for a condition that is configured to latch.",
    Event.RESET: "A person reset a latched alarm.",
    Event.SHELVE: "An operator shelved it; refused for urgent ones.",
    Event.UNSHELVE: "The time is over, or the operator ended it.",
    Event.SUPPRESS: "A parent alarm or a planned outage explains it.",
    Event.RELEASE: "What explained it has been over for a while.",
    Event.REMOVE: "Somebody took it out of service.",
    Event.RESTORE: "Somebody put it back into service.",
}


def document() -> str:
    """The table as a Markdown page with a Mermaid state diagram."""
    edges: dict[tuple[AlarmState, AlarmState], list[str]] = {}
    for (before, event), after in _SHOWN.items():
        edges.setdefault((before, after), []).append(event)
    lines = [
        "# The life of an alarm",
        "",
        "Drawn from the transition table in `alerts/lifecycle.py`; a test holds the two together.",
        "Regenerate with `python -m alerts.lifecycle > docs/alarm-lifecycle.md`.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {_NAMES[AlarmState.NORMAL]}",
    ]
    lines += [
        f"    {_NAMES[before]} --> {_NAMES[after]}: {', '.join(events)}"
        for (before, after), events in edges.items()
    ]
    for state, begin, end in _HOLDS:
        lines += [f"    Any --> {_NAMES[state]}: {begin}", f"    {_NAMES[state]} --> Normal: {end}"]
    lines += [
        "```",
        "",
        "*Any* is every state but a weightier hold: out of service outweighs suppressed, and that outweighs",
        "shelved. Leaving a hold begins again from normal: with another hold that is still there, or with a",
        "raise if the condition holds.",
        "",
    ]
    lines += ["| State | " + " | ".join(Event) + " |", "|---" * (len(Event) + 1) + "|"]
    for state in AlarmState:
        cells = [
            _NAMES[TRANSITIONS[state, event]] if (state, event) in TRANSITIONS else "-" for event in Event
        ]
        lines.append(f"| {_NAMES[state]} | {' | '.join(cells)} |")
    lines += ["", "| State | Meaning |", "|---|---|"]
    lines += [f"| {_NAMES[state]} | {_MEANINGS[state]} |" for state in AlarmState]
    lines += ["", "| Event | Meaning |", "|---|---|"]
    lines += [f"| {event} | {_EVENT_MEANINGS[event]} |" for event in Event]
    lines += [
        "",
        "A rule that cannot be judged (an input is stale or bad) is *indeterminate*: its delays stop where",
        "they are, an active alarm stays active, and nothing is raised.",
        "",
        "A held alarm is judged on: the history has what happened meanwhile, and people hear of it when the",
        "hold ends while the condition holds. What the desk does of itself: [alarm-desk.md](alarm-desk.md).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
