"""Drafts profiles and devices from births; pure."""

from __future__ import annotations

from adapters.sparkplug.codec import Definition
from adapters.sparkplug.config import HostSettings
from adapters.sparkplug.directory import Directory
from adapters.sparkplug.values import DataType
from commissioning.drafts import NODE, Draft
from commissioning.naming import device_id, point_name
from telemetry.devices import Device, Role, SparkplugAddress
from telemetry.points import PointKind, PointSpec, Unit
from telemetry.profiles import DeviceProfile, MetricMapping, SparkplugMap
from telemetry.units import stored_unit

MOST_DEVICES = 500
"""Devices that a draft holds."""

_Kind = tuple[tuple[str, int, str], ...]
"""Name, datatype and unit of each metric: devices of one kind share a profile."""


def drafted(directory: Directory, host: HostSettings) -> Draft | None:
    """A profile for each kind of device that was born; None when none has a number."""
    profiles: dict[_Kind, DeviceProfile] = {}
    devices: list[Device] = []
    taken: set[str] = set()
    left_out = 0
    for (group, edge), name, entry in directory.entries():
        kind: _Kind = tuple((d.name, d.datatype, d.unit) for d in entry.definitions if _is_point(d))
        if not kind:
            continue
        if len(devices) >= MOST_DEVICES:
            left_out += 1
            continue
        if kind not in profiles:
            profiles[kind] = _profile(f"drafted-{len(profiles) + 1}", kind)
        own = device_id(edge if name is None else f"{edge}-{name}", taken)
        taken.add(own)
        address = SparkplugAddress(host=host.id, group=group, edge=edge, device=name)
        devices.append(
            Device(id=own, profile=profiles[kind].id, node=NODE, role=Role.UNIT, sparkplug=address)
        )
    if not devices:
        return None
    notes = (f"{left_out} more devices are not in it",) if left_out else ()
    first, *more = profiles.values()
    return Draft(first, "sparkplug", "host", host, tuple(devices), notes, further=tuple(more))


def _is_point(definition: Definition) -> bool:
    return not (definition.refused or definition.transient or definition.is_control)


def _profile(name: str, kind: _Kind) -> DeviceProfile:
    points: dict[str, PointSpec] = {}
    metrics: dict[str, MetricMapping] = {}
    for metric, datatype, given in kind:
        own, stored = point_name(metric, points), stored_unit(given) if given else None
        is_state = datatype == DataType.BOOLEAN
        points[own] = PointSpec(
            title=metric,
            unit=Unit.COUNT if stored is None else stored,
            kind=PointKind.STATE if is_state else PointKind.ANALOG,
        )
        metrics[own] = MetricMapping(metric=metric, unit=given if stored is not None else None)
    return DeviceProfile(
        id=name,
        title=f"Drafted from a birth of {len(kind)} metrics",
        source="drafted by greenbridge probe sparkplug from a birth",
        points=points,
        sparkplug=SparkplugMap(metrics=metrics),
    )
