"""From a device of the bench to the unit that stands for it on a Modbus line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from simulators.devices import recording
from simulators.devices.generation import Generation
from simulators.devices.identification import Identification, Refusal
from simulators.devices.meter_maps import PM5XXX, UMG
from simulators.devices.modbus import MappedUnit, Unit
from simulators.devices.recording import RecordedUnit
from simulators.devices.registers import RegisterMap
from simulators.devices.sunspec import inverter, meter, weather
from simulators.devices.sunspec.chain import Content, chain
from simulators.devices.sunspec.common import common
from simulators.devices.wind_maps import MET_MAST, TURBINE, WIND_FARM
from simulators.world.meters import Reading

if TYPE_CHECKING:
    from simulators.bench import SimulatedDevice

T = TypeVar("T")

READING_MAPS: Mapping[str, RegisterMap[Reading]] = {"pm5xxx": PM5XXX, "umg": UMG}
GENERATION_MAPS: Mapping[str, RegisterMap[Generation]] = {
    "turbine": TURBINE,
    "wind-farm": WIND_FARM,
    "met-mast": MET_MAST,
}
REVISION = "1.0"
_IDENTITY: Mapping[str, dict[int, str]] = {
    "pm5xxx": {0: "Schneider Electric (simulated)", 1: "METSEPM5560", 4: "PowerLogic", 5: "PM5560"},
    "umg": {0: "Janitza electronics GmbH (simulated)", 1: "UMG 604", 4: "UMG", 5: "UMG 604-PRO"},
    "turbine": {0: "Greenbridge bench", 1: "WT-illustrative", 4: "Wind turbine", 5: "WT"},
    "wind-farm": {0: "Greenbridge bench", 1: "WF-illustrative", 4: "Wind farm controller", 5: "WF"},
    "met-mast": {0: "Greenbridge bench", 1: "MM-illustrative", 4: "Met mast", 5: "MM"},
}
"""Device identification of each kind that has it; revision and serial number are added (illustrative)."""
_SERIAL_OBJECT = 0x80


class LayoutFault(NamedTuple):
    """Why a device cannot have the registers that it is given."""

    key: str
    value: str
    reason: str
    fix: str


def layout_fault(device: SimulatedDevice) -> LayoutFault | None:
    """The fault of a device's register map, if it has one."""
    layout = READING_MAPS.get(device.kind.value) or GENERATION_MAPS.get(device.kind.value)
    if layout is not None:
        first, last = layout.start + device.offset, layout.start + device.offset + layout.length - 1
        if first < 0 or last > 0xFFFF:
            reason = f"puts registers at {first} to {last}"
            return LayoutFault("offset", str(device.offset), reason, "addresses are 0 to 65535")
    models = device.models
    for model in models:
        if model not in device.kind.traits.models:
            valid = ", ".join(map(str, device.kind.traits.models))
            return LayoutFault(
                "models", str(model), f"a {device.kind.value} has no such model", f"valid: {valid}"
            )
    if len(set(models)) < len(models):
        return LayoutFault("models", str(list(models)), "a model is listed twice", "list each once")
    if len({101, 102, 103, 701} & set(models)) > 1:
        return LayoutFault(
            "models", str(list(models)), "says twice what the AC side does", "keep one of them"
        )
    return None


def unit_of_meter(device: SimulatedDevice, look: Callable[[], Reading]) -> Unit:
    """A meter in the grid."""
    if device.kind.value == "sunspec-meter":
        wanted = device.models or device.kind.traits.usual_models
        contents: dict[int, Content[Reading]] = meter.contents(wanted, device.wh_exponent)
        return MappedUnit(
            chain(device.kind.value, device.base, {1: _common(device, "Meter")} | contents),
            look,
            exception=_exception(device),
        )
    return _mapped(READING_MAPS[device.kind.value], device, look)


def unit_in_plant(device: SimulatedDevice, look: Callable[[], Generation]) -> Unit:
    """A turbine, inverter, mast or farm controller."""
    layout = GENERATION_MAPS.get(device.kind.value)
    if layout is not None:
        return _mapped(layout, device, look)
    wanted = device.models or device.kind.traits.usual_models
    if device.kind.value == "sunspec-met":
        product, contents = "Weather station", weather.contents(wanted)
    else:
        product = "Solar inverter"
        phases = next((inverter.PHASES[m] for m in wanted if m in inverter.PHASES), 3)
        plate = inverter.Nameplate(look().rated_mw * 1e6, inverter.VOLTAGE_V[phases], phases)
        contents = inverter.contents(plate, wanted, device.wh_exponent)
    return MappedUnit(
        chain(device.kind.value, device.base, {1: _common(device, product)} | contents),
        look,
        exception=_exception(device),
    )


def unit_of_recording(device: SimulatedDevice) -> Unit:
    """A device that answers as another did.

    Raises
    ------
    ConfigError
        The recording cannot be read.

    """
    units = recording.load(Path(device.file))
    chosen = device.recorded_unit if device.recorded_unit is not None else next(iter(units))
    return RecordedUnit(units[chosen], exception=_exception(device))


def _exception(device: SimulatedDevice) -> Refusal | None:
    return None if device.exception is None else device.exception.refusal


def _common(device: SimulatedDevice, product: str) -> Content[T]:
    return common(product, device.id[:32], REVISION, device.unit or 0)


def _mapped(layout: RegisterMap[T], device: SimulatedDevice, look: Callable[[], T]) -> Unit:
    objects = {2: REVISION, _SERIAL_OBJECT: device.id} | _IDENTITY[device.kind.value]
    return MappedUnit(
        layout,
        look,
        word_order=device.word_order,
        offset=device.offset,
        identification=Identification(objects),
        exception=_exception(device),
    )
