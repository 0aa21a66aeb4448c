"""From changes of alarms to a verdict."""

from __future__ import annotations

import json

import pytest

from alerts.alarms import Priority
from alerts.lifecycle import Event
from greenbridge.scenarios.verdict import Outcome, Result, Seen, judge
from simulators.scenario import Scenario

BUILT = {"R1", "R6", "R13"}


def scenario(**changes: object) -> Scenario:
    values: dict[str, object] = {
        "title": "x",
        "story": "x",
        "world": {"start": "2026-01-13T10:00:00Z", "duration_s": 600.0},
        "expect": [{"rule": "R6", "asset": "A-B", "within": [100.0, 200.0]}],
    }
    return Scenario.model_validate_json(json.dumps(values | changes))


def seen(t_s: float, event: str, key: str = "R6/A-B", priority: str = "medium") -> Seen:
    rule, asset = key.split("/")
    return Seen(t_s, Event(event), rule, asset, Priority(priority), "title")


@pytest.mark.parametrize(
    ("events", "outcome", "result"),
    [
        ([seen(150, "raise")], Outcome.SEEN, Result.PASSED),
        ([], Outcome.MISSING, Result.FAILED),
        ([seen(201, "raise")], Outcome.LATE, Result.FAILED),
        ([seen(99, "raise")], Outcome.MISSING, Result.FAILED),
        ([seen(150, "raise"), seen(170, "clear"), seen(180, "raise")], Outcome.SEEN, Result.FAILED),
        ([seen(150, "raise"), seen(150, "raise", "R1/A-B")], Outcome.SEEN, Result.FAILED),
        ([seen(150, "raise"), seen(151, "escalate", priority="high")], Outcome.SEEN, Result.PASSED),
    ],
)
def test_an_expected_alarm(events: list[Seen], outcome: Outcome, result: Result) -> None:
    verdict = judge(scenario(), events, BUILT)
    assert verdict.expected[0].outcome is outcome
    assert verdict.result is result


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([seen(150, "raise")], Outcome.TOO_LOW),
        ([seen(150, "raise"), seen(190, "escalate", priority="high")], Outcome.NOT_CLEARED),
        ([seen(150, "raise", priority="urgent"), seen(301, "clear")], Outcome.NOT_CLEARED),
        ([seen(150, "raise"), seen(210, "escalate", priority="high")], Outcome.TOO_LOW),
        ([seen(150, "raise", priority="high"), seen(300, "clear")], Outcome.SEEN),
    ],
)
def test_priority_and_return_to_normal(events: list[Seen], outcome: Outcome) -> None:
    wanted = {"rule": "R6", "asset": "A-B", "within": [100, 200], "priority": "high", "clears_by": 300}
    assert judge(scenario(expect=[wanted]), events, BUILT).expected[0].outcome is outcome


def test_what_is_not_forbidden_is_tolerated_and_told() -> None:
    verdict = judge(
        scenario(forbid=[{"rule": "R6"}, {"rule": "R13", "asset": "modbus/*"}]),
        [
            seen(150, "raise"),
            seen(160, "raise", "R1/T"),
            seen(170, "raise", "R13/modbus/X".replace("/X", "-X")),
        ],
        BUILT,
    )
    assert verdict.result is Result.PASSED
    assert [(s.rule, s.asset) for s in verdict.tolerated] == [("R1", "T"), ("R13", "modbus-X")]
    verdict = judge(
        scenario(forbid=[{"rule": "R6"}]), [seen(150, "raise"), seen(160, "raise", "R6/C")], BUILT
    )
    assert [s.asset for s in verdict.forbidden] == ["C"]


def test_rules_that_are_not_built_are_counted_apart_but_excuse_nothing() -> None:
    both = [
        {"rule": "R6", "asset": "A-B", "within": [100, 200]},
        {"rule": "R16", "asset": "m", "within": [100, 200]},
    ]
    verdict = judge(scenario(expect=both, needs=["R2"]), [seen(150, "raise")], BUILT)
    assert (verdict.result, verdict.needs) == (Result.NEEDS, ("R2", "R16"))
    assert [j.outcome for j in verdict.expected] == [Outcome.SEEN, Outcome.NEEDS]
    assert judge(scenario(expect=both), [], BUILT).result is Result.FAILED
    assert judge(scenario(expect=both), [seen(150, "raise")], BUILT | {"R16"}).result is Result.FAILED
