"""power-grid-model, which shares no code with the world, must find the same states."""

from __future__ import annotations

import math

import numpy as np
import pytest
from power_grid_model import (  # type: ignore[import-untyped, unused-ignore]
    ComponentType,
    LoadGenType,
    PowerGridModel,
    initialize_array,
)

from simulators.world import network, powerflow
from simulators.world.corridor import Corridor
from simulators.world.network import BASE_MVA
from simulators.world.powerflow import Solution

U = 500e3


def oracle(
    corridor: Corridor,
    p_mw: np.ndarray,
    q_mvar: np.ndarray,
    saturated: dict[str, float],
) -> tuple[np.ndarray, list[complex], list[complex]]:
    """Voltages [pu] and line-end powers [MVA] that power-grid-model finds.

    It knows no voltage-controlled bus: Q = k vset^2 - k V^2 is a constant injection and a shunt, and a
    saturated controller (given by bus, Mvar) is a constant injection alone.
    """
    buses = [bus.id for bus in corridor.buses]
    at = {bus: i for i, bus in enumerate(buses)}
    sections = [
        (line, a, b, km)
        for line in corridor.lines
        for a, b, km in zip(line.chain, line.chain[1:], line.sections_km, strict=False)
    ]
    node = initialize_array("input", "node", len(buses))
    node["id"], node["u_rated"] = np.arange(len(buses)), U
    line_in = initialize_array("input", "line", len(sections))
    line_in["id"] = 100 + np.arange(len(sections))
    par = corridor.line_parameters
    for k, (line, a, b, km) in enumerate(sections):
        z = complex(par.r_ohm_per_km, par.x_ohm_per_km) * km / line.circuits
        y = complex(par.corona_kw_per_km * 1e3 / U**2, par.b_us_per_km * 1e-6) * km * line.circuits
        gamma = np.sqrt(z * y)
        series, shunt = z * np.sinh(gamma) / gamma, y * np.tanh(gamma / 2) / (gamma / 2)
        line_in[k]["from_node"], line_in[k]["to_node"] = at[a], at[b]
        line_in[k]["from_status"] = line_in[k]["to_status"] = 1
        line_in[k]["r1"], line_in[k]["x1"] = series.real, series.imag
        line_in[k]["c1"], line_in[k]["tan1"] = shunt.imag / (100 * math.pi), shunt.real / shunt.imag
        line_in[k]["i_n"] = 10e3
    u_reactor = corridor.reactor_unit_kv * 1e3
    shunts = [
        (
            r.bus,
            r.units * corridor.reactor_loss_kw * 1e3 / u_reactor**2,
            -r.units * corridor.reactor_unit_mvar * 1e6 / u_reactor**2,
        )
        for r in corridor.reactors
    ]
    q_fixed = q_mvar.copy()
    for control in corridor.voltage_control:
        if control.bus in saturated:
            q_fixed[at[control.bus]] += saturated[control.bus]
        else:
            shunts.append((control.bus, 0.0, -control.k_mvar_per_pu2 * 1e6 / U**2))
            q_fixed[at[control.bus]] += control.k_mvar_per_pu2 * control.vset_pu**2
    shunt_in = initialize_array("input", "shunt", len(shunts))
    shunt_in["id"], shunt_in["status"] = 300 + np.arange(len(shunts)), 1
    shunt_in["node"] = [at[bus] for bus, _, _ in shunts]
    shunt_in["g1"], shunt_in["b1"] = [g for _, g, _ in shunts], [b for _, _, b in shunts]
    source = initialize_array("input", "source", len(corridor.slacks))
    source["id"], source["status"] = 500 + np.arange(len(corridor.slacks)), 1
    source["node"] = [at[slack.bus] for slack in corridor.slacks]
    source["u_ref"] = [slack.vset_pu for slack in corridor.slacks]
    source["u_ref_angle"], source["sk"] = 0.0, 1e16
    gen = initialize_array("input", "sym_gen", len(buses))
    gen["id"], gen["node"], gen["status"] = 700 + np.arange(len(buses)), np.arange(len(buses)), 1
    gen["type"] = LoadGenType.const_power
    gen["p_specified"], gen["q_specified"] = p_mw * 1e6, q_fixed * 1e6
    model = PowerGridModel(
        {
            ComponentType.node: node,
            ComponentType.line: line_in,
            ComponentType.shunt: shunt_in,
            ComponentType.source: source,
            ComponentType.sym_gen: gen,
        },
        50.0,
    )
    out = model.calculate_power_flow(error_tolerance=1e-9, max_iterations=50)
    flows = out[ComponentType.line]
    names = [line.id for line, _, _, _ in sections]
    first = [names.index(line.id) for line in corridor.lines]
    last = [len(names) - 1 - names[::-1].index(line.id) for line in corridor.lines]
    from_mva = [complex(flows[k]["p_from"], flows[k]["q_from"]) / 1e6 for k in first]
    to_mva = [complex(flows[k]["p_to"], flows[k]["q_to"]) / 1e6 for k in last]
    return out[ComponentType.node]["u_pu"], from_mva, to_mva


def states(corridor: Corridor, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The base case and random loads and generations around it [MW, Mvar]."""
    rng = np.random.default_rng(7)
    names = [bus.id for bus in corridor.buses]
    base = np.array([bus.p_mw for bus in corridor.buses])
    q = np.array([bus.q_mvar for bus in corridor.buses])
    cases = []
    for k in range(count):
        factor = np.where(base < 0, rng.uniform(0.6, 1.2, len(base)), rng.uniform(0.2, 1.4, len(base)))
        p = base * factor if k else base.copy()
        order = float(rng.uniform(100, 1000)) if k else corridor.hvdc.p_order_mw
        p[names.index("AKT")] -= order
        p[names.index("ALT")] += corridor.hvdc.received_mw(order)
        cases.append((p, q * rng.uniform(0.5, 1.5) if k else q))
    return cases


def test_same_voltages_and_flows_in_the_base_case_and_in_random_states(corridor: Corridor) -> None:
    net = network.build(corridor)
    compared = 0
    for p, q in states(corridor, 25):
        ours = powerflow.solve(net, p / BASE_MVA, q / BASE_MVA)
        assert isinstance(ours, Solution), ours
        held = powerflow.controlled_reactive(net, ours)
        at_limit = (held <= net.control_min) | (held >= net.control_max)
        saturated = {
            net.buses[bus]: float(mvar) * BASE_MVA
            for bus, mvar, stuck in zip(net.controlled, held, at_limit, strict=True)
            if stuck
        }
        voltage, from_mva, to_mva = oracle(corridor, p, q, saturated)
        assert np.abs(ours.voltage - voltage).max() < 1e-5
        into_from, into_to = powerflow.line_flows(net, ours)
        assert np.abs(into_from * BASE_MVA - from_mva).max() < 1e-2
        assert np.abs(into_to * BASE_MVA - to_mva).max() < 1e-2
        assert ours.mismatch < 1e-6
        compared += 1
    assert compared == 25


@pytest.mark.parametrize(
    ("line", "sent", "received"),
    [("NUR-SHU", 669, 647), ("SHY-TAS", -322, -323), ("KUN-AKT", 789, 763), ("MGC-SAM", 623, 620)],
)
def test_base_flows_are_the_published_ones(
    corridor: Corridor, line: str, sent: float, received: float
) -> None:
    net = network.build(corridor)
    p, q = states(corridor, 1)[0]
    ours = powerflow.solve(net, p / BASE_MVA, q / BASE_MVA)
    assert isinstance(ours, Solution)
    into_from, into_to = powerflow.line_flows(net, ours)
    k = [x.id for x in corridor.lines].index(line)
    assert into_from[k].real * BASE_MVA == pytest.approx(sent, abs=1)
    assert -into_to[k].real * BASE_MVA == pytest.approx(received, abs=1)
