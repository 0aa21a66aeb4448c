"""What of a site is measured: meters, ends of branches and plants, and the points that rules read."""

from __future__ import annotations

from functools import cached_property

from alerts.config import AlertsSettings
from alerts.rules.balance import Exchange
from alerts.rules.line_state import LineEnds, LineWatch, MeterAccuracy
from alerts.rules.metering import MeterPair
from alerts.schedules import ScheduleBook
from telemetry.devices import Device, Role
from telemetry.grid import Hvdc, Line, Tie
from telemetry.site import Site

POWER, REACTIVE, VOLTAGE, CURRENT, FREQUENCY = "TotW", "TotVAr", "PPV", "A", "Hz"
EXPORTED, IMPORTED = "TotWhExp", "TotWhImp"
"""Names of the points of a meter that rules read."""
PLANT_POWER, AVAILABLE, CURTAILED, IRRADIANCE = "W", "AvlW", "Curtailed", "GHI"
"""Names of the points of a plant that rules read."""

_METERS = (Role.INJECTION, Role.MAIN, Role.CHECK)


class GapError(LookupError):
    """Something that a rule needs is not measured."""


class Survey:
    """The site as its rules see it; a line that several rules watch is watched once."""

    def __init__(self, site: Site, settings: AlertsSettings, schedules: ScheduleBook) -> None:
        self.site = site
        self.settings = settings
        self.schedules = schedules
        self.branches: dict[str, Line | Hvdc] = {line.id: line for line in site.grid.line}
        self.branches |= {link.id: link for link in site.grid.hvdc}
        self._watches: dict[str, LineWatch] = {}

    def renewable(self, area: str) -> tuple[list[tuple[str, int]], float]:
        """Wind and solar plants of an area with their power points, and their rating [MW].

        They are those that say how much wind or sun would allow.
        """
        plants, rated_mw = [], 0.0
        for device in self.site.devices.values():
            if device.role is not Role.PLANT or not device.enabled or device.rated_mw is None:
                continue
            power = self.site.find(device.id, PLANT_POWER)
            if power is None or self.site.find(device.id, AVAILABLE) is None:
                continue
            if self.site.area_of(device.node) == area:
                plants.append((device.id, power.index))
                rated_mw += device.rated_mw
        return plants, rated_mw

    def neighbour(self, branch: Line | Hvdc, meter: Device) -> tuple[str, int] | None:
        """The other meter of the same end, or else the main meter of the other end, with its power point."""
        away = branch.to_node if meter.node == branch.from_node else branch.from_node
        other = Role.CHECK if meter.role is Role.MAIN else Role.MAIN
        for candidate in (self.site.meter(branch.id, meter.node, other), self.site.meter(branch.id, away)):
            point = self.site.find(candidate.id, POWER) if candidate is not None else None
            if candidate is not None and point is not None and self.site.find(meter.id, POWER) is not None:
                return candidate.id, point.index
        return None

    def pairs(self, branch: Line | Hvdc) -> list[MeterPair]:
        """Main and check meter at each end that has both."""
        pairs = []
        for node in (branch.from_node, branch.to_node):
            meters = [self.site.meter(branch.id, node, role) for role in (Role.MAIN, Role.CHECK)]
            points = [self.site.find(meter.id, POWER) for meter in meters if meter is not None]
            if len(points) == 2 and points[0] is not None and points[1] is not None:
                pairs.append(MeterPair(node, points[0].index, points[1].index))
        return pairs

    def injection(self, node: str) -> Device | None:
        """The meter of a node's total injection, where every branch of the node is metered too."""
        branches = [b for b in self.branches.values() if node in {b.from_node, b.to_node}]
        if not branches or not all(self.site.meter(branch.id, node) for branch in branches):
            return None
        meters = (d for d in self.metering if d.role is Role.INJECTION and d.node == node)
        return next((meter for meter in meters if self.site.find(meter.id, POWER) is not None), None)

    def ties_of(self, area: str) -> list[Tie]:
        """Ties that an area has a part in."""
        return [tie for tie in self.site.grid.tie if area in {tie.from_area, tie.to_area}]

    def exchanges_of(self, area: str) -> list[Exchange]:
        """An area's ties as it sees them.

        Raises
        ------
        GapError
            One is not metered where it is accounted.

        """
        return [
            Exchange(
                tie.id,
                tie.delivery_node,
                1 if self.site.grid.outflow(tie)[0] == area else -1,
                self.point(self.main_meter(tie.id, tie.delivery_node), POWER),
                self.schedules.of(tie.id),
                tie.to_area if tie.from_area == area else tie.from_area,
            )
            for tie in self.ties_of(area)
        ]

    def watch(self, line: Line) -> LineWatch:
        """A line as its main meters show it.

        Raises
        ------
        GapError
            It is not metered at both ends.

        """
        if line.id not in self._watches:
            near = self.main_meter(line.id, line.from_node)
            far = self.main_meter(line.id, line.to_node)
            ends = LineEnds(
                self.point(near, POWER),
                self.point(near, REACTIVE),
                self.point(near, VOLTAGE),
                self.point(far, POWER),
                self.point(far, REACTIVE),
                MeterAccuracy.of(self.site.profiles[near.profile]),
                MeterAccuracy.of(self.site.profiles[far.profile]),
                self.checks(line),
            )
            clock_sigma_s = self.settings.two_end.of(line.id).clock_sigma_s
            self._watches[line.id] = LineWatch(self.site.grid, line, ends, clock_sigma_s)
        return self._watches[line.id]

    def ends(self, branch: Line | Hvdc) -> list[tuple[str, int, int | None]]:
        """Node, power point and current point at each end that has a main meter."""
        ends = []
        for node in (branch.from_node, branch.to_node):
            meter = self.site.meter(branch.id, node)
            power = self.site.find(meter.id, POWER) if meter is not None else None
            if meter is not None and power is not None:
                current = self.site.find(meter.id, CURRENT)
                ends.append((node, power.index, current.index if current is not None else None))
        return ends

    def checks(self, line: Line) -> dict[str, int]:
        """Power points of the check meters of a line, by node."""
        checks = {}
        for node in (line.from_node, line.to_node):
            meter = self.site.meter(line.id, node, Role.CHECK)
            point = self.site.find(meter.id, POWER) if meter is not None else None
            if point is not None:
                checks[node] = point.index
        return checks

    @cached_property
    def metering(self) -> list[Device]:
        """Meters in use, injection meters first."""
        devices = [d for d in self.site.devices.values() if d.enabled and d.role in _METERS]
        return sorted(devices, key=lambda device: _METERS.index(device.role))

    def meters(self, nodes: set[str], name: str) -> list[tuple[str, int]]:
        """Meters at nodes that measure a point, and that point's index."""
        found = []
        for device in self.metering:
            point = self.site.find(device.id, name) if device.node in nodes else None
            if point is not None:
                found.append((device.id, point.index))
        return found

    def main_meter(self, branch: str, node: str) -> Device:
        """The main meter of a branch at one of its ends.

        Raises
        ------
        GapError
            There is none.

        """
        meter = self.site.meter(branch, node)
        if meter is None:
            raise GapError(f"{branch} has no main meter at {node}")
        return meter

    def point(self, meter: Device, name: str) -> int:
        """Index of a device's point.

        Raises
        ------
        GapError
            It has none of this name.

        """
        point = self.site.find(meter.id, name)
        if point is None:
            raise GapError(f"{meter.id} has no point {name}")
        return point.index
