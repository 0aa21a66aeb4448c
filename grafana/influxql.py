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

    def mean(self, point: str, name: str = "") -> str:
        """Mean of one point."""
        return self.select(f"mean({identifier(point)}) AS {identifier(name or point)}", [point])

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


def agreed(meter: Meter, point: str, steps: Sequence[ScheduleStep], *, deviation: bool) -> list[str]:
    """The schedule, or the deviation from it, where the meter has values: one query for each step.

    The ramps of +-5 min around a change are drawn as a step; rule R1 follows them.
    """
    ordered = sorted(steps, key=lambda step: step.start)
    queries = []
    for i, step in enumerate(ordered):
        where = [f"time >= {_instant(step.start)}"] if i else []
        where += [f"time < {_instant(later.start)}" for later in ordered[i + 1 : i + 2]]
        measured = f"mean({identifier(point)})"
        value = f"{measured} - ({number(step.mw)})" if deviation else f"{measured} * 0 + ({number(step.mw)})"
        name = "deviation" if deviation else "schedule"
        queries.append(meter.select(f"{value} AS {identifier(name)}", [point], where))
    return queries


def bad_counts(measurements: Iterable[str], point: str) -> str:
    """Number of bad readings of a point, by device."""
    quality = identifier(f"{point}_q")
    return (
        f'SELECT count({quality}) AS "bad" FROM {", ".join(map(identifier, measurements))} '
        f'WHERE {quality} >= {BAD} AND $timeFilter GROUP BY time($__interval), "device" fill(none)'
    )


def grouped_mean(measurement: str, point: str, tag: str) -> str:
    """Mean of a point over the devices that share a tag."""
    return (
        f"SELECT mean({identifier(point)}) AS {identifier(point)} FROM {identifier(measurement)} "
        f"WHERE {identifier(f'{point}_q')} < {BAD} AND $timeFilter "
        f"GROUP BY time($__interval), {identifier(tag)} fill(null)"
    )


ACTIVE_ALARMS = (
    'SELECT "priority", "state", "rule", "asset", "area", "title", "value", "limit", "unit", "raised_at" '
    'FROM (SELECT last("title") AS "title", "value", "limit", "unit", "raised_at", "priority", "state", '
    '"area" FROM "alarm" WHERE $timeFilter GROUP BY "rule", "asset") '
    "WHERE \"state\" != 'normal' AND \"state\" != 'suppressed' AND \"state\" != 'shelved' "
    "AND \"state\" != 'out_of_service' AND $timeFilter"
)
"""The latest event of each rule and asset, unless it says that all is normal again, or people are
not told of it."""

ALARM_LOG = (
    'SELECT "event", "priority", "state", "rule", "asset", "title", "value", "limit", "unit", '
    '"acknowledged_by" FROM "alarm" WHERE $timeFilter ORDER BY time DESC LIMIT 200'
)
"""Every transition, newest first."""


def settled(field: str, minutes: int = 15, kind: str = "") -> str:
    """An energy of the settled intervals by account, of the newest revision of each, to be drawn.

    A selector brings the other fields of its point along (InfluxQL reference, "Selectors"): the newest
    revision is the one with the largest number.
    """
    column = identifier(field)
    where = f'"minutes" = {literal(str(minutes))}' + (f' AND "kind" = {literal(kind)}' if kind else "")
    newest = (
        f'SELECT max("revision") AS "revision", {column} FROM "settlement" WHERE {where} AND $timeFilter '
        f'GROUP BY time({minutes}m), "account" fill(none)'
    )
    return (
        f"SELECT mean({column}) AS {column} FROM ({newest}) WHERE $timeFilter "
        f'GROUP BY time({minutes}m), "account" fill(none)'
    )


SETTLED = (
    'SELECT "account", "scheduled_mwh", "metered_mwh", "inadvertent_mwh", "wheeled_mwh", "losses_mwh", '
    '"completeness_pct", "quality", "revision" FROM (SELECT max("revision") AS "revision", "scheduled_mwh", '
    '"metered_mwh", "inadvertent_mwh", "wheeled_mwh", "losses_mwh", "completeness_pct", "quality" '
    'FROM "settlement" WHERE "minutes" = \'15\' AND $timeFilter '
    'GROUP BY time(15m), "account" fill(none)) WHERE $timeFilter ORDER BY time DESC LIMIT 200'
)
"""The newest revision of each settled quarter of an hour, newest first."""


def _instant(moment: datetime) -> str:
    return literal(moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
