"""The grid as its main meters show it at an instant, in the form that the power flow takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median

import numpy as np
from numpy.typing import NDArray

from alerts.alignment import Leg, Snapshot
from alerts.power_flow import Flow, NoSolutionError, PowerFlow
from alerts.rules.line_state import LineWatch

_DEAD_PU = 0.5
"""Voltage below which a meter says nothing about its busbar [pu]."""


@dataclass(frozen=True, slots=True)
class MeteredBranch:
    """A line or HVDC link by its main meters."""

    id: str
    from_node: str
    to_node: str
    p_from: int
    p_to: int
    """Points of its power at both ends."""
    watch: LineWatch | None
    """Tells the circuits in service; None for an HVDC link."""


@dataclass(frozen=True, slots=True)
class GridState:
    """What is measured, and the state of the model that is like it."""

    p_mw: NDArray[np.float64]
    """Power that each busbar gives to its lines [MW]."""
    v_kv: NDArray[np.float64]
    circuits: Mapping[str, int]
    ends: Mapping[str, tuple[float, float]]
    """Measured power of each branch from both busbars into it [MW]."""
    flow: Flow
    legs: Sequence[Leg]


class GridView:
    """A site's grid, looked at once for an instant, for every outage that is judged there.

    Parameters
    ----------
    model
        The power flow.
    u_rated_kv
        Rated voltage [kV].
    branches
        Every branch of the grid.
    voltages
        Voltage points of the meters at each node.

    """

    def __init__(
        self,
        model: PowerFlow,
        u_rated_kv: float,
        branches: Sequence[MeteredBranch],
        voltages: Mapping[str, Sequence[int]],
    ) -> None:
        self.model = model
        self._u_rated_kv = u_rated_kv
        self._branches = branches
        self._voltages = voltages
        watched = (branch.watch.inputs for branch in branches if branch.watch is not None)
        powers = ((branch.p_from, branch.p_to) for branch in branches)
        self.inputs: Sequence[int] = tuple(dict.fromkeys(chain(*watched, *powers, *voltages.values())))
        self._index = {node: i for i, node in enumerate(model.nodes)}
        self._latest: tuple[Snapshot, GridState | str] | None = None
        self._start: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def state(self, snapshot: Snapshot) -> GridState | str:
        """The state at the snapshot's instant, or why there is none."""
        if self._latest is None or self._latest[0] is not snapshot:
            self._latest = snapshot, self._state(snapshot)
        return self._latest[1]

    def _state(self, snapshot: Snapshot) -> GridState | str:
        p_mw = np.zeros(len(self.model.nodes))
        circuits: dict[str, int] = {}
        ends: dict[str, tuple[float, float]] = {}
        legs: list[Leg] = []
        for branch in self._branches:
            near, far = snapshot.leg(branch.p_from), snapshot.leg(branch.p_to)
            for node, leg in ((branch.from_node, near), (branch.to_node, far)):
                if not leg.usable:
                    return f"leg {branch.id} at {node} is {leg.fault.replace('_', ' ')}"
                if branch.watch is not None:
                    p_mw[self._index[node]] += leg.value
            legs += [near, far]
            ends[branch.id] = near.value, far.value
            if branch.watch is not None:
                state = branch.watch.state(snapshot)
                circuits[branch.id] = 0 if state.off else branch.watch.circuits(snapshot)
        v_kv = np.empty(len(self.model.nodes))
        for node, points in self._voltages.items():
            read = [leg.value for leg in (snapshot.leg(p) for p in points) if leg.usable]
            read = [v for v in read if v > _DEAD_PU * self._u_rated_kv]
            if not read:
                return f"no meter has the voltage of {node}"
            v_kv[self._index[node]] = median(read)
        try:
            flow = self.model.solve(p_mw, v_kv, circuits, self._start)
        except NoSolutionError:
            self._start = None
            return "the grid model has no state like what is measured"
        self._start = flow.state
        return GridState(p_mw, v_kv, circuits, ends, flow, legs)
