"""The admittance model of the corridor, with taps where a load hangs in the middle of a line.

A line section is its exact (hyperbolic) two-port, not a nominal pi: A = cosh(gamma l), B = Zc sinh(gamma l);
for sections of hundreds of kilometres the nominal pi is invalid (Kundur, Power System Stability and Control,
section 6.1).
"""

from __future__ import annotations

import cmath
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulators.world.corridor import Corridor, Line, LineParameters

BASE_MVA = 100.0
"""Base of per-unit powers [MVA]."""


@dataclass(frozen=True, slots=True)
class TwoPort:
    """Symmetric two-port of a section: I_f = own V_f + mutual V_t [S]."""

    own: complex
    mutual: complex


def section(parameters: LineParameters, u_rated_kv: float, km: float, circuits: int) -> TwoPort:
    """The exact two-port of ``circuits`` equal circuits in parallel [S]."""
    z = complex(parameters.r_ohm_per_km, parameters.x_ohm_per_km)
    y = complex(parameters.corona_kw_per_km * 1e3 / (u_rated_kv * 1e3) ** 2, parameters.b_us_per_km * 1e-6)
    gamma = cmath.sqrt(z * y)
    a = cmath.cosh(gamma * km)
    b = cmath.sqrt(z / y) / circuits * cmath.sinh(gamma * km)
    return TwoPort(a / b, -1 / b)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Everything that a power flow needs; admittances and powers in per unit of :data:`BASE_MVA`."""

    buses: tuple[str, ...]
    taps: tuple[str, ...]
    """Lines that are tapped; the buses of their middles stand in ``tap_bus``."""
    tap_bus: tuple[int, ...]
    admittance: NDArray[np.complex128]
    section_from: NDArray[np.intp]
    section_to: NDArray[np.intp]
    own: NDArray[np.complex128]
    """Own admittance of each section."""
    mutual: NDArray[np.complex128]
    first_section: NDArray[np.intp]
    """For each line, the section at its ``from`` end."""
    last_section: NDArray[np.intp]
    slack: NDArray[np.intp]
    slack_pu: NDArray[np.float64]
    free: NDArray[np.intp]
    """Buses whose voltage the power flow finds."""
    controlled: NDArray[np.intp]
    control_gain: NDArray[np.float64]
    """k of Q = k (vset^2 - V^2)."""
    control_set: NDArray[np.float64]
    control_min: NDArray[np.float64]
    control_max: NDArray[np.float64]

    @property
    def index(self) -> dict[str, int]:
        """Position of each bus."""
        return {bus: i for i, bus in enumerate(self.buses)}


def build(corridor: Corridor, taps: Collection[str] = ()) -> Network:
    """The network of the corridor; each line named in ``taps`` gets a bus at its middle.

    Raises
    ------
    KeyError
        A tap names no line.

    """
    tapped = tuple(sorted(taps))
    for name in tapped:
        corridor.line(name)
    buses = [bus.id for bus in corridor.buses]
    index = {bus: i for i, bus in enumerate(buses)}
    middles: dict[str, int] = {}
    pieces: list[tuple[int, int, TwoPort]] = []
    first: list[int] = []
    last: list[int] = []
    base_ohm = corridor.u_rated_kv**2 / BASE_MVA
    for line in corridor.lines:
        chain, lengths = line.chain, line.sections_km
        if line.id in tapped:
            chain, lengths, middle = _split(line)
            if middle not in index:
                index[middle] = len(buses)
                buses.append(middle)
            middles[line.id] = index[middle]
        first.append(len(pieces))
        for a, b, km in zip(chain, chain[1:], lengths, strict=False):
            port = section(corridor.line_parameters, corridor.u_rated_kv, km, line.circuits)
            pieces.append((index[a], index[b], TwoPort(port.own * base_ohm, port.mutual * base_ohm)))
        last.append(len(pieces) - 1)
    admittance = np.zeros((len(buses), len(buses)), np.complex128)
    for i, j, port in pieces:
        admittance[i, i] += port.own
        admittance[j, j] += port.own
        admittance[i, j] += port.mutual
        admittance[j, i] += port.mutual
    unit = complex(corridor.reactor_loss_kw / 1e3, -corridor.reactor_unit_mvar) / corridor.reactor_unit_kv**2
    for reactor in corridor.reactors:
        admittance[index[reactor.bus], index[reactor.bus]] += reactor.units * unit * base_ohm
    slack = np.array([index[s.bus] for s in corridor.slacks], np.intp)
    control = corridor.voltage_control
    return Network(
        buses=tuple(buses),
        taps=tapped,
        tap_bus=tuple(middles[name] for name in tapped),
        admittance=admittance,
        section_from=np.array([i for i, _, _ in pieces], np.intp),
        section_to=np.array([j for _, j, _ in pieces], np.intp),
        own=np.array([port.own for _, _, port in pieces]),
        mutual=np.array([port.mutual for _, _, port in pieces]),
        first_section=np.array(first, np.intp),
        last_section=np.array(last, np.intp),
        slack=slack,
        slack_pu=np.array([s.vset_pu for s in corridor.slacks]),
        free=np.setdiff1d(np.arange(len(buses), dtype=np.intp), slack),
        controlled=np.array([index[c.bus] for c in control], np.intp),
        control_gain=np.array([c.k_mvar_per_pu2 / BASE_MVA for c in control]),
        control_set=np.array([c.vset_pu for c in control]),
        control_min=np.array([c.qmin_mvar / BASE_MVA for c in control]),
        control_max=np.array([c.qmax_mvar / BASE_MVA for c in control]),
    )


def _split(line: Line) -> tuple[tuple[str, ...], tuple[float, ...], str]:
    """Chain and lengths of a line that has a bus at its middle, and that bus: a joint, or else an added one.

    Two halves of the exact two-port compose to the whole, so a bus without load changes nothing.
    """
    position = 0.0
    for k, km in enumerate(line.sections_km):
        left = line.km / 2 - position
        if left == 0:
            return line.chain, line.sections_km, line.chain[k]
        if left < km:
            break
        position += km
    middle = f"{line.id}/middle"
    chain = (*line.chain[: k + 1], middle, *line.chain[k + 1 :])
    return chain, (*line.sections_km[:k], left, km - left, *line.sections_km[k + 1 :]), middle
