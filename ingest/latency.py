"""Percentiles of a latency in constant memory; pure."""

from __future__ import annotations

import bisect
import math

_PER_DECADE = 50
_LOWEST_S = 1e-5
_DECADES = 8


class Latency:
    """Histogram with 50 buckets for each factor of ten, from 10 us to 1,000 s: percentiles within 5 %."""

    def __init__(self) -> None:
        self._bounds = [_LOWEST_S * 10 ** (i / _PER_DECADE) for i in range(_DECADES * _PER_DECADE + 1)]
        self._counts = [0] * (len(self._bounds) + 1)
        self.count = 0
        """Number of observations."""

    def observe(self, seconds: float) -> None:
        """Counts one latency [s]; a negative one (a stepped wall clock) counts as zero."""
        self._counts[bisect.bisect_left(self._bounds, seconds)] += 1
        self.count += 1

    def percentile(self, percent: float) -> float:
        """Upper bound of the bucket that holds a percentile [s]; NaN before the first observation."""
        if not self.count:
            return math.nan
        rank = max(1, math.ceil(self.count * percent / 100))
        seen = 0
        for bound, count in zip([*self._bounds, math.inf], self._counts, strict=True):
            seen += count
            if seen >= rank:
                return bound
        return math.inf
