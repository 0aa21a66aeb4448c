"""Alarms and how well they serve people: the indicators of ISA-18.2 and EEMUA 191."""

from __future__ import annotations

from collections.abc import Iterator

from alerts.alarms import Priority
from alerts.kpi import FLOOD_ABOVE
from grafana.model import Model
from grafana.panels import above, alarm_states, columns, listing, states, trend
from grafana.records import (
    ACTIVE_ALARMS,
    ALARM_STATES,
    HELD_ALARMS,
    KPIS,
    RAISES,
    TALKERS,
    alarm_log,
    indicator,
)
from grafana.sheet import PERCENT, Row, active_alarms, alarm_link


def rows(model: Model) -> Iterator[Row]:
    """Rows of panels."""
    yield (
        "Now",
        [
            active_alarms(model, ACTIVE_ALARMS),
            listing(
                "Shelved, suppressed and out of service",
                "What nobody is told of now, and why.",
                HELD_ALARMS,
                height=6,
                period="30d",
                link=alarm_link(model),
            ),
        ],
    )
    yield (
        "Over time",
        [
            states(
                "States of alarms",
                "Each condition that changed in the time shown: rule and asset.",
                [("$tag_rule $tag_asset", ALARM_STATES)],
                alarm_states(),
                height=10,
            ),
            listing(
                "Alarm log",
                "Every change of an alarm, newest first.",
                alarm_log(),
                height=9,
                link=alarm_link(model),
            ),
        ],
    )
    yield (
        "Indicators",
        [
            trend(
                "Alarms in ten minutes",
                f"Raised in the last ten minutes, by position; dashed: more than {FLOOD_ABOVE} are a flood.",
                "none",
                [("$tag_position", indicator("last_10_min"))],
                thresholds=above((FLOOD_ABOVE, Priority.HIGH)),
                decimals=0,
            ),
            trend(
                "Standing alarms",
                "Alarms that people are told of, by position.",
                "none",
                [("$tag_position", indicator("standing"))],
                decimals=0,
            ),
            columns(
                "Raised by rule",
                "Alarms raised in each ten minutes, by rule.",
                "none",
                ("$tag_rule", RAISES),
            ),
            trend(
                "Time in flood",
                "Part of the last day, by position.",
                PERCENT,
                [("$tag_position", indicator("flood_pct"))],
            ),
            listing(
                "Indicators of the last day",
                "The newest count of each position; rates, floods, standing, stale, chattering and fleeting "
                "alarms, median time to acknowledge [s], and the worst condition.",
                KPIS,
                height=6,
                period="1d",
            ),
            listing("Most frequent", "How often each condition was raised.", TALKERS, height=7),
        ],
    )
