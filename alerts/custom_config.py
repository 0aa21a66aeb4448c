"""Rules of a site's own: the ``[[alerts.rule]]`` tables, and what is wrong with them.

::

    [[alerts.rule]]
    id = "shy-bus-hot"
    kind = "threshold"
    title = "Transformer of Shymkent is hot"
    point = "SHY_transformer/TmpOil"
    unit = "degC"
    limits = [{ priority = "low", above = 85, on_s = 60 }, { priority = "high", above = 95, on_s = 10 }]
    deadband = 3

    [[alerts.rule]]
    id = "shy-tas-both-ends"
    kind = "expression"
    title = "Both ends of SHY-TAS read export"
    condition = "{SHY-TAS_SHY_main/TotW} > 5 MW and {SHY-TAS_TAS_main/TotW} > 5 MW"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from alerts.alarms import Priority
from alerts.rule_config import (
    Deadband,
    Limit,
    NotNegative,
    Positive,
    RuleSettings,
    Seconds,
    Window,
    ascending,
)
from telemetry.errors import Problem
from telemetry.expressions import ExpressionError, parse
from telemetry.points import Identifier, PointSpec
from telemetry.settings import Settings, nearest
from telemetry.units import conversion, units_for

PointPath = Annotated[str, Field(min_length=3, max_length=128)]
"""``device/point``."""
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Named(RuleSettings):
    """What every rule of a site has."""

    id: Identifier
    title: Annotated[str, Field(min_length=1, max_length=200)]
    """One line for a list or a pager."""
    cause: str = ""
    consequence: str = ""
    response: str = ""


class OfPoint(Named):
    """A rule on one point."""

    point: PointPath


class Level(Settings):
    """One grade of a threshold: above or below a value."""

    priority: Priority
    above: Finite | None = None
    """[unit of the rule]."""
    below: Finite | None = None
    """[unit of the rule]."""
    on_s: Seconds = 0.0

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.above is None) is (self.below is None):
            raise ValueError("give either above or below")
        return self

    @property
    def value(self) -> float:
        """The one that is given."""
        return self.above if self.above is not None else self.below or 0.0


class ThresholdRule(OfPoint):
    """A point is above or below limits."""

    kind: Literal["threshold"]
    unit: str
    """Of the limits and the deadband; any that converts into the point's."""
    limits: Annotated[tuple[Level, ...], Field(min_length=1)]
    deadband: NotNegative = 0.0
    """How far it must come back [unit of the rule]."""

    @property
    def upwards(self) -> bool:
        """Whether the limits are upper ones."""
        return self.limits[0].above is not None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if len({level.above is None for level in self.limits}) > 1:
            raise ValueError("limits above and below belong into two rules")
        sign = 1 if self.upwards else -1
        for i, (milder, higher) in enumerate(pairwise(self.limits)):
            if sign * higher.value <= sign * milder.value:
                side = "above" if self.upwards else "below"
                raise ValueError(
                    f"limit {i + 2} is not {side} limit {i + 1}: it could never make a difference"
                )
        return self


class RateRule(OfPoint):
    """A point changes too fast, up or down."""

    kind: Literal["rate"]
    unit: str
    """Of the limits: this unit per minute."""
    window_s: Window = 60.0
    """The slope is that of the least-squares line over it [s]."""
    limits: Annotated[tuple[Limit, ...], Field(min_length=1)]
    deadband_pct: Deadband = 20.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        ascending(self.limits)
        return self


class StaleRule(OfPoint):
    """A point has no usable reading for too long; beside R13, which tells of whole devices and links."""

    kind: Literal["stale"]
    priority: Priority = Priority.LOW
    after_s: Seconds = 60.0


class FlatlineRule(OfPoint):
    """A point that should move stands still."""

    kind: Literal["flatline"]
    unit: str
    window_s: Window = 300.0
    least: Positive
    """Range that it must have within the window [unit of the rule]."""
    priority: Priority = Priority.LOW
    on_s: Seconds = 60.0


class StateRule(OfPoint):
    """A state point has one of some values."""

    kind: Literal["state"]
    states: Annotated[tuple[str, ...], Field(min_length=1)]
    """Codes or, where the device's profile names them, names."""
    priority: Priority = Priority.MEDIUM
    on_s: Seconds = 0.0


class ExpressionRule(Named):
    """A condition over points holds: see telemetry/expressions.py."""

    kind: Literal["expression"]
    condition: str
    priority: Priority = Priority.MEDIUM
    on_s: Seconds = 0.0


CustomRule = Annotated[
    ThresholdRule | RateRule | StaleRule | FlatlineRule | StateRule | ExpressionRule,
    Field(discriminator="kind"),
]


def problems(
    file: str, rules: Sequence[CustomRule], specs: Mapping[str, PointSpec], key: str = "alerts.rule"
) -> Iterator[Problem]:
    """What is wrong with the rules of a site; each fault is named with its key.

    Parameters
    ----------
    file
        Where they are written.
    rules
        To be checked.
    specs
        Every point of the site by path.
    key
        Of their array.

    """
    ids: set[str] = set()
    for i, rule in enumerate(rules):
        where = f"{key}[{i}]"
        if rule.id in ids:
            yield Problem(file, f"{where}.id", f'"{rule.id}"', "used twice", "give it another id")
        ids.add(rule.id)
        if isinstance(rule, ExpressionRule):
            yield from _condition_problems(file, where, rule, specs)
        elif (spec := specs.get(rule.point)) is None:
            reason, fix = "no such point", nearest(rule.point, specs)
            yield Problem(file, f"{where}.point", f'"{rule.point}"', reason, fix)
        else:
            yield from _point_problems(file, where, rule, spec)


def _condition_problems(
    file: str, where: str, rule: ExpressionRule, specs: Mapping[str, PointSpec]
) -> Iterator[Problem]:
    key, shown = f"{where}.condition", f'"{rule.condition}"'
    try:
        found = parse(rule.condition, {path: spec.unit for path, spec in specs.items()})
    except ExpressionError as error:
        yield Problem(file, key, shown, f"{error.reason}, at character {error.position + 1}", error.fix)
        return
    if found.dimension is not None:
        yield Problem(file, key, shown, "is a value, not a condition", "compare it: ... > 15 MW")
    if not found.points:
        yield Problem(file, key, shown, "reads no point", "name one in braces")


def _point_problems(file: str, where: str, rule: CustomRule, spec: PointSpec) -> Iterator[Problem]:
    if isinstance(rule, StateRule):
        for i, state in enumerate(rule.states):
            if state not in {*spec.states, *spec.states.values()}:
                fix = nearest(state, spec.states.values()) if spec.states else "the point has no named states"
                yield Problem(file, f"{where}.states[{i}]", f'"{state}"', "no such state", fix)
        return
    if not isinstance(rule, ThresholdRule | RateRule | FlatlineRule):
        return
    try:
        factor = conversion(rule.unit, spec.unit)
    except KeyError:
        reason = f"cannot be converted into {spec.unit.value}, the unit of the point"
        fix = f"one of {', '.join(units_for(spec.unit))}"
        yield Problem(file, f"{where}.unit", f'"{rule.unit}"', reason, fix)
        return
    if isinstance(rule, ThresholdRule):
        for i, level in enumerate(rule.limits):
            value = level.value * factor.scale + factor.offset
            if value >= spec.high if rule.upwards else value <= spec.low:
                span = f"{spec.low:g} to {spec.high:g} {spec.unit.value}"
                reason = f"can never be passed: the point ranges from {span}"
                name = "above" if rule.upwards else "below"
                fix = "set it inside, for values beyond are bad"
                yield Problem(file, f"{where}.limits[{i}].{name}", f"{level.value:g}", reason, fix)
    elif isinstance(rule, FlatlineRule) and rule.least * factor.scale > spec.high - spec.low:
        room = f"{spec.high - spec.low:g} {spec.unit.value}"
        reason = f"is more than the point can move: {room}; the rule would always hold"
        yield Problem(file, f"{where}.least", f"{rule.least:g}", reason, "set a smaller one")
