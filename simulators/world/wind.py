"""Wind at the sites and what turbines make of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from simulators.world.units import UnitState
from simulators.world.weather import Front

Array = NDArray[np.float64]

CUT_IN_M_S, RATED_M_S, CUT_OUT_M_S, RESTART_M_S = 3.0, 12.0, 25.0, 22.0
HOURLY_PHI = 0.95
"""Autocorrelation of the Gaussian that hourly means come from, from one hour to the next."""
CORRELATION_KM = 400.0
"""Sites correlate with exp(-distance / this) (an assumption)."""
TURBULENCE_INTENSITY, TURBULENCE_LENGTH_M = 0.11, 340.0
ROTOR_SMOOTHING = 0.5
"""Share of point turbulence that is left over the area of a rotor (illustrative)."""
STORM_AVERAGE_S = 60.0
"""Cut-out and restart look at a mean over about this time."""
WAKE_DEFICIT_MAX = 0.06
"""Largest wind deficit of a turbine in the wakes of others; 3 % on average cost 9 % of power below rated."""
RAMP_S = 20.0
"""Time from standstill to rated power."""
STORM_TAU_S = 120.0
REFERENCE_DENSITY = 1.225
_HOUR_NS, _MINUTE_NS = 3_600 * 10**9, 60 * 10**9


def power_share(wind_m_s: Array) -> Array:
    """Power curve: share of the rating, growing with the cube of the wind between cut-in and rated wind."""
    cubic = wind_m_s * wind_m_s * wind_m_s
    return np.clip((cubic - CUT_IN_M_S**3) / (RATED_M_S**3 - CUT_IN_M_S**3), 0.0, 1.0)


def density(air_c: Array, elevation_m: Array) -> Array:
    """Density of dry air [kg/m3] from the ideal gas law and the barometric formula."""
    kelvin = air_c + 273.15
    rho: Array = 101_325.0 * np.exp(-elevation_m * 0.034163 / kelvin) / (287.05 * kelvin)
    return rho


def distances_km(latitude: Array, longitude: Array) -> Array:
    """Great-circle distances between sites [km]."""
    a, b = np.radians(latitude), np.radians(longitude)
    h = np.sin((a[:, None] - a) / 2) ** 2 + np.cos(a[:, None]) * np.cos(a) * (
        np.sin((b[:, None] - b) / 2) ** 2
    )
    km: Array = 2 * 6371.0 * np.arcsin(np.sqrt(h))
    return km


class SiteWind:
    """Mean wind at each site: Weibull distributed, hourly correlated in time and over distance.

    Hourly values of a Gaussian AR(1) are interpolated within the hour so that the spread stays one, and
    mapped to the site's Weibull distribution.
    """

    def __init__(
        self,
        position: tuple[Array, Array],
        weibull: tuple[Array, Array],
        rng: np.random.Generator,
        start_ns: int,
    ) -> None:
        self._scale_m_s, self._inverse_shape = weibull[0], 1 / weibull[1]
        correlation = np.exp(-distances_km(*position) / CORRELATION_KM)
        self._mix = np.linalg.cholesky(correlation)
        self._rng = rng
        self._hour = start_ns // _HOUR_NS
        self._from = self._mix @ rng.standard_normal(len(self._mix))
        self._to = self._next(self._from)
        self._minute = start_ns // _MINUTE_NS
        self._ends = (self._at(self._minute), self._at(self._minute + 1))

    def at(self, t_ns: int) -> Array:
        """Mean wind now [m/s]; time only goes on."""
        minute, part = divmod(t_ns, _MINUTE_NS)
        if minute != self._minute:
            first = self._ends[1] if minute == self._minute + 1 else self._at(minute)
            self._minute = minute
            self._ends = (first, self._at(minute + 1))
        a, b = self._ends
        return a + (b - a) * (part / _MINUTE_NS)

    def _next(self, gaussian: Array) -> Array:
        fresh = self._mix @ self._rng.standard_normal(len(self._mix))
        following: Array = HOURLY_PHI * gaussian + math.sqrt(1 - HOURLY_PHI**2) * fresh
        return following

    def _at(self, minute: int) -> Array:
        hour, part = divmod(minute, 60)
        while self._hour < hour:
            self._from, self._to = self._to, self._next(self._to)
            self._hour += 1
        a = part / 60
        spread = math.sqrt((1 - a) ** 2 + a**2 + 2 * a * (1 - a) * HOURLY_PHI)
        z = ((1 - a) * self._from + a * self._to) / spread
        above = np.array([0.5 * math.erfc(x / math.sqrt(2)) for x in z.tolist()])
        wind: Array = self._scale_m_s * (-np.log(above)) ** self._inverse_shape
        return wind


class Turbines:
    """Every turbine of all wind plants, in columns; plants in their order, turbines within them."""

    def __init__(
        self, sites: SiteWind, rated_mw: Array, counts: NDArray[np.intp], rng: np.random.Generator, t_ns: int
    ) -> None:
        self._sites = sites
        self._plant = np.repeat(np.arange(len(counts)), counts)
        self._start = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)
        total = len(self._plant)
        self.rated_mw: Array = (rated_mw / counts)[self._plant]
        """Rating of each turbine [MW]."""
        self._free_wind = 1 - rng.uniform(0.0, WAKE_DEFICIT_MAX, total)
        self._gust = rng.standard_normal(total)
        self._storm = np.zeros(total, np.bool_)
        self.front = Front(len(counts), STORM_TAU_S)
        self.storm_m_s: Array = np.zeros(len(counts))
        """Mean wind that an injected storm brings to each plant [m/s]."""
        self.plant_m_s: Array = sites.at(t_ns)
        """Mean wind at each plant [m/s]."""
        self.wind_m_s: Array = self.plant_m_s[self._plant] * self._free_wind
        self._average: Array = self.wind_m_s.copy()
        self._fallen = np.zeros(total, np.bool_)
        self.available_mw: Array = np.zeros(total)
        self.p_mw: Array = np.zeros(total)
        self.state: NDArray[np.int8] = np.zeros(total, np.int8)
        self.natural_mw: Array = np.zeros(len(counts))
        """What each plant could deliver without an injected storm [MW]."""

    def step(
        self, dt_s: float, t_ns: int, out: NDArray[np.int8], limit: Array, *, rho: Array, gust: Array
    ) -> None:
        """Advances by ``dt_s`` [s].

        ``out`` is 0 or the state of a turbine out of service; ``limit`` the most that each plant may deliver
        [MW], 0 when it has tripped; ``rho`` the density at each plant; ``gust`` standard normal noise.
        """
        natural = self._sites.at(t_ns)
        intensity = self.front.step(dt_s)
        self.plant_m_s = natural + intensity * (self.storm_m_s - natural)
        phi = np.exp(-dt_s * np.maximum(self.plant_m_s, 0.5) / TURBULENCE_LENGTH_M)
        plant = self._plant
        self._gust = phi[plant] * self._gust + np.sqrt(1 - phi * phi)[plant] * gust
        shape = self._free_wind * (1 + TURBULENCE_INTENSITY * ROTOR_SMOOTHING * self._gust)
        self.wind_m_s = np.maximum(self.plant_m_s[plant] * shape, 0.0)
        self._average += (self.wind_m_s - self._average) * -math.expm1(-dt_s / STORM_AVERAGE_S)
        self._storm = self._average >= np.where(self._storm, RESTART_M_S, CUT_OUT_M_S)
        in_service = out == 0
        effective = np.cbrt(rho / REFERENCE_DENSITY)
        able = self.rated_mw * in_service
        share = power_share(self.wind_m_s * effective[plant])
        self.available_mw = able * share * ~self._storm
        total = np.add.reduceat(self.available_mw, self._start)
        self.natural_mw = total
        if intensity.any():
            calm = power_share((natural * effective)[plant] * shape) * able
            self.natural_mw = np.where(intensity > 0, np.add.reduceat(calm, self._start), total)
        turning = share > 0
        state = np.where(turning, np.int8(UnitState.RUNNING), np.int8(UnitState.WAITING))
        target, over = self.available_mw, total > limit
        if over.any():
            held = np.divide(limit, total, out=np.ones(len(total)), where=over)
            target = target * held[plant]
            state[over[plant] & turning] = UnitState.CURTAILED
        if self._storm.any():
            state[self._storm] = UnitState.STORM
        ramp = self.rated_mw * (dt_s / RAMP_S)
        self.p_mw = self.p_mw + np.minimum(np.maximum(target - self.p_mw, -ramp), ramp)
        self.p_mw *= in_service
        if (limit <= 0).any():
            self.p_mw[(limit <= 0)[plant]] = 0.0
        self.state = np.where(in_service, state, out)

    def settle(self, t_ns: int, out: NDArray[np.int8], rho: Array) -> None:
        """Puts every turbine where the wind of the start wants it."""
        nothing = np.zeros(len(self._plant))
        self._average = self.wind_m_s.copy()
        unlimited = np.full(len(self.plant_m_s), np.inf)
        # a step so short that only the ramp, which has not begun, matters
        self.step(1e-6, t_ns, out, unlimited, rho=rho, gust=nothing)
        self.p_mw = self.available_mw.copy()

    def by_plant(self, values: Array) -> Array:
        """Sums over the turbines of each plant."""
        total: Array = np.add.reduceat(values, self._start)
        return total
