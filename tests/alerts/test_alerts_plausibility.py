"""R19 on synthetic plants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from alerts.rule_config import PlausibilitySettings
from alerts.rules.finding import Finding, Subject
from alerts.rules.plausibility import Plant, PlausibilityRule, elevation_deg
from tests.alerts.rule_rig import judged

SECOND = 1_000_000_000
SETTINGS = PlausibilitySettings(mean_s=20)
"""A shorter window than by default."""


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


NOON, NIGHT = at("2026-06-21T07:00:00"), at("2026-06-21T19:00:00")
"""In Almaty (77 degrees east)."""


def reported(
    plant: Plant, values: Callable[[int], tuple[float, float, float]], seconds: int = 25, start: int = NOON
) -> list[Finding]:
    rule = PlausibilityRule(Subject("R19", 1, "P", "KZ"), plant, SETTINGS)
    return judged(rule, lambda second: dict(enumerate(values(second))), seconds, start=start)


WIND = Plant(0, 100.0, 1, None, solar=False, latitude=43.0, longitude=77.0)
FARM = Plant(0, 100.0, 1, 2, solar=False, latitude=43.0, longitude=77.0)
SUN = Plant(0, 100.0, 1, None, solar=True, latitude=43.0, longitude=77.0)


@pytest.mark.parametrize(
    ("plant", "power", "available", "start", "level"),
    [
        (WIND, 111.0, 110.0, NOON, 1),
        (WIND, 109.0, 109.0, NOON, 0),
        (WIND, 70.0, 60.0, NOON, 0),
        (WIND, 73.0, 60.0, NOON, 1),
        (WIND, 8.0, 2.0, NOON, 1),
        (WIND, 4.0, 0.0, NOON, 0),
        # it may be curtailed: the controller does not say
        (WIND, 10.0, 60.0, NOON, 0),
        (FARM, 10.0, 60.0, NOON, 1),
        (FARM, 49.0, 60.0, NOON, 0),
        (SUN, 50.0, 50.0, NOON, 0),
        (SUN, 2.0, 0.0, NIGHT, 1),
        (SUN, 0.5, 0.0, NIGHT, 0),
        # its own consumption
        (SUN, -1.0, 0.0, NIGHT, 0),
    ],
)
def test_what_a_plant_can_give(plant: Plant, power: float, available: float, start: int, level: int) -> None:
    found = reported(plant, lambda _: (power, available, 0.0), start=start)
    assert found[10].gathering
    assert found[-1].level == level


def test_a_plant_that_is_held_back_may_give_less_until_it_was_free_for_the_whole_window() -> None:
    found = reported(FARM, lambda t: (10.0, 60.0, float(t == 22)), seconds=50)
    assert [finding.level for finding in found[18:24]] == [1, 1, 1, 1, 0, 0]
    assert (found[42].level, found[43].level) == (0, 1)


def test_plausibility_texts() -> None:
    texts = reported(SUN, lambda _: (30.0, 0.0, 0.0), start=NIGHT)[-1].texts
    assert texts is not None
    assert texts.title == "P: 30.0 MW, although it is night"
    assert texts.evidence["Possible [MW]"] == 0.0


@pytest.mark.parametrize(
    ("when", "latitude", "longitude", "degrees"),
    [
        # noon at the solstices: 90 - |latitude - declination|
        ("2026-06-21T06:52:00", 43.0, 77.0, 70.4),
        ("2026-12-21T06:52:00", 43.0, 77.0, 23.6),
        ("2026-03-20T12:00:00", 0.0, 0.0, 89.5),
        ("2026-03-20T18:00:00", 0.0, 0.0, 0.0),
        ("2026-06-21T00:00:00", 43.0, 0.0, -23.6),
    ],
)
def test_elevation_of_the_sun(when: str, latitude: float, longitude: float, degrees: float) -> None:
    assert elevation_deg(at(when), latitude, longitude) == pytest.approx(degrees, abs=1.0)
