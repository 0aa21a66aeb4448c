"""Drafts profiles and devices from what was found on Modbus; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.modbus.config import GatewaySettings
from commissioning.drafts import Draft, drafted_device
from commissioning.modbus.target import GATEWAY
from commissioning.modbus.tuning import Tuning
from telemetry.devices import Device, ModbusAddress
from telemetry.points import PointKind, PointSpec, Unit
from telemetry.profiles import DeviceProfile, ModbusMap, RegisterMapping, RegisterTable, RegisterType

MOST_POINTS = 500
"""Registers that a draft names one by one."""
PROFILE = "drafted-device"
"""Id of a drafted profile."""


def drafted(
    profile: DeviceProfile,
    gateway: GatewaySettings,
    units: Sequence[int],
    notes: Sequence[str] = (),
    tuning: Tuning | None = None,
) -> Draft:
    """A profile with a device for each unit that uses it, and what tuning recommends."""
    if tuning is not None and tuning.sound:
        cost, timeout_s = tuning.request_cost, tuning.timeout_s
        gateway = gateway.model_copy(update={"request_cost": cost, "timeout_s": timeout_s})
        profile = _tuned(profile, tuning)
    return Draft(profile, "modbus", "gateway", gateway, _devices(profile.id, units), tuple(notes))


def _tuned(profile: DeviceProfile, tuning: Tuning) -> DeviceProfile:
    largest = tuning.max_registers
    if profile.sunspec is not None:
        own = profile.sunspec.model_copy(update={"max_registers": max(2, largest)})
        return profile.model_copy(update={"sunspec": own})
    if profile.modbus is None:
        return profile
    key = "max_coils" if profile.modbus.table.is_bits else "max_registers"
    mapped = profile.modbus.model_copy(update={key: largest, "max_gap": tuning.max_gap})
    return profile.model_copy(update={"modbus": mapped})


def register_profile(
    table: RegisterTable, addresses: Sequence[int], source: str, *, max_registers: int = 125
) -> DeviceProfile:
    """A profile with an unsigned point for each register (or bit): raw numbers, to be replaced one by one."""
    kind = RegisterType.BOOL if table.is_bits else RegisterType.UINT16
    return mapped_profile(
        {
            f"{table.value.title()}{at}": RegisterMapping(address=at, type=kind)
            for at in addresses[:MOST_POINTS]
        },
        source,
        ModbusMap(table=table, max_registers=min(125, max_registers), registers={}),
    )


def mapped_profile(
    mappings: Mapping[str, RegisterMapping], source: str, frame: ModbusMap, title: str = "Drafted device"
) -> DeviceProfile:
    """A profile of points without unit in the tables and limits of ``frame``."""
    points = {
        name: PointSpec(
            title=f"{frame.table.value.title()} {mapping.address} as {mapping.type}",
            unit=Unit.COUNT,
            kind=PointKind.STATE if mapping.type is RegisterType.BOOL else PointKind.ANALOG,
        )
        for name, mapping in mappings.items()
    }
    return DeviceProfile(
        id=PROFILE,
        title=title,
        source=source,
        points=points,
        modbus=frame.model_copy(update={"registers": dict(mappings)}),
    )


def _devices(profile: str, units: Sequence[int]) -> tuple[Device, ...]:
    return tuple(
        drafted_device(unit, profile, modbus=ModbusAddress(gateway=GATEWAY, unit=unit)) for unit in units
    )
