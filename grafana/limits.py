"""Limits of the rules as what a panel draws: thresholds, and an expression that InfluxQL can compute."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

from alerts.config import ExchangeSettings, TwoEndLimit
from alerts.operation_config import LoadingSettings, VoltageSettings
from alerts.rule_config import Limit
from alerts.rules.line_state import MeterAccuracy
from grafana.influxql import number
from grafana.panels import Grade
from telemetry.grid import Grid, Line, Tie


def grades(limits: Sequence[Limit]) -> list[Grade]:
    """Grades of a rule on one magnitude [unit of the rule]."""
    return [(limit.above, limit.priority) for limit in limits]


def exchange_grades(settings: ExchangeSettings, tie: Tie) -> list[Grade]:
    """Grades of R1 on one tie [MW]."""
    return [(max(x.mw, x.pct_ntc / 100 * tie.ntc_mw), x.priority) for x in settings.limits]


def loading_grades(settings: LoadingSettings) -> list[Grade]:
    """Grades of R12 by power [% of the transfer limit]."""
    return [(limit.pct_p, limit.priority) for limit in settings.limits]


def voltage_bounds(settings: VoltageSettings, rated_kv: float) -> tuple[float, float]:
    """Lowest and highest voltage that R20 allows [kV]."""
    return settings.low_pct / 100 * rated_kv, settings.high_pct / 100 * rated_kv


def two_end_limit(grid: Grid, line: Line, grade: TwoEndLimit, near: MeterAccuracy, far: MeterAccuracy) -> str:
    """Limit of a grade [MW] in p [MW] of the ``from`` end, while power is steady.

    The rule's own is larger while power ramps (:mod:`alerts.rules.two_end`). The larger of two numbers a and
    b is (a + b + |a - b|) / 2, for InfluxQL has no maximum of two.
    """
    corona = grid.parameters_of(line).corona_sigma_kw_per_km * line.km * line.circuits / 1000
    fixed = hypot(near.floor_mw, far.floor_mw, corona)
    share = hypot(near.pct, far.pct) / 100
    by_sigma = f'{number(grade.sigmas)} * sqrt({number(share**2)} * "p" * "p" + {number(fixed**2)})'
    by_power = f'{number(grade.pct_p / 100)} * abs("p")'
    return f"({by_sigma} + {by_power} + abs({by_sigma} - {by_power})) / 2"
