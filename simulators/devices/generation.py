"""What controllers and instruments inside plants see: turbines, inverters, masts, whole plants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from simulators.world.world import Snapshot, World

Array = NDArray[np.float64]

SPREAD = 0.02
"""Relative standard deviation of the output of the units of a plant around their mean (illustrative)."""
WHOLE = 0
"""Number that stands for the whole plant instead of one of its units."""
THROTTLED_BELOW = 0.98
"""Delivering less than this share of what wind or sun allow means being held back."""
_WS_PER_WH = 3600


class Condition(StrEnum):
    """What a generating unit does; each map has its own codes for it."""

    OFF = "off"
    """Out of service."""
    WAITING = "waiting"
    """In service, without enough wind or sun."""
    NO_GRID = "no grid"
    RUNNING = "running"
    THROTTLED = "throttled"
    """Held below what wind or sun allow."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generating unit, or a whole plant, at one moment; NaN where its kind has no such quantity."""

    t_ns: int
    """[ns, UTC]."""
    rated_mw: float
    p_mw: float
    q_mvar: float
    available_mw: float
    """What wind or sun would allow."""
    energy_wh: int
    """Energy delivered, in whole watt-hours."""
    v_pu: float
    """Voltage of the node, in parts of its rating."""
    f_hz: float
    units: int
    online: int
    """Units in service."""
    wind_m_s: float
    wind_dir_deg: float
    ghi_w_m2: float
    air_c: float
    cell_c: float

    @property
    def condition(self) -> Condition:
        """What it does."""
        if self.online == 0:
            return Condition.OFF
        if self.f_hz <= 0:
            return Condition.NO_GRID
        if self.available_mw < 1e-3 * self.rated_mw:
            return Condition.WAITING
        held_back = self.p_mw < THROTTLED_BELOW * self.available_mw
        return Condition.THROTTLED if held_back else Condition.RUNNING


@dataclass(frozen=True, slots=True)
class Sight:
    """What one device looks at."""

    plant: int
    """Position of the plant in the fleet."""
    number: int = WHOLE
    """Unit of the plant, counted from 1, or the whole plant."""


def unit_factors(units: int, seed: int) -> Array:
    """Output of each unit of a plant relative to the mean of its units: a fixed spread, drawn from a seed."""
    rng = np.random.default_rng(seed)
    factors: Array = np.clip(rng.normal(1.0, SPREAD, units), 1 - 3 * SPREAD, 1 + 3 * SPREAD)
    return factors


class GenerationBank:
    """All devices that look at plants from inside; watches once for each step of the world.

    The units in service share their plant's output by :func:`unit_factors`, so that all units together are
    the plant. The units with the highest numbers are those out of service.
    """

    def __init__(self, world: World, sights: Sequence[Sight], seed: int) -> None:
        plants = world.plan.plants
        self._plant = np.array([sight.plant for sight in sights], np.intp)
        self._number = np.array([sight.number for sight in sights], np.intp)
        self._units = [plants[i].units for i in self._plant]
        self._node = np.array([world.nodes.index(plants[i].node) for i in self._plant], np.intp)
        self._rated = np.array([plants[i].rated_mw for i in self._plant]) / np.where(
            self._number == WHOLE, 1, self._units
        )
        self._kv_rated = world.plan.corridor.u_rated_kv
        factors = {int(i): unit_factors(plants[i].units, seed + int(i)) for i in set(self._plant)}
        self._summed = {i: np.concatenate([[0.0], np.cumsum(f)]) for i, f in factors.items()}
        self._factor = np.array(
            [1.0 if s.number == WHOLE else float(factors[s.plant][s.number - 1]) for s in sights]
        )
        rng = np.random.default_rng([seed, 2])
        hours = rng.integers(500, 20_000, len(sights))
        self._energy_ws = np.rint(hours * self._rated * 0.3e6).astype(np.int64) * _WS_PER_WH
        self._share = np.ones(len(sights))
        self._now: Snapshot = world.snapshot
        self.observe(world.snapshot, 0.0)

    def observe(self, now: Snapshot, dt_s: float) -> None:
        """Watches every device's unit; the counters integrate its power over the last ``dt_s`` [s]."""
        self._now = now
        for k, (plant, number) in enumerate(zip(self._plant.tolist(), self._number.tolist(), strict=True)):
            if number != WHOLE:
                online = round(float(now.plants.online[plant]))
                total = self._summed[plant][online]
                self._share[k] = self._factor[k] / total if number <= online else 0.0
        p_w = now.plants.p_mw[self._plant] * self._share * 1e6
        self._energy_ws += np.rint(np.maximum(p_w, 0.0) * dt_s).astype(np.int64)

    def look(self, position: int) -> Generation:
        """What the device at ``position`` sees."""
        plants, plant = self._now.plants, self._plant[position]
        share, number = float(self._share[position]), int(self._number[position])
        online = round(float(plants.online[plant]))
        in_service = share > 0 or self._now.collapse is not None
        return Generation(
            t_ns=self._now.t_ns,
            rated_mw=float(self._rated[position]),
            p_mw=float(plants.p_mw[plant]) * share,
            q_mvar=float(plants.q_mvar[plant]) * share,
            available_mw=float(plants.available_mw[plant]) * share,
            energy_wh=int(self._energy_ws[position]) // _WS_PER_WH,
            v_pu=float(self._now.node_v_kv[self._node[position]]) / self._kv_rated,
            f_hz=float(self._now.node_f_hz[self._node[position]]),
            units=1 if number else self._units[position],
            online=int(in_service) if number else online,
            wind_m_s=float(plants.wind_m_s[plant]) * float(np.cbrt(self._factor[position])),
            wind_dir_deg=float(plants.wind_dir_deg[plant]),
            ghi_w_m2=float(plants.ghi_w_m2[plant]),
            air_c=float(plants.air_c[plant]),
            cell_c=float(plants.cell_c[plant]),
        )
