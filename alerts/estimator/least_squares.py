"""Weighted least squares and what its residuals tell.

With W = diag(1 / sigma^2) and G = H' W H, each step solves G dx = H' W (z - h(x)). The residuals r have the
covariance Omega = W^-1 - H G^-1 H'. An error of size b along a vector a adds b Omega W a to them, so that

    T_a = (a' W r)^2 / (a' W Omega W a)  ~ chi-square with 1 degree of freedom when there is none,
    b_a = (a' W r) / (a' W Omega W a),   with the variance 1 / (a' W Omega W a);

for a = e_i, T is the square of the normalised residual of measurement i. (Abur and Exposito, Power System
State Estimation: Theory and Implementation, 2004, sections 2.5, 5.6 and 5.7; the general vector is the
generalised likelihood ratio test of one direction.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # type: ignore[import-untyped]
from scipy.linalg import lapack  # type: ignore[import-untyped]
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]
from scipy.sparse.linalg import splu  # type: ignore[import-untyped]

from alerts.estimator.measurements import Array
from alerts.estimator.network import Equations

_CLOSE_MW = 0.01
"""The iteration ends when no state moves by more than this [MW]."""
_MOST_STEPS = 6
_BLIND = 1e-3
"""Part of a vector's weight that reaches the residuals, below which its error cannot be seen."""


class NotSolvedError(ArithmeticError):
    """The measurements do not determine the state."""


@dataclass(slots=True, eq=False)
class Fit:
    """A solved scan and the tests of every candidate error, which :meth:`explain` brings up to date."""

    x: Array
    """State [MW]."""
    residuals: Array
    """z - h(x) [MW]."""
    weights: Array
    """1 / sigma^2 [1/MW^2]."""
    j: float
    """r' W r."""
    candidates: sparse.csc_matrix
    """Vectors a as columns."""
    projected: Array
    """a' W r of each candidate."""
    information: Array
    """a' W Omega W a of each candidate [1/MW^2]."""
    weight: Array
    """a' W a of each candidate [1/MW^2]."""
    _right: sparse.csc_matrix
    """H' W A."""
    _solve: Callable[[Array], Array]
    """G^-1 on a vector."""
    _removed: list[tuple[Array, float]] = field(default_factory=list)
    """For each explained error: its column of A' W Omega W A, and its own entry there."""
    _shifts: list[Array] = field(default_factory=list)
    """For each explained error: by how much one of size 1 moves the state."""

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Candidates whose error would show in the residuals."""
        return self.information > _BLIND * self.weight

    @property
    def tests(self) -> Array:
        """T of each candidate; 0 for those that cannot be seen."""
        tests = np.zeros(len(self.projected))
        seen = self.visible
        tests[seen] = self.projected[seen] ** 2 / self.information[seen]
        return tests

    def size(self, candidate: int) -> float:
        """Size of an error [MW], if it is the one."""
        return float(self.projected[candidate] / self.information[candidate])

    def sigma(self, candidate: int) -> float:
        """Standard uncertainty of the size of an error [MW]."""
        return float(self.information[candidate] ** -0.5)

    def likeness(self, candidate: int) -> Array:
        """Squared correlation of each candidate's test with one: 1 means that they cannot be told apart."""
        column = self._column(candidate)
        seen = self.visible
        likeness = np.zeros(len(column))
        likeness[seen] = column[seen] ** 2 / (self.information[seen] * self.information[candidate])
        return likeness

    def explain(self, candidate: int) -> None:
        """Adds an error to the state, which is the same as solving again with one unknown more.

        With a measurement's own vector that is the same as leaving the measurement out.
        """
        size, column = self.size(candidate), self._column(candidate)
        own = float(self.information[candidate])
        self.j -= size**2 * own
        # what the errors that were explained before share with this one stays theirs
        shift = self._shift(candidate)
        for (removed, part), earlier in zip(self._removed, self._shifts, strict=True):
            shift = shift - earlier * (removed[candidate] / part)
        self.x = self.x - size * shift
        self._shifts.append(shift)
        self.projected = self.projected - size * column
        self.information = np.maximum(self.information - column**2 / own, 0.0)
        self._removed.append((column, own))

    def _column(self, candidate: int) -> Array:
        """A' W Omega W a of a candidate."""
        direct = self.candidates.T @ (self.weights * _dense(self.candidates, candidate))
        column: Array = direct - self._right.T @ self._shift(candidate)
        for removed, own in self._removed:
            column = column - removed * (removed[candidate] / own)
        return column

    def _shift(self, candidate: int) -> Array:
        """G^-1 H' W a of a candidate."""
        return self._solve(_dense(self._right, candidate))


def solve(
    z: Array,
    sigma: Array,
    linearised: Callable[[Array], Equations],
    start: Array,
    candidates: sparse.csc_matrix,
) -> Fit:
    """Estimates the state and tests every candidate error.

    Parameters
    ----------
    z, sigma
        Measurements and their standard uncertainties [MW].
    linearised
        The equations at given flows [MW].
    start
        Flows to begin with [MW]; the first entries of the state.
    candidates
        Vectors of the measurements, one column for each candidate error.

    Raises
    ------
    NotSolvedError
        The measurements do not determine the state, or the iteration does not settle.

    """
    weights = sigma**-2
    flows = start
    for _ in range(_MOST_STEPS):
        equations = linearised(flows)
        weighted = equations.matrix.T.multiply(weights).tocsr()
        gain = (weighted @ equations.matrix).tocsc()
        try:
            factors = splu(gain, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        except RuntimeError as error:
            raise NotSolvedError(f"the measurements do not determine the state: {error}") from None
        x = factors.solve(weighted @ (z - equations.constant))
        moved = np.abs(x[: len(flows)] - flows).max(initial=0.0)
        flows = x[: len(flows)]
        if moved < _CLOSE_MW:
            break
    if not np.isfinite(x).all() or moved >= 1.0:
        raise NotSolvedError("the estimate does not settle")
    residuals = z - equations.constant - equations.matrix @ x
    right = (weighted @ candidates).tocsc()
    weight = np.asarray(candidates.multiply(candidates).T @ weights).ravel()
    information = np.maximum(weight - _quadratic(gain.tocsr(), right, len(flows)), 0.0)
    return Fit(
        x,
        residuals,
        weights,
        float(residuals @ (weights * residuals)),
        candidates,
        candidates.T @ (weights * residuals),
        information,
        weight,
        right,
        factors.solve,
    )


def _quadratic(gain: sparse.csr_matrix, right: sparse.csc_matrix, flows: int) -> Array:
    """b' G^-1 b of each column b.

    The states behind the flows hang together only where their branches end at one node, so that their part of
    G has an inverse of small blocks. With them eliminated, a dense matrix of the flows alone has to be
    inverted, which is an eighth of the work.
    """
    coupling, top = gain[:flows, flows:], right[:flows]
    below = right[flows:]
    inverse = _block_inverse(gain[flows:, flows:])
    solved = inverse @ below
    rest = top - coupling @ solved
    schur = gain[:flows, :flows] - coupling @ inverse @ coupling.T
    spread = rest.T @ _symmetric_inverse(schur.toarray())
    direct = np.asarray(below.multiply(solved).sum(axis=0)).ravel()
    through = np.asarray(rest.T.multiply(spread).sum(axis=1)).ravel()
    total: Array = direct + through
    return total


def _symmetric_inverse(matrix: Array) -> Array:
    """Inverse of a positive definite matrix by Cholesky's factors: half the work of the general one."""
    factor, failed = lapack.dpotrf(matrix, lower=1)
    if failed:
        raise NotSolvedError("the measurements do not determine the state: their gain is singular")
    lower, _ = lapack.dpotri(factor, lower=1)
    inverse: Array = np.tril(lower) + np.tril(lower, -1).T
    return inverse


def _block_inverse(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Inverse of a matrix that is block-diagonal in some order; the blocks of one size are done together."""
    count = matrix.shape[0]
    if not count:
        return matrix
    _, labels = connected_components(matrix, directed=False)
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rows, columns, values = [], [], []
    for size in np.unique(sizes):
        members = order[starts[sizes == size][:, None] + np.arange(size)]
        i = np.repeat(members, size, axis=1)
        k = np.tile(members, (1, size))
        blocks = np.asarray(matrix[i.ravel(), k.ravel()]).reshape(-1, size, size)
        rows.append(i.ravel())
        columns.append(k.ravel())
        values.append(np.linalg.inv(blocks).ravel())
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(entries, shape=matrix.shape)


def _dense(matrix: sparse.csc_matrix, column: int) -> Array:
    vector: Array = matrix[:, [column]].toarray().ravel()
    return vector
