"""What the estimator is given: meters, and what they read at one instant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alerts.rules.line_state import MeterAccuracy

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter of active power: at a branch end, or of a node's whole injection."""

    id: str
    """Device."""
    node: str
    branch: str
    """Line or HVDC link; empty for an injection."""
    accuracy: MeterAccuracy

    @property
    def is_injection(self) -> bool:
        """It measures what a node is given in all, + into the bus."""
        return not self.branch

    @property
    def title(self) -> str:
        """For people: ``meter SHY-TAS_TAS_main``."""
        return f"meter {self.id}"


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What all meters read at one instant: columns in their order, NaN where a value is not usable."""

    instant: int
    """[ns, UTC]."""
    p_mw: Array
    """Branch ends: + leaving the busbar into the branch; injections: + into the bus [MW]."""
    q_mvar: Array
    v_kv: Array
    """Line to line [kV]."""
    sigma_mw: Array
    """Standard uncertainty of ``p_mw`` [MW]; above 0."""
