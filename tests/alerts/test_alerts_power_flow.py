"""The operators' power flow against the simulators' AC truth, which shares no code with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from alerts.power_flow import Flow, NoSolutionError, PowerFlow
from simulators.world import network, powerflow
from simulators.world.corridor import reference
from simulators.world.network import BASE_MVA, Switching
from simulators.world.powerflow import Collapse
from telemetry.grid import Grid
from telemetry.settings import parse

WORLD = reference()
PATH = Path(__file__).parents[2] / "greenbridge" / "corridor" / "grid.toml"
GRID = parse(PATH.read_text("utf-8"), PATH.name, Grid)
LIMITS = {line.id: line.limits_mw for line in GRID.line}
CIRCUITS = {line.id: line.circuits for line in GRID.line}


class Case(NamedTuple):
    circuits: Mapping[str, int]
    order_mw: float


def injections(order_mw: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    names = [bus.id for bus in WORLD.buses]
    p = np.array([bus.p_mw for bus in WORLD.buses], float)
    p[names.index("AKT")] -= order_mw
    p[names.index("ALT")] += WORLD.hvdc.received_mw(order_mw) if order_mw else 0.0
    return p, np.array([bus.q_mvar for bus in WORLD.buses], float)


def truth(case: Case) -> tuple[dict[str, float], dict[str, float], dict[str, float]] | None:
    """Largest power of each line [MW], its angle [degrees], and voltages [pu]; None for a collapse."""
    net = network.build(WORLD, Switching(circuits=case.circuits))
    p, q = injections(case.order_mw)
    found = powerflow.solve(net, p / BASE_MVA * net.live, q / BASE_MVA * net.live)
    if isinstance(found, Collapse):
        return None
    into = np.abs(np.real(powerflow.line_flows(net, found))).max(axis=0) * BASE_MVA
    index = net.index
    angles = {
        line.id: float(np.degrees(found.angle[index[line.chain[0]]] - found.angle[index[line.chain[-1]]]))
        for line in WORLD.lines
    }
    return (
        dict(zip([line.id for line in WORLD.lines], into.tolist(), strict=True)),
        angles,
        dict(zip(net.buses, found.voltage.tolist(), strict=True)),
    )


@pytest.fixture(scope="module")
def flow() -> PowerFlow:
    return PowerFlow(GRID, ["EKI", "SAM"])


@pytest.fixture(scope="module")
def v_kv(flow: PowerFlow) -> NDArray[np.float64]:
    """What the busbars' meters would read before anything happens."""
    found = truth(Case({}, 800.0))
    assert found is not None
    return np.array([found[2][node] for node in flow.nodes]) * GRID.u_rated_kv


def model(flow: PowerFlow, v_kv: NDArray[np.float64], case: Case, base: Flow | None = None) -> Flow:
    p = dict(zip((bus.id for bus in WORLD.buses), injections(case.order_mw)[0], strict=True))
    state = base.state if base is not None else None
    return flow.solve(np.array([p[node] for node in flow.nodes]), v_kv, case.circuits, state)


OUTAGES = [
    *(Case({line: count - 1}, 800.0) for line, count in CIRCUITS.items() if line != "MGC-SAM"),
    Case({}, 0.0),
    Case({}, 400.0),
    Case({"ULK-EKI": 0}, 700.0),
]


@pytest.mark.parametrize("case", OUTAGES, ids=str)
def test_flows_after_an_outage_are_those_of_the_ac_world(
    flow: PowerFlow, v_kv: NDArray[np.float64], case: Case
) -> None:
    true, base = truth(case), model(flow, v_kv, Case({}, 800.0))
    assert true is not None
    found = model(flow, v_kv, case, base)
    assert not found.dark
    for line, mw in true[0].items():
        if case.circuits.get(line, 1):
            assert found.lines[line].mw == pytest.approx(mw, abs=max(0.02 * mw, 16.0)), line
            assert found.lines[line].angle_deg == pytest.approx(true[1][line], abs=6.0), line
    over = {line for line, mw in true[0].items() if mw > limit(line, case)}
    assert {line for line, each in found.lines.items() if each.mw > limit(line, case)} == over


def limit(line: str, case: Case) -> float:
    closed = case.circuits.get(line, CIRCUITS[line])
    return LIMITS[line][closed - 1] if closed else float("inf")


def test_a_state_that_cannot_be_has_no_solution(flow: PowerFlow, v_kv: NDArray[np.float64]) -> None:
    case = Case({"KUN-AKT": 0}, 800.0)
    assert truth(case) is None
    with pytest.raises(NoSolutionError):
        model(flow, v_kv, case, model(flow, v_kv, Case({}, 800.0)))


def test_a_part_that_nothing_balances_is_dark(flow: PowerFlow, v_kv: NDArray[np.float64]) -> None:
    found = model(flow, v_kv, Case({"MGC-SAM": 0}, 800.0))
    assert found.dark == {"ALT", "ABS", "MGC"}
    assert "ALT-ABS" not in found.lines
    assert "SHY-TAS" in found.lines


def test_joints_sag_where_a_long_line_carries_too_much(flow: PowerFlow, v_kv: NDArray[np.float64]) -> None:
    base = model(flow, v_kv, Case({}, 800.0))
    assert base.lowest_pu == pytest.approx(0.996, abs=0.003)
    assert model(flow, v_kv, Case({"BUK-KUN": 0}, 800.0), base).lowest_pu < 0.95
