"""Which rules watch which assets of a site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alerts.config import AlertsSettings
from alerts.rules.exchange import ExchangeRule
from alerts.rules.finding import Rule, Subject
from alerts.rules.two_end import LineEnds, MeterAccuracy, TwoEndRule
from alerts.schedules import ScheduleBook
from telemetry.devices import Device, Role
from telemetry.grid import Line, Tie, TieKind
from telemetry.site import Site

POWER, REACTIVE, VOLTAGE = "TotW", "TotVAr", "PPV"
"""Names of the points of a meter that rules read."""


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
    """The rules on aligned inputs (R1, R6) for every asset of a site, and those that cannot be built.

    Without ``schedules`` the standing ones of the grid hold.
    """
    rules: list[Rule] = []
    gaps: list[Gap] = []
    schedules = schedules or ScheduleBook(site.grid)
    for tie in site.grid.tie:
        if tie.kind is not TieKind.RING and settings.exchange.of(tie.id).enabled:
            try:
                rules.append(_exchange(site, settings, tie, schedules))
            except _GapError as error:
                gaps.append(Gap(Subject("R1", 1, tie.id, tie.from_area), str(error)))
    for line in site.grid.line:
        if settings.two_end.of(line.id).enabled:
            try:
                rules.append(_two_end(site, settings, line))
            except _GapError as error:
                gaps.append(Gap(Subject("R6", 1, line.id, site.area_of(line.from_node)), str(error)))
    return rules, gaps


def _exchange(site: Site, settings: AlertsSettings, tie: Tie, schedules: ScheduleBook) -> Rule:
    meter = _main_meter(site, tie.id, tie.delivery_node)
    return ExchangeRule(
        tie,
        schedules.of(tie.id),
        site.grid.outflow(tie),
        _point(site, meter, POWER),
        settings.exchange.of(tie.id),
        period_s=site.profiles[meter.profile].period_s,
    )


def _two_end(site: Site, settings: AlertsSettings, line: Line) -> Rule:
    near = _main_meter(site, line.id, line.from_node)
    far = _main_meter(site, line.id, line.to_node)
    ends = LineEnds(
        _point(site, near, POWER),
        _point(site, near, REACTIVE),
        _point(site, near, VOLTAGE),
        _point(site, far, POWER),
        _point(site, far, REACTIVE),
        MeterAccuracy.of(site.profiles[near.profile]),
        MeterAccuracy.of(site.profiles[far.profile]),
        _checks(site, line),
    )
    return TwoEndRule(site.grid, line, site.area_of(line.from_node), ends, settings.two_end.of(line.id))


def _checks(site: Site, line: Line) -> dict[str, int]:
    """Power points of the check meters of a line, by node."""
    checks = {}
    for node in (line.from_node, line.to_node):
        meter = site.meter(line.id, node, Role.CHECK)
        point = site.find(meter.id, POWER) if meter is not None else None
        if point is not None:
            checks[node] = point.index
    return checks


def _main_meter(site: Site, branch: str, node: str) -> Device:
    meter = site.meter(branch, node)
    if meter is None:
        raise _GapError(f"{branch} has no main meter at {node}")
    return meter


def _point(site: Site, meter: Device, name: str) -> int:
    point = site.find(meter.id, name)
    if point is None:
        raise _GapError(f"{meter.id} has no point {name}")
    return point.index
