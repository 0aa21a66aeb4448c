"""Down-sampling of readings into intervals."""

from __future__ import annotations

import numpy as np

from ingest.ports import Series
from telemetry.batch import Columns
from telemetry.quality import usable


def summed(columns: Columns, step: int) -> Series:
    """Sums readings of one point up over intervals of ``step`` [ns], aligned to multiples of it.

    A reading counts when it is not bad and its value is known; the worst quality is over all readings.
    """
    interval = np.floor_divide(columns.t_source, step)
    starts, slot = np.unique(interval, return_inverse=True)
    worst = np.zeros(len(starts), np.uint8)
    np.maximum.at(worst, slot, columns.quality)
    counted = usable(columns.quality) & ~np.isnan(columns.value)
    values, slot = columns.value[counted], slot[counted]
    last = np.full(len(starts), np.nan)
    in_time = np.argsort(columns.t_source[counted], kind="stable")
    last[slot[in_time]] = values[in_time]  # of several the last assignment stays
    count = np.bincount(slot, minlength=len(starts)).astype(np.int64)
    low = np.full(len(starts), np.inf)
    high = np.full(len(starts), -np.inf)
    np.minimum.at(low, slot, values)
    np.maximum.at(high, slot, values)
    total = np.bincount(slot, weights=values, minlength=len(starts))
    none = count == 0
    low[none] = high[none] = np.nan
    mean = np.divide(total, count, out=np.full(len(starts), np.nan), where=~none)
    return Series(starts * step, low, high, mean, last, count, worst)
