"""Which rules watch which assets of a site."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from alerts.alignment import Snapshot
from alerts.config import AlertsSettings
from alerts.power_flow import PowerFlow
from alerts.rules.area_balance import AreaBalanceRule, Measured
from alerts.rules.balance import NetPositionRule
from alerts.rules.contingency import Arming, ContingencyRule
from alerts.rules.control_error import ControlErrorRule
from alerts.rules.converter import ConverterRule, LinkEnds
from alerts.rules.custom import custom_rules
from alerts.rules.exchange import ExchangeRule
from alerts.rules.finding import Rule, Subject
from alerts.rules.frequency import FrequencyRule, RateOfChangeRule, SeparationRule
from alerts.rules.grid_view import GridView, MeteredBranch
from alerts.rules.line_state import MeterAccuracy
from alerts.rules.loading import LoadedBranch, LoadingRule
from alerts.rules.metering import CheckMeterRule, CounterRule, FlatlineRule
from alerts.rules.node import NodeBranch, NodeRule
from alerts.rules.oscillation import OscillationRule
from alerts.rules.plausibility import Plant, PlausibilityRule
from alerts.rules.ramp import RampRule
from alerts.rules.survey import (
    AVAILABLE,
    CURTAILED,
    EXPORTED,
    FREQUENCY,
    IMPORTED,
    IRRADIANCE,
    PLANT_POWER,
    POWER,
    VOLTAGE,
    GapError,
    Survey,
)
from alerts.rules.two_end import TwoEndRule
from alerts.rules.voltage import VoltageRule
from alerts.schedules import ScheduleBook
from alerts.two_port import hvdc_loss_mw
from telemetry.devices import Device, Role
from telemetry.grid import Area, Hvdc, Line, Tie, TieKind
from telemetry.site import Site


@dataclass(frozen=True, slots=True)
class Gap:
    """A rule that cannot watch its asset, because something is not measured."""

    subject: Subject
    reason: str
    """For people: ``SHY-TAS has no main meter at TAS``."""
    blind: bool = True
    """Somebody relies on it, so that it is shown as indeterminate; False where devices cannot serve it."""


def rules_of(
    site: Site, settings: AlertsSettings, schedules: ScheduleBook | None = None
) -> tuple[Sequence[Rule], Sequence[Gap]]:
    """The rules on aligned inputs for every asset of a site, and those that cannot be built.

    A rule of the exchanges or of a line that lacks a meter is a gap, for somebody relies on it; so is the
    damping of a tie that is read too seldom, but that one blinds nobody. Other rules watch what is measured.
    Without ``schedules`` the standing ones of the grid hold.
    """
    catalogue = _Catalogue(Survey(site, settings, schedules or ScheduleBook(site.grid)))
    rules: list[Rule] = []
    gaps: list[Gap] = []
    for subject, build in catalogue.assets():
        try:
            rules.append(build())
        except GapError as error:
            gaps.append(Gap(subject, str(error), blind=not isinstance(error, UnservedError)))
    return [*rules, *custom_rules(site, settings.rule)], gaps


class UnservedError(GapError):
    """The meters of an asset are not made for a rule: nobody relies on it."""


_Asset = tuple[Subject, Callable[[], Rule]]


class _Catalogue:
    """Builds the rules of one site."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._site, self._settings = survey.site, survey.settings

    def assets(self) -> Iterator[_Asset]:
        """What each rule watches, and how to build it."""
        yield from self._exchanges()
        yield from self._lines()
        yield from self._areas()
        yield from self._dynamics()
        yield from self._outages()
        yield from self._ramps()
        yield from self._plants()
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
        for branch in self._survey.branches.values():
            if self._settings.loading.of(branch.id).enabled and self._survey.ends(branch):
                subject = Subject("R12", 1, branch.id, self._site.area_of(branch.from_node))
                yield subject, partial(self._loading, branch)

    def _areas(self) -> Iterator[_Asset]:
        for area in self._site.grid.area:
            if self._settings.net_position.of(area.id).enabled and self._survey.ties_of(area.id):
                subject = Subject("R2", 1, area.id, area.id)
                yield subject, partial(self._net_position, area.id)
            control = self._settings.control_error.of(area.id)
            if control.enabled and area.bias_mw_per_hz is not None and self._survey.ties_of(area.id):
                subject = Subject("R9", 1, area.id, area.id)
                yield subject, partial(self._control_error, area, area.bias_mw_per_hz)
            nodes = {node.id for node in self._site.grid.node if node.area == area.id}
            metered = all(self._survey.injection(node) is not None for node in nodes)
            if self._settings.area_balance.of(area.id).enabled and nodes and metered:
                subject = Subject("R4", 1, area.id, area.id)
                yield subject, partial(self._area_balance, subject, nodes)
        for sync_area in dict.fromkeys(area.sync_area for area in self._site.grid.area):
            settings = self._settings.frequency.of(sync_area)
            areas = {area.id for area in self._site.grid.area if area.sync_area == sync_area}
            nodes = {node.id for node in self._site.grid.node if node.area in areas}
            if settings.enabled and (meters := self._survey.meters(nodes, FREQUENCY)):
                subject = Subject("R10", 1, sync_area, "")
                yield subject, partial(FrequencyRule, sync_area, meters, settings)

    def _dynamics(self) -> Iterator[_Asset]:
        grid, settings = self._site.grid, self._settings.dynamics
        for sync_area in dict.fromkeys(area.sync_area for area in grid.area):
            members = [area.id for area in grid.area if area.sync_area == sync_area]
            meters = {area: self._frequencies(area) for area in members}
            measured = [area for area in members if meters[area]]
            everywhere = [meter for area in measured for meter in meters[area]]
            own = settings.of(sync_area)
            if own.enabled and everywhere:
                changing = partial(RateOfChangeRule, sync_area, everywhere, own)
                yield Subject("R23", 1, sync_area, ""), changing
            shared = {area: meters[area] for area in measured}
            for area in measured if len(measured) > 1 else ():
                if settings.of(area).enabled:
                    build = partial(SeparationRule, area, shared, settings.of(area))
                    yield Subject("R23", 1, area, area), build
        lines = {line.id: line for line in grid.line}
        for tie in grid.tie:
            if tie.id in lines and settings.of(tie.id).enabled:
                subject = Subject("R23", 1, tie.id, tie.from_area)
                yield subject, partial(self._oscillation, subject, tie, lines[tie.id].limit_mw)

    def _outages(self) -> Iterator[_Asset]:
        settings = self._settings.contingency
        judged = [
            branch
            for branch in self._survey.branches.values()
            if settings.of(branch.id).enabled and settings.balanced_at
        ]
        view: list[GridView] = []
        for i, branch in enumerate(judged):
            subject = Subject("R21", 1, branch.id, self._site.area_of(branch.from_node))
            yield subject, partial(self._contingency, subject, view, (i, len(judged)))

    def _contingency(self, subject: Subject, view: list[GridView], turn: tuple[int, int]) -> Rule:
        settings, grid = self._settings.contingency.of(subject.asset), self._site.grid
        try:
            shared = view[0] if view else self._grid_view()
        except GapError as error:
            raise UnservedError(str(error)) from error
        view[:] = [shared]
        links = {link.id: link for link in grid.hvdc}
        run_backs = []
        for run_back in self._settings.contingency.run_back:
            if run_back.outage == subject.asset:
                device, _, name = run_back.armed.partition("/")
                armed = self._site.find(device, name) if run_back.armed else None
                point = armed.index if armed is not None else None
                run_backs.append(Arming(links[run_back.link], run_back.to_mw, point))
        return ContingencyRule(subject, grid, shared, run_backs, turn=turn, settings=settings)

    def _grid_view(self) -> GridView:
        """Every branch and busbar of the grid as its meters show it.

        Raises
        ------
        GapError
            One is not metered.

        """
        survey, grid = self._survey, self._site.grid
        branches = []
        for branch in survey.branches.values():
            near = survey.point(survey.main_meter(branch.id, branch.from_node), POWER)
            far = survey.point(survey.main_meter(branch.id, branch.to_node), POWER)
            watch = survey.watch(branch) if isinstance(branch, Line) else None
            branches.append(MeteredBranch(branch.id, branch.from_node, branch.to_node, near, far, watch))
        voltages = {}
        for node in grid.node:
            meters = survey.meters({node.id}, VOLTAGE)
            if not meters:
                raise GapError(f"no meter has the voltage of {node.id}")
            voltages[node.id] = [point for _, point in meters]
        model = PowerFlow(grid, self._settings.contingency.balanced_at)
        return GridView(model, grid.u_rated_kv, branches, voltages)

    def _frequencies(self, area: str) -> list[tuple[str, int]]:
        nodes = {node.id for node in self._site.grid.node if node.area == area}
        return self._survey.meters(nodes, FREQUENCY)

    def _oscillation(self, subject: Subject, tie: Tie, limit_mw: float) -> Rule:
        settings = self._settings.dynamics.of(tie.id)
        try:
            meter = self._survey.main_meter(tie.id, tie.delivery_node)
            power, profile = self._survey.point(meter, POWER), self._site.profiles[meter.profile]
        except GapError as error:
            raise UnservedError(str(error)) from error
        period_s, longest = profile.period_of(POWER), settings.longest_period_s
        if profile.by_exception or period_s > longest:
            often = "by exception" if profile.by_exception else f"every {period_s:g} s"
            raise UnservedError(
                f"{meter.id} is read {often}: damping up to {settings.highest_hz:g} Hz needs {longest:.2g} s"
            )
        return OscillationRule(subject, power, period_s, limit_mw, settings)

    def _ramps(self) -> Iterator[_Asset]:
        for area in self._site.grid.area:
            settings = self._settings.ramp.of(area.id)
            plants, rated_mw = self._survey.renewable(area.id)
            if settings.enabled and plants:
                build = partial(RampRule, area.id, plants, rated_mw, settings)
                yield Subject("R11", 1, area.id, area.id), build

    def _plants(self) -> Iterator[_Asset]:
        for device in self._site.devices.values():
            settings = self._settings.plausibility.of(device.id)
            if device.role is not Role.PLANT or not device.enabled or not settings.enabled:
                continue
            power, rated_mw = self._site.find(device.id, PLANT_POWER), device.rated_mw
            if power is None or rated_mw is None:
                continue
            available, curtailed = (self._site.find(device.id, name) for name in (AVAILABLE, CURTAILED))
            node = next(node for node in self._site.grid.node if node.id == device.node)
            plant = Plant(
                power.index,
                rated_mw,
                available.index if available is not None else None,
                curtailed.index if curtailed is not None else None,
                self._site.find(device.id, IRRADIANCE) is not None,
                node.latitude,
                node.longitude,
            )
            subject = Subject("R19", 1, device.id, node.area)
            yield subject, partial(PlausibilityRule, subject, plant, settings)

    def _links(self) -> Iterator[_Asset]:
        for link in self._site.grid.hvdc:
            settings = self._settings.converter.of(link.id)
            if settings.enabled and len(self._survey.ends(link)) == 2:
                subject = Subject("R8", 1, link.id, self._site.area_of(link.from_node))
                yield subject, partial(self._converter, link)

    def _converter(self, link: Hvdc) -> Rule:
        near = self._survey.main_meter(link.id, link.from_node)
        far = self._survey.main_meter(link.id, link.to_node)
        ends = LinkEnds(
            self._survey.point(near, POWER),
            self._survey.point(far, POWER),
            MeterAccuracy.of(self._site.profiles[near.profile]),
            MeterAccuracy.of(self._site.profiles[far.profile]),
        )
        tie = next((tie for tie in self._site.grid.tie if tie.id == link.id), None)
        schedule = self._survey.schedules.of(tie.id) if tie is not None else None
        area, settings = self._site.area_of(link.from_node), self._settings.converter.of(link.id)
        return ConverterRule(link, area, ends, schedule, settings)

    def _meter_rules(self) -> Iterator[_Asset]:
        for meter in self._survey.metering:
            branch = self._survey.branches.get(meter.branch or "")
            if branch is None:
                continue
            area = self._site.area_of(meter.node)
            flat, counter = self._settings.flatline.of(meter.id), self._settings.counter.of(meter.id)
            neighbour = self._survey.neighbour(branch, meter)
            if flat.enabled and neighbour is not None and not self._site.profiles[meter.profile].by_exception:
                power = self._survey.point(meter, POWER)
                coarse = self._site.points[power].spec.resolution
                lsb = max(flat.lsb_pct / 100 * branch.limit_mw, coarse)
                subject = Subject("R14", 1, meter.id, area)
                yield subject, partial(FlatlineRule, subject, power, neighbour, lsb, flat)
            counters = [self._site.find(meter.id, name) for name in (EXPORTED, IMPORTED)]
            if counter.enabled and counters[0] is not None and counters[1] is not None:
                subject, power = Subject("R16", 1, meter.id, area), self._survey.point(meter, POWER)
                yield subject, partial(CounterRule, subject, power, counters[0], counters[1], counter)
        for branch in self._survey.branches.values():
            pairs, settings = self._survey.pairs(branch), self._settings.check_meter.of(branch.id)
            if settings.enabled and pairs:
                subject = Subject("R15", 1, branch.id, self._site.area_of(branch.from_node))
                yield subject, partial(CheckMeterRule, subject, pairs, branch.limit_mw, settings)

    def _nodes(self) -> Iterator[_Asset]:
        for node in self._site.grid.node:
            settings = self._settings.voltage.of(node.id)
            if settings.enabled and (meters := self._survey.meters({node.id}, VOLTAGE)):
                kv = self._site.grid.u_rated_kv
                subject = Subject("R20", 1, node.id, node.area)
                yield subject, partial(VoltageRule, node.id, node.area, kv, meters, settings)
            injection = self._survey.injection(node.id)
            if self._settings.node.of(node.id).enabled and injection is not None:
                subject = Subject("R7", 1, node.id, node.area)
                yield subject, partial(self._node, subject, injection)

    def _node(self, subject: Subject, injection: Device) -> Rule:
        node = subject.asset
        branches = []
        for branch in self._survey.branches.values():
            if node in {branch.from_node, branch.to_node}:
                meter = self._survey.main_meter(branch.id, node)
                accuracy = MeterAccuracy.of(self._site.profiles[meter.profile])
                inputs, residual = self._residual(branch)
                branches.append(
                    NodeBranch(branch.id, self._survey.point(meter, POWER), accuracy, inputs, residual)
                )
        accuracy = MeterAccuracy.of(self._site.profiles[injection.profile])
        settings = self._settings.node.of(node)
        return NodeRule(subject, (self._survey.point(injection, POWER), accuracy), branches, settings)

    def _residual(self, branch: Line | Hvdc) -> tuple[Sequence[int], Callable[[Snapshot], float | None]]:
        """What a branch's two ends leave unaccounted for, and the points that it is computed from."""
        if isinstance(branch, Line):
            try:
                watch = self._survey.watch(branch)
            except GapError:
                return (), lambda _: None
            return watch.inputs, watch.residual
        points = [power for _, power, _ in self._survey.ends(branch)]
        if len(points) != 2:
            return (), lambda _: None
        return points, partial(_link_residual, branch, points)

    def _exchange(self, tie: Tie) -> Rule:
        meter = self._survey.main_meter(tie.id, tie.delivery_node)
        return ExchangeRule(
            tie,
            self._survey.schedules.of(tie.id),
            self._site.grid.outflow(tie),
            self._survey.point(meter, POWER),
            self._settings.exchange.of(tie.id),
            period_s=self._site.profiles[meter.profile].period_s,
        )

    def _control_error(self, area: Area, bias_mw_per_hz: float) -> Rule:
        nodes = {node.id for node in self._site.grid.node if node.area == area.id}
        meters = self._survey.meters(nodes, FREQUENCY)
        if not meters:
            raise GapError(f"no meter in {area.id} measures the frequency")
        exchanges = self._survey.exchanges_of(area.id)
        settings = self._settings.control_error.of(area.id)
        return ControlErrorRule(area.id, exchanges, meters, bias_mw_per_hz, settings)

    def _area_balance(self, subject: Subject, nodes: set[str]) -> Rule:
        injections, borders, lines = [], [], []
        for node in sorted(nodes):
            meter = self._survey.injection(node)
            if meter is not None:
                injections.append(self._measured(f"injection at {node}", meter))
        for branch in self._survey.branches.values():
            inside = [node for node in (branch.from_node, branch.to_node) if node in nodes]
            if len(inside) == 1:
                meter = self._survey.main_meter(branch.id, inside[0])
                borders.append(self._measured(f"{branch.id} at {inside[0]}", meter))
            elif inside and isinstance(branch, Line):
                lines.append(self._survey.watch(branch))
        settings = self._settings.area_balance.of(subject.asset)
        return AreaBalanceRule(subject, injections, borders, lines, settings)

    def _measured(self, name: str, meter: Device) -> Measured:
        accuracy = MeterAccuracy.of(self._site.profiles[meter.profile])
        return Measured(name, self._survey.point(meter, POWER), accuracy)

    def _net_position(self, area: str) -> Rule:
        return NetPositionRule(area, self._survey.exchanges_of(area), self._settings.net_position.of(area))

    def _two_end(self, line: Line) -> Rule:
        settings = self._settings.two_end.of(line.id)
        return TwoEndRule(self._survey.watch(line), self._site.area_of(line.from_node), settings)

    def _loading(self, branch: Line | Hvdc) -> Rule:
        ends = self._survey.ends(branch)
        area, settings = self._site.area_of(branch.from_node), self._settings.loading.of(branch.id)
        if isinstance(branch, Hvdc):
            loaded = LoadedBranch(branch.id, 1, (branch.limit_mw,), None, ends)
            return LoadingRule(loaded, area, settings, (), lambda _: 1)
        loaded = LoadedBranch(branch.id, branch.circuits, branch.limits_mw, branch.thermal_a, ends)
        try:
            watch = self._survey.watch(branch)
        except GapError:
            return LoadingRule(loaded, area, settings, (), lambda _: branch.circuits)
        return LoadingRule(loaded, area, settings, watch.inputs, watch.circuits)


def _link_residual(link: Hvdc, points: Sequence[int], snapshot: Snapshot) -> float | None:
    near, far = (snapshot.leg(point) for point in points)
    if not (near.usable and far.usable):
        return None
    return near.value + far.value - hvdc_loss_mw(link, max(abs(near.value), abs(far.value)))
