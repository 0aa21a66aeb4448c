"""Points that are reported when they change (Sparkplug): silence is no fault, and no guess either."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from alerts.alignment import Alignment
from alerts.config import AlertsSettings
from alerts.rules.telemetry_health import TelemetryHealth
from telemetry.profiles import MetricMapping, SparkplugMap
from telemetry.quality import Quality
from telemetry.site import Site
from tests.alerts.conftest import Bench
from tests.alerts.test_alerts_alignment import Reading, at, batch
from tests.alerts.test_alerts_health import at as second_of
from tests.alerts.test_alerts_health import findings, levels, message

DEAD, DOUBT = int(Quality.STALE), int(Quality.PROTOCOL_DOUBT)


@pytest.fixture
def quiet_site(site: Site) -> Site:
    """The site, its meters on Sparkplug."""
    meter = site.profiles["meter"]
    metrics = {name: MetricMapping(metric=name) for name in meter.points}
    profile = meter.model_copy(update={"json_payload": None, "sparkplug": SparkplugMap(metrics=metrics)})
    points = {index: replace(point, profile=profile) for index, point in site.points.items()}
    return Site(site.name, site.grid, site.devices, {"meter": profile}, points)


def held(readings: list[Reading]) -> Alignment:
    alignment = Alignment({7: 1.0}, 3.0, {7})
    alignment.push(batch(readings, received=max(t for t, _, _ in readings)))
    return alignment


@pytest.mark.parametrize(
    ("readings", "instant", "value", "slope"),
    [
        pytest.param([(0, 10, 0)], 9000, 10.0, 0.0, id="holds without a word"),
        pytest.param([(0, 10, 0), (600, 20, 0)], 300, 10.0, 0.0, id="no ramp where there was none"),
        pytest.param([(0, 10, 0), (600, 20, 0)], 599, 10.0, 0.0, id="as it was at the last look before"),
        pytest.param([(0, 10, 0), (600, 20, 0)], 599.5, 15.0, 10.0, id="linear within one look"),
        pytest.param([(0, 10, 0), (1, 20, 0)], 0.5, 15.0, 10.0, id="changes at every look"),
        pytest.param([(0, 10, 0), (1, 20, 0)], 1.5, 20.0, 10.0, id="the slope goes on for one look"),
        pytest.param([(0, 10, 0), (1, 20, 0)], 30, 20.0, 0.0, id="then it has stopped changing"),
        pytest.param([(0, 10, 0), (600, 20, 0)], 600.5, 20.0, 10.0, id="the slope of the last look only"),
        pytest.param([(0, 10, 0), (600, 0, DEAD)], 598, 10.0, 0.0, id="known until the session broke"),
    ],
)
def test_a_value_holds_until_it_changes(
    readings: list[Reading], instant: float, value: float, slope: float
) -> None:
    leg = held(readings).at(7, at(instant))
    assert leg.usable
    assert (leg.value, leg.slope) == pytest.approx((value, slope))


@pytest.mark.parametrize(
    ("readings", "instant", "fault"),
    [
        ([(5, 10, 0)], 4, "missing"),
        ([(0, 10, 0), (600, 0, DEAD)], 599.5, "stale"),
        ([(0, 10, 0), (600, 0, DEAD)], 9000, "stale"),
        ([(0, 10, 0), (1, 0, DOUBT), (600, 20, 0)], 300, "protocol_doubt"),
    ],
)
def test_what_is_not_known_is_not_held(readings: list[Reading], instant: float, fault: str) -> None:
    assert held(readings).at(7, at(instant)).fault == fault


def test_a_periodic_point_beside_it_still_grows_stale() -> None:
    alignment = Alignment({7: 1.0, 8: 1.0}, 3.0, {7})
    alignment.push(batch([(0, 10, 0)], point=7))
    alignment.push(batch([(0, 10, 0)], point=8))
    assert (alignment.at(7, at(60)).fault, alignment.at(8, at(60)).fault) == ("", "stale")


@pytest.fixture
def health(quiet_site: Site) -> TelemetryHealth:
    tested = TelemetryHealth(quiet_site, AlertsSettings.model_validate({}).health)
    tested.start(second_of(0))
    for device in quiet_site.devices:
        tested.observe(message(quiet_site, device, 1))
    return tested


def test_silence_is_no_finding(health: TelemetryHealth) -> None:
    assert findings(health, 86_400) == {}


def test_a_death_is_a_finding_at_once_and_its_age_counts_from_then(
    health: TelemetryHealth, quiet_site: Site
) -> None:
    device = "SHY-TAS_SHY_main"
    health.observe(message(quiet_site, device, 100, quality=DEAD))
    assert levels(findings(health, 100)) == {f"R13/{device}": 2}
    health.observe(message(quiet_site, device, 130, quality=int(Quality.LINK_LOST)))
    assert findings(health, 140)[f"R13/{device}"].value == 40.0
    health.observe(message(quiet_site, device, 150))
    assert levels(findings(health, 150)) == {}


def test_a_doubt_about_the_order_is_no_loss(health: TelemetryHealth, quiet_site: Site) -> None:
    device = "SHY-TAS_SHY_main"
    health.observe(message(quiet_site, device, 100, quality=DOUBT))
    assert findings(health, 200) == {}
    health.observe(message(quiet_site, device, 210, quality=DEAD))
    health.observe(message(quiet_site, device, 220, quality=DOUBT))
    assert levels(findings(health, 250)) == {f"R13/{device}": 2}, "nor the end of one"


def test_all_devices_of_a_link_dead_are_one_finding(health: TelemetryHealth, quiet_site: Site) -> None:
    for device in ("SHY-TAS_SHY_main", "SHY-TAS_TAS_main"):
        health.observe(message(quiet_site, device, 100, quality=DEAD))
    assert levels(findings(health, 101)) == {"R13/mqtt/east": 1}


def test_history_that_comes_late_is_no_clock_that_stands_still(
    health: TelemetryHealth, quiet_site: Site
) -> None:
    for second in range(60, 90):
        health.observe(message(quiet_site, "SHY-TAS_SHY_main", second, t_source=1 - 1 / second))
    assert findings(health, 90) == {}


def test_what_was_never_born_is_found_though_nobody_said_so(quiet_site: Site) -> None:
    health = TelemetryHealth(quiet_site, AlertsSettings.model_validate({}).health)
    health.start(second_of(0))
    assert levels(findings(health, 59)) == {}, "births take their time"
    assert levels(findings(health, 61)) == {"R13/telemetry": 1}


def test_a_restart_does_not_make_a_death_young(quiet_site: Site) -> None:
    health = TelemetryHealth(quiet_site, AlertsSettings.model_validate({}).health)
    health.resume({"R13/SHY-TAS_SHY_main": second_of(-500)})
    health.start(second_of(0))
    for device in quiet_site.devices:
        quality = DEAD if device == "SHY-TAS_SHY_main" else 0
        health.observe(message(quiet_site, device, 1, quality=quality))
    assert findings(health, 2)["R13/SHY-TAS_SHY_main"].value == 502.0


async def test_rules_judge_what_holds_and_fall_silent_with_its_source(
    quiet_site: Site, tmp_path: Path
) -> None:
    """End to end: a tie off its schedule is found from one report, and a death makes it indeterminate."""
    bench = Bench(quiet_site, tmp_path / "alarms.sqlite")
    p, q, v = bench.flows["MGC-SAM", "SAM"]
    bench.flows = dict(bench.flows) | {
        ("MGC-SAM", "SAM"): (p + 200, q, v),
        ("MGC-SAM", "MGC"): (bench.flows["MGC-SAM", "MGC"][0] - 200, q, v),
    }
    async with bench.running() as desk:
        await bench.run(1)
        bench.silent = set(quiet_site.devices)
        await bench.run(130)
        rules = {alarm.rule for alarm in desk.active() if alarm.asset == "MGC-SAM"}
        assert "R1" in rules
        assert not any(alarm.rule == "R13" for alarm in desk.active())
        bench.append("MGC-SAM_SAM_main", (float("nan"),) * 3, quality=DEAD)
        await bench.run(40)
        assert ("R1", "MGC-SAM") in {(i.rule, i.asset) for i in desk.indeterminate()}
        assert {alarm.asset for alarm in desk.active() if alarm.rule == "R13"} == {"mqtt/SAM"}
