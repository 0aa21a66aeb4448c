"""Query texts in InfluxQL, the one language that InfluxDB 1.x, 2.x and 3 Core all answer.

Queries hold Grafana's macros ``$timeFilter`` and ``$__interval`` (Grafana documentation, "InfluxDB query
editor"). Values of bad quality (code 128 and above) never enter a formula; a formula over several meters
has a value only where each of them has one, so that a silent meter leaves a gap and not a wrong balance. What
a panel draws is filled with nulls, without which it would draw a line across the gap.
"""

# ruff: noqa: S608 - names and texts enter a query quoted, by identifier() and literal()

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from telemetry.devices import Device
from telemetry.grid import ScheduleStep

BAD = 128
"""Lowest quality code of a bad value, see :mod:`telemetry.quality`."""


def identifier(name: str) -> str:
    """A quoted identifier (InfluxQL reference, "Identifiers")."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal(text: str) -> str:
    """A quoted string (InfluxQL reference, "Strings")."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def number(value: float) -> str:
    """A number; InfluxQL knows no exponents (InfluxQL reference, "Floats")."""
    text = f"{value:.9f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def signed(value: float) -> str:
    """A number as a factor or summand: in brackets if it is negative."""
    return f"({number(value)})" if value < 0 else number(value)


@dataclass(frozen=True, slots=True)
class Meter:
    """The series of one device."""

    measurement: str
    device: str

    @classmethod
    def of(cls, device: Device) -> Meter:
        """Where the store keeps a device's readings."""
        return cls(device.profile, device.id)

    def select(self, expressions: str, points: Iterable[str], where: Sequence[str] = ()) -> str:
        """Means over Grafana's intervals, where all ``points`` are usable; other intervals are left out."""
        conditions = [f'"device" = {literal(self.device)}']
        conditions += [f"{identifier(f'{point}_q')} < {BAD}" for point in points]
        return (
            f"SELECT {expressions} FROM {identifier(self.measurement)} WHERE "
            f"{' AND '.join([*conditions, *where, '$timeFilter'])} GROUP BY time($__interval) fill(none)"
        )

    def mean(self, point: str, name: str = "", factor: float = 1.0) -> str:
        """Mean of one point, times a factor."""
        mean = f"mean({identifier(point)})"
        value = mean if factor == 1.0 else f"{mean} * {signed(factor)}"
        return self.select(f"{value} AS {identifier(name or point)}", [point])

    def trend(self, point: str) -> str:
        """Mean of one point, to be drawn."""
        return filled(self.mean(point))


def together(queries: Sequence[str], name: str) -> str:
    """Sum of the column ``name`` of several queries, where all of them have a value."""
    sources = ", ".join(f"({query})" for query in queries)
    column = identifier(name)
    summed = (
        f'SELECT sum({column}) AS {column}, count({column}) AS "n" FROM {sources} '
        "WHERE $timeFilter GROUP BY time($__interval) fill(none)"
    )
    complete = f'SELECT {column} FROM ({summed}) WHERE "n" = {len(queries)} AND $timeFilter'
    return (
        f"SELECT mean({column}) AS {column} FROM ({complete}) "
        "WHERE $timeFilter GROUP BY time($__interval) fill(null)"
    )


def filled(query: str) -> str:
    """A query of means with nulls where there is no value, so that a panel shows the gap."""
    return query.removesuffix("fill(none)") + "fill(null)"


def residual(near: Meter, expected: str, far: Meter) -> str:
    """Power of both ends less the ``expected`` loss, which is an expression in the near end's p, q and v.

    [MW, Mvar, kV]
    """
    left = f'SELECT "p" - ({expected}) AS "residual" FROM ({_one_end(near)}) WHERE $timeFilter'
    return together([left, far.mean("TotW", "residual")], "residual")


def residual_share(near: Meter, expected: str, limit: str, far: Meter) -> str:
    """The residual as a multiple of a ``limit``, which is an expression in the near end's p [MW]."""
    columns = f'"p" - ({expected}) AS "residual", {limit} AS "limit"'
    left = f"SELECT {columns} FROM ({_one_end(near)}) WHERE $timeFilter"
    summed = (
        'SELECT sum("residual") AS "residual", max("limit") AS "limit", count("residual") AS "n" '
        f"FROM ({left}), ({far.mean('TotW', 'residual')}) "
        "WHERE $timeFilter GROUP BY time($__interval) fill(none)"
    )
    share = f'SELECT "residual" / "limit" AS "share" FROM ({summed}) WHERE "n" = 2 AND $timeFilter'
    return (
        f'SELECT mean("share") AS "share" FROM ({share}) '
        "WHERE $timeFilter GROUP BY time($__interval) fill(null)"
    )


def _one_end(meter: Meter) -> str:
    columns = 'mean("TotW") AS "p", mean("TotVAr") AS "q", mean("PPV") AS "v"'
    return meter.select(columns, ["TotW", "TotVAr", "PPV"])


def agreed(
    meter: Meter, point: str, steps: Sequence[ScheduleStep], *, deviation: bool, sign: int = 1
) -> list[str]:
    """The schedule, or the deviation from it, where the meter has values: one query for each step.

    The ramps of +-5 min around a change are drawn as a step; rule R1 follows them. ``sign`` -1 turns the
    direction around.
    """
    ordered = sorted(steps, key=lambda step: step.start)
    queries = []
    for i, step in enumerate(ordered):
        where = [f"time >= {_instant(step.start)}"] if i else []
        where += [f"time < {_instant(later.start)}" for later in ordered[i + 1 : i + 2]]
        measured = f"mean({identifier(point)})"
        factor, agreed_mw = signed(sign), number(sign * step.mw)
        if deviation:
            value = f"{measured} * {factor} - ({agreed_mw})" if sign < 0 else f"{measured} - ({agreed_mw})"
        else:
            value = f"{measured} * 0 + ({agreed_mw})"
        name = "deviation" if deviation else "schedule"
        queries.append(meter.select(f"{value} AS {identifier(name)}", [point], where))
    return queries


def _instant(moment: datetime) -> str:
    return literal(moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
