"""Frequency of the synchronous areas: small noise, the answer to losses, and islands on their own.

Illustrative: a large synchronous area answers a loss of generation with a dip that recovers to the droop of
its primary reserve and is brought back by secondary reserve over ten minutes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

NOMINAL_HZ = 50.0
STIFFNESS_MW_PER_HZ = 18_000.0
"""Primary response of a whole synchronous area outside the model."""
NADIR_SHARE, NADIR_S, RISE_S, RESTORATION_S = 0.6, 15.0, 2.0, 600.0
ISLAND_RISE_S = 1.0
DEADBAND_HZ = 0.02
"""Deviation below which governors keep still."""


def governed(deviation_hz: float) -> float:
    """The part of a deviation that governors see [Hz]."""
    return deviation_hz - min(max(deviation_hz, -DEADBAND_HZ), DEADBAND_HZ)


@dataclass(slots=True)
class _Response:
    lost_mw: float = 0.0
    restored_mw: float = 0.0
    delayed_mw: float = 0.0
    deviation_hz: float = 0.0


class Frequency:
    """Deviation of each synchronous area from 50 Hz."""

    def __init__(self, areas: tuple[str, ...]) -> None:
        self._areas = {area: _Response() for area in areas}
        self._islands: dict[str, float] = {}

    def lose(self, area: str, mw: float) -> None:
        """Generation of an area that is lost outside the model from now on [MW]; 0 brings it back."""
        self._areas[area].lost_mw = mw

    def step(self, dt_s: float, drawn_mw: Mapping[str, float]) -> None:
        """Advances by ``dt_s`` [s]; ``drawn_mw`` is what the model draws from each area above schedule."""
        for area, response in self._areas.items():
            loss = response.lost_mw + drawn_mw.get(area, 0.0)
            response.restored_mw += (loss - response.restored_mw) * _gain(dt_s, RESTORATION_S)
            open_mw = loss - response.restored_mw
            wanted = -(open_mw + NADIR_SHARE * (open_mw - response.delayed_mw)) / STIFFNESS_MW_PER_HZ
            response.deviation_hz += (wanted - response.deviation_hz) * _gain(dt_s, RISE_S)
            response.delayed_mw += (open_mw - response.delayed_mw) * _gain(dt_s, NADIR_S)

    def island(self, area: str, dt_s: float, drawn_mw: float, stiffness_mw_per_hz: float) -> None:
        """Advances an area that runs on its own and lacks ``drawn_mw`` at its present frequency."""
        before = self._islands.get(area, 0.0)
        self._islands[area] = before - drawn_mw / stiffness_mw_per_hz * _gain(dt_s, ISLAND_RISE_S)

    def rejoin(self, area: str) -> None:
        """Ends an island."""
        self._islands.pop(area, None)

    def deviation_hz(self, area: str, sync_area: str) -> float:
        """Deviation that an area sees [Hz]: its own as an island, else that of its synchronous area."""
        island = self._islands.get(area)
        return self._areas[sync_area].deviation_hz if island is None else island


def _gain(dt_s: float, tau_s: float) -> float:
    return 1 - math.exp(-dt_s / tau_s)
