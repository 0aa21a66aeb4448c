"""Which rules watch which assets of a site."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from alerts.alignment import Snapshot
from alerts.config import AlertsSettings
from alerts.rules.balance import Exchange, NetPositionRule
from alerts.rules.converter import ConverterRule, LinkEnds
from alerts.rules.exchange import ExchangeRule
from alerts.rules.finding import Rule, Subject
from alerts.rules.frequency import FrequencyRule
from alerts.rules.line_state import LineEnds, LineWatch, MeterAccuracy
from alerts.rules.loading import LoadedBranch, LoadingRule
from alerts.rules.metering import CheckMeterRule, CounterRule, FlatlineRule, MeterPair
from alerts.rules.node import NodeBranch, NodeRule
from alerts.rules.ramp import RampRule
from alerts.rules.two_end import TwoEndRule
from alerts.rules.voltage import VoltageRule
from alerts.schedules import ScheduleBook
from alerts.two_port import hvdc_loss_mw
from telemetry.devices import Device, Role
from telemetry.grid import Hvdc, Line, Tie, TieKind
from telemetry.site import Site

POWER, REACTIVE, VOLTAGE, CURRENT, FREQUENCY = "TotW", "TotVAr", "PPV", "A", "Hz"
EXPORTED, IMPORTED = "TotWhExp", "TotWhImp"
"""Names of the points of a meter that rules read."""
PLANT_POWER, AVAILABLE = "W", "AvlW"
"""Names of the points of a plant that rules read."""

_METERS = (Role.INJECTION, Role.MAIN, Role.CHECK)


@dataclass(frozen=True, slots=True)
class Gap:
    """A rule that cannot watch its asset, because something is not measured."""

    subject: Subject
    reason: str
    """For people: ``SHY-TAS has no main meter at TAS``."""


class _GapError(LookupError):
    """Something that a rule needs is not measured."""


def rules_of(
    site: Site, settings: AlertsSettings, schedules: ScheduleBook | None = None
) -> tuple[Sequence[Rule], Sequence[Gap]]:
    """The rules on aligned inputs for every asset of a site, and those that cannot be built.

    A rule of the exchanges or of a line that lacks a meter is a gap, for somebody relies on it; other rules
    watch what is measured. Without ``schedules`` the standing ones of the grid hold.
    """
    catalogue = _Catalogue(site, settings, schedules or ScheduleBook(site.grid))
    rules: list[Rule] = []
    gaps: list[Gap] = []
    for subject, build in catalogue.assets():
        try:
            rules.append(build())
        except _GapError as error:
            gaps.append(Gap(subject, str(error)))
    return rules, gaps


_Asset = tuple[Subject, Callable[[], Rule]]


class _Catalogue:
    """Builds the rules of one site."""

    def __init__(self, site: Site, settings: AlertsSettings, schedules: ScheduleBook) -> None:
        self._site = site
        self._settings = settings
        self._schedules = schedules
        self._branches: dict[str, Line | Hvdc] = {line.id: line for line in site.grid.line}
        self._branches |= {link.id: link for link in site.grid.hvdc}
        self._watches: dict[str, LineWatch] = {}

    def assets(self) -> Iterator[_Asset]:
        """What each rule watches, and how to build it."""
        yield from self._exchanges()
        yield from self._lines()
        yield from self._areas()
        yield from self._ramps()
        yield from self._nodes()
        yield from self._links()
        yield from self._meter_rules()

    def _exchanges(self) -> Iterator[_Asset]:
        for tie in self._site.grid.tie:
            if tie.kind is not TieKind.RING and self._settings.exchange.of(tie.id).enabled:
                yield Subject("R1", 1, tie.id, tie.from_area), partial(self._exchange, tie)

    def _lines(self) -> Iterator[_Asset]:
        for line in self._site.grid.line:
            if self._settings.two_end.of(line.id).enabled:
                subject = Subject("R6", 1, line.id, self._site.area_of(line.from_node))
                yield subject, partial(self._two_end, line)
        for branch in self._branches.values():
            if self._settings.loading.of(branch.id).enabled and self._ends(branch):
                subject = Subject("R12", 1, branch.id, self._site.area_of(branch.from_node))
                yield subject, partial(self._loading, branch)

    def _areas(self) -> Iterator[_Asset]:
        for area in self._site.grid.area:
            if self._settings.net_position.of(area.id).enabled and self._ties_of(area.id):
                subject = Subject("R2", 1, area.id, area.id)
                yield subject, partial(self._net_position, area.id)
        for sync_area in dict.fromkeys(area.sync_area for area in self._site.grid.area):
            settings = self._settings.frequency.of(sync_area)
            areas = {area.id for area in self._site.grid.area if area.sync_area == sync_area}
            nodes = {node.id for node in self._site.grid.node if node.area in areas}
            if settings.enabled and (meters := self._meters(nodes, FREQUENCY)):
                subject = Subject("R10", 1, sync_area, "")
                yield subject, partial(FrequencyRule, sync_area, meters, settings)

    def _ramps(self) -> Iterator[_Asset]:
        for area in self._site.grid.area:
            settings = self._settings.ramp.of(area.id)
            plants, rated_mw = self._renewable(area.id)
            if settings.enabled and plants:
                build = partial(RampRule, area.id, plants, rated_mw, settings)
                yield Subject("R11", 1, area.id, area.id), build

    def _renewable(self, area: str) -> tuple[list[tuple[str, int]], float]:
        """Wind and solar plants of an area with their power points, and their rating [MW].

        They are those that say how much wind or sun would allow.
        """
        plants, rated_mw = [], 0.0
        for device in self._site.devices.values():
            if device.role is not Role.PLANT or not device.enabled or device.rated_mw is None:
                continue
            power = self._site.find(device.id, PLANT_POWER)
            if power is None or self._site.find(device.id, AVAILABLE) is None:
                continue
            if self._site.area_of(device.node) == area:
                plants.append((device.id, power.index))
                rated_mw += device.rated_mw
        return plants, rated_mw

    def _links(self) -> Iterator[_Asset]:
        for link in self._site.grid.hvdc:
            settings = self._settings.converter.of(link.id)
            if settings.enabled and len(self._ends(link)) == 2:
                subject = Subject("R8", 1, link.id, self._site.area_of(link.from_node))
                yield subject, partial(self._converter, link)

    def _converter(self, link: Hvdc) -> Rule:
        near = self._main_meter(link.id, link.from_node)
        far = self._main_meter(link.id, link.to_node)
        ends = LinkEnds(
            self._point(near, POWER),
            self._point(far, POWER),
            MeterAccuracy.of(self._site.profiles[near.profile]),
            MeterAccuracy.of(self._site.profiles[far.profile]),
        )
        tie = next((tie for tie in self._site.grid.tie if tie.id == link.id), None)
        schedule = self._schedules.of(tie.id) if tie is not None else None
        area, settings = self._site.area_of(link.from_node), self._settings.converter.of(link.id)
        return ConverterRule(link, area, ends, schedule, settings)

    def _meter_rules(self) -> Iterator[_Asset]:
        for meter in self._metering:
            branch = self._branches.get(meter.branch or "")
            if branch is None:
                continue
            area = self._site.area_of(meter.node)
            flat, counter = self._settings.flatline.of(meter.id), self._settings.counter.of(meter.id)
            neighbour = self._neighbour(branch, meter)
            if flat.enabled and neighbour is not None and not self._site.profiles[meter.profile].by_exception:
                power = self._point(meter, POWER)
                coarse = self._site.points[power].spec.resolution
                lsb = max(flat.lsb_pct / 100 * branch.limit_mw, coarse)
                subject = Subject("R14", 1, meter.id, area)
                yield subject, partial(FlatlineRule, subject, power, neighbour, lsb, flat)
            counters = [self._site.find(meter.id, name) for name in (EXPORTED, IMPORTED)]
            if counter.enabled and counters[0] is not None and counters[1] is not None:
                subject, power = Subject("R16", 1, meter.id, area), self._point(meter, POWER)
                yield subject, partial(CounterRule, subject, power, counters[0], counters[1], counter)
        for branch in self._branches.values():
            pairs, settings = self._pairs(branch), self._settings.check_meter.of(branch.id)
            if settings.enabled and pairs:
                subject = Subject("R15", 1, branch.id, self._site.area_of(branch.from_node))
                yield subject, partial(CheckMeterRule, subject, pairs, branch.limit_mw, settings)

    def _neighbour(self, branch: Line | Hvdc, meter: Device) -> tuple[str, int] | None:
        """The other meter of the same end, or else the main meter of the other end, with its power point."""
        away = branch.to_node if meter.node == branch.from_node else branch.from_node
        other = Role.CHECK if meter.role is Role.MAIN else Role.MAIN
        for candidate in (self._site.meter(branch.id, meter.node, other), self._site.meter(branch.id, away)):
            point = self._site.find(candidate.id, POWER) if candidate is not None else None
            if candidate is not None and point is not None and self._site.find(meter.id, POWER) is not None:
                return candidate.id, point.index
        return None

    def _pairs(self, branch: Line | Hvdc) -> list[MeterPair]:
        """Main and check meter at each end that has both."""
        pairs = []
        for node in (branch.from_node, branch.to_node):
            meters = [self._site.meter(branch.id, node, role) for role in (Role.MAIN, Role.CHECK)]
            points = [self._site.find(meter.id, POWER) for meter in meters if meter is not None]
            if len(points) == 2 and points[0] is not None and points[1] is not None:
                pairs.append(MeterPair(node, points[0].index, points[1].index))
        return pairs

    def _nodes(self) -> Iterator[_Asset]:
        for node in self._site.grid.node:
            settings = self._settings.voltage.of(node.id)
            if settings.enabled and (meters := self._meters({node.id}, VOLTAGE)):
                kv = self._site.grid.u_rated_kv
                subject = Subject("R20", 1, node.id, node.area)
                yield subject, partial(VoltageRule, node.id, node.area, kv, meters, settings)
            injection = self._injection(node.id)
            if self._settings.node.of(node.id).enabled and injection is not None:
                subject = Subject("R7", 1, node.id, node.area)
                yield subject, partial(self._node, subject, injection)

    def _injection(self, node: str) -> Device | None:
        """The meter of a node's total injection, where every branch of the node is metered too."""
        branches = [b for b in self._branches.values() if node in {b.from_node, b.to_node}]
        if not branches or not all(self._site.meter(branch.id, node) for branch in branches):
            return None
        meters = (d for d in self._metering if d.role is Role.INJECTION and d.node == node)
        return next((meter for meter in meters if self._site.find(meter.id, POWER) is not None), None)

    def _node(self, subject: Subject, injection: Device) -> Rule:
        node = subject.asset
        branches = []
        for branch in self._branches.values():
            if node in {branch.from_node, branch.to_node}:
                meter = self._main_meter(branch.id, node)
                accuracy = MeterAccuracy.of(self._site.profiles[meter.profile])
                inputs, residual = self._residual(branch)
                branches.append(NodeBranch(branch.id, self._point(meter, POWER), accuracy, inputs, residual))
        accuracy = MeterAccuracy.of(self._site.profiles[injection.profile])
        settings = self._settings.node.of(node)
        return NodeRule(subject, (self._point(injection, POWER), accuracy), branches, settings)

    def _residual(self, branch: Line | Hvdc) -> tuple[Sequence[int], Callable[[Snapshot], float | None]]:
        """What a branch's two ends leave unaccounted for, and the points that it is computed from."""
        if isinstance(branch, Line):
            try:
                watch = self._watch(branch)
            except _GapError:
                return (), lambda _: None
            return watch.inputs, watch.residual
        points = [power for _, power, _ in self._ends(branch)]
        if len(points) != 2:
            return (), lambda _: None
        return points, partial(_link_residual, branch, points)

    def _exchange(self, tie: Tie) -> Rule:
        meter = self._main_meter(tie.id, tie.delivery_node)
        return ExchangeRule(
            tie,
            self._schedules.of(tie.id),
            self._site.grid.outflow(tie),
            self._point(meter, POWER),
            self._settings.exchange.of(tie.id),
            period_s=self._site.profiles[meter.profile].period_s,
        )

    def _ties_of(self, area: str) -> list[Tie]:
        return [tie for tie in self._site.grid.tie if area in {tie.from_area, tie.to_area}]

    def _net_position(self, area: str) -> Rule:
        return NetPositionRule(area, self._exchanges_of(area), self._settings.net_position.of(area))

    def _exchanges_of(self, area: str) -> list[Exchange]:
        return [
            Exchange(
                tie.id,
                tie.delivery_node,
                1 if self._site.grid.outflow(tie)[0] == area else -1,
                self._point(self._main_meter(tie.id, tie.delivery_node), POWER),
                self._schedules.of(tie.id),
                tie.to_area if tie.from_area == area else tie.from_area,
            )
            for tie in self._ties_of(area)
        ]

    def _two_end(self, line: Line) -> Rule:
        settings = self._settings.two_end.of(line.id)
        return TwoEndRule(self._watch(line), self._site.area_of(line.from_node), settings)

    def _watch(self, line: Line) -> LineWatch:
        if line.id not in self._watches:
            near = self._main_meter(line.id, line.from_node)
            far = self._main_meter(line.id, line.to_node)
            ends = LineEnds(
                self._point(near, POWER),
                self._point(near, REACTIVE),
                self._point(near, VOLTAGE),
                self._point(far, POWER),
                self._point(far, REACTIVE),
                MeterAccuracy.of(self._site.profiles[near.profile]),
                MeterAccuracy.of(self._site.profiles[far.profile]),
                self._checks(line),
            )
            clock_sigma_s = self._settings.two_end.of(line.id).clock_sigma_s
            self._watches[line.id] = LineWatch(self._site.grid, line, ends, clock_sigma_s)
        return self._watches[line.id]

    def _loading(self, branch: Line | Hvdc) -> Rule:
        ends = self._ends(branch)
        area, settings = self._site.area_of(branch.from_node), self._settings.loading.of(branch.id)
        if isinstance(branch, Hvdc):
            loaded = LoadedBranch(branch.id, 1, (branch.limit_mw,), None, ends)
            return LoadingRule(loaded, area, settings, (), lambda _: 1)
        loaded = LoadedBranch(branch.id, branch.circuits, branch.limits_mw, branch.thermal_a, ends)
        try:
            watch = self._watch(branch)
        except _GapError:
            return LoadingRule(loaded, area, settings, (), lambda _: branch.circuits)
        return LoadingRule(loaded, area, settings, watch.inputs, watch.circuits)

    def _ends(self, branch: Line | Hvdc) -> list[tuple[str, int, int | None]]:
        """Node, power point and current point at each end that has a main meter."""
        ends = []
        for node in (branch.from_node, branch.to_node):
            meter = self._site.meter(branch.id, node)
            power = self._site.find(meter.id, POWER) if meter is not None else None
            if meter is not None and power is not None:
                current = self._site.find(meter.id, CURRENT)
                ends.append((node, power.index, current.index if current is not None else None))
        return ends

    def _checks(self, line: Line) -> dict[str, int]:
        """Power points of the check meters of a line, by node."""
        checks = {}
        for node in (line.from_node, line.to_node):
            meter = self._site.meter(line.id, node, Role.CHECK)
            point = self._site.find(meter.id, POWER) if meter is not None else None
            if point is not None:
                checks[node] = point.index
        return checks

    @cached_property
    def _metering(self) -> list[Device]:
        """Meters in use, injection meters first."""
        devices = [d for d in self._site.devices.values() if d.enabled and d.role in _METERS]
        return sorted(devices, key=lambda device: _METERS.index(device.role))

    def _meters(self, nodes: set[str], name: str) -> list[tuple[str, int]]:
        """Meters at nodes that measure a point, and that point's index."""
        found = []
        for device in self._metering:
            point = self._site.find(device.id, name) if device.node in nodes else None
            if point is not None:
                found.append((device.id, point.index))
        return found

    def _main_meter(self, branch: str, node: str) -> Device:
        meter = self._site.meter(branch, node)
        if meter is None:
            raise _GapError(f"{branch} has no main meter at {node}")
        return meter

    def _point(self, meter: Device, name: str) -> int:
        point = self._site.find(meter.id, name)
        if point is None:
            raise _GapError(f"{meter.id} has no point {name}")
        return point.index


def _link_residual(link: Hvdc, points: Sequence[int], snapshot: Snapshot) -> float | None:
    near, far = (snapshot.leg(point) for point in points)
    if not (near.usable and far.usable):
        return None
    return near.value + far.value - hvdc_loss_mw(link, max(abs(near.value), abs(far.value)))
