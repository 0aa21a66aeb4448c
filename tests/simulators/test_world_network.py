from __future__ import annotations

import cmath

import numpy as np
import pytest

from simulators.world import network, powerflow
from simulators.world.corridor import Corridor
from simulators.world.network import Switching, TwoPort, section
from simulators.world.powerflow import Collapse, Solution


def cascade(port: TwoPort) -> np.ndarray[tuple[int, int], np.dtype[np.complex128]]:
    """Chain matrix of a symmetric two-port."""
    a, b = -port.own / port.mutual, -1 / port.mutual
    return np.array([[a, b], [(a * a - 1) / b, a]])


def base(corridor: Corridor, extra: int = 0) -> tuple[np.ndarray, np.ndarray]:
    p = np.array([bus.p_mw for bus in corridor.buses] + [0.0] * extra)
    q = np.array([bus.q_mvar for bus in corridor.buses] + [0.0] * extra)
    names = [bus.id for bus in corridor.buses]
    p[names.index("AKT")] -= 800
    p[names.index("ALT")] += corridor.hvdc.received_mw(800)
    return p / network.BASE_MVA, q / network.BASE_MVA


def solved(net: network.Network, p: np.ndarray, q: np.ndarray) -> Solution:
    result = powerflow.solve(net, p, q)
    assert isinstance(result, Solution), result
    return result


@pytest.mark.parametrize("km", [65.0, 120.0, 350.0, 1400.0])
def test_two_halves_compose_to_the_whole(corridor: Corridor, km: float) -> None:
    whole = cascade(section(corridor.line_parameters, 500.0, km, 2))
    half = cascade(section(corridor.line_parameters, 500.0, km / 2, 2))
    assert np.allclose(half @ half, whole, rtol=1e-10)


def test_short_section_is_nearly_its_series_impedance(corridor: Corridor) -> None:
    port = section(corridor.line_parameters, 500.0, 1.0, 1)
    assert cmath.isclose(-1 / port.mutual, complex(0.025, 0.306), rel_tol=1e-5)


@pytest.mark.parametrize("line", ["SHY-TAS", "NUR-SHU", "ULK-EKI", "ALT-MGC"])
def test_unloaded_tap_changes_nothing(corridor: Corridor, line: str) -> None:
    plain, tapped = network.build(corridor), network.build(corridor, Switching(taps=frozenset({line})))
    a = solved(plain, *base(corridor))
    b = solved(tapped, *base(corridor, len(tapped.buses) - len(plain.buses)))
    assert np.allclose(a.voltage, b.voltage[: len(a.voltage)], atol=1e-9)
    for x, y in zip(powerflow.line_flows(plain, a), powerflow.line_flows(tapped, b), strict=True):
        assert np.allclose(x, y, atol=1e-7)


def test_tap_at_a_joint_needs_no_new_bus(corridor: Corridor) -> None:
    tapped = network.build(corridor, Switching(taps=frozenset({"NUR-SHU", "ULK-EKI"})))
    assert tapped.buses == network.build(corridor).buses
    assert [tapped.buses[i] for i in tapped.tap_bus] == ["NURSHU1", "ULKEKI2"]


@pytest.mark.parametrize("line", ["SHY-TAS", "KUN-AKT"])
def test_tap_shows_as_missing_power_of_its_line_alone(corridor: Corridor, line: str) -> None:
    tapped = network.build(corridor, Switching(taps=frozenset({line})))
    p, q = base(corridor, len(tapped.buses) - len(corridor.buses))
    before = np.add(*powerflow.line_flows(tapped, solved(tapped, p, q))).real
    p[tapped.tap_bus[0]] -= 0.30
    after = np.add(*powerflow.line_flows(tapped, solved(tapped, p, q))).real
    missing = dict(zip([x.id for x in corridor.lines], (after - before) * network.BASE_MVA, strict=True))
    assert missing.pop(line) == pytest.approx(30.0, abs=1.0)
    assert all(abs(mw) < 2.5 for mw in missing.values())  # their own losses follow the changed flows


def test_tap_of_an_unknown_line_is_refused(corridor: Corridor) -> None:
    with pytest.raises(KeyError, match="no line"):
        network.build(corridor, Switching(taps=frozenset({"SHY-TAZ"})))


def test_impossible_load_is_a_collapse_not_a_state(corridor: Corridor) -> None:
    net = network.build(corridor)
    p, q = base(corridor)
    start = solved(net, p, q)
    p[net.index["TAS"]] -= 60.0
    result = powerflow.solve(net, p, q, start)
    assert isinstance(result, Collapse)
    assert "does not converge" in result.reason


def test_voltage_controllers_saturate_at_their_limits(corridor: Corridor) -> None:
    net = network.build(corridor)
    p, q = base(corridor)
    q[net.index["TAS"]] -= 6.0
    result = solved(net, p, q)
    held = dict(
        zip([net.buses[i] for i in net.controlled], powerflow.controlled_reactive(net, result), strict=True)
    )
    assert held["TAS"] == pytest.approx(3.0)
    wanted = net.control_gain * (net.control_set**2 - result.voltage[net.controlled] ** 2)
    assert np.allclose(list(held.values()), np.clip(wanted, net.control_min, net.control_max))


def test_warm_start_needs_few_iterations(corridor: Corridor) -> None:
    net = network.build(corridor)
    p, q = base(corridor)
    start = solved(net, p, q)
    warm = powerflow.solve(net, p * 1.002, q, start)
    assert isinstance(warm, Solution)
    assert warm.iterations <= 4


def test_an_open_circuit_takes_its_part_of_the_line_and_of_its_reactors(corridor: Corridor) -> None:
    whole, part = network.build(corridor), network.build(corridor, Switching(circuits={"SHU-ALM": 1}))
    shu, alm = whole.index["SHU"], whole.index["ALM"]
    assert part.admittance[shu, alm] == pytest.approx(whole.admittance[shu, alm] / 2)
    base_ohm = 500**2 / network.BASE_MVA
    circuit = section(corridor.line_parameters, 500.0, 300.0, 1).own * base_ohm
    reactor = complex(0.36, -180) / 525**2 * base_ohm
    lost = whole.admittance[shu, shu] - part.admittance[shu, shu]
    assert lost == pytest.approx(circuit + reactor)
    assert whole.admittance[alm, alm] - part.admittance[alm, alm] == pytest.approx(circuit)
