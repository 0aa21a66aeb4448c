"""Panels in one style: grey and calm when normal, colour only for what is abnormal (ISA-101)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import common, dashboard, table, timeseries
from grafana_foundation_sdk.models.common import (
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

from grafana.targets import DATASOURCE, InfluxqlQuery, Target, targets

NORMAL, ATTENTION, WARNING, ALARM = "text", "yellow", "orange", "red"
_GRADES = (ATTENTION, WARNING, ALARM)

_SHORTEST_INTERVAL = "10s"
"""Readings come once per second; means over less than this are noise."""

_COLOURS: Mapping[str, Mapping[str, str]] = {
    "priority": {"urgent": ALARM, "high": ALARM, "medium": WARNING, "low": ATTENTION},
    "state": {"unacknowledged": ALARM, "returned_unacknowledged": ATTENTION},
}


def band(centre: float, *widths: float) -> list[Threshold]:
    """Thresholds on both sides of a centre, ever more serious with the distance."""
    colours = _GRADES[len(_GRADES) - len(widths) :]
    below = [Threshold(None, colours[-1])]
    outwards = list(zip(widths, colours, strict=True))
    for i, (width, _) in reversed(list(enumerate(outwards))):
        below.append(Threshold(centre - width, outwards[i - 1][1] if i else NORMAL))
    return below + [Threshold(centre + width, colour) for width, colour in outwards]


def above(*limits: float) -> list[Threshold]:
    """Thresholds above zero, ever more serious."""
    colours = _GRADES[len(_GRADES) - len(limits) :]
    steps = [Threshold(limit, colour) for limit, colour in zip(limits, colours, strict=True)]
    return [Threshold(None, NORMAL), *steps]


def trend(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[tuple[str, str]],
    *,
    thresholds: Sequence[Threshold] = (),
    width: int = 12,
    height: int = 8,
    decimals: int = 1,
) -> timeseries.Panel:
    """Lines over time; ``queries`` are pairs of series name and InfluxQL. Thresholds are drawn dashed."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .decimals(decimals)
        .interval(_SHORTEST_INTERVAL)
        .targets(list(targets(*queries)))
        .draw_style(GraphDrawStyle.LINE)
        .line_interpolation(LineInterpolation.LINEAR)
        .line_width(1)
        .fill_opacity(0)
        .show_points(VisibilityMode.NEVER)
        .span_nulls(False)
        .height(height)
        .span(width)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.RIGHT)
            .calcs(["lastNotNull", "min", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if thresholds:
        dashed = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_absolute(thresholds)).thresholds_style(dashed)
    return panel


def dashed(panel: timeseries.Panel, name: str) -> timeseries.Panel:
    """Draws the series of a name in grey dashes and steps: a schedule or a model, not a measurement."""
    return panel.override_by_name(
        name,
        [
            DynamicConfigValue("color", {"mode": FieldColorModeId.FIXED.value, "fixedColor": NORMAL}),
            DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}),
            DynamicConfigValue("custom.lineInterpolation", LineInterpolation.STEP_AFTER.value),
        ],
    )


def bars(title: str, description: str, queries: Sequence[tuple[str, str]], *, width: int) -> timeseries.Panel:
    """Counts over time; any bar is abnormal."""
    return (
        trend(title, description, "short", queries, thresholds=above(1), width=width, decimals=0)
        .draw_style(GraphDrawStyle.BARS)
        .fill_opacity(60)
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.OFF))
        .min(0)
        .no_value("none")
    )


def columns(title: str, description: str, unit: str, query: tuple[str, str]) -> timeseries.Panel:
    """One value for each interval of time, drawn as a column; intervals have their own length."""
    return (
        trend(title, description, unit, [query], decimals=2)
        .draw_style(GraphDrawStyle.BARS)
        .fill_opacity(40)
        .no_value("none settled")
    )


def listing(title: str, description: str, query: str, *, height: int, period: str = "") -> table.Panel:
    """A table of records; ``period`` replaces the dashboard's time range, for example ``30d``."""
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .targets([Target(InfluxqlQuery("A", query, table=True))])
        .thresholds(_absolute(above()))
        .no_value("none")
        .decimals(1)
        .height(height)
        .span(24)
    )
    for name, colours in _COLOURS.items():
        results = {
            text: ValueMappingResult(text=text.replace("_", " "), color=colour, index=i)
            for i, (text, colour) in enumerate(colours.items())
        }
        panel = panel.override_by_name(
            name,
            [
                DynamicConfigValue("mappings", [ValueMap(results)]),
                DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ],
        )
    panel = panel.override_by_name("raised_at", [DynamicConfigValue("custom.hidden", True)])
    return panel.time_from(period) if period else panel


def _absolute(steps: Sequence[Threshold]) -> dashboard.ThresholdsConfig:
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(list(steps))
