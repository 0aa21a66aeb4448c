"""R1 and R6 on synthetic series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import sqrt

import pytest

from alerts.alarms import Priority
from alerts.alignment import Alignment, Snapshot
from alerts.config import AlertsSettings
from alerts.rules.catalogue import rules_of
from alerts.rules.finding import Finding, Rule, Texts
from alerts.two_port import LineModel
from telemetry.batch import ReadingBatch
from telemetry.devices import Role
from telemetry.registry import PointRegistry
from telemetry.site import Site, point_keys
from tests.alerts.rule_rig import T0, Values, judged

SECOND = 1_000_000_000
RULES = ("R1", "R2", "R6", "R12", "R20")

"""By point: value; None for a bad one."""


def rule(site: Site, key: str, settings: AlertsSettings | None = None) -> Rule:
    rules, gaps = rules_of(site, settings or AlertsSettings.model_validate({}))
    assert not any(gap.blind for gap in gaps)
    return {entry.subject.key: entry for entry in rules}[key]


def line(site: Site, p: float, q: float, v: float, far: float | None, name: str = "SHY-TAS") -> Values:
    a, b = name.split("-")
    return {
        point(site, name, a, "TotW"): p,
        point(site, name, a, "TotVAr"): q,
        point(site, name, a, "PPV"): v,
        point(site, name, b, "TotW"): far,
    }


def point(site: Site, branch: str, node: str, name: str = "TotW", role: Role = Role.MAIN) -> int:
    meter = site.meter(branch, node, role)
    assert meter is not None
    found = site.find(meter.id, name)
    assert found is not None
    return found.index


# base flow of the reference corridor; its loss is 1.246 MW
HEALTHY = (-321.589, -39.754, 502.727, 322.835)


def shifted(mw: float) -> tuple[float, float, float, float]:
    p, q, v, far = HEALTHY
    return p, q, v, far + mw


def test_two_end_limits_and_sigma(site: Site) -> None:
    (found,) = judged(rule(site, "R6/SHY-TAS"), lambda _: line(site, *shifted(0)), 1)
    # both meters: 0.2 % and 0.3 MW; corona: 1 kW/km on 2 x 120 km
    near, far, corona = sqrt(0.643178**2 + 0.3**2), sqrt(0.64567**2 + 0.3**2), 0.24
    assert found.limit == pytest.approx(3 * sqrt(near**2 + far**2 + corona**2), abs=0.001)
    assert found.value == pytest.approx(0, abs=0.01)
    assert found.level == found.held_level == 0
    assert found.texts is None


@pytest.mark.parametrize(
    ("mw", "level", "held"),
    [(1.0, 0, 0), (2.5, 0, 1), (3.3, 1, 1), (5.5, 1, 2), (8.0, 2, 2), (30.0, 2, 2), (-30.0, 2, 2)],
)
def test_two_end_grades(site: Site, mw: float, level: int, held: int) -> None:
    (found,) = judged(rule(site, "R6/SHY-TAS"), lambda _: line(site, *shifted(mw)), 1)
    assert (found.level, found.held_level) == (level, held)


def test_a_circuit_out_of_service_is_seen_by_its_charging_power(site: Site) -> None:
    grid_line = next(line for line in site.grid.line if line.id == "SHY-TAS")
    alone = LineModel(site.grid, grid_line, circuits=1).far_end(502.7, -321.6, 20.0)
    both = LineModel(site.grid, grid_line).far_end(502.7, -321.6, 20.0)
    assert abs(alone.q_mvar - both.q_mvar) > 80
    tested = rule(site, "R6/SHY-TAS")
    for far, circuits in ((alone, "1 of 2"), (both, "2 of 2")):
        values = {
            **line(site, -321.6, 20.0, 502.7, far.p_mw + 30),
            point(site, "SHY-TAS", "TAS", "TotVAr"): far.q_mvar,
        }
        (found,) = judged(tested, lambda _, now=values: now, 1)  # type: ignore[misc]
        assert found.value == pytest.approx(30, abs=0.01)
        assert found.texts is not None
        assert found.texts.evidence["Circuits in service"] == circuits


def test_two_end_texts(site: Site) -> None:
    (found,) = judged(rule(site, "R6/SHY-TAS"), lambda _: line(site, *shifted(29.8)), 1)
    assert found.texts is not None
    assert found.texts.title == "SHY-TAS: 29.8 MW missing between the two ends"
    assert "TAS sends 352.6 MW, SHY receives 321.6 MW" in found.texts.cause
    assert found.texts.evidence == {
        "P at SHY [MW]": -321.6,
        "P at TAS [MW]": 352.6,
        "Circuits in service": "2 of 2",
        "Expected loss [MW]": 1.2,
        "Residual [MW]": 29.8,
        "Uncertainty, one sigma [MW]": 1.07,
        "Limit [MW]": 7.1,
    }
    (found,) = judged(rule(site, "R6/SHY-TAS"), lambda _: line(site, *shifted(-12)), 1)
    assert found.texts is not None
    assert found.texts.title == "SHY-TAS: 12.0 MW more arrives than is sent"
    assert "weather" not in found.texts.cause + found.texts.response


def texts(site: Site, values: Values, key: str = "R6/SHY-TAS") -> Texts:
    found = judged(rule(site, key), lambda _: values, 1)[0].texts
    assert found is not None
    return found


def with_checks(site: Site, *nodes: str) -> Site:
    """The site with check meters on SHY-TAS."""
    devices = list(site.devices.values())
    for node in nodes:
        main = site.devices[f"SHY-TAS_{node}_main"]
        devices.append(main.model_copy(update={"id": f"SHY-TAS_{node}_check", "role": Role.CHECK}))
    registry = PointRegistry(point_keys(devices, site.profiles))
    return Site.of(site.name, site.grid, devices, site.profiles, registry)


def test_two_end_response_names_only_what_there_is(site: Site) -> None:
    none = texts(site, line(site, *shifted(30))).response
    assert "check meter" not in none
    assert "parallel circuits" in none
    single = texts(site, line(site, 622.9, -3.0, 505.0, -590.0, "MGC-SAM"), "R6/MGC-SAM").response
    assert "parallel circuits" not in single
    checked = with_checks(site, "SHY")
    one = texts(checked, line(checked, *shifted(30))).response
    assert "1. Compare main and check meter at SHY: " in one
    assert one.endswith("settle from the check meter at SHY.")


def test_two_end_shows_check_meters_and_does_without_them(site: Site) -> None:
    checked = with_checks(site, "SHY", "TAS")
    shy, tas = (point(checked, "SHY-TAS", node, role=Role.CHECK) for node in ("SHY", "TAS"))
    values = dict(line(checked, *shifted(30))) | {shy: -321.4, tas: None}
    (found,) = judged(rule(checked, "R6/SHY-TAS"), lambda _: values, 1)
    assert (found.level, found.indeterminate, found.quality) == (2, "", "good")
    assert found.texts is not None
    assert found.texts.evidence["Check P at SHY [MW]"] == -321.4
    assert found.texts.evidence["Check less main at SHY [MW]"] == 0.2
    assert "Check P at TAS [MW]" not in found.texts.evidence


@pytest.mark.parametrize(
    ("near", "far", "sense", "between"),
    [(321.6, 322.8, "sending, 644 MW", "taken"), (-321.6, -329.9, "receiving, 652 MW", "fed in")],
)
def test_ends_that_contradict_each_other(
    site: Site, near: float, far: float, sense: str, between: str
) -> None:
    found = texts(site, line(site, near, -39.8, 502.7, far))
    assert found.title == f"SHY-TAS: both ends report {sense} in all"
    assert f"One meter's polarity is reversed, or power is {between} between them" in found.cause
    assert found.response.startswith("1. Check the polarity of the meters at SHY and TAS")
    assert " -" not in found.cause, "no negative power received"


def test_two_end_more_arrives_than_can(site: Site) -> None:
    found = texts(site, line(site, -321.6, -39.8, 502.7, -3.0))
    assert found.title.startswith("SHY-TAS: 326 MW more arrives than is sent")
    assert "TAS receives 3.0 MW, SHY receives 321.6 MW" in found.cause
    lossy = site.grid.line_parameters.model_copy(update={"r_ohm_per_km": 0.5})
    grid = site.grid.model_copy(update={"line_parameters": lossy})
    found = texts(replace(site, grid=grid), line(site, -321.6, -39.8, 502.7, 322.8))
    assert found.title.endswith("MW more arrives than can"), "less than is sent"


def test_the_weather_is_a_cause_only_of_what_it_can_do(site: Site) -> None:
    # corona: 1 kW/km on 2 x 120 km
    assert "weather" not in texts(site, line(site, *shifted(3.3))).cause
    parameters = site.grid.line_parameters.model_copy(update={"corona_sigma_kw_per_km": 5.0})
    misty = replace(site, grid=site.grid.model_copy(update={"line_parameters": parameters}))
    possible = texts(misty, line(misty, *shifted(4.7)))
    assert "weather" in possible.cause
    assert "all off means weather" in possible.response


@pytest.mark.parametrize(
    "flow",
    [(0.0, 0.0, 502.0, 0.0), (0.4, -0.3, 0.0, -0.5)],
    ids=["switched off, busbar voltage measured", "switched off, no voltage"],
)
def test_a_line_out_of_service_is_calm(site: Site, flow: tuple[float, float, float, float]) -> None:
    (found,) = judged(rule(site, "R6/SHY-TAS"), lambda _: line(site, *flow), 1)
    assert not found.indeterminate
    assert found.held_level == 0


def test_no_voltage_while_power_flows_says_nothing(site: Site) -> None:
    (found,) = judged(rule(site, "R6/SHY-TAS"), lambda _: line(site, -321.6, -39.8, 3.0, 322.8), 1)
    assert found.indeterminate == "the meter of SHY-TAS at SHY reads 3 kV while power flows"


def test_a_bad_and_a_stale_leg_are_indeterminate(site: Site) -> None:
    tested = rule(site, "R6/SHY-TAS")
    findings = judged(tested, lambda _: line(site, *HEALTHY[:3], None), 1)
    assert findings[0].indeterminate == "leg SHY-TAS at TAS is link lost"
    findings = judged(tested, lambda _: line(site, *shifted(0)), 3, held=6)
    assert [f.indeterminate for f in findings] == [""] * 8 + ["leg SHY-TAS at SHY is stale"]


def test_a_ramp_widens_the_limit(site: Site) -> None:
    tested = rule(site, "R6/SHY-TAS")
    steady = judged(tested, lambda _: line(site, *shifted(0)), 5)[-1]

    def ramping(second: int) -> Values:
        p, q, v, far = HEALTHY
        return line(site, p - 20 * second, q, v, far + 20 * second)

    assert judged(tested, ramping, 3)[-1].limit > 1.5 * steady.limit


def test_weather_does_not_page_when_its_uncertainty_is_configured(site: Site) -> None:
    # hoarfrost adds 77 kW/km on 240 circuit-km: 18 MW
    assert judged(rule(site, "R6/SHY-TAS"), lambda _: line(site, *shifted(18)), 1)[0].level == 2
    parameters = site.grid.line_parameters.model_copy(update={"corona_sigma_kw_per_km": 30.0})
    grid = site.grid.model_copy(update={"line_parameters": parameters})
    wide = Site(site.name, grid, site.devices, site.profiles, site.points)
    assert judged(rule(wide, "R6/SHY-TAS"), lambda _: line(wide, *shifted(18)), 1)[0].level == 0


def exchange(
    site: Site, deviation: Callable[[int], float], seconds: int, tie: str = "MGC-SAM"
) -> list[Finding]:
    node, agreed = ("SAM", -620.0) if tie == "MGC-SAM" else ("AKT", 800.0)
    index = point(site, tie, node)
    return judged(rule(site, f"R1/{tie}"), lambda s: {index: agreed + deviation(s)}, seconds)


@pytest.mark.parametrize(
    ("tie", "mw", "level", "limit"),
    [
        ("MGC-SAM", 30, 0, 35),  # 5 % of 700
        ("MGC-SAM", 40, 1, 35),
        ("MGC-SAM", -80, 2, 70),
        ("MGC-SAM", 200, 3, 175),
        ("AKT-ALT", 49, 0, 50),
        ("AKT-ALT", 120, 2, 100),
    ],
)
def test_exchange_grades(site: Site, tie: str, mw: float, level: int, limit: float) -> None:
    found = exchange(site, lambda _: mw, 60, tie)[-1]
    assert found.level == level
    assert found.value == pytest.approx(abs(mw))
    assert found.limit == pytest.approx(limit)


def test_exchange_is_a_mean_over_a_minute(site: Site) -> None:
    spike = exchange(site, lambda s: 600.0 if s == 100 else 0.0, 110)
    assert max(f.level for f in spike) == 0
    began = exchange(site, lambda s: 70.0 if s >= 100 else 0.0, 200)
    values = {i: f.value for i, f in enumerate(began)}
    assert values[99] == pytest.approx(0)
    assert values[129] == pytest.approx(35, abs=1.5)
    assert values[159] == pytest.approx(70)


def test_exchange_says_nothing_until_its_window_is_filled(site: Site) -> None:
    findings = exchange(site, lambda _: 0.0, 60)
    assert all(f.indeterminate for f in findings[:47])
    assert not any(f.indeterminate for f in findings[47:])


def test_exchange_of_a_slow_meter_needs_no_more_readings_than_it_sends(site: Site) -> None:
    slow = {name: p.model_copy(update={"period_s": 4.0}) for name, p in site.profiles.items()}
    tested = rule(replace(site, profiles=slow), "R1/MGC-SAM")
    index = point(site, "MGC-SAM", "SAM")
    alignment = Alignment({index: 4.0}, 3.0)
    known = []
    for second in range(0, 120, 4):
        now = T0 + second * SECOND
        alignment.push(
            ReadingBatch.of("t", 1, second, now, point=[index], t_source=[now], value=[-550.0], quality=[0])
        )
        known.append(not tested.evaluate(Snapshot(now, alignment)).indeterminate)
    assert known == [second >= 44 for second in range(0, 120, 4)]


def test_exchange_texts(site: Site) -> None:
    found = exchange(site, lambda _: 60.0, 60)[-1]
    assert found.texts is not None
    assert found.texts.evidence["Mean difference [MW]"] == 60.0


@pytest.mark.parametrize(
    ("tie", "deviation", "title"),
    [
        ("MGC-SAM", 60.0, "560 MW from AZ to GE, agreed 620: 60 MW too little"),
        ("MGC-SAM", -60.0, "680 MW from AZ to GE, agreed 620: 60 MW too much"),
        ("MGC-SAM", 670.0, "50 MW from GE to AZ, agreed 620 the other way: 670 MW too little"),
        ("AKT-ALT", -120.0, "680 MW from KZ to AZ, agreed 800: 120 MW too little"),
    ],
)
def test_exchange_is_told_in_the_direction_of_the_schedule(
    site: Site, tie: str, deviation: float, title: str
) -> None:
    found = exchange(site, lambda _: deviation, 60, tie)[-1]
    assert found.texts is not None
    assert found.texts.title == f"{tie}: {title}"


@pytest.mark.parametrize(("power", "flow"), [(90.0, "from KZ to AZ"), (-90.0, "from AZ to KZ")])
def test_exchange_without_schedule_is_told_in_the_direction_of_the_flow(
    site: Site, power: float, flow: str
) -> None:
    ties = [
        tie.model_copy(update={"schedule": (tie.schedule[0].model_copy(update={"mw": 0.0}),)})
        for tie in site.grid.tie
    ]
    idle = replace(site, grid=site.grid.model_copy(update={"tie": tuple(ties)}))
    index = point(idle, "AKT-ALT", "AKT")
    found = judged(rule(idle, "R1/AKT-ALT"), lambda _: {index: power}, 60)[-1]
    assert found.texts is not None
    assert found.texts.title == f"AKT-ALT: 90 MW {flow}, agreed 0: 90 MW too much"


def test_rules_of_a_site(site: Site) -> None:
    rules, gaps = rules_of(site, AlertsSettings.model_validate({}))
    keys = {entry.subject.key for entry in rules}
    of = {rule: {key.partition("/")[2] for key in keys if key.startswith(f"{rule}/")} for rule in RULES}
    assert of == {
        "R1": {"MGC-SAM", "AKT-ALT"},  # not the ring tie
        "R2": {"KZ", "UZ", "AZ"},
        "R6": {"SHY-TAS", "MGC-SAM"},
        "R12": {"SHY-TAS", "MGC-SAM", "AKT-ALT"},
        "R20": {"SHY", "TAS", "MGC", "SAM", "AKT", "ALT"},
    }
    assert not any(gap.blind for gap in gaps)


def test_a_tie_is_judged_for_oscillation_where_it_is_read_fast_enough(site: Site) -> None:
    rules, gaps = rules_of(site, AlertsSettings())
    assert {gap.subject.key: gap.reason for gap in gaps} == {
        f"R23/{tie}": f"{tie}_{end}_main is read every 1 s: damping up to 0.8 Hz needs 0.31 s"
        for tie, end in (("SHY-TAS", "TAS"), ("MGC-SAM", "SAM"))
    }
    profiles = {
        name: profile.model_copy(update={"period_s": 0.25}) for name, profile in site.profiles.items()
    }
    fast = Site(site.name, site.grid, site.devices, profiles, site.points)
    rules, gaps = rules_of(fast, AlertsSettings())
    assert not gaps
    assert {"R23/SHY-TAS", "R23/MGC-SAM"} <= {rule.subject.key for rule in rules}


def test_a_missing_meter_is_a_gap_and_no_error(site: Site) -> None:
    devices = {name: device for name, device in site.devices.items() if name != "SHY-TAS_TAS_main"}
    rules, gaps = rules_of(
        Site(site.name, site.grid, devices, site.profiles, site.points), AlertsSettings.model_validate({})
    )
    assert "R6/SHY-TAS" not in {entry.subject.key for entry in rules}
    reason = "SHY-TAS has no main meter at TAS"
    assert {(gap.subject.key, gap.reason) for gap in gaps if gap.blind} == {
        (key, reason) for key in ("R6/SHY-TAS", "R2/KZ", "R2/UZ")
    }


def test_priorities_and_overrides(site: Site) -> None:
    settings = AlertsSettings.model_validate_json(
        '{"R6": {"off_s": 40, "override": [{"asset": "MGC-SAM", "off_s": 90, "deadband_pct": 0}]},'
        ' "R1": {"override": [{"asset": "AKT-ALT", "enabled": false}]}}'
    )
    timing = rule(site, "R6/SHY-TAS", settings).timing
    assert [grade.priority for grade in timing.grades] == [Priority.MEDIUM, Priority.HIGH]
    assert timing.off_s == 40
    assert rule(site, "R6/MGC-SAM", settings).timing.off_s == 90
    assert "R1/AKT-ALT" not in {r.subject.key for r in rules_of(site, settings)[0]}
