"""Which single error explains best what the measurements say, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import sparse  # type: ignore[import-untyped]
from scipy.special import chdtri  # type: ignore[import-untyped]

from alerts.estimator.branches import LineBranch
from alerts.estimator.least_squares import Fit, solve
from alerts.estimator.measurements import Array, Meter, Scan
from alerts.estimator.network import NetworkModel, Observation
from telemetry.grid import Grid

SIGNIFICANCE = 0.001
"""How often J exceeds its limit although nothing is wrong."""
LARGEST_SIGNIFICANCE = 0.0001
"""How often the largest of all tests exceeds its limit although nothing is wrong: J spreads one error
over all degrees of freedom, and misses what stands out when the meters are better than stated."""
ACCEPT_T = 16.0
"""Test value from which an error is accepted: a normalised residual of 4, because the largest of many is
looked at."""
ACCEPT_RATIO = 1.5
"""How often an error must explain more than the next one to be told apart from it."""
MOST_ERRORS = 5
"""Errors that are looked for in one scan."""
_RANKED = 6
_ALIKE = 0.98
"""Squared correlation from which two errors look the same in every scan."""
_CRITICAL, _WEAK = 0.01, 0.3
"""Redundancy of a measurement, below which its error cannot be seen, or hardly."""


class Kind(StrEnum):
    """What can be wrong."""

    METER = "meter"
    """The meter of a branch end does not tell the truth."""
    BUS = "bus"
    """An injection meter does not, or power is taken from its bus unmetered: one scan cannot tell which."""
    LINE = "line"
    """A line takes more than its losses: a tap, weather, or wrong data of the line."""
    LINK = "link"
    """An HVDC link takes more than its losses."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One possible error and how well it alone explains the measurements."""

    kind: Kind
    subject: str
    """Meter (device), node, line or link."""
    t: float
    """Test value: chi-square distributed with 1 degree of freedom if it is no error."""
    size_mw: float
    """How much the meter reads too much, is fed in too much at the bus, or is taken by the branch [MW]."""
    sigma_mw: float
    """Standard uncertainty of the size [MW]."""


@dataclass(frozen=True, slots=True)
class BranchEstimate:
    """A branch as all measurements together have it."""

    p_from_mw: float
    p_to_mw: float
    loss_mw: float
    """Of the branch itself, by its model [MW]."""
    circuits: int
    """In service, as the reactive power tells; of a link 1 or 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """What one scan says."""

    instant: int
    """[ns, UTC]."""
    j: float
    """Weighted sum of squared residuals."""
    limit: float
    """Limit of J at its significance."""
    largest: float
    """Largest test value of all possible errors."""
    largest_limit: float
    """Limit of the largest of so many test values at its significance."""
    freedom: int
    """Degrees of freedom: measurements more than unknowns."""
    redundancy: float
    """Part of the measurements that is redundant."""
    accepted: tuple[Hypothesis, ...]
    """Errors that explain the contradiction, in the order in which they were found."""
    ambiguous: tuple[Hypothesis, ...]
    """Errors of which the next one cannot be told; empty when nothing is left to explain."""
    inseparable: bool
    """The ambiguous ones look the same in every scan."""
    ranking: tuple[Hypothesis, ...]
    """All errors as alternatives to each other, best first."""
    branches: Mapping[str, BranchEstimate]
    extra_loss: Mapping[str, Hypothesis]
    """Of every branch in service that can be tested: what it takes beyond its model."""
    critical: tuple[str, ...]
    """Meters without redundancy: their error cannot be detected."""
    weak: tuple[str, ...]
    """Meters whose error can hardly be detected."""
    unusable: tuple[str, ...]
    """Meters left out: stale, bad or missing."""
    residuals: Array
    """Of each meter, before any error is explained; NaN for one left out [MW]."""

    @property
    def consistent(self) -> bool:
        """The measurements do not contradict each other and the branches' data."""
        return self.freedom > 0 and self.j <= self.limit and self.largest <= self.largest_limit

    @property
    def unexplained(self) -> bool:
        """They do, and no single error stands out."""
        return self.freedom > 0 and not self.consistent and not self.accepted and not self.ambiguous


class Estimator:
    """State estimation of a grid.

    Parameters
    ----------
    grid
        The network.
    meters
        In the order of the scans' columns.

    """

    def __init__(self, grid: Grid, meters: Sequence[Meter]) -> None:
        self.model = NetworkModel(grid, meters)

    @property
    def meters(self) -> tuple[Meter, ...]:
        """In the order of the columns."""
        return self.model.meters

    def diagnose(self, scan: Scan, offsets: Array | None = None) -> Diagnosis:
        """Estimates the state from one scan and looks for errors.

        Parameters
        ----------
        scan
            What the meters read.
        offsets
            Known systematic deviation of each meter [MW], taken off its reading.

        Raises
        ------
        NotSolvedError
            The measurements do not determine the state.

        """
        model = self.model
        seen = model.observe(scan, np.zeros(len(self.meters)) if offsets is None else offsets)
        rows, measured = len(seen.z), len(seen.rows)
        candidates = sparse.hstack(
            [sparse.eye(rows, measured, format="csc"), model.losses_elsewhere(seen)], format="csc"
        )
        fit = solve(seen.z, seen.sigma, lambda flows: model.linearised(seen, flows), seen.start, candidates)
        freedom = rows - seen.states
        found = _Found(self.meters, seen, model, fit)
        ranking = tuple(found.hypothesis(i) for i in found.order()[:_RANKED])
        j, redundancy = fit.j, fit.information[:measured] * seen.sigma[:measured] ** 2
        residuals = np.full(len(self.meters), np.nan)
        residuals[seen.rows] = fit.residuals[:measured]
        extra = {
            hypothesis.subject: hypothesis
            for hypothesis in (found.hypothesis(measured + b) for b in found.tested_branches)
        }
        accepted, ambiguous, inseparable = _sequence(found, freedom)
        left_out = np.setdiff1d(np.arange(len(self.meters)), seen.rows)
        return Diagnosis(
            scan.instant,
            j,
            _limit(freedom),
            ranking[0].t if ranking else 0.0,
            _largest_limit(fit),
            freedom,
            freedom / rows if rows else 0.0,
            accepted,
            ambiguous,
            inseparable,
            ranking,
            self._estimates(seen, fit, accepted),
            extra,
            self._named(seen.rows[redundancy < _CRITICAL]),
            self._named(seen.rows[(redundancy >= _CRITICAL) & (redundancy < _WEAK)]),
            self._named(left_out),
            residuals,
        )

    def _named(self, positions: np.ndarray) -> tuple[str, ...]:
        return tuple(self.meters[i].id for i in positions.tolist())

    def _estimates(
        self, seen: Observation, fit: Fit, accepted: Sequence[Hypothesis]
    ) -> dict[str, BranchEstimate]:
        taken = {h.subject: h.size_mw for h in accepted if h.kind in {Kind.LINE, Kind.LINK}}
        count = len(seen.courses)
        beyond = dict(zip(seen.uncertain.tolist(), fit.x[count:].tolist(), strict=True))
        estimates = {}
        for b, (branch, course) in enumerate(zip(self.model.branches, seen.courses, strict=True)):
            near = float(fit.x[b])
            loss = course.loss(near) + beyond.get(b, 0.0)
            far = loss + taken.get(branch.id, 0.0) - near
            p_from, p_to = (far, near) if course.reverse else (near, far)
            estimates[branch.id] = BranchEstimate(p_from, p_to, loss, course.circuits)
        return estimates


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """The candidates of a fit by name: usable meters, then branches."""

    meters: tuple[Meter, ...]
    seen: Observation
    model: NetworkModel
    fit: Fit

    @property
    def tested_branches(self) -> list[int]:
        """Branches in service whose extra loss would show."""
        visible = self.fit.visible[len(self.seen.rows) :]
        return [b for b, course in enumerate(self.seen.courses) if course.circuits and visible[b]]

    def tests(self) -> Array:
        """T of each candidate; 0 for one that means nothing."""
        tests = self.fit.tests
        off = [b for b, course in enumerate(self.seen.courses) if not course.circuits]
        tests[len(self.seen.rows) + np.array(off, np.intp)] = 0.0
        return tests

    def order(self) -> list[int]:
        """Candidates by T, best first, those without any left out."""
        tests = self.tests()
        return [int(i) for i in np.argsort(-tests, kind="stable") if tests[i] > 0]

    def hypothesis(self, candidate: int) -> Hypothesis:
        """A candidate as it stands now."""
        kind, subject = self._name(candidate)
        size, sigma = self.fit.size(candidate), self.fit.sigma(candidate)
        return Hypothesis(kind, subject, (size / sigma) ** 2, size, sigma)

    def _name(self, candidate: int) -> tuple[Kind, str]:
        rows = self.seen.rows
        if candidate < len(rows):
            meter = self.meters[rows[candidate]]
            return (Kind.BUS, meter.node) if meter.is_injection else (Kind.METER, meter.id)
        branch = self.model.branches[candidate - len(rows)]
        return (Kind.LINE if isinstance(branch, LineBranch) else Kind.LINK), branch.id


def _sequence(found: _Found, freedom: int) -> tuple[tuple[Hypothesis, ...], tuple[Hypothesis, ...], bool]:
    """Explains one error after the other while a test fails; stops where the next cannot be told."""
    accepted: list[Hypothesis] = []
    fit = found.fit
    while freedom > 0 and len(accepted) < MOST_ERRORS:
        tests, order = found.tests(), found.order()
        if not order or tests[order[0]] <= ACCEPT_T:
            break
        if fit.j <= _limit(freedom) and tests[order[0]] <= _largest_limit(fit):
            break
        best = order[0]
        rivals = [i for i in order[1:] if tests[i] * ACCEPT_RATIO > tests[best]]
        if rivals:
            likeness = fit.likeness(best)
            alike = all(likeness[i] > _ALIKE for i in rivals)
            return tuple(accepted), tuple(found.hypothesis(i) for i in [best, *rivals][:_RANKED]), alike
        accepted.append(found.hypothesis(best))
        fit.explain(best)
        freedom -= 1
    return tuple(accepted), (), False


def _limit(freedom: int) -> float:
    """Limit of J for a number of degrees of freedom; infinite without any."""
    return float(chdtri(freedom, SIGNIFICANCE)) if freedom > 0 else float("inf")


def _largest_limit(fit: Fit) -> float:
    """Limit of the largest of the tests of a fit, by Bonferroni's inequality."""
    return float(chdtri(1, LARGEST_SIGNIFICANCE / max(int(np.count_nonzero(fit.visible)), 1)))
