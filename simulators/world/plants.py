"""Generating plants: what wind and sun make of them, and those that generation control moves.

Ratings of named plants are published or planned ones; unit counts, base outputs and positions are
illustrative.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

import msgspec
import numpy as np
from numpy.typing import NDArray

from simulators.world.weather import Drift, air_temperature, clear_sky_ghi, cos_zenith

Array = NDArray[np.float64]

CUT_IN_M_S, RATED_M_S, CUT_OUT_M_S = 3.0, 12.0, 25.0
AVAILABILITY = 0.97
"""Share of wind turbines in service."""
SLOW_WIND_SIGMA, SLOW_WIND_TAU_S = 0.03, 3600.0
"""Relative standard deviation and time constant of the wind around its mean; modest on purpose."""
TURBULENCE_INTENSITY, TURBULENCE_LENGTH_M = 0.11, 340.0
ROTOR_SMOOTHING = 0.5
"""Share of point turbulence that is left over the area of a rotor (illustrative)."""
CLEARNESS_MEAN, CLEARNESS_SIGMA, CLEARNESS_TAU_S = 0.92, 0.02, 600.0
DC_AC_RATIO, INVERTER_EFFICIENCY, NOCT_C, POWER_PER_K = 1.25, 0.985, 45.0, -0.0035
REACTIVE_SHARE = 0.03
"""Reactive power that a plant delivers per active power."""


class PlantKind(StrEnum):
    """What drives a plant."""

    WIND = "wind"
    SOLAR = "solar"
    THERMAL = "thermal"
    HYDRO = "hydro"


class Plant(msgspec.Struct, frozen=True):
    """One plant, or the regulating units of a system operator seen as one."""

    id: str
    node: str
    kind: PlantKind
    rated_mw: float
    units: int
    """Turbines, inverters or generating units."""
    latitude: float
    longitude: float
    base_mw: float = 0.0
    """Output of the base case [MW]; a solar plant has that of its clear sky instead."""


def reference_plants() -> tuple[Plant, ...]:
    """The plants of the reference corridor."""
    text = resources.files("simulators.world").joinpath("plants.json").read_bytes()
    return msgspec.json.decode(text, type=tuple[Plant, ...])


def wind_share(wind_m_s: Array) -> Array:
    """Power curve: share of the rating, growing with the cube of the wind between cut-in and rated wind."""
    cubic = (wind_m_s**3 - CUT_IN_M_S**3) / (RATED_M_S**3 - CUT_IN_M_S**3)
    return np.where(wind_m_s >= CUT_OUT_M_S, 0.0, np.clip(cubic, 0.0, 1.0))


def wind_for(share: Array) -> Array:
    """The wind [m/s] at which a plant delivers a share of its rating below 1."""
    wind: Array = np.cbrt(share * (RATED_M_S**3 - CUT_IN_M_S**3) + CUT_IN_M_S**3)
    return wind


def solar_share(ghi_w_m2: Array, cell_c: Array) -> Array:
    """Share of the AC rating that modules deliver, clipped at the inverters' rating."""
    dc = DC_AC_RATIO * ghi_w_m2 / 1000.0 * (1 + POWER_PER_K * (cell_c - 25.0))
    return np.clip(dc * INVERTER_EFFICIENCY, 0.0, 1.0)


def cell_temperature(air_c: Array, ghi_w_m2: Array) -> Array:
    """Cell temperature [degC]: T_a + (NOCT - 20) / 800 G."""
    return air_c + (NOCT_C - 20.0) / 800.0 * ghi_w_m2


@dataclass(frozen=True, slots=True, eq=False)
class PlantState:
    """Columns over the plants; NaN where a quantity does not belong to the kind."""

    p_mw: Array
    q_mvar: Array
    available_mw: Array
    """What wind or sun would allow."""
    wind_m_s: Array
    wind_dir_deg: Array
    ghi_w_m2: Array
    air_c: Array
    cell_c: Array
    online: Array
    """Units in service."""

    def dark(self) -> PlantState:
        """The same weather over plants that deliver nothing, since there is no grid."""
        nothing = np.zeros_like(self.p_mw)
        weather = (
            self.available_mw,
            self.wind_m_s,
            self.wind_dir_deg,
            self.ghi_w_m2,
            self.air_c,
            self.cell_c,
        )
        return PlantState(nothing, nothing, *weather, nothing)


class Fleet:
    """All plants; steps their weather and holds the set-points of those under generation control."""

    def __init__(self, plants: tuple[Plant, ...], rng: np.random.Generator) -> None:
        self.plants = plants
        self.index = {plant.id: i for i, plant in enumerate(plants)}
        self.rated_mw = np.array([plant.rated_mw for plant in plants])
        self.setpoint_mw = np.array([plant.base_mw for plant in plants])
        """Output of thermal and hydro plants [MW]; generation control writes it."""
        self._rng = rng
        self._latitude = np.array([plant.latitude for plant in plants])
        self._longitude = np.array([plant.longitude for plant in plants])
        kinds = [plant.kind for plant in plants]
        self._wind = np.array([i for i, kind in enumerate(kinds) if kind is PlantKind.WIND], np.intp)
        self._solar = np.array([i for i, kind in enumerate(kinds) if kind is PlantKind.SOLAR], np.intp)
        units = np.array([float(plant.units) for plant in plants])
        self._online = units.copy()
        self._online[self._wind] = np.round(AVAILABILITY * units[self._wind])
        self._wind_rated = self.rated_mw[self._wind] * self._online[self._wind] / units[self._wind]
        self._mean_wind = wind_for(self.setpoint_mw[self._wind] / self._wind_rated)
        n_wind, n_solar = len(self._wind), len(self._solar)
        self._slow = Drift(np.full(n_wind, SLOW_WIND_SIGMA), np.full(n_wind, SLOW_WIND_TAU_S))
        # turbulence of single turbines averages out over a plant
        calmed = ROTOR_SMOOTHING * TURBULENCE_INTENSITY / np.sqrt(units[self._wind])
        self._turbulence = Drift(calmed, TURBULENCE_LENGTH_M / self._mean_wind)
        self._direction = Drift(np.full(n_wind, 12.0), np.full(n_wind, 1800.0))
        self._mean_direction = rng.uniform(0.0, 360.0, n_wind)
        self._clearness = Drift(np.full(n_solar, CLEARNESS_SIGMA), np.full(n_solar, CLEARNESS_TAU_S))

    def forecast_mw(self, t_ns: int) -> Array:
        """Expected output [MW]: base case of wind and dispatched plants, mean clearness for solar ones."""
        expected = np.array([plant.base_mw for plant in self.plants])
        ghi = self._clear_ghi(t_ns) * CLEARNESS_MEAN
        air = air_temperature(t_ns, self._longitude[self._solar])
        share = solar_share(ghi, cell_temperature(air, ghi))
        expected[self._solar] = self.rated_mw[self._solar] * share
        return expected

    def step(self, dt_s: float) -> None:
        """Advances the weather by ``dt_s`` [s]."""
        n_wind = len(self._wind)
        noise = self._rng.standard_normal(3 * n_wind + len(self._solar))
        self._slow.step(dt_s, noise[:n_wind])
        self._turbulence.step(dt_s, noise[n_wind : 2 * n_wind])
        self._direction.step(dt_s, noise[2 * n_wind : 3 * n_wind])
        self._clearness.step(dt_s, noise[3 * n_wind :])

    def state(self, t_ns: int) -> PlantState:
        """What the plants deliver now."""
        n = len(self.plants)
        wind, direction, ghi, cell = (np.full(n, np.nan) for _ in range(4))
        air = air_temperature(t_ns, self._longitude)
        p = self.setpoint_mw.copy()
        factor = np.maximum(1 + self._slow.value + self._turbulence.value, 0.0)
        wind[self._wind] = self._mean_wind * factor
        direction[self._wind] = (self._mean_direction + self._direction.value) % 360.0
        p[self._wind] = self._wind_rated * wind_share(wind[self._wind])
        clearness = np.clip(CLEARNESS_MEAN + self._clearness.value, 0.0, 1.0)
        ghi[self._solar] = self._clear_ghi(t_ns) * clearness
        cell[self._solar] = cell_temperature(air[self._solar], ghi[self._solar])
        p[self._solar] = self.rated_mw[self._solar] * solar_share(ghi[self._solar], cell[self._solar])
        return PlantState(
            p, REACTIVE_SHARE * p, p.copy(), wind, direction, ghi, air, cell, self._online.copy()
        )

    def _clear_ghi(self, t_ns: int) -> Array:
        return clear_sky_ghi(cos_zenith(t_ns, self._latitude[self._solar], self._longitude[self._solar]))
