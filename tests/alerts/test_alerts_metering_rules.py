"""R7, R8, R11, R14, R15 and R16 on synthetic series."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from alerts.rule_config import (
    CheckMeterSettings,
    ConverterSettings,
    CounterSettings,
    FlatlineSettings,
    NodeSettings,
    RampSettings,
)
from alerts.rules.converter import ConverterRule, LinkEnds
from alerts.rules.finding import Finding, Rule, Subject
from alerts.rules.line_state import MeterAccuracy
from alerts.rules.metering import CheckMeterRule, CounterRule, FlatlineRule, MeterPair, quantum_of
from alerts.rules.node import NodeBranch, NodeRule
from alerts.rules.ramp import RampRule
from alerts.schedules import Agreed, Step
from alerts.two_port import hvdc_loss_mw
from telemetry.devices import Device
from telemetry.grid import Grid
from telemetry.points import PointKey, PointKind, PointSpec, Unit
from telemetry.profiles import parse_profile
from telemetry.site import SitePoint
from tests.alerts.rule_rig import judged

SECOND = 1_000_000_000
EXACT = MeterAccuracy(0.2, 0.3)
RNG = np.random.default_rng(7)


def stepped(
    rule: Rule, values: Callable[[int], Sequence[float | None]], seconds: int, step: int = 1
) -> list[Finding]:
    """Findings at every step; points are numbered in the order of the values."""
    return judged(rule, lambda second: dict(enumerate(values(second))), seconds, step=step)


def node(residuals: Sequence[float | None]) -> NodeRule:
    branches = [
        NodeBranch(f"L{i}", i + 1, EXACT, (), lambda _, residual=residual: residual)  # type: ignore[misc]
        for i, residual in enumerate(residuals)
    ]
    return NodeRule(Subject("R7", 1, "TAS", "UZ"), (0, EXACT), branches, NodeSettings())


@pytest.mark.parametrize(
    ("values", "residuals", "level"),
    [
        ((500, 300, 200), (0, 0), 0),
        ((500, 300, 225), (0, 0), 1),
        ((500, 300, 225), (0, 25), 0),
        ((500, 300, 225), (0, None), 1),
        ((500, 300, 225), (60, 0), 1),
        ((500, 300, 1200), (0, 1030), 0),
        ((500, 300, 204), (0, 0), 0),
    ],
)
def test_a_busbar_is_off_only_where_no_line_explains_it(
    values: Sequence[float], residuals: Sequence[float | None], level: int
) -> None:
    assert stepped(node(residuals), lambda _: values, 1)[0].level == level


def test_node_texts_and_missing_legs() -> None:
    texts = stepped(node([0, 0]), lambda _: (500, 300, 175), 1)[0].texts
    assert texts is not None
    assert texts.title == "TAS: 25.0 MW less leaves than its meter says"
    assert "cannot tell" in texts.cause
    assert (
        stepped(node([0, 0]), lambda _: (500, None, 175), 1)[0].indeterminate == "leg L0 at TAS is link lost"
    )


def converter(grid: Grid, agreed: float = 800.0) -> ConverterRule:
    ends = LinkEnds(0, 1, EXACT, EXACT)
    return ConverterRule(grid.hvdc[0], "KZ", ends, Agreed([Step(0, agreed)]), ConverterSettings())


def link(grid: Grid, sent: float, off: float = 0.0) -> tuple[float, float]:
    return sent, -(sent - hvdc_loss_mw(grid.hvdc[0], sent)) + off


@pytest.mark.parametrize(
    ("after", "levels"),
    [((500.0,), (2, 2)), ((400.0,), (2, 2)), ((0.0,), (3, 3)), ((600.0,), (0, 0)), ((880.0,), (0, 0))],
)
def test_a_trip_is_a_fall_to_what_fewer_poles_carry(
    grid: Grid, after: tuple[float], levels: tuple[int, int]
) -> None:
    found = stepped(converter(grid), lambda t: link(grid, 800.0 if t < 20 else after[0]), 60)
    assert found[19].level == 0
    assert (found[21].level, found[21].held_level) == levels
    # it holds as long as the flow is what fewer poles carry, and is not raised again by that
    assert (found[-1].level, found[-1].held_level) == (0, levels[1])


def test_an_ordered_ramp_is_no_trip(grid: Grid) -> None:
    found = stepped(converter(grid), lambda t: link(grid, max(800.0 - t, 100.0)), 700)
    assert {f.level for f in found} == {0}


@pytest.mark.parametrize(("off", "level"), [(0.0, 0), (5.0, 0), (12.0, 1), (-12.0, 1)])
def test_converter_loss(grid: Grid, off: float, level: int) -> None:
    found = stepped(converter(grid), lambda _: link(grid, 800.0, off), 5)[-1]
    assert found.level == level
    if level:
        assert found.texts is not None
        assert ("above" if off > 0 else "below") in found.texts.title


def test_pole_texts(grid: Grid) -> None:
    found = stepped(converter(grid), lambda t: link(grid, 800.0 if t < 20 else 500.0), 23)[-1]
    assert found.texts is not None
    assert found.texts.title == "AKT-ALT: a pole has tripped, 500 MW of 800"
    blocked = stepped(converter(grid), lambda t: link(grid, 800.0) if t < 20 else (0.0, 0.0), 23)[-1]
    assert blocked.texts is not None
    assert blocked.texts.title == "AKT-ALT: blocked, 0 MW of 800"


def ramp() -> RampRule:
    return RampRule("KZ", [("a", 0), ("b", 1)], 1000.0, RampSettings())


def test_ramps_of_an_area() -> None:
    steady = stepped(ramp(), lambda _: (400.0, 300.0), 200)
    assert {f.level for f in steady} == {0}
    slow = stepped(ramp(), lambda t: (400.0 - t / 9, 300.0), 1000)
    assert {f.level for f in slow} == {0}
    trip = stepped(ramp(), lambda t: (400.0 if t < 100 else 0.0, 300.0), 120)
    assert (trip[99].level, trip[101].level) == (0, 1)
    assert trip[-1].texts is not None
    assert trip[-1].texts.title == "KZ: wind and sun have lost 400 MW of 1000 within minutes"
    assert trip[-1].texts.evidence["Most changed"] == "a"
    rise = stepped(ramp(), lambda t: (100.0 + 3 * max(t - 100, 0), 300.0), 200)
    assert rise[-1].level == 1
    assert rise[-1].texts is not None
    assert "risen" in rise[-1].texts.title
    assert stepped(ramp(), lambda _: (None, 1.0), 1)[0].indeterminate == "leg a is link lost"


def flatline() -> FlatlineRule:
    return FlatlineRule(Subject("R14", 1, "m", "KZ"), 0, ("n", 1), 0.3, FlatlineSettings())


def test_a_flat_line_beside_one_that_moves() -> None:
    stuck = stepped(flatline(), lambda t: (322.0, 322.0 + t / 100), 400, 2)
    assert stuck[10].gathering
    assert stuck[-1].level == 1
    assert stuck[-1].texts is not None
    assert stuck[-1].texts.title == "m: stands at 322.0 MW while n moves"
    both_flat = stepped(flatline(), lambda _: (322.0, 322.0), 400, 2)
    assert both_flat[-1].level == 0
    noisy = stepped(flatline(), lambda t: (322.0 + RNG.normal(0, 0.16), 322.0 + t / 100), 400, 2)
    assert noisy[-1].level == 0


def test_main_and_check_meter_over_the_hour() -> None:
    settings = CheckMeterSettings()
    for pct, level in ((0.1, 0), (0.5, 1), (1.2, 2)):
        rule = CheckMeterRule(Subject("R15", 1, "T", "KZ"), [MeterPair("A", 0, 1)], 600.0, settings)
        found = stepped(rule, lambda _, pct=pct: (322.0 * (1 + pct / 100), 322.0), 2000, 10)  # type: ignore[misc]
        assert found[100].gathering
        assert found[-1].level == level
    light = CheckMeterRule(Subject("R15", 1, "T", "KZ"), [MeterPair("A", 0, 1)], 600.0, settings)
    assert stepped(light, lambda _: (110.0, 100.0), 2000, 10)[-1].gathering
    coarse = CheckMeterRule(Subject("R15", 1, "T", "KZ"), [MeterPair("A", 0, 1, 2.0)], 600.0, settings)
    assert stepped(coarse, lambda _: (322.0 * 1.012, 322.0), 2000, 10)[-1].level == 0


PROFILE = """
id = "m"
title = "m"
source = "test"
period_s = 4.0
[points]
TotWhExp = { title = "e", unit = "MWh", kind = "counter" }
TotWhImp = { title = "i", unit = "MWh", kind = "counter" }
[modbus]
registers.TotWhExp = { address = 1, type = "KIND", scale = 1e-6 }
registers.TotWhImp = { address = 9, type = "KIND", scale = 1e-6 }
"""


def counter(name: str, index: int, kind: str = "int64") -> SitePoint:
    profile = parse_profile(PROFILE.replace("KIND", kind), "m.toml")
    device = Device.model_validate({"id": "m", "profile": "m", "node": "A", "role": "main"}, strict=False)
    spec = PointSpec(title=name, unit=Unit.MWH, kind=PointKind.COUNTER)
    return SitePoint(index, PointKey("m", name, "MWh"), spec, device, profile)


def test_quantum_of_a_register() -> None:
    assert quantum_of(counter("TotWhExp", 1), 5.0) == 1e-6
    # 100 GWh in a float32 of Wh steps by 8 kWh
    assert quantum_of(counter("TotWhExp", 1, "float32"), 100_000.0) == pytest.approx(8.192e-3, rel=0.01)


def counters() -> CounterRule:
    return CounterRule(
        Subject("R16", 1, "m", "KZ"), 0, counter("TotWhExp", 1), counter("TotWhImp", 2), CounterSettings()
    )


@pytest.mark.parametrize(("gain", "level"), [(1.0, 0), (1.002, 0), (1.012, 1), (0.98, 1), (-1.0, 1)])
def test_counters_against_the_integral_of_power(gain: float, level: int) -> None:
    found = stepped(counters(), lambda t: (322.0 * gain, 7000 + 322.0 * t / 3600, 50.0), 1000, 4)
    assert found[100].gathering
    assert found[-1].level == level


def test_power_that_turns_round_is_counted_on_both_sides() -> None:
    def values(t: int) -> tuple[float, float, float]:
        out = min(t, 500)
        return (300.0 if t < 500 else -300.0), 10 + 300 * out / 3600, 20 + 300 * (t - out) / 3600

    found = stepped(counters(), values, 1000, 4)
    assert found[-1].level == 0


def test_a_counter_that_goes_back_is_told_at_once_and_for_the_window() -> None:
    found = stepped(counters(), lambda t: (322.0, (7000 if t < 400 else 0) + 322.0 * t / 3600, 50.0), 1600, 4)
    assert [f.level for f in found[98:102]] == [0, 0, 1, 1]
    assert found[300].level == 1
    assert found[-1].level == 0
    assert not found[-1].indeterminate
    assert found[110].texts is not None
    assert found[110].texts.title == "m: an energy counter went back"
