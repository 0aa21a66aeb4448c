from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alarms import AlarmState, Priority
from alerts.lifecycle import (
    TRANSITIONS,
    Decision,
    Event,
    Reason,
    Timers,
    decide,
    document,
    next_state,
    strongest,
)
from alerts.rules.finding import Finding, Grade, Subject, Timing, level_of

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
SUBJECT = Subject("R6", 1, "A-B", "KZ")
TIMING = Timing((Grade(Priority.MEDIUM, 60), Grade(Priority.HIGH, 30)), 20)


TABLE = """
state   raise escalate clear latch acknowledge reset shelve unshelve suppress release remove restore
normal  U     -        -     -     -           -     S      -        P        -       O      -
unack   -     U        R     LU    A           -     S      -        P        -       O      -
acked   -     U        N     LA    -           -     S      -        P        -       O      -
return  U     -        -     -     N           -     S      -        P        -       O      -
latchU  U     -        -     -     LA          -     S      -        P        -       O      -
latchA  U     -        -     -     -           N     S      -        P        -       O      -
shelved S     S        S     -     -           -     S      N        P        -       O      -
suppr   P     P        P     -     -           -     -      -        P        N       O      -
out     O     O        O     -     -           -     -      -        -        -       O      N
"""
"""What every event does in every state, written apart from the table under test."""

STATES = dict(zip(["N", "U", "A", "R", "LU", "LA", "S", "P", "O"], AlarmState, strict=True))
_EVENTS, *_ROWS = [line.split() for line in TABLE.strip().splitlines()]
CASES = [
    (state, Event(event), STATES.get(cell))
    for state, row in zip(AlarmState, _ROWS, strict=True)
    for event, cell in zip(_EVENTS[1:], row[1:], strict=True)
]


def test_the_cases_are_every_state_and_event() -> None:
    assert {(state, event) for state, event, _ in CASES} == {(s, e) for s in AlarmState for e in Event}


@pytest.mark.parametrize(("state", "event", "after"), CASES, ids=str)
def test_table(state: AlarmState, event: Event, after: AlarmState | None) -> None:
    assert next_state(state, event) is after


def test_the_weightiest_hold_counts() -> None:
    shelved, suppressed, out = AlarmState.SHELVED, AlarmState.SUPPRESSED, AlarmState.OUT_OF_SERVICE
    assert strongest([shelved, out, suppressed]) is out
    assert strongest([suppressed, shelved]) is suppressed
    assert strongest([]) is None


def test_the_page_is_drawn_from_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "alarm-lifecycle.md"
    assert page.read_text("utf-8") == document(), "python -m alerts.lifecycle > docs/alarm-lifecycle.md"


def finding(second: float, level: int, held: int | None = None, unknown: str = "") -> Finding:
    at = T0 + round(second * SECOND)
    if unknown:
        return SUBJECT.unknown(at, unknown)
    return Finding(SUBJECT, at, level, level if held is None else held)


class Story:
    """Findings one after the other, and what was decided."""

    def __init__(self, timing: Timing = TIMING) -> None:
        self.timing = timing
        self.timers = Timers.idle(timing)
        self.level = 0
        self.events: list[tuple[float, Event, int]] = []

    def tell(self, found: Finding) -> Decision:
        decision = decide(self.timing, self.timers, self.level, found)
        self.timers = decision.timers
        if decision.event is not None:
            self.events.append(((found.at - T0) / SECOND, decision.event, decision.level))
            self.level = 0 if decision.event is Event.CLEAR else decision.level
        return decision

    def hold(self, start: int, end: int, level: int, held: int | None = None, unknown: str = "") -> Reason:
        reason = Reason.BELOW_LIMIT
        for second in range(start, end):
            reason = self.tell(finding(second, level, held, unknown)).reason
        return reason


def test_on_delay_off_delay_and_reasons() -> None:
    story = Story()
    assert story.hold(0, 5, 0) is Reason.BELOW_LIMIT
    assert story.hold(5, 65, 1) is Reason.ON_DELAY_RUNNING
    assert story.hold(65, 66, 1) is Reason.ON_DELAY_OVER
    assert story.hold(66, 70, 1) is Reason.STILL_ABOVE_LIMIT
    assert story.hold(70, 90, 0) is Reason.OFF_DELAY_RUNNING
    assert story.hold(90, 91, 0) is Reason.OFF_DELAY_OVER
    assert story.events == [(65, Event.RAISE, 1), (90, Event.CLEAR, 0)]


def test_a_short_excursion_is_no_alarm_and_a_short_return_no_all_clear() -> None:
    story = Story()
    story.hold(0, 59, 1)
    story.hold(59, 61, 0)
    story.hold(61, 120, 1)
    assert story.events == []
    story.hold(120, 130, 1)
    story.hold(130, 149, 0)
    story.hold(149, 150, 1)
    story.hold(150, 169, 0)
    assert [event for _, event, _ in story.events] == [Event.RAISE]


def test_inside_the_deadband_a_condition_stays_but_does_not_begin() -> None:
    story = Story()
    assert story.hold(0, 300, 0, held=1) is Reason.BELOW_LIMIT
    story.hold(300, 301, 1)
    story.hold(301, 400, 0, held=1)
    assert story.events == [(360, Event.RAISE, 1)]


def test_a_worse_grade_escalates_and_a_milder_one_does_not_lower() -> None:
    story = Story()
    story.hold(0, 100, 1)
    story.hold(100, 140, 2)
    story.hold(140, 300, 1)
    story.hold(300, 330, 2)
    assert story.events == [(60, Event.RAISE, 1), (130, Event.ESCALATE, 2)]


def test_grades_that_become_due_together_are_one_alarm() -> None:
    timing = Timing((Grade(Priority.MEDIUM, 60), Grade(Priority.HIGH, 60)), 20)
    story = Story(timing)
    story.hold(0, 2, 1)
    story.hold(2, 200, 2)
    assert story.events == [(60, Event.RAISE, 2)]


@pytest.mark.parametrize("active", [False, True])
def test_indeterminate_stops_the_delays(active: bool) -> None:
    story = Story()
    story.hold(0, 70 if active else 50, 1)
    before = list(story.events)
    story.hold(70, 75, 0 if active else 1)
    assert story.hold(75, 1000, 0, unknown="leg is stale") is Reason.INDETERMINATE
    assert story.events == before
    story.hold(1000, 1030, 0 if active else 1)
    assert len(story.events) == len(before) + 1


def test_unobserved_time_hardly_counts() -> None:
    story = Story()
    story.tell(finding(0, 1))
    story.tell(finding(3600, 1))
    assert story.timers.on_ns[0] == 5 * SECOND
    story.tell(finding(60, 1))
    assert story.timers.on_ns[0] == 5 * SECOND, "time that runs backwards counts nothing"


levels = st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans())


@given(st.lists(levels, max_size=200))
def test_every_event_has_a_meaning_and_none_is_repeated(steps: list[tuple[int, int, bool]]) -> None:
    story = Story(Timing((Grade(Priority.MEDIUM, 3), Grade(Priority.HIGH, 1)), 2))
    state = AlarmState.NORMAL
    for second, (level, extra, unknown) in enumerate(steps):
        before = len(story.events)
        story.tell(finding(second, level, min(2, level + extra), "unknown" if unknown else ""))
        for _, event, _ in story.events[before:]:
            after = next_state(state, event)
            assert after is not None, f"{event} in {state}"
            state = after
            assert not unknown, "nothing follows from what is not known"
    raised = [event for _, event, _ in story.events if event is not Event.ESCALATE]
    assert all(a is not b for a, b in pairwise(raised)), "raise and clear alternate"


@given(st.floats(0, 200), st.floats(0, 1))
def test_the_deadband_only_lowers_limits(value: float, deadband: float) -> None:
    level, held = level_of(value, [25.0, 50.0, 100.0], deadband)
    assert level <= held
    assert held == sum(value > limit * (1 - deadband) for limit in (25.0, 50.0, 100.0))


def test_every_state_and_event_is_in_the_table() -> None:
    assert {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(AlarmState)
    assert {event for _, event in TRANSITIONS} == set(Event)
