"""R23 on synthetic series: rate of change, separation, oscillation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from alerts.alignment import SECOND, Alignment, Snapshot
from alerts.operation_config import DynamicsSettings
from alerts.rules.finding import Finding, Subject
from alerts.rules.frequency import RateOfChangeRule, SeparationRule
from alerts.rules.oscillation import OscillationRule
from telemetry.batch import ReadingBatch
from tests.alerts.rule_rig import T0, judged

METERS = [("a", 0), ("b", 1), ("c", 2)]
RATE = DynamicsSettings()
AREAS = {"AZ": METERS[:1], "KZ": METERS[1:2], "UZ": METERS[2:]}


@pytest.mark.parametrize(
    ("hz_per_s", "level", "held", "words"),
    [
        (-0.05, 0, 0, ""),
        (-0.09, 0, 1, "falls"),
        (-0.12, 1, 1, "falls"),
        (0.12, 1, 1, "rises"),
        (-0.6, 2, 2, "falls by 0.60 Hz/s"),
    ],
)
def test_the_rate_of_change_grades(hz_per_s: float, level: int, held: int, words: str) -> None:
    rule = RateOfChangeRule("IPS", METERS, RATE)
    found = judged(rule, lambda s: dict.fromkeys(range(3), 50 + hz_per_s * s), 6)
    assert found[0].gathering
    assert (found[-1].level, found[-1].held_level) == (level, held)
    assert found[-1].value == pytest.approx(abs(hz_per_s))
    texts = found[-1].texts
    assert (texts is not None) is bool(held)
    assert words in (texts.title if texts is not None else "")


def test_one_meter_that_jumps_is_no_change_of_frequency() -> None:
    rule = RateOfChangeRule("IPS", METERS, RATE)
    assert judged(rule, lambda s: {0: 50.0, 1: 50.0, 2: 50.0 - s}, 6)[-1].level == 0


def test_a_dark_busbar_has_no_frequency() -> None:
    rate = RateOfChangeRule("IPS", METERS, RATE)
    assert judged(rate, lambda _: {0: 50.0, 1: 0.0, 2: 0.0}, 6)[-1].level == 0
    dark = judged(rate, lambda _: dict.fromkeys(range(3), 0.0), 6)[-1]
    assert dark.indeterminate == "no meter has a frequency: the busbar of a is dark"
    apart = SeparationRule("AZ", AREAS, RATE)
    assert judged(apart, lambda _: {0: 0.0, 1: 50.0, 2: 50.0}, 2)[-1].indeterminate
    alone = judged(apart, lambda _: {0: 50.0, 1: None, 2: None}, 2)[-1]
    assert alone.indeterminate == "no area but AZ has a frequency"
    assert judged(apart, lambda _: {0: None, 1: 50.0, 2: 50.0}, 2)[-1].indeterminate == "leg a is link lost"


@pytest.mark.parametrize(
    ("own", "level", "held"), [(50.0, 0, 0), (49.955, 0, 1), (49.94, 1, 1), (50.06, 1, 1)]
)
def test_an_area_that_drifts_apart(own: float, level: int, held: int) -> None:
    rule = SeparationRule("AZ", AREAS, RATE)
    found = judged(rule, lambda _: {0: own, 1: 50.0, 2: 50.0}, 3)[-1]
    assert (found.level, found.held_level) == (level, held)
    assert rule.timing.grades[0].on_s == 5.0
    if level:
        assert found.texts is not None
        assert "it has separated" in found.texts.title


@pytest.mark.parametrize(
    ("areas", "hz", "apart"),
    [
        ({"A": 1, "B": 1, "C": 9}, (50.0, 50.0, 51.4), "C"),
        ({"A": 1, "B": 2}, (50.0, 50.2), "A"),
        ({"A": 1, "B": 1, "C": 1, "D": 2}, (50.0, 50.0, 49.8, 49.8), "AB"),
        ({"A": 1, "B": 1, "C": 1}, (50.0, 50.03, 49.99), ""),
    ],
)
def test_the_bulk_of_the_areas_does_not_drift(
    areas: dict[str, int], hz: tuple[float, ...], apart: str
) -> None:
    points = iter(range(20))
    meters = {area: [(area, next(points)) for _ in range(count)] for area, count in areas.items()}
    values = {p: f for (_, each), f in zip(meters.items(), hz, strict=True) for _, p in each}
    rules = [SeparationRule(area, meters, RATE) for area in areas]
    named = [rule.subject.asset for rule in rules if judged(rule, lambda _: values, 2)[-1].level]
    assert named == list(apart)


def oscillating(
    flow: Callable[[float], float | None], seconds: int = 30, period_s: float = 0.25
) -> list[Finding]:
    """Findings of a tie that is read four times a second, at every second, two behind."""
    rule = OscillationRule(Subject("R23", 1, "T", ""), 0, period_s, 600.0, DynamicsSettings())
    alignment, found = Alignment({0: period_s}, 3.0), []
    steps = round(1 / period_s)
    for second in range(seconds):
        t = [second + i / steps for i in range(steps)]
        row = [flow(x) for x in t]
        alignment.push(
            ReadingBatch.of(
                "test",
                1,
                second,
                T0 + (second + 1) * SECOND,
                point=[0] * steps,
                t_source=[T0 + round(x * SECOND) for x in t],
                value=[float("nan") if v is None else v for v in row],
                quality=[3 if v is None else 0 for v in row],
            )
        )
        if second >= 2:
            found.append(rule.evaluate(Snapshot(T0 + (second - 2) * SECOND, alignment)))
    return found


def decaying(hz: float, damping: float, amplitude: float) -> Callable[[float], float]:
    return lambda t: (
        300 + amplitude * math.exp(-2 * math.pi * hz * damping * t) * math.cos(2 * math.pi * hz * t)
    )


@pytest.mark.parametrize(
    ("hz", "damping", "amplitude", "level"),
    [
        (0.3, 0.01, 40.0, 1),
        (0.7, 0.005, 40.0, 1),
        (0.5, -0.005, 20.0, 2),
        (0.4, 0.1, 40.0, 0),
        (0.3, 0.0, 4.0, 0),
    ],
)
def test_a_poorly_damped_mode_is_named(hz: float, damping: float, amplitude: float, level: int) -> None:
    found = oscillating(decaying(hz, damping, amplitude))
    assert found[5].gathering
    assert found[-1].level == level
    if level:
        assert found[-1].value == pytest.approx(100 * damping, abs=0.3)
        assert found[-1].texts is not None
        assert f"{hz:.2f} Hz" in found[-1].texts.title


def test_a_ramp_and_a_step_do_not_swing() -> None:
    assert all(f.level == 0 for f in oscillating(lambda t: 300 + 2 * t, 60))
    assert all(f.level == 0 for f in oscillating(lambda t: 300.0 if t < 30 else 500.0, 60))
    noise = np.random.default_rng(3).normal(0, 3, 400)
    assert all(f.level == 0 for f in oscillating(lambda t: 300 + noise[round(4 * t)], 60))


def test_a_gap_or_a_bad_reading_begins_the_window_anew() -> None:
    swing = decaying(0.3, 0.01, 40.0)
    bad = oscillating(lambda t: None if 24 <= t < 24.2 else swing(t), 40)
    assert [bool(f.level) for f in bad[21:23]] == [True, True]
    assert all(f.gathering or f.indeterminate for f in bad[24:])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"fast_hz_per_s": 0.05}, "fast_hz_per_s"),
        ({"lowest_hz": 0.9}, "no mode lies between"),
        ({"lowest_hz": 0.1}, "at least 30 s"),
    ],
)
def test_settings_that_could_never_find_anything_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DynamicsSettings(**wrong)  # type: ignore[arg-type]
