"""A rule of each family raises an exception: it is disabled and alarmed, and every other one goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

from alerts.alarms import Priority
from alerts.alignment import Snapshot
from alerts.book import AlarmBook
from alerts.config import AlertsSettings
from alerts.evaluation import FAILED_RULE, Evaluation
from alerts.rules.blindness import Blindness
from alerts.rules.catalogue import rules_of
from alerts.rules.clock_skew import ClockSkew
from alerts.rules.finding import Finding, Rule
from alerts.rules.telemetry_health import TelemetryHealth
from greenbridge.settings import load
from ingest.ports import JournalRecord
from telemetry.batch import ReadingBatch
from telemetry.registry import PointRegistry

SECOND = 1_000_000_000
T0 = 1_770_000_000 * SECOND
CONFIGURATION = load("corridor", {})
SITE = CONFIGURATION.site(PointRegistry(CONFIGURATION.keys()))
SETTINGS = AlertsSettings.model_validate(
    {"R21": CONFIGURATION.settings.alerts.contingency.model_copy(update={"enabled": True})}
)
Judge = Callable[[Any, Snapshot], Finding]

RULES = rules_of(SITE, SETTINGS)[0]
FAMILIES = dict.fromkeys(type(rule) for rule in RULES)


def failing(*_: object, **__: object) -> NoReturn:
    raise KeyError("broken for the test")


def seconds_of(evaluation: Evaluation, book: AlarmBook, count: int) -> set[str]:
    """Conditions with an alarm after so many seconds of readings."""
    points = sorted(SITE.points)
    for second in range(count):
        now = T0 + second * SECOND
        batch = ReadingBatch.of(
            "test",
            1,
            second,
            now,
            point=points,
            t_source=[now] * len(points),
            value=[50.0] * len(points),
            quality=[0] * len(points),
        )
        evaluation.take([JournalRecord(second + 1, now, second * len(points), batch)], now)
        evaluation.tick(now, at_head=True)
    return {alarm.key for alarm in book.active()}


def test_a_rule_of_each_family_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {next(rule for rule in RULES if type(rule) is family).subject.key for family in FAMILIES}
    judged: list[str] = []
    for family in FAMILIES:

        def watched(rule: Rule, snapshot: Snapshot, sound: Judge = family.evaluate) -> Finding:
            judged.append(rule.subject.key)
            return failing() if rule.subject.key in broken else sound(rule, snapshot)

        monkeypatch.setattr(family, "evaluate", watched)
    book = AlarmBook()
    with capture_logs() as logs:
        keys = seconds_of(Evaluation(SITE, SETTINGS, book), book, 8)
    assert {
        f"{entry['rule']}/{entry['asset']}" for entry in logs if entry["event"] == "rule_disabled"
    } == broken
    assert len(broken) == len(FAMILIES) >= 18
    assert {key for key in keys if key.startswith(FAILED_RULE)} == {f"{FAILED_RULE}/{key}" for key in broken}
    counts = Counter(judged)
    assert {counts[key] for key in broken} == {1}, "it is not tried again"
    assert all(counts[rule.subject.key] > 1 for rule in RULES if rule.subject.key not in broken)
    alarm = next(alarm for alarm in book.active() if alarm.rule == FAILED_RULE)
    assert alarm.priority is Priority.HIGH
    assert "KeyError: 'broken for the test'" in alarm.cause
    unknown = {f"{entry.rule}/{entry.asset}" for entry in book.indeterminate() if "disabled" in entry.reason}
    assert unknown == broken


@pytest.mark.parametrize(
    ("rule", "part", "method"),
    [("R13", TelemetryHealth, "findings"), ("R17", ClockSkew, "findings"), ("R24", Blindness, "findings")],
)
def test_a_rule_that_is_judged_by_time_and_fails(
    rule: str, part: type[object], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: Callable[..., NoReturn] = failing
    monkeypatch.setattr(part, method, broken)
    book = AlarmBook()
    with capture_logs():
        keys = seconds_of(Evaluation(SITE, SETTINGS, book), book, 4)
    assert [key for key in keys if key.startswith(f"{FAILED_RULE}/{rule}")]
