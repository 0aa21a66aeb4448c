"""The systematic deviation of each meter, learned from what the others say.

Class errors are constant: a meter that reads 0.1 % high today will do so tomorrow. What it deviates by on
average is learned as a gain and taken off its readings, at most as far as its class allows, so that nothing
that is an error of more than the class can ever be learned away. A critical meter has no residual, and so
none is learned for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alerts.estimator.measurements import Array, Meter, Scan

CLASS_SIGMAS = 1.0
"""Most that is learned, in standard uncertainties that a meter's profile states."""


class Baselines:
    """Gains of the meters, learned by the least squares of their residuals with forgetting.

    A meter's gain is the ratio of the sums of P r and of P^2 + F^2, where F is the power at which the fixed
    part of its uncertainty is as large as the one in proportion: at small power nothing is learned.

    Parameters
    ----------
    meters
        In the order of the scans' columns.
    memory_scans
        Number of scans after which one counts 1/e.

    """

    def __init__(self, meters: Sequence[Meter], memory_scans: float = 1200.0) -> None:
        self._limit = np.array([CLASS_SIGMAS * meter.accuracy.pct / 100 for meter in meters])
        floor = np.array([meter.accuracy.floor_mw for meter in meters])
        self._floor_square = (floor / np.maximum(self._limit, 1e-9)) ** 2
        self._keep = float(np.exp(-1.0 / memory_scans))
        self._moment = np.zeros(len(meters))
        self._power = self._floor_square.copy()

    @property
    def gains(self) -> Array:
        """Relative deviation of each meter: reading = truth (1 + gain), about."""
        gains: Array = self._moment / np.maximum(self._power, 1e-9)
        np.clip(gains, -self._limit, self._limit, out=gains)
        return gains

    def offsets(self, scan: Scan) -> Array:
        """What to take off each reading of a scan [MW]."""
        return np.where(np.isfinite(scan.p_mw), self.gains * np.nan_to_num(scan.p_mw), 0.0)

    def learn(self, scan: Scan, residuals: Array) -> None:
        """Takes the residuals of a scan that was corrected by :meth:`offsets` and raised no doubt.

        Parameters
        ----------
        scan
            What the meters read.
        residuals
            Of each meter; NaN for one that was left out [MW].

        """
        use = np.isfinite(residuals) & np.isfinite(scan.p_mw)
        p, deviation = scan.p_mw[use], residuals[use] + self.gains[use] * scan.p_mw[use]
        keep = self._keep
        self._moment[use] = keep * self._moment[use] + (1 - keep) * p * deviation
        self._power[use] = keep * self._power[use] + (1 - keep) * (p**2 + self._floor_square[use])
        # a gain at its limit must come back as soon as the residuals do
        most = self._limit * self._power
        self._moment = np.clip(self._moment, -most, most)
