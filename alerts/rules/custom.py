"""Rules of a site's own: threshold, rate of change, stale, flat line, state, expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import assert_never

import numpy as np

from alerts import custom_config as config
from alerts.alarms import Priority
from alerts.alignment import SECOND, Leg, Snapshot, first_fault
from alerts.rules.finding import Finding, Grade, Rule, Subject, Texts, Timing, graded
from alerts.rules.window import RangeWindow, Window
from telemetry.expressions import Column, Expression, parse
from telemetry.quality import Quality, reason_of, usable
from telemetry.site import Site, SitePoint
from telemetry.units import conversion

CUSTOM = "CUSTOM"
"""Rule name of the alarms of a site's own rules; their asset is the rule's id."""


def custom_rules(site: Site, rules: Sequence[config.CustomRule]) -> list[Rule]:
    """The rules that are enabled; they were checked before (:func:`alerts.custom_config.problems`)."""
    points = {point.path: point for point in site.points.values()}
    return [_rule(site, points, rule) for rule in rules if rule.enabled]


def _rule(site: Site, points: Mapping[str, SitePoint], rule: config.CustomRule) -> Rule:
    if isinstance(rule, config.ExpressionRule):
        expression = parse(rule.condition, {path: point.spec.unit for path, point in points.items()})
        used = {path: points[path].index for path in expression.points}
        area = site.area_of(points[expression.points[0]].device.node)
        return Condition(Subject(CUSTOM, 1, rule.id, area), rule, expression, used)
    point = points[rule.point]
    subject = Subject(CUSTOM, 1, rule.id, site.area_of(point.device.node))
    match rule:
        case config.ThresholdRule():
            return Threshold(subject, rule, point)
        case config.RateRule():
            return Rate(subject, rule, point)
        case config.StaleRule():
            return Stale(subject, rule, point)
        case config.FlatlineRule():
            return Flatline(subject, rule, point)
        case config.StateRule():
            return State(subject, rule, point)
        case _:
            assert_never(rule)


def _texts(rule: config.Named, measured: str, evidence: Mapping[str, float | str]) -> Texts:
    """The words of the configuration, with what was measured."""
    return Texts(
        f"{rule.title}: {measured}",
        rule.cause or f"Rule {rule.id} of this site holds: {measured}.",
        rule.consequence or "As the owner of the rule knows; the configuration does not say.",
        rule.response or "1. Look at the point and its device. 2. Ask the owner of the rule.",
        evidence,
    )


def _one(priority: Priority, on_s: float, off_s: float) -> Timing:
    return Timing((Grade(priority, on_s),), off_s)


class _OnPoint:
    """What rules on one point have in common."""

    def __init__(self, subject: Subject, point: SitePoint, timing: Timing) -> None:
        self.subject = subject
        self.timing = timing
        self.inputs: Sequence[int] = (point.index,)
        self._path = point.path
        self._unit = point.spec.unit

    def _leg(self, snapshot: Snapshot) -> tuple[Leg, str]:
        """The point at the instant, and what is wrong with it."""
        leg = snapshot.leg(self.inputs[0])
        return leg, "" if leg.usable else first_fault([(self._path, leg)])

    def _graded(
        self,
        at: int,
        leg: Leg,
        value: float,
        limits: Sequence[float],
        texts: Callable[[float], Texts],
        *,
        deadband: float = 0.0,
        less: float = 0.0,
    ) -> Finding:
        return graded(
            self.subject,
            at,
            value,
            limits,
            unit=self._unit.value,
            legs=[leg],
            texts=texts,
            deadband=deadband,
            less=less,
        )


class Threshold(_OnPoint):
    """A point is above, or below, limits."""

    def __init__(self, subject: Subject, rule: config.ThresholdRule, point: SitePoint) -> None:
        timing = Timing(tuple(Grade(level.priority, level.on_s) for level in rule.limits), rule.off_s)
        super().__init__(subject, point, timing)
        self._rule = rule
        scale, offset = conversion(rule.unit, point.spec.unit)
        self._sign = 1.0 if rule.upwards else -1.0
        self._limits = [self._sign * (level.value * scale + offset) for level in rule.limits]
        self._deadband = rule.deadband * scale

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the value at the instant."""
        leg, fault = self._leg(snapshot)
        if fault:
            return self.subject.unknown(snapshot.instant, fault)
        value, sign, unit = leg.value, self._sign, self._unit.value

        def texts(limit: float) -> Texts:
            shown = f"{value:.6g} {unit}, limit {sign * limit:.6g}"
            return _texts(self._rule, shown, {self._path: round(value, 3), "Limit": round(sign * limit, 3)})

        found = self._graded(snapshot.instant, leg, sign * value, self._limits, texts, less=self._deadband)
        return found if sign > 0 else _mirrored(found)


def _mirrored(finding: Finding) -> Finding:
    """A finding on a lower limit, judged with the signs turned round."""
    return replace(finding, value=-finding.value, limit=-finding.limit)


class Rate(_OnPoint):
    """A point changes too fast."""

    def __init__(self, subject: Subject, rule: config.RateRule, point: SitePoint) -> None:
        timing = Timing(tuple(Grade(limit.priority, limit.on_s) for limit in rule.limits), rule.off_s)
        super().__init__(subject, point, timing)
        self._rule = rule
        scale = conversion(rule.unit, point.spec.unit).scale
        self._limits = [limit.above * scale for limit in rule.limits]
        self._window = Window(rule.window_s)

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the slope of the window that ends at the instant."""
        leg, fault = self._leg(snapshot)
        if fault:
            return self.subject.unknown(snapshot.instant, fault)
        self._window.add(snapshot.instant, leg.value)
        if not self._window.full:
            return self.subject.early(snapshot.instant, "its window is not filled yet")
        slope = self._window.slope() * 60

        def texts(limit: float) -> Texts:
            shown = f"{slope:+.4g} {self._unit.value}/min, limit {limit:.4g}"
            return _texts(self._rule, shown, {"Slope per minute": round(slope, 3), "Limit": round(limit, 3)})

        deadband = self._rule.deadband_pct / 100
        return self._graded(snapshot.instant, leg, abs(slope), self._limits, texts, deadband=deadband)


class Stale(_OnPoint):
    """A point has no usable reading for too long."""

    def __init__(self, subject: Subject, rule: config.StaleRule, point: SitePoint) -> None:
        super().__init__(subject, point, _one(rule.priority, 0.0, rule.off_s))
        self._rule = rule
        self._usable_at = 0

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the time since a reading could be used."""
        leg, fault = self._leg(snapshot)
        at, after_s = snapshot.instant, self._rule.after_s
        if not fault or not self._usable_at:
            self._usable_at = at
        age_s = (at - self._usable_at) / SECOND
        over = int(age_s > after_s)
        texts = _texts(self._rule, f"{fault} for {age_s:.0f} s", {"Fault": fault}) if over else None
        quality = leg.label
        return Finding(self.subject, at, over, over, age_s, after_s, "s", quality, at, at, texts=texts)


class Flatline(_OnPoint):
    """A point that should move stands still."""

    def __init__(self, subject: Subject, rule: config.FlatlineRule, point: SitePoint) -> None:
        super().__init__(subject, point, _one(rule.priority, rule.on_s, rule.off_s))
        self._rule = rule
        self._least = rule.least * conversion(rule.unit, point.spec.unit).scale
        self._window = RangeWindow(rule.window_s)

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the range of the window that ends at the instant."""
        leg, fault = self._leg(snapshot)
        if fault:
            return self.subject.unknown(snapshot.instant, fault)
        self._window.add(snapshot.instant, leg.value)
        if not self._window.full:
            return self.subject.early(snapshot.instant, "its window is not filled yet")
        moved, unit = self._window.range, self._unit.value

        def texts(_: float) -> Texts:
            shown = f"moved {moved:.4g} {unit} in {self._rule.window_s:.0f} s, least {self._least:.4g}"
            return _texts(self._rule, shown, {self._path: round(leg.value, 3), "Range": round(moved, 4)})

        return _mirrored(self._graded(snapshot.instant, leg, -moved, [-self._least], texts))


class State(_OnPoint):
    """A state point has one of some values."""

    def __init__(self, subject: Subject, rule: config.StateRule, point: SitePoint) -> None:
        super().__init__(subject, point, _one(rule.priority, rule.on_s, rule.off_s))
        self._rule = rule
        self._names = point.spec.states
        codes = {name: code for code, name in self._names.items()}
        self._codes = {float(codes.get(state, state)) for state in rule.states}

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the state at the instant."""
        leg, fault = self._leg(snapshot)
        if fault:
            return self.subject.unknown(snapshot.instant, fault)
        held = int(leg.value in self._codes)
        name = self._names.get(f"{leg.value:.0f}", f"{leg.value:.0f}")
        texts = _texts(self._rule, f"{self._path} is {name}", {self._path: name}) if held else None
        at = snapshot.instant
        return Finding(
            self.subject,
            at,
            held,
            held,
            leg.value,
            leg.value,
            "1",
            leg.label,
            at,
            leg.t_received,
            texts=texts,
        )


class Condition:
    """A condition over points holds."""

    def __init__(
        self,
        subject: Subject,
        rule: config.ExpressionRule,
        expression: Expression,
        points: Mapping[str, int],
    ) -> None:
        self.subject = subject
        self.timing = _one(rule.priority, rule.on_s, rule.off_s)
        self.inputs: Sequence[int] = tuple(points.values())
        self._rule = rule
        self._expression = expression
        self._points = points

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the condition at the instant; what could not have mattered may be missing."""
        at = snapshot.instant
        legs = {path: snapshot.leg(point) for path, point in self._points.items()}
        inputs = {
            path: Column(
                np.array([leg.value]),
                np.array([leg.quality if leg.usable else Quality.STALE], np.uint8),
            )
            for path, leg in legs.items()
        }
        value, quality = self._expression.evaluate(inputs)
        if not usable(quality)[0]:
            fault = first_fault(legs.items()) or f"the condition is {reason_of(int(quality[0]))}"
            return self.subject.unknown(at, fault)
        holds = int(bool(value[0]))
        evidence = {path: round(leg.value, 3) if leg.usable else leg.label for path, leg in legs.items()}
        texts = _texts(self._rule, self._rule.condition, evidence) if holds else None
        received = max(leg.t_received for leg in legs.values())
        label = reason_of(int(quality[0]))
        return Finding(self.subject, at, holds, holds, holds, 1.0, "1", label, at, received, texts=texts)
