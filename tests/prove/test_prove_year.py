"""That the audit of the year can fail, and that its plan is what it says."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.journal import Step
from alerts.lifecycle import Event
from prove.outcome import Outcome
from prove.year import _judge_days, _judge_steps, _judge_told
from prove.year_plan import CHIEF, DAY, MINUTE, PEOPLE, START, conditions, happenings, on_duty

ALARM = Alarm(
    "R6-a-1", "R6/a", "R6", 1, "a", "KZ", "a holds", Priority.HIGH, AlarmState.UNACKNOWLEDGED,
    1.0, 0.5, "1", "good", START, START, START, START,
)  # fmt: skip
RAISED = Step(START, Event.RAISE, "limit", AlarmState.NORMAL, ALARM)
ACKNOWLEDGED = Step(
    START + 60 * MINUTE,
    Event.ACKNOWLEDGE,
    "by_person",
    AlarmState.UNACKNOWLEDGED,
    replace(ALARM, state=AlarmState.ACKNOWLEDGED),
)


def test_a_step_that_is_forgotten_is_found() -> None:
    outcome = Outcome("year")
    _judge_steps([RAISED, ACKNOWLEDGED], outcome)
    assert not outcome.problems
    _judge_steps([RAISED, replace(ACKNOWLEDGED, before=AlarmState.RETURNED)], outcome)
    assert "led from returned_unacknowledged to acknowledged" in outcome.problems[0]
    assert "acknowledge in returned_unacknowledged, but it was unacknowledged" in outcome.problems[1]


def test_a_day_that_is_counted_wrongly_is_found() -> None:
    outcome = Outcome("year")
    _judge_days([replace(RAISED, at=START + 1)], [1, 0], outcome)
    assert not outcome.problems
    _judge_days([replace(RAISED, at=START + 1)], [0, 1], outcome)
    assert len(outcome.problems) == 2


def test_whoever_hears_nothing_or_should_not_is_found() -> None:
    duty = on_duty(START)
    told: dict[str, dict[str, int]] = {name: {} for name in (*PEOPLE, CHIEF)}
    outcome = Outcome("year")
    _judge_told([RAISED, ACKNOWLEDGED], told, START + DAY, outcome)
    assert outcome.problems == [
        f"{duty} was on call and heard nothing of R6-a-1",
        "nobody acknowledged R6-a-1, and the chief heard nothing of it",
    ]
    told[duty]["R6-a-1"] = told[CHIEF]["R6-a-1"] = START
    other = next(name for name in PEOPLE if name != duty)
    told[other]["R6-a-1"] = START
    outcome = Outcome("year")
    _judge_told([RAISED, ACKNOWLEDGED], told, START + DAY, outcome)
    assert outcome.problems == [f"{other} heard of R6-a-1 and was not on call"]


def test_hand_overs_are_at_eight_on_the_wall_in_summer_and_in_winter() -> None:
    def at(month: int, day: int, hour: int, minute: int) -> str:
        return on_duty(round(datetime(2026, month, day, hour, minute, tzinfo=UTC).timestamp()) * 10**9)

    assert at(3, 23, 6, 59) != at(3, 23, 7, 0)  # Monday, UTC+1
    assert at(3, 30, 5, 59) != at(3, 30, 6, 0)  # the Monday after the change to summer time
    assert at(3, 30, 6, 0) == at(3, 30, 7, 0)


def test_the_plan_has_the_rates_of_a_good_desk() -> None:
    known = conditions(random.Random(1))  # noqa: S311 - no secret
    priorities = Counter(condition.timing.grades[0].priority for condition in known)
    assert priorities[Priority.LOW] > 4 * priorities[Priority.MEDIUM] > 0
    assert 0 < priorities[Priority.URGENT] <= 0.02 * len(known)
    plan = happenings(30, random.Random(1))  # noqa: S311 - no secret
    assert [happening.at for happening in plan] == sorted(happening.at for happening in plan)
    kinds = Counter(happening.what for happening in plan)
    assert 50 * 30 < kinds["begin"] < 150 * 30
    assert min(kinds[what] for what in ("shelve", "unshelve", "remove", "restore", "restart")) > 0
