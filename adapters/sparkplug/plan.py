"""Which metric of which edge node is which point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters.sparkplug.readings import Rows
from telemetry.errors import ConfigError, Problem
from telemetry.site import SitePoint
from telemetry.units import conversion

NodeKey = tuple[str, str]
"""Group and edge node."""


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """A device of an edge node, or the node itself, as it is configured."""

    device: str
    """Id of the device in the configuration."""
    rows: Mapping[str, int]
    """Row of each metric by its name."""


@dataclass(frozen=True, slots=True)
class HostPlan:
    """Everything that a host application is to read."""

    nodes: Mapping[NodeKey, Mapping[str | None, UnitPlan]]
    """By edge node, and in it by Sparkplug device; None stands for the node's own metrics."""
    rows: Rows


def plan_host(points: Sequence[SitePoint]) -> HostPlan:
    """Plans for every device that the points belong to.

    Raises
    ------
    ConfigError
        A device is not on Sparkplug, or two have the same place in the namespace.

    """
    nodes: dict[NodeKey, dict[str | None, UnitPlan]] = {}
    rows: dict[str, dict[str, int]] = {}
    problems: list[Problem] = []
    scale, offset = [], []
    for row, point in enumerate(points):
        device, sparkplug = point.device, point.profile.sparkplug
        where = f"device {device.id}"
        if device.sparkplug is None or sparkplug is None:
            fix = "give it sparkplug = { host, group, edge } and a profile with [sparkplug]"
            if device.id not in rows:
                problems.append(Problem(where, "sparkplug", "", "not a Sparkplug device", fix))
            rows.setdefault(device.id, {})
            continue
        if device.id not in rows:
            rows[device.id] = {}
            address = device.sparkplug
            units = nodes.setdefault((address.group, address.edge), {})
            other = units.setdefault(address.device, UnitPlan(device.id, rows[device.id]))
            if other.device != device.id:
                reason = f"{other.device} has the same group, edge node and device"
                problems.append(Problem(where, "sparkplug", "", reason, "one place, one device"))
        mapping = sparkplug.metrics[point.key.name]
        rows[device.id][mapping.metric] = row
        if mapping.unit is not None:
            factor, shift = conversion(mapping.unit, point.spec.unit)
        else:
            factor, shift = mapping.scale, mapping.offset
        scale.append(factor)
        offset.append(shift)
    if problems:
        raise ConfigError(problems)
    return HostPlan(
        nodes,
        Rows(
            [point.index for point in points],
            scale,
            offset,
            [point.spec.low for point in points],
            [point.spec.high for point in points],
        ),
    )
