"""R13: what is silent, and what is said about it."""

from __future__ import annotations

import pytest

from alerts.config import AlertsSettings
from alerts.rules.finding import Finding
from alerts.rules.telemetry_health import TelemetryHealth
from telemetry.batch import ReadingBatch
from telemetry.quality import Quality
from telemetry.site import Site

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
DEVICES = [
    f"{branch}_{node}_main" for branch in ("SHY-TAS", "MGC-SAM", "AKT-ALT") for node in branch.split("-")
]
EAST = ["SHY-TAS_SHY_main", "SHY-TAS_TAS_main"]


def at(second: float) -> int:
    return T0 + round(second * SECOND)


def message(
    site: Site,
    device: str,
    second: float,
    *,
    quality: int = 0,
    t_source: float | None = None,
    names: tuple[str, ...] = ("TotW", "TotVAr", "PPV"),
) -> ReadingBatch:
    points = [p.index for p in site.points_of(device) if p.key.name in names]
    stamp = at(second if t_source is None else t_source)
    n = len(points)
    return ReadingBatch.of(
        "t", 1, 1, at(second), point=points, t_source=[stamp] * n, value=[1.0] * n, quality=[quality] * n
    )


@pytest.fixture
def health(site: Site) -> TelemetryHealth:
    tested = TelemetryHealth(site, AlertsSettings.model_validate({}).health)
    tested.start(at(0))
    return tested


def heard(health: TelemetryHealth, site: Site, second: float, silent: tuple[str, ...] = ()) -> None:
    for device in DEVICES:
        if device not in silent:
            health.observe(message(site, device, second))


def findings(health: TelemetryHealth, second: float, open_keys: set[str] | None = None) -> dict[str, Finding]:
    return {f.subject.key: f for f in health.findings(at(second), open_keys or set())}


def levels(found: dict[str, Finding]) -> dict[str, int]:
    return {key: f.level for key, f in found.items() if f.level}


def test_all_is_well(health: TelemetryHealth, site: Site) -> None:
    heard(health, site, 1)
    assert findings(health, 6) == {}


def test_one_device_is_silent(health: TelemetryHealth, site: Site) -> None:
    heard(health, site, 1)
    heard(health, site, 6, silent=(EAST[0],))
    assert findings(health, 6) == {}
    found = findings(health, 6.5)
    assert levels(found) == {"R13/SHY-TAS_SHY_main": 2}
    finding = found["R13/SHY-TAS_SHY_main"]
    assert (finding.value, finding.limit, finding.unit) == (5.5, 5.0, "s")
    assert finding.texts is not None
    assert finding.texts.title == "SHY-TAS_SHY_main: no readings for 6 s"
    assert finding.t_received == at(1)


def test_a_dead_link_is_one_finding(health: TelemetryHealth, site: Site) -> None:
    heard(health, site, 1)
    heard(health, site, 9, silent=tuple(EAST))
    found = findings(health, 9)
    assert levels(found) == {"R13/mqtt/east": 1}
    assert found["R13/SHY-TAS_SHY_main"].indeterminate == "link mqtt/east is down"
    texts = found["R13/mqtt/east"].texts
    assert texts is not None
    assert texts.title == "Link mqtt/east is down: 2 devices silent for 8 s"
    assert texts.evidence["Devices"] == "SHY-TAS_SHY_main, SHY-TAS_TAS_main"


def test_silence_of_everything_is_one_finding(health: TelemetryHealth, site: Site) -> None:
    heard(health, site, 1)
    found = findings(health, 10)
    assert levels(found) == {"R13/telemetry": 1}
    assert found["R13/mqtt/east"].indeterminate == "no link delivers"


def test_failed_attempts_are_no_sign_of_life(health: TelemetryHealth, site: Site) -> None:
    heard(health, site, 1)
    for second in range(2, 9):
        heard(health, site, second, silent=tuple(EAST))
        for device in EAST:
            health.observe(message(site, device, second, quality=int(Quality.DEVICE_TIMEOUT)))
    found = findings(health, 8)
    assert levels(found) == {"R13/mqtt/east": 1}
    texts = found["R13/mqtt/east"].texts
    assert texts is not None
    assert texts.evidence["Reported"] == "device timeout"


def test_a_value_out_of_range_is_a_sign_of_life(health: TelemetryHealth, site: Site) -> None:
    heard(health, site, 1)
    for device in DEVICES:
        health.observe(message(site, device, 8, quality=int(Quality.OUT_OF_RANGE)))
    assert findings(health, 9) == {}


def test_grafana_106073_each_silent_point_counts_though_its_device_speaks(
    health: TelemetryHealth, site: Site
) -> None:
    heard(health, site, 1)
    heard(health, site, 8, silent=(EAST[0],))
    health.observe(message(site, EAST[0], 8, names=("TotW",)))
    found = findings(health, 8)
    assert levels(found) == {"R13/SHY-TAS_SHY_main": 1}
    texts = found["R13/SHY-TAS_SHY_main"].texts
    assert texts is not None
    assert texts.title == "SHY-TAS_SHY_main: 2 of 3 points without readings for 7 s"


def test_a_clock_stands_still(health: TelemetryHealth, site: Site) -> None:
    for second in range(1, 9):
        heard(health, site, second, silent=(EAST[0],))
        health.observe(message(site, EAST[0], second, t_source=1))
    found = findings(health, 8)
    assert levels(found) == {"R13/SHY-TAS_SHY_main": 1}
    texts = found["R13/SHY-TAS_SHY_main"].texts
    assert texts is not None
    assert texts.title == "SHY-TAS_SHY_main: its clock stands still for 7 s"


def test_a_clock_that_was_set_back_does_not_stand_still(health: TelemetryHealth, site: Site) -> None:
    for second in range(1, 20):
        ahead = 3600 if second < 9 else 0
        heard(health, site, second, silent=(EAST[0],))
        health.observe(message(site, EAST[0], second, t_source=second + ahead))
        assert findings(health, second) == {}


def test_kapacitor_1784_a_device_never_seen_counts_from_the_start(
    health: TelemetryHealth, site: Site
) -> None:
    heard(health, site, 1, silent=(EAST[0],))
    waiting = findings(health, 4)
    assert waiting["R13/SHY-TAS_SHY_main"].indeterminate
    heard(health, site, 6, silent=(EAST[0],))
    found = findings(health, 6)
    assert levels(found) == {"R13/SHY-TAS_SHY_main": 2}
    assert found["R13/SHY-TAS_SHY_main"].value == 6.0


def test_a_backlog_is_no_silence_and_no_sign_of_life(site: Site) -> None:
    tested = TelemetryHealth(site, AlertsSettings.model_validate({}).health)
    heard(tested, site, -600)
    tested.start(at(0))
    open_keys = {"R13/SHY-TAS_SHY_main"}
    found = findings(tested, 3, open_keys)
    assert not levels(found)
    assert found["R13/SHY-TAS_SHY_main"].indeterminate, "an alarm from before the restart is not cleared"
    heard(tested, site, 4, silent=(EAST[0],))
    found = findings(tested, 9, open_keys)
    assert found["R13/SHY-TAS_SHY_main"].value == 609.0


def test_open_conditions_are_judged_until_they_are_over(health: TelemetryHealth, site: Site) -> None:
    heard(health, site, 8)
    found = findings(health, 9, {"R13/SHY-TAS_SHY_main", "R13/mqtt/east", "R13/telemetry"})
    assert set(found) == {"R13/SHY-TAS_SHY_main", "R13/mqtt/east", "R13/telemetry"}
    assert not levels(found)
    assert not any(f.indeterminate for f in found.values())


def test_what_is_disabled_is_not_watched(site: Site) -> None:
    settings = AlertsSettings.model_validate_json(
        '{"R13": {"override": [{"asset": "SHY-TAS_SHY_main", "enabled": false}]}}'
    )
    tested = TelemetryHealth(site, settings.health)
    tested.start(at(0))
    heard(tested, site, 8, silent=(EAST[0],))
    assert findings(tested, 9) == {}
    heard(tested, site, 20, silent=tuple(EAST))
    assert levels(findings(tested, 20)) == {"R13/mqtt/east": 1}
