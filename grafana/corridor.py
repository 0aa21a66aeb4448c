"""The corridor at a glance: what is wrong, what flows against what was agreed, and who exports."""

from __future__ import annotations

from collections.abc import Iterator

from grafana.areas import frequency, net_positions
from grafana.groups import bad_counts
from grafana.model import Model
from grafana.panels import Panel, bars
from grafana.records import ACTIVE_ALARMS
from grafana.sheet import Row, active_alarms
from grafana.ties import flow


def rows(model: Model) -> Iterator[Row]:
    """Rows of panels."""
    yield "Alarms", [active_alarms(model, ACTIVE_ALARMS)]
    yield "Ties", [flow(model, tie) for tie in model.grid.tie]
    yield "Areas", [*net_positions(model), *frequency(model)]
    yield "Quality", [*bad_readings(model)]


def bad_readings(model: Model) -> Iterator[Panel]:
    """Where values are not to be trusted."""
    for point, what in (("TotW", "meters"), ("W", "plants")):
        measurements = model.measurements_with(point)
        if measurements:
            yield bars(
                f"Bad readings of {what}",
                f"Readings of {point} of bad quality in each interval, by device; none when all is well.",
                [("$tag_device", bad_counts(measurements, point))],
                width=12,
            )
