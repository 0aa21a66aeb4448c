"""Data quality: what is bad and why, what is missing, whose clock is off."""

from __future__ import annotations

from collections.abc import Iterator

from grafana.corridor import bad_readings
from grafana.groups import counts, worst
from grafana.model import Model
from grafana.panels import Panel, listing, qualities, states, trend
from grafana.records import alarm_log
from grafana.sheet import Row, alarm_link

HEALTH_RULES = ("R13", "R14", "R15", "R16", "R17", "R19", "R24")
"""Rules about measurements and not about the grid: silence, standstill, check meters, counters, clocks,
plausibility, blindness."""


def rows(model: Model) -> Iterator[Row]:
    """Rows of panels."""
    yield "Bad", [*bad_readings(model)]
    yield "Why", [*_worst(model)]
    yield "Complete", [*_complete(model)]
    yield (
        "Alarms about measurements",
        [
            listing(
                "Silent, frozen, contradicting, off the clock",
                f"Changes of the alarms of rules {', '.join(HEALTH_RULES)}, newest first.",
                alarm_log(HEALTH_RULES),
                height=9,
                link=alarm_link(model),
            )
        ],
    )


def _worst(model: Model) -> Iterator[Panel]:
    for point, what in (("TotW", "meters"), ("W", "plants and units")):
        measurements = model.measurements_with(point)
        if measurements:
            yield states(
                f"Worst quality of {what}",
                f"The worst reading of {point} in each interval; empty where there is none: a gap.",
                [("$tag_device", worst(measurements, point))],
                qualities(),
                height=12,
            )


def _complete(model: Model) -> Iterator[Panel]:
    for point, what in (("TotW", "meters"), ("W", "plants and units")):
        measurements = model.measurements_with(point)
        if measurements:
            yield trend(
                f"Readings of {what}",
                f"Number of readings of {point} in each interval, whatever their quality; gaps are gaps.",
                "none",
                [("$tag_device", counts(measurements, point, "device"))],
                decimals=0,
            )
