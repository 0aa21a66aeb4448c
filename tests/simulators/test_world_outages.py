"""Outages of the base case with nothing switched and the HVDC link held, and what the world makes of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from simulators.world import network, powerflow
from simulators.world.corridor import Corridor
from simulators.world.network import BASE_MVA, Switching
from simulators.world.powerflow import Collapse, Solution
from simulators.world.world import World, WorldPlan

MakeWorld = Callable[..., World]


class State:
    """The base case with some circuits out, as the data set has it."""

    def __init__(self, corridor: Corridor, circuits: dict[str, int], hvdc_mw: float = 800.0) -> None:
        standby = {"SAM": "MGC"}
        self.corridor = corridor
        self.net = network.build(corridor, Switching(circuits=circuits, standby=standby))
        p = np.array([bus.p_mw for bus in corridor.buses])
        q = np.array([bus.q_mvar for bus in corridor.buses])
        names = [bus.id for bus in corridor.buses]
        p[names.index("AKT")] -= hvdc_mw
        p[names.index("ALT")] += corridor.hvdc.received_mw(hvdc_mw)
        self.p = p / BASE_MVA * self.net.live
        full = powerflow.solve(network.build(corridor), p / BASE_MVA, q / BASE_MVA)
        assert isinstance(full, Solution)
        self.found = powerflow.solve(self.net, self.p, q / BASE_MVA * self.net.live, full)

    @property
    def solution(self) -> Solution:
        assert isinstance(self.found, Solution), self.found
        return self.found

    def largest_mw(self, line: str) -> float:
        k = [x.id for x in self.corridor.lines].index(line)
        ends = powerflow.line_flows(self.net, self.solution)
        return max(abs(float(end[k].real)) for end in ends) * BASE_MVA

    def angle_deg(self, line: str) -> float:
        known = self.corridor.line(line)
        angle = self.solution.angle
        a, b = self.net.index[known.from_bus], self.net.index[known.to_bus]
        return float(np.degrees(angle[a] - angle[b]))

    def lowest_pu(self) -> float:
        return float(self.solution.voltage[self.net.live].min())


def test_loss_of_buk_kun_overloads_the_long_way_round(corridor: Corridor) -> None:
    state = State(corridor, {"BUK-KUN": 0})
    assert state.lowest_pu() == pytest.approx(0.89, abs=0.006)
    assert state.largest_mw("ULK-EKI") == pytest.approx(659, abs=1)
    assert abs(state.angle_deg("ULK-EKI")) == pytest.approx(70, abs=1)


def test_loss_of_both_circuits_of_kun_akt_has_no_solution(corridor: Corridor) -> None:
    assert isinstance(State(corridor, {"KUN-AKT": 0}).found, Collapse)


def test_block_of_the_hvdc_link_overloads_shy_tas(corridor: Corridor) -> None:
    state = State(corridor, {}, hvdc_mw=0.0)
    assert state.largest_mw("SHY-TAS") == pytest.approx(758, abs=1)
    assert state.largest_mw("SHY-TAS") > corridor.line("SHY-TAS").limit_mw


def test_loss_of_ulk_eki_is_secure_only_at_a_lower_order(corridor: Corridor) -> None:
    def overloaded(hvdc_mw: float) -> bool:
        state = State(corridor, {"ULK-EKI": 0}, hvdc_mw)
        return any(state.largest_mw(line.id) > line.limit_mw for line in corridor.lines)

    assert overloaded(800.0)
    assert not overloaded(700.0)


def test_loss_of_mgc_sam_moves_the_slack_of_azerbaijan(corridor: Corridor) -> None:
    state = State(corridor, {"MGC-SAM": 0})
    names = [state.net.buses[i] for i in state.net.slack]
    assert names == ["EKI", "SAM", "MGC"]
    mgc = state.net.index["MGC"]
    surplus = (state.solution.injected.real[mgc] - state.p[mgc]) * BASE_MVA
    assert surplus == pytest.approx(-623, abs=3), "what was exported has nowhere to go"


def test_islands_without_a_slack_are_dead_and_the_rest_lives(corridor: Corridor) -> None:
    circuits = {"SHU-ALM": 0, "BUK-KUN": 0, "KUN-AKT": 0}
    net = network.build(corridor, Switching(circuits=circuits))
    dead = {bus for bus, live in zip(net.buses, net.live, strict=True) if not live}
    assert dead == {"ALM", "KUN", "BUKKUN1", "KUNAKT1"}


# ---- the same in the world, where weather, controllers and operators are at work


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()


def flow(world: World, line: str, node: str) -> float:
    return float(world.snapshot.end_p_mw[world.end(line, node)])


def test_an_open_line_carries_nothing_and_can_be_closed_again(world: World) -> None:
    world.set_circuits("SHU-ALM", 0)
    now = world.step()
    assert now.dead_nodes == ("ALM",)
    assert now.collapse is None
    assert flow(world, "SHU-ALM", "SHU") == flow(world, "SHU-ALM", "ALM") == 0
    assert now.node_v_kv[world.nodes.index("ALM")] == 0
    assert now.node_f_hz[world.nodes.index("ALM")] == 0
    assert not now.circuit_closed[world.circuit_end("SHU-ALM", "SHU", 1)]
    assert now.plants.p_mw[world.fleet.index["kapshagay-solar"]] == 0
    world.set_circuits("SHU-ALM", 2)
    assert world.step().dead_nodes == ()
    assert flow(world, "SHU-ALM", "SHU") > 700


def test_one_circuit_takes_the_load_of_its_twin_and_its_reactors_stay_home(world: World) -> None:
    before = world.step()
    k = [world.circuit_end("TAS-NAV", "TAS", circuit) for circuit in (1, 2)]
    assert before.circuit_p_mw[k[0]] == before.circuit_p_mw[k[1]]
    world.set_circuits("TAS-NAV", 1)
    now = world.step()
    assert now.circuit_p_mw[k[1]] == now.circuit_i_a[k[1]] == 0
    assert now.circuit_p_mw[k[0]] == pytest.approx(flow(world, "TAS-NAV", "TAS"))
    assert abs(now.circuit_p_mw[k[0]]) > 1.6 * abs(before.circuit_p_mw[k[0]])


def test_double_circuit_loss_takes_its_own_island_alone(world: World) -> None:
    world.step()
    world.set_circuits("KUN-AKT", 0)
    now = world.step()
    assert now.collapse is not None
    assert "SHY" in now.collapse.nodes
    assert "ALT" not in now.dead_nodes
    world.set_circuits("KUN-AKT", 2)
    world.restore()
    assert world.step().collapse is None


def test_armed_run_back_keeps_the_long_way_round_alive(corridor: Corridor, make_world: MakeWorld) -> None:
    held, armed = make_world(), make_world()
    armed.arm_runback(True)
    for world in (held, armed):
        world.set_circuits("BUK-KUN", 0)
        world.step()
    assert armed.snapshot.end_p_mw[armed.end("AKT-ALT", "AKT")] == 670
    assert abs(flow(armed, "ULK-EKI", "EKI")) < abs(flow(held, "ULK-EKI", "EKI")) - 100
    armed.set_circuits("BUK-KUN", 1)
    for _ in range(30):
        armed.step()
    assert armed.snapshot.end_p_mw[armed.end("AKT-ALT", "AKT")] == 800


def test_reactors_help_a_low_voltage(corridor: Corridor, make_world: MakeWorld) -> None:
    plan = WorldPlan(corridor, make_world().plan.plants, switch_reactors=False)
    lowest = []
    for world in (World(plan, 1, 1_795_500_000_000_000_000), make_world()):
        world.set_circuits("BUK-KUN", 0)
        for _ in range(300):
            now = world.step()
        lowest.append(now.node_v_kv.min())
        if world.plan.switch_reactors:
            assert now.reactor_units.sum() < 51
            world.set_circuits("BUK-KUN", 1)
            for _ in range(1800):
                now = world.step()
            assert now.node_v_kv.max() < 525
        else:
            assert now.reactor_units.sum() == 51
    assert lowest[1] > lowest[0] + 10


def test_azerbaijan_runs_on_its_own_and_comes_back(world: World) -> None:
    alt, shy = world.nodes.index("ALT"), world.nodes.index("SHY")
    world.set_circuits("MGC-SAM", 0)
    for _ in range(30):
        now = world.step()
    assert now.dead_nodes == ()
    assert now.node_f_hz[alt] > 50.5
    assert abs(now.node_f_hz[shy] - 50) < 0.1
    hydro = world.fleet.index["mingachevir-hydro"]
    assert now.plants.p_mw[hydro] < 150, "generation control takes back what it can"
    world.set_hvdc_order(200)
    for _ in range(120):
        now = world.step()
    assert abs(now.node_f_hz[alt] - 50) < 0.2
    world.set_circuits("MGC-SAM", 1)
    world.set_hvdc_order(None)
    for _ in range(300):
        now = world.step()
    assert abs(now.node_f_hz[alt] - now.node_f_hz[shy]) < 1e-9
    assert now.slack_mw[1] == pytest.approx(-620, abs=20)
