"""Queries on event records: alarms, their indicators, settled intervals, greenbridge's own state."""

# ruff: noqa: S608 - names and texts enter a query quoted, by identifier() and literal()

from __future__ import annotations

from collections.abc import Sequence

from grafana.groups import AREA
from grafana.influxql import identifier, literal

_PEOPLE_ARE_TOLD = " AND ".join(
    f'"state" != {literal(state)}' for state in ("normal", "suppressed", "shelved", "out_of_service")
)

ACTIVE_ALARMS = (
    'SELECT "priority", "state", "rule", "asset", "area", "title", "value", "limit", "unit", "raised_at", '
    '"alarm" FROM (SELECT last("title") AS "title", "value", "limit", "unit", "raised_at", "priority", '
    f'"state", "area", "alarm" FROM "alarm" WHERE {AREA} AND $timeFilter GROUP BY "rule", "asset") '
    f"WHERE {_PEOPLE_ARE_TOLD} AND $timeFilter"
)
"""The latest event of each rule and asset, unless it says that all is normal again, or people are
not told of it."""

HELD_ALARMS = (
    'SELECT "state", "rule", "asset", "area", "title", "held_reason", "held_by", "parent", "alarm" FROM '
    '(SELECT last("title") AS "title", "held_reason", "held_by", "parent", "state", "area", "alarm" '
    f'FROM "alarm" WHERE {AREA} AND $timeFilter GROUP BY "rule", "asset") '
    "WHERE (\"state\" = 'suppressed' OR \"state\" = 'shelved' OR \"state\" = 'out_of_service') "
    "AND $timeFilter"
)
"""What nobody is told of now, with the reason."""


def alarm_log(rules: Sequence[str] = ()) -> str:
    """Every transition, newest first; of some rules or of all."""
    chosen = "|".join(rules)
    where = f'"rule" =~ /^({chosen})$/ AND ' if rules else ""
    return (
        'SELECT "event", "priority", "state", "rule", "asset", "title", "value", "limit", "unit", '
        f'"acknowledged_by", "comment", "alarm" FROM "alarm" WHERE {where}{AREA} AND $timeFilter '
        "ORDER BY time DESC LIMIT 200"
    )


ALARM_STATES = (
    f'SELECT "state" FROM (SELECT "title", "state" FROM "alarm" WHERE {AREA} AND $timeFilter '
    'GROUP BY "rule", "asset") WHERE $timeFilter GROUP BY "rule", "asset"'
)
"""The states that each condition went through."""

RAISES = (
    f'SELECT count("title") AS "raises" FROM "alarm" WHERE "event" = \'raise\' AND {AREA} AND $timeFilter '
    'GROUP BY time(10m), "rule" fill(none)'
)
"""How often each rule raised an alarm, by ten minutes."""

TALKERS = (
    f'SELECT count("title") AS "raises" FROM "alarm" WHERE "event" = \'raise\' AND {AREA} AND $timeFilter '
    'GROUP BY "rule", "asset"'
)
"""How often each condition was raised."""

RAISED = (
    f'SELECT "title", "rule", "asset", "priority" FROM "alarm" WHERE "event" = \'raise\' AND {AREA} '
    "AND $timeFilter ORDER BY time DESC LIMIT 500"
)
"""For annotations: when which alarm was raised."""


def indicator(field: str) -> str:
    """An indicator of ISA-18.2 by position, as it is counted every ten minutes."""
    column = identifier(field)
    return (
        f'SELECT last({column}) AS {column} FROM "alarm_kpi" WHERE $timeFilter '
        'GROUP BY time(10m), "position" fill(none)'
    )


KPIS = (
    'SELECT last("last_day") AS "last_day", "last_10_min", "peak_10_min", "flood_pct", "standing", '
    '"unacknowledged", "stale", "held", "chattering", "fleeting", "top_share_pct", "acknowledge_median_s", '
    '"worst" FROM "alarm_kpi" WHERE $timeFilter GROUP BY "position"'
)
"""The newest indicators of each position."""


def settled(field: str, minutes: int = 15, kind: str = "") -> str:
    """An energy of the settled intervals by account, of the newest revision of each, to be drawn.

    A selector brings the other fields of its point along (InfluxQL reference, "Selectors"): the newest
    revision is the one with the largest number.
    """
    column = identifier(field)
    where = f'"minutes" = {literal(str(minutes))}' + (f' AND "kind" = {literal(kind)}' if kind else "")
    newest = (
        f'SELECT max("revision") AS "revision", {column} FROM "settlement" WHERE {where} AND {AREA} '
        f'AND $timeFilter GROUP BY time({minutes}m), "account" fill(none)'
    )
    return (
        f"SELECT mean({column}) AS {column} FROM ({newest}) WHERE $timeFilter "
        f'GROUP BY time({minutes}m), "account" fill(none)'
    )


_ENERGIES = (
    '"scheduled_mwh", "metered_mwh", "inadvertent_mwh", "wheeled_mwh", "losses_mwh", "completeness_pct", '
    '"quality"'
)


def settled_table(minutes: int = 15) -> str:
    """The newest revision of each settled interval, newest first."""
    return (
        f'SELECT "account", {_ENERGIES}, "revision" FROM (SELECT max("revision") AS "revision", {_ENERGIES} '
        f'FROM "settlement" WHERE "minutes" = {literal(str(minutes))} AND {AREA} AND $timeFilter '
        f'GROUP BY time({minutes}m), "account" fill(none)) WHERE $timeFilter ORDER BY time DESC LIMIT 200'
    )


REVISIONS = (
    'SELECT "account", "minutes", "revision", "reason", "metered_mwh", "scheduled_mwh", "version" '
    f'FROM "settlement" WHERE "revision" > 0 AND {AREA} AND $timeFilter ORDER BY time DESC LIMIT 200'
)
"""Intervals that were revised after they were closed, newest first."""


def own_state(field: str, part: str) -> str:
    """A figure about greenbridge itself; ``part`` is ``process`` or ``store``."""
    column = identifier(field)
    return (
        f'SELECT last({column}) AS {column} FROM "system" WHERE "part" = {literal(part)} AND $timeFilter '
        'GROUP BY time($__interval), "name" fill(none)'
    )
