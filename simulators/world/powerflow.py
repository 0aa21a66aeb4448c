"""AC power flow: Newton's method in polar coordinates with voltage-controlled buses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulators.world.network import Network

TOLERANCE_PU = 1e-8
"""Largest mismatch of a state that counts as found [pu]: a hundredth of what the balance must close to."""
MAX_ITERATIONS = 30
_MAX_ANGLE_STEP = 0.5
_MAX_VOLTAGE_STEP = 0.1
_SLOW = 0.1
"""An iteration that leaves more than this share of the mismatch calls for a new Jacobian."""


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """A state that satisfies the power-flow equations."""

    voltage: NDArray[np.float64]
    """Magnitude of each bus [pu]; 0 where there is no grid."""
    angle: NDArray[np.float64]
    """[rad]."""
    injected: NDArray[np.complex128]
    """Power that the lines and shunts of the network draw from each bus [pu]."""
    iterations: int
    mismatch: float
    """Largest remaining mismatch of any power equation [pu]."""
    inverse: NDArray[np.float64] | None = None
    """Inverse Jacobian of a state near this one."""

    @property
    def phasor(self) -> NDArray[np.complex128]:
        """Complex voltage of each bus [pu]."""
        phasor: NDArray[np.complex128] = self.voltage * np.exp(1j * self.angle)
        return phasor


@dataclass(frozen=True, slots=True)
class Collapse:
    """No state satisfies the equations, or none was found: the grid is down. Never a held last value."""

    reason: str
    nodes: tuple[str, ...] = ()
    """Nodes that are dark because of it."""


def solve(
    network: Network, p: NDArray[np.float64], q: NDArray[np.float64], start: Solution | None = None
) -> Solution | Collapse:
    """Solves for the voltages at given injections [pu, + into the bus].

    ``q`` excludes the voltage controllers, which follow the voltage and saturate at their limits; ``start``
    is a state of the same network to start from. While the inverse Jacobian of the start still closes the
    mismatch quickly it is used again (dishonest Newton), else a new one is made.
    """
    free, count = network.free, len(network.free)
    voltage = np.ones(len(network.buses)) if start is None else start.voltage.copy()
    angle = np.zeros(len(network.buses)) if start is None else start.angle.copy()
    voltage[network.slack] = network.slack_pu
    angle[network.slack] = 0.0
    voltage[~network.live] = 0.0
    inverse = None if start is None else start.inverse
    if inverse is not None and len(inverse) != 2 * count:
        inverse = None
    mismatch = np.zeros(2 * count)
    wanted_q, controlled_q = q.copy(), q[network.controlled]
    worst = last = np.inf
    for iteration in range(MAX_ITERATIONS + 1):
        phasor = voltage * np.exp(1j * angle)
        drawn = phasor * np.conj(network.admittance @ phasor)
        wanted_q[network.controlled] = controlled_q + _held(network, voltage)[0]
        mismatch[:count] = (drawn.real - p)[free]
        mismatch[count:] = (drawn.imag - wanted_q)[free]
        worst = float(np.abs(mismatch).max()) if count else 0.0
        if worst < TOLERANCE_PU:
            return Solution(voltage, angle, drawn, iteration, worst, inverse)
        if not np.isfinite(worst) or iteration == MAX_ITERATIONS:
            break
        if inverse is None or worst > _SLOW * last:
            try:
                inverse = _inverse(_jacobian(network, voltage, phasor, drawn))
            except np.linalg.LinAlgError:
                return Collapse("the power-flow equations are singular")
        last = worst
        step = inverse @ mismatch
        size = np.abs(step)
        if size.max() > _MAX_VOLTAGE_STEP:
            angle_part = float(size[:count].max()) / _MAX_ANGLE_STEP
            step /= max(1.0, angle_part, float(size[count:].max()) / _MAX_VOLTAGE_STEP)
        angle[free] -= step[:count]
        voltage[free] -= step[count:]
    return Collapse(f"the power flow does not converge: mismatch {worst:.3g} pu after {iteration} iterations")


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(matrix), np.float64)


def _jacobian(
    network: Network,
    voltage: NDArray[np.float64],
    phasor: NDArray[np.complex128],
    drawn: NDArray[np.complex128],
) -> NDArray[np.float64]:
    """Derivatives of the mismatches by angle and voltage of the free buses.

    dS/dangle = j (diag(S) - A), dS/dV = (diag(S) + A) / V with A_ij = E_i conj(Y_ij E_j).
    """
    free, count = network.free, len(network.free)
    window = np.ix_(free, free)
    diagonal = np.arange(len(voltage))
    coupling = phasor[:, None] * np.conj(network.admittance * phasor)
    magnitude = np.where(network.live, voltage, 1.0)
    by_voltage = coupling / magnitude
    by_voltage[diagonal, diagonal] += drawn / magnitude
    by_angle = -1j * coupling
    by_angle[diagonal, diagonal] += 1j * drawn
    by_voltage[network.controlled, network.controlled] -= 1j * _slope(network, voltage)
    jacobian = np.empty((2 * count, 2 * count))
    jacobian[:count, :count] = by_angle.real[window]
    jacobian[:count, count:] = by_voltage.real[window]
    jacobian[count:, :count] = by_angle.imag[window]
    jacobian[count:, count:] = by_voltage.imag[window]
    return jacobian


def controlled_reactive(network: Network, solution: Solution) -> NDArray[np.float64]:
    """Reactive power of each voltage controller [pu, + into the bus]."""
    return _held(network, solution.voltage)[0]


def circuit_flows(
    network: Network, solution: Solution
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Complex power into each circuit at its ``from`` and its ``to`` end [pu, + leaving the busbar]."""
    phasor = solution.phasor
    a, b = phasor[network.piece_from], phasor[network.piece_to]
    into_from = a * np.conj(network.own * a + network.mutual * b)
    into_to = b * np.conj(network.own * b + network.mutual * a)
    if not len(into_from):
        nothing = np.zeros(len(network.first_share), np.complex128)
        return nothing, nothing
    into_from, into_to = into_from[network.first_piece], into_to[network.last_piece]
    return into_from * network.first_share, into_to * network.last_share


def line_flows(network: Network, solution: Solution) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Complex power into each line at its ``from`` and its ``to`` end [pu, + leaving the busbar]."""
    into_from, into_to = circuit_flows(network, solution)
    return np.add.reduceat(into_from, network.line_start), np.add.reduceat(into_to, network.line_start)


def _held(network: Network, voltage: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reactive power of the controllers, and what it would be without their limits."""
    v = voltage[network.controlled]
    wanted = network.control_gain * (network.control_set**2 - v * v)
    return np.minimum(np.maximum(wanted, network.control_min), network.control_max), wanted


def _slope(network: Network, voltage: NDArray[np.float64]) -> NDArray[np.float64]:
    """dQ/dV of the controllers; a saturated one has none."""
    held, wanted = _held(network, voltage)
    return np.where(held == wanted, -2 * network.control_gain * voltage[network.controlled], 0.0)
