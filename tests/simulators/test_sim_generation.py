"""Turbines, inverters, masts and farm controllers against the world that they stand in."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.bench import load
from simulators.devices.generation import WHOLE, Condition, Generation, GenerationBank, Sight
from simulators.devices.registers import Value
from simulators.devices.wind_maps import TURBINE_STATES
from simulators.state import BenchState
from simulators.world.clocks import Discipline, clock_of
from simulators.world.units import UnitState

START_NS = 1_795_500_000_000_000_000

BENCH = """
seed = 3
control_port = 0
[[gateway]]
id = "G"
port = 0
[[device]]
id = "turbine"
kind = "turbine"
node = "SHU"
plant = "mirny-wind"
gateway = "G"
unit = 11
number = 2
count = 3
word_order = "cdab"
[[device]]
id = "farm"
kind = "wind-farm"
node = "SHU"
plant = "mirny-wind"
gateway = "G"
unit = 1
[[device]]
id = "mast"
kind = "met-mast"
node = "SHU"
plant = "mirny-wind"
gateway = "G"
unit = 2
"""


@pytest.fixture(scope="module")
def state() -> BenchState:
    state = BenchState(load(BENCH, "b.toml", {}), START_NS)
    for second in range(5):
        state.step(second + 1.0, START_NS)
    return state


def values(state: BenchState, device: str) -> dict[str, Value | None]:
    return {held.name: held.value for held in state.registers(device)}


def test_a_turbine_shows_its_own_unit(state: BenchState) -> None:
    plants = state.world.snapshot.plants
    for k in (1, 2, 3):
        shown = values(state, f"turbine-{k}")
        unit = state.world.fleet.units.index(("mirny-wind", k + 1))
        assert shown["WTUR.W"] == pytest.approx(plants.unit_p_mw[unit] * 1e3, rel=1e-6)
        assert shown["WAPC.AvlW"] == pytest.approx(plants.unit_available_mw[unit] * 1e3, rel=1e-6)
        assert shown["WNAC.WdSpd"] == pytest.approx(plants.unit_wind_m_s[unit], rel=1e-6)
        assert shown["clock"] == clock_of(f"turbine-{k}", Discipline.RTC).at(state.world.t_ns) // 10**9
    assert len({values(state, f"turbine-{k}")["WTUR.W"] for k in (1, 2, 3)}) > 1


def test_controller_and_mast_show_the_plant(state: BenchState) -> None:
    plants, i = state.world.snapshot.plants, state.world.fleet.index["mirny-wind"]
    farm, mast = values(state, "farm"), values(state, "mast")
    assert farm["WAPC.W"] == pytest.approx(plants.p_mw[i] * 1e3, rel=1e-6)
    assert (farm["WAPC.OnlCnt"], farm["WAPC.TurCnt"]) == (plants.online[i], 160)
    assert mast["WMET.HorWdSpd"] == pytest.approx(plants.wind_m_s[i], abs=0.0051)
    assert mast["WMET.HorWdDir"] == pytest.approx(plants.wind_dir_deg[i], abs=0.051)
    assert mast["MMET.HorInsol"] is None, "a wind plant has no pyranometer"


def test_counters_integrate_and_all_units_are_the_plant() -> None:
    state = BenchState(load(BENCH, "b.toml", {}), START_NS)
    world, i = state.world, state.world.fleet.index["mirny-wind"]
    bank = GenerationBank(world, [Sight(i, n, str(n)) for n in (WHOLE, *range(1, 161))], 1)
    before = [bank.look(k).energy_wh for k in range(161)]
    sums = np.zeros(161)
    for _ in range(60):
        bank.observe(world.step(1.0), 1.0)
        powers = [bank.look(k).p_mw for k in range(161)]
        assert sum(powers[1:]) == pytest.approx(powers[0], rel=1e-9)
        sums += np.array(powers) * 1e6 / 3600
    for k in range(161):
        assert bank.look(k).energy_wh - before[k] == pytest.approx(sums[k], abs=1.1)


def test_a_tripped_plant_is_off_and_a_curtailed_one_held_back() -> None:
    state = BenchState(load(BENCH, "b.toml", {}), START_NS)
    assert values(state, "farm")["WAPC.SptW"] == values(state, "farm")["WAPC.WRtg"] == 1e6
    state.world.set_curtailment("mirny-wind", 20.0)
    for second in range(40):
        state.step(second + 1.0, START_NS)
    running = [k for k in (1, 2, 3) if state.look(f"turbine-{k}").online]
    assert running
    for k in running:
        assert values(state, f"turbine-{k}")["WTUR.TurSt"] == TURBINE_STATES[Condition.THROTTLED]
    assert values(state, "farm")["WAPC.Curtailed"] == 1
    assert values(state, "farm")["WAPC.SptW"] == 20e3
    assert values(state, "farm")["WAPC.W"] == pytest.approx(20e3, rel=1e-3)
    state.world.trip_plant("mirny-wind")
    state.step(41.0, START_NS)
    assert values(state, "turbine-1")["WTUR.TurSt"] in {1, 8, 9}
    assert values(state, "turbine-1")["WTUR.W"] == 0
    assert state.look("farm").condition is Condition.OFF


def test_every_state_of_a_unit_has_a_code() -> None:
    conditions = {Condition(c) for c in Condition}
    assert set(TURBINE_STATES) == conditions
    assert len(set(TURBINE_STATES.values())) == len(conditions)
    assert len(UnitState) == len(conditions), "one has no grid instead of none of its own"


def test_a_dead_busbar_is_no_grid() -> None:
    state = BenchState(load(BENCH, "b.toml", {}), START_NS)
    state.world.set_circuits("NUR-SHU", 0)
    state.world.set_circuits("SHU-ALM", 0)
    state.world.set_circuits("SHU-ZHB", 0)
    state.step(1.0, START_NS)
    look: Generation = state.look("turbine-1")
    assert (look.f_hz, look.v_pu, look.p_mw, look.condition) == (0, 0, 0, Condition.NO_GRID)
