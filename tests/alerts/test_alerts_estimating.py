"""The state estimate at work beside the rules: evidence, its own alarm, and what its failure does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from alerts.alarms import AlarmState
from alerts.alignment import Alignment, Snapshot
from alerts.config import AlertsSettings
from alerts.estimating import WAITING, Estimating, EstimationFailedError
from alerts.estimator.judgement import Judge, Outcome
from alerts.estimator.measurements import Scan
from telemetry.clock import ManualClock
from telemetry.site import Site
from tests.alerts.conftest import SECOND, START, Bench

ON = AlertsSettings.model_validate_json('{"R18": {"alarm": true}}')


@pytest.fixture
def estimating_bench(bench: Bench) -> Bench:
    bench.settings = ON
    return bench


async def test_alarm_carries_the_ranked_explanation(estimating_bench: Bench) -> None:
    bench = estimating_bench
    async with bench.running() as desk:
        await bench.run(10)
        bench.tap(30)
        await bench.run(75)
        [alarm] = desk.active()
    # two meters and the line, nothing else measures there: which of the three cannot be known
    told = str(alarm.evidence["Explanation"])
    assert alarm.rule == "R6"
    assert told.startswith("ambiguous: ")
    assert "SHY-TAS: tap or extra loss on the line, 30.0 MW" in told
    assert "meter SHY-TAS_TAS_main reads 30.0 MW too much" in told
    assert "the measurements cannot tell them apart" in told
    assert "more than any weather takes" in told
    assert "above its limit" in str(alarm.evidence["State estimate"])


async def test_own_alarm_is_a_line_under_the_two_end_alarm_and_no_second_page(
    estimating_bench: Bench,
) -> None:
    bench = estimating_bench
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(80)
        assert [alarm.rule for alarm in desk.active()] == ["R6"]
        history = await desk.history()
        [child] = [alarm for alarm in history if alarm.rule == "R18"]
    assert child.state is AlarmState.SUPPRESSED
    assert child.asset == "SHY-TAS"
    assert child.parent == next(alarm.id for alarm in history if alarm.rule == "R6")


async def test_alone_it_raises_its_alarm_and_returns(bench: Bench) -> None:
    bench.settings = AlertsSettings.model_validate_json('{"R6": {"enabled": false}, "R18": {"alarm": true}}')
    async with bench.running() as desk:
        await bench.run(20)
        assert desk.active() == ()
        bench.tap(30)
        await bench.run(30)
        [alarm] = desk.active()
        assert (alarm.rule, alarm.asset, alarm.area) == ("R18", "SHY-TAS", "KZ")
        assert alarm.value > alarm.limit
        bench.tap(0)
        await bench.run(70)
        assert [a.state for a in desk.active()] == [AlarmState.RETURNED]


async def test_it_explains_and_raises_nothing_unless_told(bench: Bench) -> None:
    bench.settings = AlertsSettings.model_validate_json("{}")
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(80)
        assert [alarm.rule for alarm in await desk.history()] == ["R6"]
        assert "Explanation" in desk.active()[0].evidence


async def test_alarm_survives_a_restart(bench: Bench) -> None:
    bench.settings = AlertsSettings.model_validate_json('{"R6": {"enabled": false}, "R18": {"alarm": true}}')
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(30)
        [alarm] = desk.active()
    async with bench.running() as desk:
        assert [a.id for a in desk.active()] == [alarm.id]
        bench.tap(0)
        await bench.run(80)
        assert [a.state for a in desk.active()] == [AlarmState.RETURNED]


async def test_failure_of_the_estimate_is_told_once_and_rules_go_on(
    estimating_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Outcome:
        raise ZeroDivisionError("injected")

    monkeypatch.setattr(Judge, "judge", broken)
    bench = estimating_bench
    with capture_logs() as logs:
        async with bench.running() as desk:
            bench.tap(30)
            await bench.run(75)
            [alarm] = desk.active()
    assert alarm.rule == "R6"
    assert "Explanation" not in alarm.evidence
    assert [entry["event"] for entry in logs].count("state_estimation_failed") == 1


async def test_failure_to_take_a_scan_raises_the_alarm_about_rules(
    estimating_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Scan:
        raise ZeroDivisionError("injected")

    monkeypatch.setattr("alerts.estimator.plan.Plan.scan", broken)
    bench = estimating_bench
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(75)
        assert {alarm.rule for alarm in desk.active()} == {"R6", "RULES"}


async def test_outcomes_are_published(estimating_bench: Bench) -> None:
    bench, published = estimating_bench, list[Outcome]()

    async def publish(outcome: Outcome) -> None:
        published.append(outcome)

    bench.publish = publish
    async with bench.running():
        await bench.run(12)
    instants = [outcome.diagnosis.instant for outcome in published]
    assert len(instants) >= 3
    assert all(later - earlier >= 3 * SECOND for earlier, later in pairwise(instants))


def _snapshots(site: Site, count: int) -> Sequence[Snapshot]:
    alignment = Alignment(dict.fromkeys(site.points, 1.0), 3.0)
    return [Snapshot(START + i * SECOND, alignment) for i in range(count)]


async def test_scans_that_wait_are_bounded_and_the_newest_stay(site: Site) -> None:
    seen: list[int] = []
    estimating = Estimating(site, ON.state_estimate, ManualClock(START))
    for snapshot in _snapshots(site, WAITING + 7):
        estimating.take(snapshot, ())
        seen.append(snapshot.instant)
    assert [waiting.scan.instant for waiting in estimating._scans] == seen[7:]


async def test_nothing_measured_yet_is_no_failure(site: Site) -> None:
    estimating = Estimating(site, ON.state_estimate, ManualClock(START))
    [snapshot] = _snapshots(site, 1)
    estimating.take(snapshot, ())
    outcome = estimating._work(list(estimating._scans))
    assert outcome is not None
    assert outcome.findings == ()
    assert outcome.diagnosis.freedom == 0


async def test_evidence_grows_old(site: Site) -> None:
    estimating = Estimating(site, ON.state_estimate, ManualClock(START))
    [snapshot] = _snapshots(site, 1)
    estimating.take(snapshot, ())
    outcome = estimating._work(list(estimating._scans))
    assert outcome is not None
    estimating._show(replace(outcome, evidence={"SHY-TAS": {"Explanation": "so"}}))
    assert estimating.evidence("R6", "SHY-TAS", START + 10 * SECOND) == {"Explanation": "so"}
    assert estimating.evidence("R6", "SHY-TAS", START + 16 * SECOND) == {}
    assert estimating.evidence("R13", "SHY-TAS", START) == {}
    estimating._failed(EstimationFailedError("no"))
    assert estimating.evidence("R6", "SHY-TAS", START + 10 * SECOND) == {}
