"""The power flow of the operators' grid model, from measured states to states that have not happened yet.

Busbars keep the voltage that is measured there, since plants and compensators hold it; the joints of lines,
which nobody measures, are solved with their reactors and voltage controllers. Line sections are the exact
two-ports of :mod:`alerts.two_port`. Newton's method in polar coordinates (Kundur, Power System Stability and
Control, 1994, section 6.4.3; Glover, Sarma and Overbye, Power System Analysis and Design, section 6.6),
dense: a national 500 kV grid has tens of busbars.

Voltages are line to line [kV], admittances [S], so that powers are three-phase [MVA].
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import degrees

import numpy as np
from numpy.typing import NDArray

from alerts.two_port import part_of, section_model
from telemetry.grid import Grid, Reactive

TOLERANCE_MW = 0.01
MAX_ITERATIONS = 25
_LARGEST_ANGLE, _LARGEST_VOLTAGE = 0.4, 0.1
"""Longest step of Newton's method [rad, part of the rated voltage]."""


class NoSolutionError(ArithmeticError):
    """No state carries these powers, or none was found: the grid would not stand."""


@dataclass(frozen=True, slots=True)
class LineFlow:
    """What a line carries."""

    from_mw: float
    """Power from the near busbar into the line [MW]."""
    to_mw: float
    """Power from the far busbar into the line [MW]."""
    angle_deg: float
    """Angle of the near busbar less that of the far one [degrees]."""

    @property
    def mw(self) -> float:
        """Larger power of the two ends [MW]."""
        return max(abs(self.from_mw), abs(self.to_mw))


@dataclass(frozen=True, slots=True)
class Flow:
    """A solved state."""

    lines: Mapping[str, LineFlow]
    """By line; those without a circuit in service, or in a part that is dark, are missing."""
    dark: frozenset[str]
    """Busbars in parts of the grid that nothing balances."""
    lowest_pu: float
    """Lowest voltage at a joint [pu]; 1 without joints."""
    state: tuple[NDArray[np.float64], NDArray[np.float64]]
    """Voltages [kV] and angles [rad], to start another solution from."""


@dataclass(frozen=True, slots=True)
class _Chain:
    """A line's sections with their buses."""

    own: Sequence[complex]
    mutual: Sequence[complex]
    buses: Sequence[int]


class PowerFlow:
    """Solves a grid for injections and circuits in service.

    Parameters
    ----------
    grid
        The model.
    balancing
        Busbars where what lies beyond the model, or a control, balances the rest; each part of the grid
        without one is dark.

    """

    def __init__(self, grid: Grid, balancing: Collection[str]) -> None:
        self._grid = grid
        self.nodes: Sequence[str] = [node.id for node in grid.node]
        """Busbars, in the order of injections and voltages."""
        self._index = {node: i for i, node in enumerate(self.nodes)}
        self._balancing = [self._index[node] for node in balancing]
        self._joints: dict[tuple[str, int], int] = {}
        for line in grid.line:
            for i, _ in enumerate(line.sections[:-1]):
                self._joints[line.id, i] = len(self.nodes) + len(self._joints)
        self._count = len(self.nodes) + len(self._joints)

    def solve(
        self,
        p_mw: NDArray[np.float64],
        v_kv: NDArray[np.float64],
        circuits: Mapping[str, int],
        start: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> Flow:
        """The state for injections and voltages of the busbars.

        Parameters
        ----------
        p_mw
            Power into each busbar, HVDC links included [MW]; of balancing ones it is found.
        v_kv
            Voltage that each busbar keeps [kV].
        circuits
            In service, by line; all of those that are not named.
        start
            State of an earlier solution.

        Raises
        ------
        NoSolutionError
            There is none, or it was not found.

        """
        admittance, chains, controls = self._network(circuits)
        live = self._live(admittance)
        rated, nodes = self._grid.u_rated_kv, len(self.nodes)
        voltage = np.full(self._count, rated) if start is None else start[0].copy()
        angle = np.zeros(self._count) if start is None else start[1].copy()
        voltage[:nodes] = v_kv
        angle[self._balancing] = 0.0
        turning = np.array([i for i in sorted(live) if i not in self._balancing], np.intp)
        floating = np.array([i for i in sorted(live) if i >= nodes], np.intp)
        wanted = np.concatenate([p_mw, np.zeros(self._count - nodes)])
        count = len(turning)
        for iteration in range(MAX_ITERATIONS + 1):
            phasor = voltage * np.exp(1j * angle)
            current = admittance @ phasor
            power = phasor * np.conj(current)
            q, slope = _controlled(controls, voltage, rated)
            mismatch = np.concatenate([(power.real - wanted)[turning], (power.imag - q)[floating]])
            worst = float(np.abs(mismatch).max(initial=0.0))
            if worst < TOLERANCE_MW:
                return self._flow(phasor, angle, voltage, chains, live)
            if not np.isfinite(worst) or iteration == MAX_ITERATIONS:
                break
            by_angle = 1j * phasor[:, None] * np.conj(np.diag(current) - admittance * phasor[None, :])
            unit = phasor / voltage
            by_voltage = phasor[:, None] * np.conj(admittance * unit[None, :]) + np.diag(
                np.conj(current) * unit
            )
            jacobian = np.block(
                [
                    [by_angle.real[np.ix_(turning, turning)], by_voltage.real[np.ix_(turning, floating)]],
                    [
                        by_angle.imag[np.ix_(floating, turning)],
                        (by_voltage.imag - np.diag(slope))[np.ix_(floating, floating)],
                    ],
                ]
            )
            try:
                step = np.linalg.solve(jacobian, mismatch)
            except np.linalg.LinAlgError as error:
                raise NoSolutionError("the power-flow equations are singular") from error
            turn = float(np.abs(step[:count]).max(initial=0.0)) / _LARGEST_ANGLE
            lift = float(np.abs(step[count:]).max(initial=0.0)) / (_LARGEST_VOLTAGE * rated)
            step /= max(1.0, turn, lift)
            angle[turning] -= step[:count]
            voltage[floating] -= step[count:]
        raise NoSolutionError(f"no power flow: {worst:.3g} MW are left after {MAX_ITERATIONS} steps")

    def _network(
        self, circuits: Mapping[str, int]
    ) -> tuple[NDArray[np.complex128], Mapping[str, _Chain], list[tuple[int, Reactive]]]:
        grid, count = self._grid, self._count
        admittance = np.zeros((count, count), complex)
        chains: dict[str, _Chain] = {}
        controls: list[tuple[int, Reactive]] = []
        for line in grid.line:
            closed = circuits.get(line.id, line.circuits)
            if not closed:
                continue
            joints = [self._joints[line.id, i] for i in range(len(line.sections) - 1)]
            buses = [self._index[line.from_node], *joints, self._index[line.to_node]]
            own, mutual = [], []
            for section, near, far in zip(line.sections, buses, buses[1:], strict=False):
                joint = part_of(section.joint, closed / line.circuits)
                model = section_model(grid.parameters_of(line), grid.u_rated_kv, section.km, closed, joint)
                own.append(model.a / model.b)
                mutual.append(-1 / model.b)
                admittance[near, near] += own[-1]
                admittance[far, far] += own[-1]
                admittance[near, far] += mutual[-1]
                admittance[far, near] += mutual[-1]
                if joint is not None and far >= len(self.nodes):
                    square = joint.reactor_kv**2
                    admittance[far, far] += complex(joint.reactor_loss_mw, -joint.reactor_mvar) / square
                    controls.append((far, joint))
            chains[line.id] = _Chain(own, mutual, buses)
        return admittance, chains, controls

    def _live(self, admittance: NDArray[np.complex128]) -> set[int]:
        """Buses that hang together with a balancing one."""
        live, todo = set(self._balancing), list(self._balancing)
        while todo:
            for other in np.flatnonzero(admittance[todo.pop()]).tolist():
                if other not in live:
                    live.add(other)
                    todo.append(other)
        return live

    def _flow(
        self,
        phasor: NDArray[np.complex128],
        angle: NDArray[np.float64],
        voltage: NDArray[np.float64],
        chains: Mapping[str, _Chain],
        live: Collection[int],
    ) -> Flow:
        lines = {}
        for line, chain in chains.items():
            near, far = chain.buses[0], chain.buses[-1]
            if near not in live:
                continue
            sent = chain.own[0] * phasor[near] + chain.mutual[0] * phasor[chain.buses[1]]
            taken = chain.own[-1] * phasor[far] + chain.mutual[-1] * phasor[chain.buses[-2]]
            lines[line] = LineFlow(
                float((phasor[near] * np.conj(sent)).real),
                float((phasor[far] * np.conj(taken)).real),
                degrees(float(angle[near] - angle[far])),
            )
        joints = [i for i in live if i >= len(self.nodes)]
        lowest = float(voltage[joints].min()) / self._grid.u_rated_kv if joints else 1.0
        dark = frozenset(node for node, i in self._index.items() if i not in live)
        return Flow(lines, dark, lowest, (voltage, angle))


def _controlled(
    controls: Sequence[tuple[int, Reactive]], voltage: NDArray[np.float64], rated: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reactive power that the controllers inject [Mvar], and its slope over the voltage [Mvar/kV]."""
    q, slope = np.zeros(len(voltage)), np.zeros(len(voltage))
    for bus, joint in controls:
        k, pu = joint.control_k_mvar_per_pu2, voltage[bus] / rated
        wanted = k * (joint.control_vset_pu**2 - pu**2)
        limited = min(max(wanted, joint.control_qmin_mvar), joint.control_qmax_mvar)
        q[bus] += limited
        if limited == wanted:
            slope[bus] -= 2 * k * pu / rated
    return q, slope
