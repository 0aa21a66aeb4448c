"""What an edge node shows of each kind of device: metrics, and where their values come from.

Names follow IEC 61400-25-2 and SunSpec; types, units and deadbands are this bench's own choice, made so that
every way in which numbers travel occurs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from simulators.devices.generation import Condition, Generation
from simulators.devices.payloads import Members
from simulators.devices.sparkplug.payloads import DataType, Value
from simulators.devices.sparkplug.plan import MetricPlan
from simulators.kinds import Kind
from simulators.world.meters import Reading

Source = Reading | Members | Generation
"""What is seen: by a meter a reading, by a plant controller its payload, by others a plant from inside."""

STATES = {
    Condition.OFF: 1,
    Condition.NO_GRID: 2,
    Condition.WAITING: 3,
    Condition.RUNNING: 4,
    Condition.THROTTLED: 5,
    Condition.STARTING: 6,
    Condition.STORM: 7,
    Condition.FAULT: 8,
    Condition.MAINTENANCE: 9,
}
"""Codes of ``St``."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A metric and the value that it takes from what the device sees."""

    plan: MetricPlan
    look: Callable[[Source], float | int | bool]

    def value(self, source: Source) -> Value | None:
        """The value in the type of the metric; None if there is none."""
        seen = self.look(source)
        if not math.isfinite(seen):
            return None
        if self.plan.datatype is DataType.BOOLEAN:
            return bool(seen)
        return round(seen) if self.plan.datatype.integer else float(seen)


def _of(attribute: str, factor: float = 1.0) -> Callable[[Source], float | int | bool]:
    def look(source: Source) -> float | int | bool:
        value: float | int | bool = (
            source[attribute] if isinstance(source, dict) else getattr(source, attribute)
        )
        # whole numbers stay whole: a counter has more digits than a float
        return value if factor == 1.0 else value * factor

    return look


def _state(source: Source) -> int:
    return STATES[source.condition] if isinstance(source, Generation) else 0


def _curtailed(source: Source) -> bool:
    return isinstance(source, Generation) and source.condition is Condition.THROTTLED


def _float(name: str, attribute: str, unit: str, deadband: float) -> Shown:
    return Shown(MetricPlan(name, DataType.FLOAT, unit, deadband), _of(attribute))


def _int32(name: str, attribute: str, unit: str, deadband: float, factor: float) -> Shown:
    return Shown(MetricPlan(name, DataType.INT32, unit, deadband), _of(attribute, factor))


def _energy(name: str, attribute: str) -> Shown:
    return Shown(MetricPlan(name, DataType.UINT64, "Wh", 1000), _of(attribute))


def _count(attribute: str) -> Shown:
    return Shown(MetricPlan("OnlCnt", DataType.UINT16, "1"), _of(attribute))


_ST = Shown(MetricPlan("St", DataType.INT8, "1"), _state)
_CURTAILED = Shown(MetricPlan("Curtailed", DataType.BOOLEAN), _curtailed)
_BUS = (
    _float("TotW", "p_mw", "MW", 0.05),
    _float("TotVAr", "q_mvar", "Mvar", 0.05),
    _float("PPV", "v_kv", "kV", 0.05),
    Shown(MetricPlan("Hz", DataType.DOUBLE, "Hz", 0.002), _of("f_hz")),
)
_METER = (
    *_BUS,
    _float("A", "i_a", "A", 0.5),
    _energy("TotWhExp", "export_wh"),
    _energy("TotWhImp", "import_wh"),
)
_CONTROLLER = (
    _float("W", "p_mw", "MW", 0.05),
    _float("VAr", "q_mvar", "Mvar", 0.05),
    _count("online"),
    Shown(MetricPlan("TotWh", DataType.DOUBLE, "MWh", 0.001), _of("energy_mwh")),
)
_AVAILABLE = _float("AvlW", "avail_mw", "MW", 0.05)
_AIR = _float("EnvTmp", "temp_c", "degC", 0.1)
_WIND = (_float("HorWdSpd", "wind_m_s", "m/s", 0.05), _float("HorWdDir", "wind_dir_deg", "deg", 1.0))
_MAST = (
    *_WIND,
    _float("EnvTmp", "air_c", "degC", 0.1),
    _float("GHI", "ghi_w_m2", "W/m2", 1.0),
    _float("TmpCel", "cell_c", "degC", 0.1),
)

METRICS: Mapping[Kind, tuple[Shown, ...]] = {
    Kind.PM5XXX: _METER,
    Kind.UMG: _METER,
    Kind.SUNSPEC_METER: _METER,
    Kind.BUS_METER: _BUS,
    Kind.POWER_PLANT: _CONTROLLER,
    Kind.WIND_PLANT: (
        *_CONTROLLER,
        _AVAILABLE,
        _float("HorWdSpd", "wind_ms", "m/s", 0.05),
        _float("HorWdDir", "wind_dir_deg", "deg", 1.0),
        _AIR,
    ),
    Kind.SOLAR_PLANT: (
        *_CONTROLLER,
        _AVAILABLE,
        _float("GHI", "ghi_w_m2", "W/m2", 1.0),
        _AIR,
        _float("TmpCel", "cell_temp_c", "degC", 0.1),
    ),
    Kind.WIND_FARM: (
        _float("W", "p_mw", "MW", 0.05),
        _float("VAr", "q_mvar", "Mvar", 0.05),
        _float("AvlW", "available_mw", "MW", 0.05),
        _count("online"),
        _CURTAILED,
        _energy("TotWh", "energy_wh"),
        *_WIND,
    ),
    Kind.TURBINE: (
        _ST,
        _int32("W", "p_mw", "kW", 2, 1e3),
        _int32("VAr", "q_mvar", "kvar", 2, 1e3),
        _int32("AvlW", "available_mw", "kW", 2, 1e3),
        _energy("TotWh", "energy_wh"),
        *_WIND,
        _float("EnvTmp", "air_c", "degC", 0.1),
    ),
    Kind.SUNSPEC_INVERTER: (
        _ST,
        _int32("W", "p_mw", "W", 500, 1e6),
        _int32("VAr", "q_mvar", "var", 500, 1e6),
        _energy("TotWh", "energy_wh"),
        _float("TmpCel", "cell_c", "degC", 0.1),
    ),
    Kind.MET_MAST: _MAST,
    Kind.SUNSPEC_MET: _MAST,
}
"""Metrics of each kind of device; a kind without an entry cannot be shown."""
