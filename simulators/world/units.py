"""Turbines and inverters as units: their states, and which of them are out of service."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

MAINTENANCE_SHARE = 0.2
"""Share of what is out of service that is so on purpose."""
REPAIR_S = 12 * 3600.0
"""Mean time out of service (illustrative)."""


class UnitState(IntEnum):
    """What a turbine or an inverter does."""

    IN_SERVICE = 0
    """Not a state of its own: marks in columns of outages that there is none."""
    WAITING = 1
    """Too little wind or sun: an idle turbine, a sleeping inverter."""
    STARTING = 2
    RUNNING = 3
    CURTAILED = 4
    """Held below what wind or sun allow."""
    STORM = 5
    """Cut out, until the wind has calmed down."""
    FAULTED = 6
    MAINTENANCE = 7
    OFF = 8
    """The plant has tripped or its busbar is dead."""


class Outages:
    """Which units are out of service; random failures and repairs keep the availability on average."""

    def __init__(self, availability: NDArray[np.float64], rng: np.random.Generator) -> None:
        self._rng = rng
        self._failure_per_s = (1 - availability) / availability / REPAIR_S
        drawn = rng.uniform(size=len(availability))
        self.state: NDArray[np.int8] = np.where(drawn < availability, 0, self._kind(len(drawn))).astype(
            np.int8
        )
        """0, or the state of a unit out of service."""

    def step(self, dt_s: float) -> None:
        """Lets units fail and be repaired for ``dt_s`` [s]."""
        drawn = self._rng.uniform(size=len(self.state))
        out = self.state > 0
        fails = ~out & (drawn < self._failure_per_s * dt_s)
        repaired = out & (drawn < dt_s / REPAIR_S)
        if fails.any() or repaired.any():
            self.state = np.where(fails, self._kind(len(drawn)), np.where(repaired, 0, self.state)).astype(
                np.int8
            )

    def _kind(self, count: int) -> NDArray[np.int8]:
        planned = self._rng.uniform(size=count) < MAINTENANCE_SHARE
        return np.where(planned, UnitState.MAINTENANCE, UnitState.FAULTED).astype(np.int8)
