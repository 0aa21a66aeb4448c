"""The limit of rule R6 as an expression that InfluxQL can compute."""

from __future__ import annotations

from math import hypot

from alerts.config import TwoEndLimit
from alerts.rules.line_state import MeterAccuracy
from grafana.influxql import number
from telemetry.grid import Grid, Line


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
