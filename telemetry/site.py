"""The site: grid, devices and profiles joined, with the index of every point. Built once, at start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from telemetry.devices import Device, Role
from telemetry.grid import Grid
from telemetry.points import PointKey, PointSpec
from telemetry.profiles import DeviceProfile
from telemetry.registry import PointRegistry


@dataclass(frozen=True, slots=True)
class SitePoint:
    """One point of one device of the site."""

    index: int
    key: PointKey
    spec: PointSpec
    device: Device
    profile: DeviceProfile

    @property
    def path(self) -> str:
        """For people and addresses: ``SHY-TAS_SHY_main/TotW``."""
        return f"{self.key.device}/{self.key.name}"


def point_keys(devices: Iterable[Device], profiles: Mapping[str, DeviceProfile]) -> list[PointKey]:
    """Keys of every point of the devices, in the order of configuration: what the registry must hold."""
    return [
        PointKey(device.id, name, spec.unit.value)
        for device in devices
        for name, spec in profiles[device.profile].points.items()
    ]


@dataclass(frozen=True)
class Site:
    """Everything that is known before the first reading."""

    name: str
    grid: Grid
    devices: Mapping[str, Device]
    profiles: Mapping[str, DeviceProfile]
    points: Mapping[int, SitePoint] = field(repr=False)

    @classmethod
    def of(
        cls,
        name: str,
        grid: Grid,
        devices: Sequence[Device],
        profiles: Mapping[str, DeviceProfile],
        registry: PointRegistry,
    ) -> Site:
        """Joins the parts; every point must have its index in the registry.

        Raises
        ------
        RegistryError
            A point has no index yet.

        """
        points = {}
        for device in devices:
            profile = profiles[device.profile]
            for point_name, spec in profile.points.items():
                key = PointKey(device.id, point_name, spec.unit.value)
                index = registry.index(key)
                points[index] = SitePoint(index, key, spec, device, profile)
        return cls(name, grid, {device.id: device for device in devices}, dict(profiles), points)

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], SitePoint]:
        return {(point.key.device, point.key.name): point for point in self.points.values()}

    def find(self, device: str, name: str) -> SitePoint | None:
        """Point of a device by name; None when there is none."""
        return self._by_name.get((device, name))

    def points_of(self, device: str) -> list[SitePoint]:
        """Points of a device in the profile's order."""
        names = self.profiles[self.devices[device].profile].points
        return [self._by_name[device, name] for name in names]

    def meter(self, branch: str, node: str, role: Role = Role.MAIN) -> Device | None:
        """The meter of a branch at one of its ends; None when there is none."""
        for device in self.devices.values():
            if device.branch == branch and device.node == node and device.role is role and device.enabled:
                return device
        return None

    def area_of(self, node: str) -> str:
        """Area of a node, empty for an unknown one."""
        return next((n.area for n in self.grid.node if n.id == node), "")

    @cached_property
    def links(self) -> dict[str, list[Device]]:
        """Devices by the link that they depend on; those taken out of use, or without one, are left out."""
        links: dict[str, list[Device]] = {}
        for device in self.devices.values():
            if device.enabled and device.link:
                links.setdefault(device.link, []).append(device)
        return links
