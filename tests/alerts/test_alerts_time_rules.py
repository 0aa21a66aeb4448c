"""R17 and R24: what is judged by time."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from alerts.alarms import Indeterminate
from alerts.config import AlertsSettings
from alerts.rule_config import BlindRules, SkewRules
from alerts.rules.blindness import Blindness
from alerts.rules.clock_skew import ClockSkew
from alerts.rules.finding import Finding
from telemetry.batch import ReadingBatch
from telemetry.devices import Device
from telemetry.profiles import parse_profile
from telemetry.quality import Quality
from telemetry.registry import PointRegistry
from telemetry.site import Site, point_keys

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND

PROFILE = """
id = "p"
title = "p"
source = "test"
[points]
TotW = { title = "P", unit = "MW" }
[json]
time_field = "ts"
fields.TotW = { field = "p" }
"""


@pytest.fixture
def clocks(site: Site) -> Site:
    profile = parse_profile(PROFILE, "p.toml")
    devices = [
        Device.model_validate(
            {"id": name, "profile": "p", "node": "TAS", "role": "injection", "mqtt": {"broker": broker}},
            strict=False,
        )
        for name, broker in (("a", "x"), ("b", "x"), ("c", "x"), ("d", "x"), ("lone", "y"))
    ]
    registry = PointRegistry(point_keys(devices, {"p": profile}))
    return Site.of("t", site.grid, devices, {"p": profile}, registry)


def heard(
    site: Site,
    skew: ClockSkew,
    seconds: range,
    off: Mapping[str, float],
    latency: float = 0.4,
    quality: int = 0,
) -> None:
    for second in seconds:
        now = T0 + second * SECOND
        for point in site.points.values():
            t = now - round(latency * SECOND) + round(off.get(point.device.id, 0.0) * SECOND)
            skew.observe(
                ReadingBatch.of(
                    "t", 1, second, now, point=[point.index], t_source=[t], value=[1.0], quality=[quality]
                )
            )


def found(skew: ClockSkew, second: int, open_keys: set[str] | None = None) -> dict[str, Finding]:
    return {f.subject.asset: f for f in skew.findings(T0 + second * SECOND, open_keys or set())}


@pytest.mark.parametrize(
    ("off", "level", "title"),
    [
        (-0.9, 0, ""),
        (-1.2, 1, "a: its clock is 1.2 s behind"),
        (-8.0, 2, "a: its clock is 8.0 s behind"),
        (8.0, 2, "a: its clock is 8.0 s ahead"),
        (3600.0, 2, "a: its clock is 1.0 h ahead"),
    ],
)
def test_a_clock_against_its_peers(clocks: Site, off: float, level: int, title: str) -> None:
    skew = ClockSkew(clocks, SkewRules())
    heard(clocks, skew, range(20), {"a": off}, latency=3.0)
    findings = found(skew, 20)
    # a link that is slow for all is no skew; one device alone is judged by the configured latency
    assert {name for name, f in findings.items() if f.level} == ({"a", "lone"} if level else {"lone"})
    if level:
        assert (findings["a"].level, findings["a"].texts is not None) == (level, True)
        texts = findings["a"].texts
        assert texts is not None
        assert texts.title == title
        assert ("time zone or daylight" in texts.cause) is (off == 3600.0)


def test_a_clock_that_is_set_is_right_at_once_enough(clocks: Site) -> None:
    skew = ClockSkew(clocks, SkewRules())
    heard(clocks, skew, range(20), {"a": 3600.0})
    heard(clocks, skew, range(20, 26), {})
    findings = found(skew, 26, {"R17/a"})
    assert (findings["a"].level, findings["a"].held_level) == (0, 0)


def test_one_message_held_up_on_its_way_is_no_skew(clocks: Site) -> None:
    skew = ClockSkew(clocks, SkewRules())
    heard(clocks, skew, range(20), {})
    heard(clocks, skew, range(20, 23), {"b": -30.0})
    assert found(skew, 23) == {}


def test_silence_and_stamps_of_receipt_say_nothing(clocks: Site) -> None:
    skew = ClockSkew(clocks, SkewRules())
    heard(clocks, skew, range(20), {"a": -9.0}, quality=int(Quality.RECEIPT_STAMPED))
    assert found(skew, 20) == {}
    heard(clocks, skew, range(20, 40), {"a": -9.0})
    assert found(skew, 40)["a"].level == 2
    assert found(skew, 80) == {}
    assert found(skew, 80, {"R17/a"})["a"].indeterminate == "a is silent"


def test_devices_that_are_stamped_here_have_no_clock(site: Site) -> None:
    assert ClockSkew(site, SkewRules()).keys == set()


def unknown(rule: str, asset: str, since_s: int) -> Indeterminate:
    return Indeterminate(rule, asset, "leg SHY-TAS at TAS is stale", T0 - since_s * SECOND)


def test_a_balance_that_is_blind_for_five_minutes_is_an_alarm(site: Site) -> None:
    blind = Blindness(site, BlindRules())
    watched = [unknown("R2", "UZ", 299), unknown("R6", "SHY-TAS", 9999), unknown("R1", "AKT-ALT", 301)]
    (only,) = blind.findings(T0, watched, set())
    assert (only.subject.key, only.level, only.value) == ("R24/AKT-ALT", 1, 301.0)
    assert only.texts is not None
    assert only.texts.title == "AKT-ALT: not watched for 5 min, leg SHY-TAS at TAS is stale"
    (over,) = blind.findings(T0, [], {"R24/AKT-ALT"})
    assert (over.level, over.held_level, over.texts) == (0, 0, None)


def test_one_area_can_be_left_out(site: Site) -> None:
    settings = AlertsSettings.model_validate_json(
        '{"R24": {"after_s": 60, "override": [{"asset": "KZ", "enabled": false}]}}'
    )
    blind = Blindness(site, settings.blind)
    found = blind.findings(T0, [unknown("R2", "KZ", 100), unknown("R2", "UZ", 100)], set())
    assert [f.subject.asset for f in found] == ["UZ"]
