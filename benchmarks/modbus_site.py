"""Gateways full of devices for load: each has 50 values of 32 bits in each read of 100 registers."""

from __future__ import annotations

from telemetry.devices import Device, ModbusAddress, Role
from telemetry.points import PointKey
from telemetry.profiles import DeviceProfile, parse_profile
from telemetry.site import SitePoint

VALUES = 50
"""Values in one read."""
REGISTERS = 2 * VALUES


def profile(reads: int, period_s: float) -> DeviceProfile:
    """A device whose values take so many reads."""
    lines = ['id = "load"', 'title = "Load"', 'source = "benchmark"', f"period_s = {period_s}"]
    for i in range(reads * VALUES):
        lines += [f"[points.v{i}]", f'title = "v{i}"', 'unit = "1"', "low = 0.0", "high = 5e9"]
    lines += ["[modbus]", 'table = "holding"', f"max_registers = {REGISTERS}", "[modbus.registers]"]
    lines += [f'v{i} = {{ address = {2 * i}, type = "uint32" }}' for i in range(reads * VALUES)]
    return parse_profile("\n".join(lines), "load.toml")


def gateway_points(gateway: int, units: int, kind: DeviceProfile) -> list[SitePoint]:
    """The points of all devices behind one gateway."""
    points = []
    for unit in range(1, units + 1):
        device = Device(
            id=f"load-{gateway}-{unit}",
            profile=kind.id,
            node="SHY",
            role=Role.INJECTION,
            modbus=ModbusAddress(gateway=f"g{gateway}", unit=unit),
        )
        first = (gateway * units + unit - 1) * len(kind.points)
        points += [
            SitePoint(first + i, PointKey(device.id, name, spec.unit.value), spec, device, kind)
            for i, (name, spec) in enumerate(kind.points.items())
        ]
    return points
