"""The measurement model: z = h(x) + e, with one flow per branch and no Kirchhoff voltage law.

The state is the power at the near end of every branch and, for lines whose loss model is uncertain, what the
line takes beyond the model. A meter at the near end reads the flow p, one at the far end
-p + loss(p) + extra, one of an injection the sum over the ends at its node. Without voltage angles the model
holds for alternating current as it is: an angle model without losses would contradict the truth itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # type: ignore[import-untyped]

from alerts.estimator.branches import Course, EndReading, LineBranch, LinkBranch
from alerts.estimator.measurements import Array, Meter, Scan
from telemetry.grid import Grid

_STEP_MW = 1.0
"""Step of the difference that stands for a loss's derivative [MW]."""
UNSEEN_SIGMA_MW = 1e4
"""Uncertainty of a flow that no meter at its ends shows [MW]: no information, but a solvable system."""
_SMALLEST_SIGMA_MW = 0.05
"""No meter is taken to be better than this [MW]."""


@dataclass(frozen=True, slots=True, eq=False)
class Equations:
    """The model made linear at a state: rows are the usable measurements, then what is known beforehand."""

    matrix: sparse.csr_matrix
    """dh/dx."""
    constant: Array
    """h(x) - matrix x [MW]."""


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """The measurements of a scan that can be used, and the branches as they are now."""

    rows: NDArray[np.intp]
    """Positions of the usable meters."""
    z: Array
    """Readings [MW], then zeros for what is known beforehand."""
    sigma: Array
    """[MW]."""
    courses: tuple[Course, ...]
    """One for each branch."""
    near: NDArray[np.intp]
    """Position of the near end of each branch among all ends (two per branch: from, to)."""
    far: NDArray[np.intp]
    uncertain: NDArray[np.intp]
    """Branches with an uncertain loss: each has a state of its own behind the flows."""
    unseen: NDArray[np.intp]
    """Branches without a usable meter at either end."""
    start: Array
    """Flows to begin with [MW]."""

    @property
    def states(self) -> int:
        """Number of unknowns."""
        return len(self.courses) + len(self.uncertain)


class NetworkModel:
    """Branches, nodes and meters of a grid.

    Parameters
    ----------
    grid
        Lines and links.
    meters
        In the order of a scan's columns; those of unknown branches or nodes are refused.

    Raises
    ------
    KeyError
        A meter stands at a branch end or node that the grid does not have.

    """

    def __init__(self, grid: Grid, meters: Sequence[Meter]) -> None:
        self.meters = tuple(meters)
        self.branches: tuple[LineBranch | LinkBranch, ...] = (
            *(LineBranch(grid, line) for line in grid.line),
            *(LinkBranch(link) for link in grid.hvdc),
        )
        self.nodes = tuple(node.id for node in grid.node)
        ends = {
            (branch.id, node): 2 * b + side
            for b, branch in enumerate(self.branches)
            for side, node in enumerate(branch.nodes)
        }
        at_node: dict[str, list[int]] = {node: [] for node in self.nodes}
        for (_, node), end in ends.items():
            at_node[node].append(end)
        places = [
            at_node[meter.node] if meter.is_injection else [ends[meter.branch, meter.node]]
            for meter in self.meters
        ]
        columns = [end for place in places for end in place]
        rows = np.repeat(np.arange(len(places)), [len(place) for place in places])
        shape = (len(places), 2 * len(self.branches))
        self.incidence = sparse.csr_matrix((np.ones(len(columns)), (rows, columns)), shape=shape)
        """Which ends a meter sums up: meters x ends."""
        self._metered: list[list[int]] = [[] for _ in range(2 * len(self.branches))]
        for i, meter in enumerate(self.meters):
            if not meter.is_injection:
                self._metered[ends[meter.branch, meter.node]].append(i)

    def observe(self, scan: Scan, offsets: Array) -> Observation:
        """What a scan tells, each reading less its known offset [MW]."""
        p = scan.p_mw - offsets
        usable = np.isfinite(p) & np.isfinite(scan.sigma_mw)
        columns = p.tolist(), scan.q_mvar.tolist(), scan.v_kv.tolist()
        ends = [_reading(meters, *columns) for meters in self._metered]
        courses = tuple(branch.course(ends[2 * b], ends[2 * b + 1]) for b, branch in enumerate(self.branches))
        reverse = np.array([course.reverse for course in courses], np.intp)
        base = 2 * np.arange(len(courses))
        near, far = base + reverse, base + 1 - reverse
        start = np.array([_start(ends[n].p_mw, ends[f].p_mw) for n, f in zip(near, far, strict=True)])
        unseen = np.array(
            [b for b in range(len(courses)) if isnan(ends[2 * b].p_mw) and isnan(ends[2 * b + 1].p_mw)],
            np.intp,
        )
        uncertain = np.array([b for b, course in enumerate(courses) if course.loss_sigma_mw > 0], np.intp)
        rows = np.flatnonzero(usable)
        known = np.array([courses[b].loss_sigma_mw for b in uncertain])
        sigma = np.concatenate(
            [
                np.maximum(scan.sigma_mw[rows], _SMALLEST_SIGMA_MW),
                known,
                np.full(len(unseen), UNSEEN_SIGMA_MW),
            ]
        )
        z = np.concatenate([p[rows], np.zeros(len(uncertain) + len(unseen))])
        return Observation(rows, z, sigma, courses, near, far, uncertain, unseen, start)

    def linearised(self, seen: Observation, flows: Array) -> Equations:
        """The equations at the flows of the branches [MW]."""
        count = len(seen.courses)
        losses = np.array([course.loss(p) for course, p in zip(seen.courses, flows.tolist(), strict=True)])
        beyond = np.array(
            [course.loss(p + _STEP_MW) for course, p in zip(seen.courses, flows.tolist(), strict=True)]
        )
        slope = (beyond - losses) / _STEP_MW
        flow, extra = np.arange(count), count + np.arange(len(seen.uncertain))
        ends = sparse.csr_matrix(
            (
                np.concatenate([np.ones(count), slope - 1.0, np.ones(len(extra))]),
                (
                    np.concatenate([seen.near, seen.far, seen.far[seen.uncertain]]),
                    np.concatenate([flow, flow, extra]),
                ),
            ),
            shape=(2 * count, seen.states),
        )
        constant = np.zeros(2 * count)
        constant[seen.far] = losses - slope * flows
        taken = self.incidence[seen.rows]
        known = np.concatenate([extra, seen.unseen])
        selection = sparse.csr_matrix(
            (np.ones(len(known)), (np.arange(len(known)), known)), shape=(len(known), seen.states)
        )
        matrix = sparse.vstack([taken @ ends, selection], format="csr")
        return Equations(matrix, np.concatenate([taken @ constant, np.zeros(len(known))]))

    def losses_elsewhere(self, seen: Observation) -> sparse.csr_matrix:
        """What power that a branch takes beyond its model does to the measurements: rows x branches.

        Where along the branch it is taken cannot be seen: a tap at the near end differs from one at the far
        end by a change of the flow, which is an unknown anyway.
        """
        taken = self.incidence[seen.rows][:, seen.far]
        known = len(seen.uncertain) + len(seen.unseen)
        return sparse.vstack([taken, sparse.csr_matrix((known, taken.shape[1]))], format="csc")


def _reading(meters: Sequence[int], p: list[float], q: list[float], v: list[float]) -> EndReading:
    """The first usable meter of an end; reactive power and voltage of another one where it lacks them."""
    usable = [i for i in meters if isfinite(p[i])]
    return EndReading(_first(p, usable), _first(q, usable), _first(v, usable))


def _first(values: list[float], meters: Sequence[int]) -> float:
    for i in meters:
        if isfinite(values[i]):
            return values[i]
    return nan


def _start(near_mw: float, far_mw: float) -> float:
    if isfinite(near_mw):
        return near_mw
    return -far_mw if isfinite(far_mw) else 0.0
