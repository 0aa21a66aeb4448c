"""A site as its dashboards see it: which series hold what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alerts.config import AlertsSettings
from grafana.influxql import Meter
from telemetry.devices import Device, Role
from telemetry.grid import Grid, Hvdc, Line, Tie
from telemetry.profiles import DeviceProfile


@dataclass(frozen=True, slots=True)
class Model:
    """What every dashboard of a site is made from: the same configuration that the rules judge by."""

    name: str
    grid: Grid
    devices: Sequence[Device]
    profiles: Mapping[str, DeviceProfile]
    alerts: AlertsSettings
    console: str
    """Address of the console, without a slash at its end: where alarms are acknowledged."""

    def device(self, branch: str, node: str, role: Role) -> Device | None:
        """A meter of a branch at one of its ends; None when there is none in use."""
        for device in self.devices:
            if (device.branch, device.node, device.role, device.enabled) == (branch, node, role, True):
                return device
        return None

    def meter(self, branch: str, node: str, role: Role = Role.MAIN) -> Meter | None:
        """The series of such a meter."""
        device = self.device(branch, node, role)
        return Meter.of(device) if device is not None else None

    def measurements_with(self, *points: str, role: Role | None = None) -> list[str]:
        """Measurements of devices in use that have all of some points."""
        return sorted(
            {
                device.profile
                for device in self.devices
                if device.enabled
                and role in {None, device.role}
                and set(points) <= self.profiles[device.profile].points.keys()
            }
        )

    def exchanges(self, area: str) -> list[tuple[Tie, int, Meter]] | None:
        """Ties of an area, with the sign that makes their meter count as export; None if one has no meter."""
        found = []
        for tie in self.grid.tie:
            exporter, importer = self.grid.outflow(tie)
            if area not in {exporter, importer}:
                continue
            meter = self.meter(tie.id, tie.delivery_node)
            if meter is None:
                return None
            found.append((tie, 1 if area == exporter else -1, meter))
        return found

    def branches(self) -> list[tuple[Line | Hvdc, float]]:
        """Lines and links with their transfer limit while everything is in service [MW]."""
        lines = [(line, line.limit_mw) for line in self.grid.line]
        return [*lines, *((link, link.limit_mw) for link in self.grid.hvdc)]
