"""Faults on the truth reach the world, and leave it as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from simulators.faults.model import FAULT, TruthFault
from simulators.faults.truth import TruthFaults
from simulators.world.world import World

MakeWorld = Callable[..., World]


def fault(kind: str, target: str, **parameters: Any) -> TruthFault:
    made = FAULT.validate_python({"kind": kind, "target": target, **parameters})
    assert isinstance(made, TruthFault)
    return made


CASES = [
    fault("tap", "SHY-TAS", mw=30),
    fault("theft", "TAS", mw=25),
    fault("circuits", "SHY-TAS", in_service=1),
    fault("plant_trip", "mirny-wind"),
    fault("curtailment", "mirny-wind", mw=100),
    fault("hvdc_order", "AKT-ALT", mw=600),
    fault("hvdc_poles", "AKT-ALT", in_service=1),
    fault("weather", "KUN-AKT", weather="hoarfrost"),
    fault("weather", "all", weather="rain"),
    fault("load_scale", "UZ", factor=1.05),
    fault("frequency_event", "IPS/UPS", mw=2000),
    fault("storm", "KUN", wind_ms=29, duration_s=600),
    fault("schedule", "AKT-ALT", mw=600),
]


def flows(world: World) -> np.ndarray[Any, Any]:
    return np.concatenate([world.snapshot.end_p_mw, world.snapshot.node_f_hz * 100])


@pytest.mark.parametrize("broken", CASES, ids=lambda f: f.name)
def test_a_fault_changes_the_world(make_world: MakeWorld, broken: TruthFault) -> None:
    sound, struck = make_world(), make_world()
    faults = TruthFaults(struck)
    for world in (sound, struck):
        world.step()
    faults.follow({"x": broken})
    moved = 0.0
    for _ in range(60):
        sound.step(5.0)
        struck.step(5.0)
        # generation control may make up for a fault later
        moved = max(moved, float(np.abs(flows(sound) - flows(struck)).max()))
    assert moved > 1.0
    faults.follow({})
    assert struck.snapshot.collapse is None


def test_loads_add_up_and_the_last_to_go_removes_them(make_world: MakeWorld) -> None:
    world = make_world()
    faults = TruthFaults(world)
    a, b = fault("tap", "SHY-TAS", mw=30), fault("tap", "SHY-TAS", mw=12)

    def missing() -> float:
        now = world.step()
        return float(sum(now.end_p_mw[world.end("SHY-TAS", node)] for node in ("SHY", "TAS")))

    calm = missing()
    found = []
    for active in ({"a": a}, {"a": a, "b": b}, {"b": b}, {}):
        faults.follow(active)
        found.append(missing() - calm)
    assert found == pytest.approx([30, 42, 12, 0], abs=1.5)


def test_weather_of_all_lines_comes_back_when_that_of_one_ends(make_world: MakeWorld) -> None:
    world = make_world()
    faults = TruthFaults(world)
    rain, frost = fault("weather", "all", weather="rain"), fault("weather", "KUN-AKT", weather="hoarfrost")
    faults.follow({"r": rain, "f": frost})
    assert world.grid.weather["KUN-AKT"] == "hoarfrost"
    assert world.grid.weather["SHY-TAS"] == "rain"
    faults.follow({"r": rain})
    assert world.grid.weather["KUN-AKT"] == "rain"
    faults.follow({})
    assert set(world.grid.weather.values()) == {"fair"}


UTMOST = [
    fault("tap", "SHY-TAS", mw=1000),
    fault("theft", "ALM", mw=1000),
    fault("circuits", "SHY-TAS", in_service=0),
    fault("curtailment", "mirny-wind", mw=0),
    fault("hvdc_order", "AKT-ALT", mw=1000),
    fault("hvdc_poles", "AKT-ALT", in_service=0),
    fault("load_scale", "KZ", factor=5),
    fault("frequency_event", "IPS/UPS", mw=20_000),
    fault("storm", "KZ", wind_ms=60, duration_s=86_400),
    fault("cloud_front", "AZ", duration_s=86_400),
    fault("schedule", "AKT-ALT", mw=5000),
    fault("schedule", "AKT-ALT", mw=-5000),
]


def test_the_utmost_of_a_fault_does_not_end_the_world(make_world: MakeWorld) -> None:
    world = make_world()
    faults = TruthFaults(world)
    for utmost in UTMOST:
        for active in ({"x": utmost}, {}):
            faults.follow(active)
            for _ in range(5):
                assert np.isfinite(world.step(60).end_p_mw).all(), utmost
        world.restore()
