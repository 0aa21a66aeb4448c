"""Panels in one style: grey and calm when normal, colour only for what is abnormal (ISA-101)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import common, dashboard, statetimeline, table, timeseries
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
    DashboardLinkType,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

from alerts.alarms import Priority
from grafana.targets import DATASOURCE, InfluxqlQuery, Target, targets
from telemetry.quality import Quality, Validity

NORMAL, ATTENTION, WARNING, ALARM = "text", "yellow", "orange", "red"
SERIOUSNESS: Mapping[Priority, str] = {
    Priority.LOW: ATTENTION,
    Priority.MEDIUM: WARNING,
    Priority.HIGH: ALARM,
    Priority.URGENT: ALARM,
}
"""Colour of a limit by the priority of the alarm that it raises."""

Grade = tuple[float, Priority]
"""A limit, and how urgent it is to pass it."""
Panel = timeseries.Panel | table.Panel | statetimeline.Panel

_SHORTEST_INTERVAL = "10s"
"""Readings come once per second; means over less than this are noise."""

_COLOURS: Mapping[str, Mapping[str, str]] = {
    "priority": {"urgent": ALARM, "high": ALARM, "medium": WARNING, "low": ATTENTION},
    "state": {
        "unacknowledged": ALARM,
        "latched_unacknowledged": ALARM,
        "returned_unacknowledged": ATTENTION,
        "acknowledged": WARNING,
        "latched_acknowledged": WARNING,
        "shelved": NORMAL,
        "suppressed": NORMAL,
        "out_of_service": NORMAL,
        "normal": "transparent",
    },
}


def band(centre: float, grades: Sequence[Grade]) -> list[Threshold]:
    """Thresholds on both sides of a centre, ever more serious with the distance."""
    colours = [SERIOUSNESS[priority] for _, priority in grades]
    below = [Threshold(None, colours[-1])]
    for i, (width, _) in reversed(list(enumerate(grades))):
        below.append(Threshold(centre - width, colours[i - 1] if i else NORMAL))
    above_ = [Threshold(centre + width, colour) for (width, _), colour in zip(grades, colours, strict=True)]
    return below + above_


def above(*grades: Grade) -> list[Threshold]:
    """Thresholds above zero, ever more serious."""
    return [Threshold(None, NORMAL), *(Threshold(limit, SERIOUSNESS[grade]) for limit, grade in grades)]


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


def linked(panel: timeseries.Panel, title: str, url: str) -> timeseries.Panel:
    """Opens an address for the series that somebody clicks; ``${__field.labels.device}`` is its device."""
    return panel.data_links([dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(url)])


def bars(title: str, description: str, queries: Sequence[tuple[str, str]], *, width: int) -> timeseries.Panel:
    """Counts over time; any bar is abnormal."""
    return (
        trend(
            title,
            description,
            "short",
            queries,
            thresholds=above((1, Priority.HIGH)),
            width=width,
            decimals=0,
        )
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


def states(
    title: str,
    description: str,
    queries: Sequence[tuple[str, str]],
    meanings: Mapping[str, tuple[str, str]],
    *,
    width: int = 24,
    height: int = 8,
) -> statetimeline.Panel:
    """What something was over time; ``meanings`` gives text and colour of each value as text."""
    results = {
        value: ValueMappingResult(text=text, color=colour, index=i)
        for i, (value, (text, colour)) in enumerate(meanings.items())
    }
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .interval(_SHORTEST_INTERVAL)
        .targets(list(targets(*queries)))
        .mappings([ValueMap(results)])
        .thresholds(_absolute(above()))
        .merge_values(True)
        .show_value(VisibilityMode.AUTO)
        .row_height(0.8)
        .fill_opacity(70)
        .unit("short")
        .no_value("none")
        .height(height)
        .span(width)
    )


def alarm_states() -> dict[str, tuple[str, str]]:
    """Meaning of the states of an alarm."""
    return {state: (state.replace("_", " "), colour) for state, colour in _COLOURS["state"].items()}


def qualities() -> dict[str, tuple[str, str]]:
    """Meaning of the quality codes of readings."""
    colours = {Validity.GOOD: "transparent", Validity.UNCERTAIN: ATTENTION, Validity.BAD: ALARM}
    return {str(q.value): (q.name.lower().replace("_", " "), colours[q.validity]) for q in Quality}


def listing(
    title: str,
    description: str,
    query: str,
    *,
    height: int,
    period: str = "",
    link: tuple[str, str] | None = None,
    width: int = 24,
) -> table.Panel:
    """A table of records.

    Parameters
    ----------
    title, description, query, height, width
        Of the panel.
    period
        Replaces the dashboard's time range, for example ``30d``.
    link
        Column that leads somewhere, and the address, in which ``${__value.raw}`` is the value of the cell.

    """
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
        .span(width)
    )
    for name, colours in _COLOURS.items():
        results = {
            text: ValueMappingResult(text=text.replace("_", " "), color=colour, index=i)
            for i, (text, colour) in enumerate(colours.items())
            if colour not in {NORMAL, "transparent"}
        }
        panel = panel.override_by_name(
            name,
            [
                DynamicConfigValue("mappings", [ValueMap(results)]),
                DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ],
        )
    panel = panel.override_by_name("raised_at", [DynamicConfigValue("custom.hidden", True)])
    if link is not None:
        column, url = link
        there = {"title": "Open in the console to acknowledge", "url": url, "targetBlank": True}
        panel = panel.override_by_name(column, [DynamicConfigValue("links", [there])])
    return panel.time_from(period) if period else panel


def _absolute(steps: Sequence[Threshold]) -> dashboard.ThresholdsConfig:
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(list(steps))
