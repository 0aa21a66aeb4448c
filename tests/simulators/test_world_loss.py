"""What a two-end check does: the meters' loss against the line's two-port, from one end's reading."""

from __future__ import annotations

import cmath
from collections.abc import Callable

import numpy as np
import pytest

from simulators.world.corridor import Corridor, Line
from simulators.world.meters import Instrument, MeterBank, Observes, Reading
from simulators.world.world import World


def modelled_loss_mw(corridor: Corridor, line: Line, v_kv: float, p_mw: float, q_mvar: float) -> float:
    """Loss of a line that takes p, q at v, section by section through what stands at its joints."""
    par = corridor.line_parameters
    z = complex(par.r_ohm_per_km, par.x_ohm_per_km)
    y = complex(par.corona_kw_per_km * 1e3 / (corridor.u_rated_kv * 1e3) ** 2, par.b_us_per_km * 1e-6)
    gamma, impedance = cmath.sqrt(z * y), cmath.sqrt(z / y) / line.circuits
    v = complex(v_kv)
    current = complex(p_mw, -q_mvar) / v
    for k, km in enumerate(line.sections_km):
        a, b = cmath.cosh(gamma * km), impedance * cmath.sinh(gamma * km)
        v, current = a * v - b * current, a * current - (a * a - 1) / b * v
        if k == len(line.sections_km) - 1:
            break
        units = sum(r.units for r in corridor.reactors if r.bus == line.mid[k])
        into = units * complex(corridor.reactor_loss_kw / 1e3, corridor.reactor_unit_mvar)
        into *= abs(v) ** 2 / corridor.reactor_unit_kv**2
        for control in corridor.voltage_control:
            if control.bus == line.mid[k]:
                wanted = control.k_mvar_per_pu2 * (control.vset_pu**2 - (abs(v) / corridor.u_rated_kv) ** 2)
                into -= 1j * min(max(wanted, control.qmin_mvar), control.qmax_mvar)
        current -= (into / v).conjugate()
    return p_mw - (v * current.conjugate()).real


def averaged(world: World, seconds: int) -> dict[tuple[str, str], Reading]:
    """Each end's reading, averaged as a rule averages it."""
    instruments = [Instrument(f"{b}_{n}_main", Observes.END, k) for k, (b, n) in enumerate(world.ends)]
    bank = MeterBank(world, instruments, seed=3)
    shown = []
    for _ in range(seconds):
        bank.observe(world.step(), 1.0)
        shown.append([(r.p_mw, r.q_mvar, r.v_kv) for r in bank.readings()])
    mean = np.mean(shown, axis=0)
    return {
        end: Reading(p, q, v, 0.0, 50.0, 0, 0)
        for end, (p, q, v) in zip(world.ends, mean.tolist(), strict=True)
    }


@pytest.mark.parametrize("scale", [0.3, 0.5, 0.7, 1.0, 1.15, 1.3])
def test_measured_loss_is_the_model_within_one_sigma(
    corridor: Corridor, make_world: Callable[..., World], scale: float
) -> None:
    world = make_world(scale=scale)
    readings = averaged(world, 60)
    assert world.snapshot.collapse is None
    for line in corridor.lines:
        sent, received = readings[line.id, line.from_bus], readings[line.id, line.to_bus]
        sigma = np.sqrt(sum((0.002 * r.p_mw) ** 2 + 0.3**2 for r in (sent, received)))
        model = modelled_loss_mw(corridor, line, sent.v_kv, sent.p_mw, sent.q_mvar)
        residual = sent.p_mw + received.p_mw - model
        assert abs(residual) < sigma, (line.id, residual, sigma)


def test_truth_without_meters_follows_the_model_exactly(
    corridor: Corridor, make_world: Callable[..., World]
) -> None:
    world = make_world()
    now = world.snapshot
    for line in corridor.lines:
        a, b = world.end(line.id, line.from_bus), world.end(line.id, line.to_bus)
        model = modelled_loss_mw(corridor, line, now.end_v_kv[a], now.end_p_mw[a], now.end_q_mvar[a])
        assert now.end_p_mw[a] + now.end_p_mw[b] == pytest.approx(model, abs=1e-6)


def test_a_tap_is_far_outside(corridor: Corridor, make_world: Callable[..., World]) -> None:
    world = make_world()
    world.set_tap("SHY-TAS", 30.0)
    readings = averaged(world, 60)
    line = corridor.line("SHY-TAS")
    sent, received = readings[line.id, "SHY"], readings[line.id, "TAS"]
    model = modelled_loss_mw(corridor, line, sent.v_kv, sent.p_mw, sent.q_mvar)
    assert sent.p_mw + received.p_mw - model == pytest.approx(30.0, abs=1.5)
