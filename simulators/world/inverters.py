"""Every inverter of all solar plants, in columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulators.world.units import UnitState

Array = NDArray[np.float64]

DC_AC_RATIO, INVERTER_EFFICIENCY, NOCT_C, POWER_PER_K = 1.25, 0.985, 45.0, -0.0035
MISMATCH_SIGMA = 0.01
"""Spread of soiling and mismatch over the inverters of a plant (illustrative)."""
WAKE_SHARE = 0.005
"""Below this share of its rating an inverter sleeps."""
STARTING_S = 120.0
"""From waking to feeding in."""
RAMP_S = 20.0
"""Time from standstill to rated power."""


def solar_share(ghi_w_m2: Array, cell_c: Array) -> Array:
    """Share of the AC rating that modules deliver, clipped at the inverters' rating."""
    return np.clip(dc_share(ghi_w_m2, cell_c) * INVERTER_EFFICIENCY, 0.0, 1.0)


def dc_share(ghi_w_m2: Array, cell_c: Array) -> Array:
    """Power of the modules, as share of the AC rating of their inverter."""
    return DC_AC_RATIO * ghi_w_m2 / 1000.0 * (1 + POWER_PER_K * (cell_c - 25.0))


def cell_temperature(air_c: Array, ghi_w_m2: Array) -> Array:
    """Cell temperature [degC]: T_a + (NOCT - 20) / 800 G."""
    return air_c + (NOCT_C - 20.0) / 800.0 * ghi_w_m2


class Inverters:
    """Plants in their order, inverters within them."""

    def __init__(self, rated_mw: Array, counts: NDArray[np.intp], rng: np.random.Generator) -> None:
        self._plant = np.repeat(np.arange(len(counts)), counts)
        self._start = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)
        total = len(self._plant)
        self.rated_mw: Array = (rated_mw / counts)[self._plant]
        """Rating of each inverter [MW]."""
        self._yield = 1 + np.clip(MISMATCH_SIGMA * rng.standard_normal(total), -0.03, 0.03)
        self._awake_s: Array = np.full(total, STARTING_S)
        self.available_mw: Array = np.zeros(total)
        self.p_mw: Array = np.zeros(total)
        self.state: NDArray[np.int8] = np.zeros(total, np.int8)
        self.natural_mw: Array = np.zeros(len(counts))
        """What each plant could deliver without an injected front [MW]."""

    def step(
        self, dt_s: float, share: Array, natural_share: Array, out: NDArray[np.int8], limit: Array
    ) -> None:
        """Advances by ``dt_s`` [s].

        ``share`` and ``natural_share`` are DC powers of the plants as share of the AC rating, with and
        without injected fronts; ``out`` is 0 or the state of an inverter out of service; ``limit`` the most
        that each plant may deliver [MW], 0 when it has tripped.
        """
        plant, in_service = self._plant, out == 0
        if not (natural_share.any() or self.p_mw.any()):
            self.available_mw = self._awake_s = np.zeros(len(plant))
            self.natural_mw = np.zeros(len(share))
            self.state = np.where(in_service, np.int8(UnitState.WAITING), out)
            return
        able = self.rated_mw * in_service
        wanted = share[plant] * self._yield * INVERTER_EFFICIENCY
        self.available_mw = able * np.minimum(wanted, 1.0)
        total = np.add.reduceat(self.available_mw, self._start)
        self.natural_mw = total
        if not np.array_equal(share, natural_share):
            clear = np.minimum(natural_share[plant] * self._yield * INVERTER_EFFICIENCY, 1.0)
            self.natural_mw = np.add.reduceat(able * clear, self._start)
        lit = wanted > WAKE_SHARE
        self._awake_s = np.where(lit, self._awake_s + dt_s, 0.0)
        starting = lit & (self._awake_s < STARTING_S)
        target, over = self.available_mw * (lit & ~starting), total > limit
        state = np.where(lit, np.int8(UnitState.RUNNING), np.int8(UnitState.WAITING))
        if over.any():
            held = np.divide(limit, total, out=np.ones(len(total)), where=over)
            target = target * held[plant]
            state[over[plant] & lit] = UnitState.CURTAILED
        state[starting] = UnitState.STARTING
        ramp = self.rated_mw * (dt_s / RAMP_S)
        self.p_mw = self.p_mw + np.minimum(np.maximum(target - self.p_mw, -ramp), ramp)
        self.p_mw *= in_service
        if (limit <= 0).any():
            self.p_mw[(limit <= 0)[plant]] = 0.0
        self.state = np.where(in_service, state, out)

    def sleep(self, off: NDArray[np.bool_]) -> None:
        """The inverters of plants that are off have to start when they come back."""
        if off.any():
            self._awake_s[off[self._plant]] = 0.0

    def settle(self, share: Array, out: NDArray[np.int8]) -> None:
        """Puts every inverter where the sun of the start wants it."""
        self._awake_s[:] = STARTING_S
        self.step(1e-6, share, share, out, np.full(len(share), np.inf))
        self.p_mw = self.available_mw * (self.state == UnitState.RUNNING)

    def by_plant(self, values: Array) -> Array:
        """Sums over the inverters of each plant."""
        total: Array = np.add.reduceat(values, self._start)
        return total
