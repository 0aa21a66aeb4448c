"""What the two meters of a line say of it: circuits in service, expected loss, and what is unaccounted for.

Computed once for an instant, for every rule that needs it. How many circuits are in service is read off the
reactive power at the far end: each circuit's charging power is tens to hundreds of Mvar, which neither a tap
nor a meter within its class can imitate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot

from alerts.alignment import Leg, Snapshot, first_fault
from alerts.two_port import LineModels
from telemetry.grid import Grid, Line
from telemetry.profiles import DeviceProfile

_DEAD_PU = 0.5
"""Voltage below which a line is not energised [pu]."""
_GROSS_SIGMAS, _GROSS = 6.0, 0.2
"""Beyond both, the latter of the flow, the two ends contradict each other grossly."""
_DEAD_MVA = 1.0
"""Power below which a line is switched off: an energised one draws its charging power [MVA]."""


@dataclass(frozen=True, slots=True)
class MeterAccuracy:
    """Standard uncertainty of a meter's power reading."""

    pct: float
    """[% of reading]."""
    floor_mw: float
    """Part that does not depend on the reading [MW]."""

    @classmethod
    def of(cls, profile: DeviceProfile) -> MeterAccuracy:
        """Accuracy that a device profile states."""
        return cls(profile.accuracy_pct, profile.accuracy_floor_mw)

    def sigma_mw(self, leg: Leg, clock_sigma_s: float) -> float:
        """Uncertainty of a reading [MW]; grows with its age and its clock's while the power changes."""
        return hypot(
            self.pct / 100 * leg.value, self.floor_mw, leg.slope * clock_sigma_s, leg.slope * leg.age_s
        )


@dataclass(frozen=True, slots=True)
class LineEnds:
    """Points of the two main meters of a line."""

    p_from: int
    q_from: int
    v_from: int
    p_to: int
    q_to: int
    accuracy_from: MeterAccuracy
    accuracy_to: MeterAccuracy
    checks: Mapping[str, int] = field(default_factory=dict)
    """Power points of the check meters by node; shown as evidence when they can be used."""


@dataclass(frozen=True, slots=True)
class LineState:
    """A line at an instant."""

    fault: str
    """Why nothing can be said; empty when something can."""
    legs: Sequence[Leg]
    """P, Q and V at the ``from`` end, P at the ``to`` end."""
    circuits: int
    """In service, as the reactive power tells; all where that is not known."""
    off: bool = False
    """No circuit carries anything."""
    expected: float = 0.0
    """Loss that the line should have [MW]."""
    residual: float = 0.0
    """What is unaccounted for between the ends [MW]."""
    sigma: float = 0.0
    """Standard uncertainty of the residual [MW]."""


class LineWatch:
    """A line as its meters show it.

    Parameters
    ----------
    grid, line
        The model.
    ends
        Where it is measured.
    clock_sigma_s
        Standard uncertainty of the source times at the two ends [s].

    """

    def __init__(self, grid: Grid, line: Line, ends: LineEnds, clock_sigma_s: float) -> None:
        self.line = line
        self.ends = ends
        self.inputs: Sequence[int] = (ends.p_from, ends.q_from, ends.v_from, ends.p_to, ends.q_to)
        sigma_kw = grid.parameters_of(line).corona_sigma_kw_per_km * line.km * line.circuits
        self.corona_sigma_mw = sigma_kw / 1000
        self._models = LineModels(grid, line)
        self._dead_kv = _DEAD_PU * grid.u_rated_kv
        self._clock_sigma_s = clock_sigma_s
        self._latest: tuple[Snapshot, LineState] | None = None

    def state(self, snapshot: Snapshot) -> LineState:
        """The line at the snapshot's instant."""
        if self._latest is None or self._latest[0] is not snapshot:
            self._latest = snapshot, self._state(snapshot)
        return self._latest[1]

    def circuits(self, snapshot: Snapshot) -> int:
        """Circuits in service at the snapshot's instant; all while the ends contradict each other grossly.

        A meter that lies about active power says nothing reliable about reactive power either.
        """
        state = self.state(snapshot)
        p_mw = max(abs(state.legs[0].value), abs(state.legs[-1].value)) if not state.fault else 0.0
        gross = abs(state.residual) > max(_GROSS_SIGMAS * state.sigma, _GROSS * p_mw)
        return self.line.circuits if gross else state.circuits

    def residual(self, snapshot: Snapshot) -> float | None:
        """What is unaccounted for at the snapshot's instant [MW]; None when nothing can be said."""
        state = self.state(snapshot)
        return None if state.fault else state.residual

    def _state(self, snapshot: Snapshot) -> LineState:
        line, ends = self.line, self.ends
        p_from, q_from, v_from, p_to, q_to = (snapshot.leg(point) for point in self.inputs)
        here, there = f"{line.id} at {line.from_node}", f"{line.id} at {line.to_node}"
        legs = (p_from, q_from, v_from, p_to)
        fault = first_fault([(here, p_from), (here, q_from), (here, v_from), (there, p_to)])
        if fault:
            return LineState(fault, legs, line.circuits)
        off = max(abs(p_from.value), abs(q_from.value), abs(p_to.value)) < _DEAD_MVA
        if not off and v_from.value < self._dead_kv:
            reason = f"the meter of {here} reads {v_from.value:.0f} kV while power flows"
            return LineState(reason, legs, line.circuits)
        circuits, expected = line.circuits, 0.0
        if not off:
            q_far = q_to.value if q_to.usable else None
            circuits, expected = self._models.explained(v_from.value, p_from.value, q_from.value, q_far)
        sigma = hypot(
            ends.accuracy_from.sigma_mw(p_from, self._clock_sigma_s),
            ends.accuracy_to.sigma_mw(p_to, self._clock_sigma_s),
            0.0 if off else self.corona_sigma_mw,
        )
        residual = p_from.value + p_to.value - expected
        return LineState("", legs, circuits, off, expected, residual, sigma)
