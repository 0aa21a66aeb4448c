from __future__ import annotations

import numpy as np
import pytest

from alerts.estimator.explanation import EXPLANATION, Explainer
from alerts.estimator.judgement import Judge
from alerts.estimator.measurements import Scan
from alerts.estimator.plan import Plan
from alerts.estimator.trend import Trend
from telemetry.site import Site
from tests.alerts.estimator.conftest import Corridor


def _told(corridor: Corridor, asset: str, **changes: float) -> str:
    p = corridor.truth().p_mw.copy()
    for meter, mw in changes.items():
        p[corridor.index(meter.replace("__", "-"))] += mw
    return Explainer(corridor.grid, corridor.meters).sentence(corridor.diagnose(p), asset)


def test_tap_with_its_rival_circuits_and_weather(corridor: Corridor) -> None:
    corridor.world.set_tap("SHY-TAS", 29.6)
    corridor.world.step(1.0)
    told = _told(corridor, "SHY-TAS")
    assert told.startswith("SHY-TAS: tap or extra loss on the line, 29.7 MW, T = ")
    assert "; next: meter SHY-TAS_" in told
    assert "2 of 2 circuits in service" in told
    assert "124 kW/km is more than any weather takes" in told
    assert "extra loss also on" not in told


def test_weather_is_named_where_it_could_be_the_cause(corridor: Corridor) -> None:
    corridor.world.set_tap("KUN-AKT", 22.0)
    corridor.world.step(1.0)
    told = _told(corridor, "KUN-AKT")
    assert told.startswith("KUN-AKT: tap or extra loss on the line, 21.5 MW")
    assert "15 kW/km could be weather (hoarfrost takes 77)" in told


def test_bus_is_said_to_be_a_meter_or_a_take_off(corridor: Corridor) -> None:
    told = _told(corridor, "SHY", SHY_injection=15.0)
    assert told.startswith("SHY: injection meter wrong or unmetered take-off at the bus, 15.0 MW")
    assert "elsewhere: SHY: injection meter wrong" in _told(corridor, "KUN-AKT", SHY_injection=15.0)


def test_area_is_told_of_what_is_in_it(corridor: Corridor) -> None:
    assert "meter SHY-TAS_TAS_main reads 20.0 MW too much" in _told(corridor, "UZ", SHY__TAS_TAS_main=20.0)
    assert _told(corridor, "AZ", SHY__TAS_TAS_main=20.0).startswith("the measurements of AZ agree")


def test_agreement_means_that_power_is_really_missing(corridor: Corridor) -> None:
    corridor.world.trip_plant("mirny-wind")
    corridor.world.step(1.0)
    assert "what they show is so" in _told(corridor, "KZ")


def test_hour_of_a_meter_in_doubt_is_told(corridor: Corridor) -> None:
    explainer = Explainer(corridor.grid, corridor.meters)
    trends = {"SHY-TAS_TAS_main": Trend(-0.5, 0.04, 3.0, 0.2, -3.0, 60.0, 3600)}
    evidence = explainer.evidence(corridor.diagnose(corridor.truth().p_mw), trends)
    expected = "SHY-TAS_TAS_main: gain -0.50 +-0.04 %, offset +3.0 +-0.2 MW, clock -3.0 s"
    assert evidence["SHY-TAS"]["Over the last hour"] == expected
    assert "Over the last hour" not in evidence["ALT-ABS"]


@pytest.fixture
def judge(corridor: Corridor) -> Judge:
    site = Site("corridor", corridor.grid, {}, {}, {})
    return Judge(site, Plan(tuple(corridor.meters), (), (), (), 0.2))


def _scans(corridor: Corridor, wrong_mw: float, count: int) -> list[Scan]:
    truth = corridor.truth()
    p = truth.p_mw.copy()
    p[corridor.index("SHY-TAS_TAS_main")] += wrong_mw
    return [
        Scan(truth.instant + 3 * i * 10**9, p, truth.q_mvar, truth.v_kv, truth.sigma_mw) for i in range(count)
    ]


def test_three_of_five_scans_must_fail(corridor: Corridor, judge: Judge) -> None:
    levels = []
    for wrong in (20.0, 0.0, 20.0, 0.0, 0.0, 20.0, 20.0, 20.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0):
        [scan] = _scans(corridor, wrong, 1)
        found = judge.judge(scan, calm=True).findings
        levels.append(max((finding.level for finding in found), default=0))
    assert levels == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]


def test_alarm_names_the_branch_of_the_meter_and_explains(corridor: Corridor, judge: Judge) -> None:
    for scan in _scans(corridor, 20.0, 3):
        outcome = judge.judge(scan, calm=False)
    [finding] = outcome.findings
    assert (finding.subject.key, finding.subject.area) == ("R18/SHY-TAS", "KZ")
    assert finding.texts is not None
    assert "meter SHY-TAS_TAS_main reads 20" in finding.texts.cause
    assert finding.texts.evidence[EXPLANATION] == outcome.evidence["SHY-TAS"][EXPLANATION]


def test_alarm_of_an_earlier_run_is_judged_until_it_is_over(corridor: Corridor, judge: Judge) -> None:
    [scan] = _scans(corridor, 0.0, 1)
    for _ in range(2):
        [finding] = judge.judge(scan, calm=True, known=["KUN-AKT"]).findings
        assert (finding.subject.key, finding.level, finding.held_level) == ("R18/KUN-AKT", 0, 0)


def test_baselines_are_learned_in_calm_only(corridor: Corridor, judge: Judge) -> None:
    for calm, learned in ((False, False), (True, True)):
        for scan in _scans(corridor, 0.5, 20):
            judge.judge(scan, calm=calm)
        assert bool(np.abs(judge._baselines.gains).max() > 1e-7) is learned
