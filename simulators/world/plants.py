"""Generating plants: what wind and sun make of them, and those that generation control moves.

Ratings of named plants are published or planned ones; unit counts, base outputs, positions, heights and wind
climates are illustrative.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import resources

import msgspec
import numpy as np
from numpy.typing import NDArray

from simulators.world.inverters import Inverters, cell_temperature, dc_share
from simulators.world.sun import ClearSky, Clouds
from simulators.world.units import Outages, UnitState
from simulators.world.weather import Drift, air_temperature
from simulators.world.wind import SiteWind, Turbines, density

Array = NDArray[np.float64]

WIND_AVAILABILITY, SOLAR_AVAILABILITY = 0.97, 0.99
FIRMING_S = 8.0
"""Lag of the local balancing behind the output of a node's plants (illustrative)."""
REACTIVE_SHARE = 0.03
"""Reactive power that a plant delivers per active power."""
_MINUTE_NS = 60 * 10**9


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
    elevation_m: float = 0.0
    base_mw: float = 0.0
    """Output of a conventional plant in the base case [MW]."""
    weibull_c_m_s: float = 8.5
    """Scale of the wind's distribution at hub height."""
    weibull_k: float = 2.1


def reference_plants() -> tuple[Plant, ...]:
    """The plants of the reference corridor."""
    text = resources.files("simulators.world").joinpath("plants.json").read_bytes()
    return msgspec.json.decode(text, type=tuple[Plant, ...])


@dataclass(frozen=True, slots=True, eq=False)
class PlantState:
    """Columns over the plants, NaN where a quantity does not belong to the kind; ``unit_*`` over
    :attr:`Fleet.units`.
    """

    p_mw: Array
    q_mvar: Array
    available_mw: Array
    """What wind or sun would allow the units in service."""
    limit_mw: Array
    """Set-point of a curtailment; the rating without one."""
    wind_m_s: Array
    wind_dir_deg: Array
    ghi_w_m2: Array
    air_c: Array
    cell_c: Array
    online: Array
    """Units in service."""
    unit_p_mw: Array
    unit_available_mw: Array
    unit_wind_m_s: Array
    """Wind at the nacelle of each turbine; NaN for inverters."""
    unit_state: NDArray[np.int8]
    """Codes of :class:`UnitState`."""

    def where(self, live: NDArray[np.bool_], unit_live: NDArray[np.bool_]) -> PlantState:
        """The same weather over plants that deliver nothing where there is no grid."""
        if live.all():
            return self
        return replace(
            self,
            p_mw=self.p_mw * live,
            q_mvar=self.q_mvar * live,
            online=self.online * live,
            unit_p_mw=self.unit_p_mw * unit_live,
            unit_state=np.where(unit_live, self.unit_state, np.int8(UnitState.OFF)),
        )


class Fleet:
    """All plants; steps their weather and units, and holds the set-points of conventional plants."""

    def __init__(self, plants: tuple[Plant, ...], rng: np.random.Generator, start_ns: int) -> None:
        self.plants = plants
        self.index = {plant.id: i for i, plant in enumerate(plants)}
        self.rated_mw = np.array([plant.rated_mw for plant in plants])
        self.setpoint_mw = np.array([plant.base_mw for plant in plants])
        """Output of thermal and hydro plants [MW]; generation control moves it."""
        self._rng = rng
        kinds = [plant.kind for plant in plants]
        self._wind = np.array([i for i, kind in enumerate(kinds) if kind is PlantKind.WIND], np.intp)
        self._solar = np.array([i for i, kind in enumerate(kinds) if kind is PlantKind.SOLAR], np.intp)
        self._latitude = np.array([plant.latitude for plant in plants])
        self._longitude = np.array([plant.longitude for plant in plants])
        self._elevation = np.array([plant.elevation_m for plant in plants])
        self._counts = np.array([plant.units for plant in plants], np.intp)
        self.units: tuple[tuple[str, int], ...] = tuple(
            (plants[i].id, number + 1)
            for i in (*self._wind, *self._solar)
            for number in range(plants[i].units)
        )
        """(plant, number from 1) of every turbine and inverter."""
        self.unit_plant: NDArray[np.intp] = np.repeat(
            np.concatenate([self._wind, self._solar]), self._counts[np.concatenate([self._wind, self._solar])]
        )
        """Plant of each unit."""
        self._conventional = np.setdiff1d(np.arange(len(plants)), self.unit_plant)
        self._tripped = np.zeros(len(plants), np.bool_)
        self._limit = np.full(len(plants), np.inf)
        self._minute = start_ns // _MINUTE_NS
        self._build(start_ns)
        self._settle(start_ns)

    def _build(self, start_ns: int) -> None:
        wind, solar, rng, plants = self._wind, self._solar, self._rng, self.plants
        climate = (
            np.array([plants[i].weibull_c_m_s for i in wind]),
            np.array([plants[i].weibull_k for i in wind]),
        )
        sites = SiteWind((self._latitude[wind], self._longitude[wind]), climate, rng, start_ns)
        self.turbines = Turbines(sites, self.rated_mw[wind], self._counts[wind], rng, start_ns)
        self._direction = Drift(np.full(len(wind), 12.0), np.full(len(wind), 1800.0))
        self._mean_direction = rng.uniform(0.0, 360.0, len(wind))
        self.inverters = Inverters(self.rated_mw[solar], self._counts[solar], rng)
        self.clouds = Clouds(self._latitude[solar], self._longitude[solar], rng, start_ns)
        self._sky = ClearSky(
            [(plants[i].latitude, plants[i].longitude, plants[i].elevation_m) for i in solar]
        )
        turbines, inverters = len(self.turbines.rated_mw), len(self.inverters.rated_mw)
        expected = [WIND_AVAILABILITY] * turbines + [SOLAR_AVAILABILITY] * inverters
        self._no_wind = np.full(inverters, np.nan)
        self._outages = Outages(np.array(expected), rng)

    def _settle(self, start_ns: int) -> None:
        count = len(self.turbines.rated_mw)
        self._air = air_temperature(start_ns, self._longitude)
        self._rho = density(self._air[self._wind], self._elevation[self._wind])
        self.turbines.settle(start_ns, self._outages.state[:count], self._rho)
        self._ghi = self._sky.at(start_ns) * self.clouds.natural
        self._cell = cell_temperature(self._air[self._solar], self._ghi)
        self.inverters.settle(dc_share(self._ghi, self._cell), self._outages.state[count:])
        self.expected_mw = self.setpoint_mw.copy()
        """Output that local balancing has made room for [MW]."""
        self.expected_mw[self._wind] = self.turbines.by_plant(self.turbines.p_mw)
        self.expected_mw[self._solar] = self.inverters.by_plant(self.inverters.p_mw)

    # ---- causes

    def trip(self, plant: int) -> None:
        """Takes a plant off the grid."""
        self._tripped[plant] = True
        self.setpoint_mw[plant] = 0.0

    def release(self, plant: int) -> None:
        """Lets a tripped plant come back."""
        self._tripped[plant] = False

    def curtail(self, plant: int, mw: float | None) -> None:
        """Limits a plant [MW]."""
        self._limit[plant] = np.inf if mw is None else mw

    def cloud(self, plants: Iterable[int], duration_s: float) -> None:
        """A front of clouds over the solar ones among some plants."""
        for k, i in enumerate(self._solar):
            if i in plants:
                self.clouds.front.start(k, duration_s)

    def storm(self, plants: Iterable[int], wind_m_s: float, duration_s: float) -> None:
        """A mean wind over the wind plants among some plants."""
        for k, i in enumerate(self._wind):
            if i in plants:
                self.turbines.storm_m_s[k] = wind_m_s
                self.turbines.front.start(k, duration_s)

    def regulate(self, plant: int, setpoint_mw: float) -> None:
        """Moves a conventional plant; a tripped one stays away."""
        if not self._tripped[plant]:
            self.setpoint_mw[plant] = min(setpoint_mw, float(self._limit[plant]))

    # ---- stepping

    def step(self, dt_s: float, t_ns: int, live: NDArray[np.bool_] | None = None) -> None:
        """Advances weather and units by ``dt_s`` [s] to ``t_ns``.

        ``live`` tells of each plant whether its busbar has voltage; without it their units stop, and start
        anew when it returns.
        """
        wind, solar = self._wind, self._solar
        count = len(self.turbines.rated_mw)
        minute = t_ns // _MINUTE_NS
        if minute != self._minute:
            self._outages.step(60.0 * (minute - self._minute))
            self._minute = minute
            self._air = air_temperature(t_ns, self._longitude)
            self._rho = density(self._air[wind], self._elevation[wind])
        out = self._outages.state
        off = self._tripped if live is None else self._tripped | ~live
        limit = np.where(off, 0.0, self._limit)
        noise = self._rng.standard_normal(count + len(wind) + len(solar))
        self.turbines.step(dt_s, t_ns, out[:count], limit[wind], rho=self._rho, gust=noise[:count])
        self._direction.step(dt_s, noise[count : count + len(wind)])
        clear = self._sky.at(t_ns)
        air = self._air[solar]
        self._ghi = clear * self.clouds.step(dt_s, t_ns, noise[count + len(wind) :])
        self._cell = cell_temperature(air, self._ghi)
        share = natural = dc_share(self._ghi, self._cell)
        if self.clouds.front.intensity.any():
            ghi = clear * self.clouds.natural
            natural = dc_share(ghi, cell_temperature(air, ghi))
        self.inverters.step(dt_s, share, natural, out[count:], limit[solar])
        self.inverters.sleep(off[solar])
        follow = -math.expm1(-dt_s / FIRMING_S)
        self.expected_mw[wind] += (self.turbines.natural_mw - self.expected_mw[wind]) * follow
        self.expected_mw[solar] += (self.inverters.natural_mw - self.expected_mw[solar]) * follow

    def state(self) -> PlantState:
        """What the plants deliver now."""
        count = len(self.plants)
        wind, solar = self._wind, self._solar
        turbines, inverters = self.turbines, self.inverters
        speed, direction, ghi, cell = np.full((4, count), np.nan)
        speed[wind] = turbines.plant_m_s
        direction[wind] = (self._mean_direction + self._direction.value) % 360.0
        ghi[solar], cell[solar] = self._ghi, self._cell
        p, available = self.setpoint_mw.copy(), self.rated_mw.copy()
        p[wind], p[solar] = turbines.by_plant(turbines.p_mw), inverters.by_plant(inverters.p_mw)
        available[wind] = turbines.by_plant(turbines.available_mw)
        available[solar] = inverters.by_plant(inverters.available_mw)
        state = np.concatenate([turbines.state, inverters.state])
        if self._tripped.any():
            state[self._tripped[self.unit_plant]] = UnitState.OFF
        in_service = (state < UnitState.FAULTED).astype(np.float64)
        online: Array = np.bincount(self.unit_plant, in_service, count).astype(np.float64)
        online[self._conventional] = np.where(self._tripped, 0, self._counts)[self._conventional]
        return PlantState(
            p_mw=p,
            q_mvar=REACTIVE_SHARE * p,
            available_mw=available,
            limit_mw=np.minimum(self._limit, self.rated_mw),
            wind_m_s=speed,
            wind_dir_deg=direction,
            ghi_w_m2=ghi,
            air_c=self._air,
            cell_c=cell,
            online=online,
            unit_p_mw=np.concatenate([turbines.p_mw, inverters.p_mw]),
            unit_available_mw=np.concatenate([turbines.available_mw, inverters.available_mw]),
            unit_wind_m_s=np.concatenate([turbines.wind_m_s, self._no_wind]),
            unit_state=state,
        )
