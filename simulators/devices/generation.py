"""What controllers and instruments inside plants see: turbines, inverters, masts, whole plants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from simulators.world.clocks import Discipline, clock_of
from simulators.world.snapshot import Snapshot
from simulators.world.units import UnitState
from simulators.world.world import World

Array = NDArray[np.float64]

WHOLE = 0
"""Number that stands for the whole plant instead of one of its units."""
THROTTLED_BELOW = 0.98
"""A plant that delivers less than this share of what wind or sun allow is held back."""
IDLE_BELOW = 1e-3
"""Share of its rating below which a plant waits for wind or sun."""
_WS_PER_WH = 3600


class Condition(StrEnum):
    """What a generating unit does; each map has its own codes for it."""

    OFF = "off"
    """Out of service."""
    MAINTENANCE = "maintenance"
    """Out of service on purpose."""
    FAULT = "fault"
    NO_GRID = "no grid"
    WAITING = "waiting"
    """In service, without enough wind or sun."""
    STARTING = "starting"
    RUNNING = "running"
    THROTTLED = "throttled"
    """Held below what wind or sun allow."""
    STORM = "storm"
    """Cut out until the wind calms down."""


_CONDITIONS: Mapping[int, Condition] = {
    UnitState.WAITING: Condition.WAITING,
    UnitState.STARTING: Condition.STARTING,
    UnitState.RUNNING: Condition.RUNNING,
    UnitState.CURTAILED: Condition.THROTTLED,
    UnitState.STORM: Condition.STORM,
    UnitState.FAULTED: Condition.FAULT,
    UnitState.MAINTENANCE: Condition.MAINTENANCE,
    UnitState.OFF: Condition.OFF,
}


@dataclass(frozen=True, slots=True)
class Generation:
    """One generating unit, or a whole plant, at one moment; NaN where its kind has no such quantity."""

    t_ns: int
    """Time of the device's own clock [ns, UTC]."""
    rated_mw: float
    p_mw: float
    q_mvar: float
    available_mw: float
    """What wind or sun would allow."""
    limit_mw: float
    """Most that the whole plant may deliver, by its set-point."""
    plant_mw: float
    """Rating of the whole plant."""
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
    condition: Condition


@dataclass(frozen=True, slots=True)
class Sight:
    """What one device looks at."""

    plant: int
    """Position of the plant in the fleet."""
    number: int
    """Unit of the plant, counted from 1, or the whole plant."""
    serial: str
    """Of the device that looks; decides how its clock is off."""


class GenerationBank:
    """All devices that look at plants from inside; watches once for each step of the world."""

    def __init__(self, world: World, sights: Sequence[Sight], seed: int) -> None:
        plants = world.plan.plants
        units = {key: i for i, key in enumerate(world.fleet.units)}
        self._sights = tuple(sights)
        self._plant = np.array([sight.plant for sight in sights], np.intp)
        self._whole = np.array([sight.number == WHOLE for sight in sights], np.bool_)
        self._unit = np.array([units.get((plants[s.plant].id, s.number), 0) for s in sights], np.intp)
        self._count = [plants[sight.plant].units for sight in sights]
        self._node = [world.nodes.index(plants[sight.plant].node) for sight in sights]
        self._rated = [
            plants[s.plant].rated_mw / (1 if s.number == WHOLE else plants[s.plant].units) for s in sights
        ]
        self._plant_mw = [plants[sight.plant].rated_mw for sight in sights]
        self._kv_rated = world.plan.corridor.u_rated_kv
        # an installed unit has delivered before: between 500 and 20,000 hours at 30 % of its rating
        hours = np.random.default_rng([seed, 2]).integers(500, 20_000, len(sights))
        self._energy_ws = np.rint(hours * np.array(self._rated) * 0.3e6).astype(np.int64) * _WS_PER_WH
        self._clocks = [clock_of(sight.serial, Discipline.RTC) for sight in sights]
        self._now: Snapshot = world.snapshot
        self._p_mw: Array = np.zeros(len(sights))
        self.observe(world.snapshot, 0.0)

    def observe(self, now: Snapshot, dt_s: float) -> None:
        """Watches every device's unit; the counters integrate its power over the last ``dt_s`` [s]."""
        self._now, plants = now, now.plants
        self._p_mw = np.where(self._whole, plants.p_mw[self._plant], plants.unit_p_mw[self._unit])
        self._energy_ws += np.rint(np.maximum(self._p_mw, 0.0) * 1e6 * dt_s).astype(np.int64)

    def look(self, position: int) -> Generation:
        """What the device at ``position`` sees."""
        now, plants, sight = self._now, self._now.plants, self._sights[position]
        plant, unit, whole = sight.plant, self._unit[position], sight.number == WHOLE
        p_mw, total_mw = float(self._p_mw[position]), float(plants.p_mw[plant])
        available = plants.available_mw[plant] if whole else plants.unit_available_mw[unit]
        f_hz = float(now.node_f_hz[self._node[position]])
        in_service = int(plants.unit_state[unit] < UnitState.FAULTED)
        online = round(float(plants.online[plant])) if whole else in_service
        if f_hz <= 0:
            condition = Condition.NO_GRID
        elif whole:
            condition = _of_plant(online, p_mw, float(available), self._rated[position])
        else:
            condition = _CONDITIONS[int(plants.unit_state[unit])]
        return Generation(
            t_ns=self._clocks[position].at(now.t_ns),
            rated_mw=self._rated[position],
            p_mw=p_mw,
            q_mvar=float(plants.q_mvar[plant]) * (p_mw / total_mw if total_mw else 0.0),
            available_mw=float(available),
            limit_mw=float(plants.limit_mw[plant]),
            plant_mw=self._plant_mw[position],
            energy_wh=int(self._energy_ws[position]) // _WS_PER_WH,
            v_pu=float(now.node_v_kv[self._node[position]]) / self._kv_rated,
            f_hz=f_hz,
            units=self._count[position] if whole else 1,
            online=online,
            wind_m_s=float(plants.wind_m_s[plant] if whole else plants.unit_wind_m_s[unit]),
            wind_dir_deg=float(plants.wind_dir_deg[plant]),
            ghi_w_m2=float(plants.ghi_w_m2[plant]),
            air_c=float(plants.air_c[plant]),
            cell_c=float(plants.cell_c[plant]),
            condition=condition,
        )


def _of_plant(online: int, p_mw: float, available_mw: float, rated_mw: float) -> Condition:
    if online == 0:
        return Condition.OFF
    if available_mw < IDLE_BELOW * rated_mw:
        return Condition.WAITING
    return Condition.THROTTLED if p_mw < THROTTLED_BELOW * available_mw else Condition.RUNNING
