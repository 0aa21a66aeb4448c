"""Switching of shunt reactors: the world's answer to voltages that leave their band."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LOW_PU, HIGH_PU = 0.965, 1.045
"""Band within which nothing is switched, inside the permitted 0.95-1.05 (illustrative)."""
PICKUP_S, DEAD_TIME_S = 10.0, 60.0
"""A voltage must stay outside so long; between two operations of a group passes at least so long."""


class ReactorControl:
    """Takes one unit of a group out of service at low voltage and back in at high voltage.

    A group is the reactors of one bus that belong to the same line, or to none.
    """

    def __init__(self, units: NDArray[np.int64]) -> None:
        self.installed = units
        self.units = units.copy()
        """Units in service, by group."""
        self._low_s = np.zeros(len(units))
        self._high_s = np.zeros(len(units))
        self._rest_s = np.zeros(len(units))

    def step(self, dt_s: float, voltage_pu: NDArray[np.float64], buses: NDArray[np.intp]) -> bool:
        """Looks at the voltages of the groups for ``dt_s`` [s]; returns whether anything was switched.

        Of the groups of one bus (``buses`` names it for each group) one operates at a time.
        """
        live = voltage_pu > 0
        outside_low, outside_high = live & (voltage_pu < LOW_PU), voltage_pu > HIGH_PU
        self._low_s = np.where(outside_low, self._low_s + dt_s, 0.0)
        self._high_s = np.where(outside_high, self._high_s + dt_s, 0.0)
        self._rest_s = np.maximum(self._rest_s - dt_s, 0.0)
        if not (outside_low.any() or outside_high.any()):
            return False
        change = np.where((self._low_s >= PICKUP_S) & (self.units > 0), -1, 0)
        change += np.where((self._high_s >= PICKUP_S) & (self.units < self.installed), 1, 0)
        change[self._rest_s > 0] = 0
        operating = np.flatnonzero(change)
        _, chosen = np.unique(buses[operating], return_index=True)
        operating = operating[chosen]
        self.units[operating] += change[operating]
        # its neighbours at the bus wait too, to see what the operation did
        self._rest_s[np.isin(buses, buses[operating])] = DEAD_TIME_S
        return bool(len(operating))
