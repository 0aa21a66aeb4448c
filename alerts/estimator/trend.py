"""What a meter does over time: gain, offset and clock skew, told apart by an hour of movement.

One scan shows only how far a meter is off. Over an hour its readings z are compared with the expected ones y,
which follow from the other end of its branch. A skewed clock shows as a lag: the one with the smallest
variance of the residuals is looked for first, then z - y = gain * y + offset is fitted at that lag. The other
order would let the gain take up part of the lag.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from alerts.estimator.branches import LineBranch, LinkBranch
from alerts.estimator.measurements import Array, Scan
from alerts.estimator.network import NetworkModel
from alerts.two_port import hvdc_loss_mw

WINDOW = 3600
"""Scans that are looked at: an hour at one each second."""
LAGS = 8
"""Largest lag that is looked for [scans]."""
_FEWEST = 300
"""Fewest pairs of readings that say anything."""
_KNOTS = 40
"""Powers at which the loss of a branch is computed; between them it is interpolated."""
_CORRELATED = 10.0
"""Consecutive residuals that count as one: they share what the loss model leaves open."""
_SHARP = 1.1
"""How much larger the variance must be at the worst lag than at the best one."""


@dataclass(frozen=True, slots=True)
class Trend:
    """How a meter departs from what the other end expects of it."""

    gain_pct: float
    """[%]; NaN when the flow moved too little to tell."""
    gain_sigma_pct: float
    offset_mw: float
    """[MW]; with the gain unknown, the whole mean departure."""
    offset_sigma_mw: float
    skew_s: float
    """How much the meter's clock is ahead of the other end's [s]; NaN when the flow moved too little."""
    span_mw: float
    """Standard deviation of the flow: what the result rests on [MW]."""
    pairs: int
    """Pairs of readings."""


class History:
    """The last readings of every meter, one row for each second; an older second is overwritten.

    Parameters
    ----------
    meters
        Number of meters.
    step_ns
        Distance of two rows [ns].

    """

    def __init__(self, meters: int, step_ns: int = 1_000_000_000, rows: int = WINDOW) -> None:
        self._step = step_ns
        self._instants = np.full(rows, -1, np.int64)
        self._values = np.full((3, rows, meters), np.nan, np.float32)

    def push(self, scan: Scan) -> None:
        """Keeps a scan."""
        row = scan.instant // self._step % len(self._instants)
        self._instants[row] = scan.instant
        for column, values in zip(self._values, (scan.p_mw, scan.q_mvar, scan.v_kv), strict=True):
            column[row] = values

    def series(self, meter: int, end: int) -> tuple[Array, Array, Array]:
        """P, Q and V of a meter in the rows up to an instant [ns], oldest first; NaN where none was kept."""
        rows = len(self._instants)
        wanted = end // self._step * self._step - self._step * np.arange(rows - 1, -1, -1, dtype=np.int64)
        at = wanted // self._step % rows
        kept = self._instants[at] // self._step == wanted // self._step
        p, q, v = (np.where(kept, column[at, meter], np.nan).astype(np.float64) for column in self._values)
        return p, q, v


def expected(branch: LineBranch | LinkBranch, from_end: bool, p: Array, q: Array, v: Array) -> Array:
    """What the other end of a branch should read, from the readings of one end [MW].

    The voltage and reactive power are taken as they are on average around each power.
    """
    known = np.isfinite(p) & np.isfinite(q) & np.isfinite(v)
    if isinstance(branch, LinkBranch):
        known = np.isfinite(p)
    if np.count_nonzero(known) < _FEWEST:
        return np.full(len(p), np.nan)
    low, high = np.percentile(p[known], [0.5, 99.5])
    knots = np.linspace(low, max(high, low + 1e-3), _KNOTS)
    if isinstance(branch, LinkBranch):
        far = np.array([_link_far(branch, float(x)) for x in knots])
        return np.where(known, _extended(p, knots, far), np.nan)
    models = branch.forward if from_end else branch.backward
    model = models.of(branch.line.circuits)
    slope, level = np.polyfit(p[known], q[known], 1) if high - low > 1.0 else (0.0, q[known].mean())
    v_mean = float(v[known].mean())
    far = np.array([model.far_end(v_mean, float(x), float(slope * x + level)).p_mw for x in knots])
    return np.where(known, _extended(p, knots, far), np.nan)


def trend(z: Array, y: Array, lags: int = LAGS) -> Trend | None:
    """Compares a meter's readings with the expected ones; None with too few of them.

    Parameters
    ----------
    z, y
        Readings and expected readings at equal distances of 1 s [MW]; NaN where there is none.
    lags
        Largest lag looked for [s].

    """
    found = {lag: _fit(z, y, lag) for lag in range(-lags, lags + 1)}
    fits = {lag: fit for lag, fit in found.items() if fit is not None}
    if 0 not in fits or len(fits) < len(found):
        return None
    best = min(fits, key=lambda lag: fits[lag].variance)
    sharp = max(fit.variance for fit in fits.values()) > _SHARP * fits[best].variance
    skew = float(best) + _vertex(fits, best) if sharp else float("nan")
    fit = fits[best] if sharp else fits[0]
    effective = max(fit.pairs / _CORRELATED, 3.0)
    noise = sqrt(fit.variance)
    if fit.span < 5 * noise / sqrt(effective) or fit.span < 1.0:
        return Trend(float("nan"), float("nan"), fit.mean, noise / sqrt(effective), skew, fit.span, fit.pairs)
    gain_sigma = noise / (sqrt(effective) * fit.span)
    offset_sigma = noise / sqrt(effective) * sqrt(1 + (fit.centre / fit.span) ** 2)
    return Trend(100 * fit.gain, 100 * gain_sigma, fit.offset, offset_sigma, skew, fit.span, fit.pairs)


def meter_trend(model: NetworkModel, history: History, meter: int, reference: int, end: int) -> Trend | None:
    """The trend of a branch meter against one at the other end of its branch.

    Parameters
    ----------
    model
        Branches and meters.
    history
        Their readings.
    meter, reference
        Positions of the meter that is doubted and of the one at the other end.
    end
        Newest instant to look at [ns, UTC].

    """
    doubted, other = model.meters[meter], model.meters[reference]
    branch = next(branch for branch in model.branches if branch.id == doubted.branch)
    z, _, _ = history.series(meter, end)
    y = expected(branch, other.node == branch.nodes[0], *history.series(reference, end))
    return trend(z, y)


@dataclass(frozen=True, slots=True)
class _Fit:
    variance: float
    gain: float
    offset: float
    mean: float
    span: float
    centre: float
    pairs: int


def _fit(z: Array, y: Array, lag: int) -> _Fit | None:
    """Fits z(t) - y(t - lag) over y(t - lag)."""
    count = len(z)
    seen, ahead = z[max(lag, 0) : count + min(lag, 0)], y[max(-lag, 0) : count - max(lag, 0)]
    known: NDArray[np.bool_] = np.isfinite(seen) & np.isfinite(ahead)
    pairs = int(np.count_nonzero(known))
    if pairs < _FEWEST:
        return None
    x = ahead[known]
    departure = seen[known] - x
    centre, mean = float(x.mean()), float(departure.mean())
    square = float(((x - centre) ** 2).sum())
    gain = float(((x - centre) * (departure - mean)).sum()) / square if square > 0 else 0.0
    rest = departure - mean - gain * (x - centre)
    variance = float((rest**2).mean())
    return _Fit(variance, gain, mean - gain * centre, mean, sqrt(square / pairs), centre, pairs)


def _vertex(fits: dict[int, _Fit], best: int) -> float:
    """Where between the lags the parabola through three variances has its vertex [scans]."""
    if best - 1 not in fits or best + 1 not in fits:
        return 0.0
    left, middle, right = (fits[best + step].variance for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend > 0 else 0.0
    return shift if isfinite(shift) and abs(shift) <= 1 else 0.0


def _extended(x: Array, knots: Array, values: Array) -> Array:
    """Interpolation that goes on straight beyond the outer knots, where losses change little."""
    inside = np.interp(x, knots, values)
    return inside - np.where(x < knots[0], x - knots[0], 0.0) - np.where(x > knots[-1], x - knots[-1], 0.0)


def _link_far(branch: LinkBranch, p_mw: float) -> float:
    """What the other end of a link reads: + leaving its busbar [MW]."""
    if p_mw >= 0:
        return hvdc_loss_mw(branch.hvdc, p_mw) - p_mw
    # it receives: what was sent follows from what arrived, as the loss changes little with it
    sent = -p_mw
    for _ in range(8):
        sent = -p_mw + hvdc_loss_mw(branch.hvdc, sent)
    return sent
