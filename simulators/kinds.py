"""Kinds of simulated devices: what each is, how it speaks and which settings it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from simulators.devices.sunspec import inverter, meter, weather
from simulators.world.clocks import Discipline
from simulators.world.plants import PlantKind


class Kind(StrEnum):
    """What a device is."""

    PM5XXX = "pm5xxx"
    UMG = "umg"
    SUNSPEC_METER = "sunspec-meter"
    SUNSPEC_INVERTER = "sunspec-inverter"
    SUNSPEC_MET = "sunspec-met"
    TURBINE = "turbine"
    WIND_FARM = "wind-farm"
    MET_MAST = "met-mast"
    RECORDING = "recording"
    BUS_METER = "bus-meter"
    WIND_PLANT = "wind-plant"
    SOLAR_PLANT = "solar-plant"
    POWER_PLANT = "power-plant"

    @property
    def traits(self) -> Traits:
        """What belongs to it."""
        return _TRAITS[self]

    @property
    def modbus(self) -> bool:
        """Whether it stands behind a Modbus gateway; the others publish over MQTT."""
        return "gateway" in self.traits.needed

    @property
    def clock(self) -> Discipline:
        """What keeps its clock right: who sends its own time is set by NTP, who is polled by its master."""
        return Discipline.RTC if self.modbus else Discipline.NTP

    @property
    def meter(self) -> bool:
        """Whether it is a meter in the grid, and not a plant's device."""
        return self in _METERS

    @property
    def measures(self) -> bool:
        """Whether it shows what an instrument measures: a meter, or a plant that publishes."""
        return self.meter or not self.modbus


@dataclass(frozen=True, slots=True)
class Traits:
    """What belongs to a kind of device."""

    needed: frozenset[str]
    """Settings that it must have."""
    allowed: frozenset[str]
    """Settings that it may have besides."""
    plants: frozenset[PlantKind] = frozenset()
    """Kinds of plant that it can stand in; empty for a meter in the grid."""
    models: tuple[int, ...] = ()
    """SunSpec models that it can have besides model 1."""
    usual_models: tuple[int, ...] = ()


_METERS = frozenset({Kind.PM5XXX, Kind.UMG, Kind.SUNSPEC_METER, Kind.BUS_METER})

_MODBUS = frozenset({"node", "gateway", "unit"})
_MQTT = frozenset({"node", "topic"})
_WIRE = frozenset({"count", "exception", "offset"})
_PUBLISHED = frozenset({"count", "shape", "batch"})
_PLANT = frozenset({"plant"})
_SUNSPEC = frozenset({"count", "exception", "base", "models"})
_WIND, _SOLAR = frozenset({PlantKind.WIND}), frozenset({PlantKind.SOLAR})
_DISPATCHED = frozenset({PlantKind.THERMAL, PlantKind.HYDRO})

_TRAITS: Mapping[Kind, Traits] = {
    **{kind: Traits(_MODBUS, _WIRE | {"branch", "word_order"}) for kind in (Kind.PM5XXX, Kind.UMG)},
    Kind.SUNSPEC_METER: Traits(
        _MODBUS, _SUNSPEC | {"branch", "wh_exponent"}, models=meter.MODELS, usual_models=(203,)
    ),
    Kind.SUNSPEC_INVERTER: Traits(
        _MODBUS | _PLANT, _SUNSPEC | {"number", "wh_exponent"}, _SOLAR, inverter.MODELS, inverter.CLASSIC
    ),
    Kind.SUNSPEC_MET: Traits(_MODBUS | _PLANT, _SUNSPEC, _WIND | _SOLAR, weather.MODELS, (307,)),
    Kind.TURBINE: Traits(_MODBUS | _PLANT, _WIRE | {"number", "word_order"}, _WIND),
    Kind.WIND_FARM: Traits(_MODBUS | _PLANT, _WIRE | {"word_order"}, _WIND),
    Kind.MET_MAST: Traits(_MODBUS | _PLANT, _WIRE | {"word_order"}, _WIND | _SOLAR),
    Kind.RECORDING: Traits(
        frozenset({"gateway", "unit", "file"}), frozenset({"count", "exception", "recorded_unit"})
    ),
    Kind.BUS_METER: Traits(_MQTT, _PUBLISHED | {"branch"}),
    Kind.WIND_PLANT: Traits(_MQTT | _PLANT, _PUBLISHED, _WIND),
    Kind.SOLAR_PLANT: Traits(_MQTT | _PLANT, _PUBLISHED, _SOLAR),
    Kind.POWER_PLANT: Traits(_MQTT | _PLANT, _PUBLISHED, _DISPATCHED),
}
