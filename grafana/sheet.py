"""One dashboard: its rows, its variables, alarms as annotations, links to the others and to the console."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from grafana.groups import AREA, SITE
from grafana.influxql import identifier
from grafana.model import Model
from grafana.panels import ALARM, Panel, listing
from grafana.records import RAISED
from grafana.targets import DATASOURCE, InfluxqlQuery, Target
from telemetry.devices import Role

POWER, FREQUENCY, VOLTAGE, ENERGY, PERCENT = "megwatt", "hertz", "kvolt", "mwatth", "percent"
"""Units as Grafana names them (``@grafana/data``, value formats)."""

TAG = "greenbridge"
"""Carried by every dashboard; the links between them are made from it."""

Row = tuple[str, Sequence[Panel]]
_ALL = VariableOption(selected=True, text=["All"], value=["$__all"])


@dataclass(frozen=True, slots=True)
class Sheet:
    """What makes a dashboard."""

    name: str
    """Of its file; its uid is ``greenbridge-NAME``."""
    title: str
    rows: Callable[[Model], Iterator[Row]]
    variables: Sequence[str] = ("area",)
    """Of area, site and device those that its panels follow."""
    period: str = "1h"
    """Time range when it is opened."""
    refresh: str = "10s"

    def document(self, model: Model) -> str:
        """The dashboard as Grafana imports it: JSON text that ends with a line break."""
        built = dashboard.Dashboard(f"{model.name}: {self.title}")
        built = built.uid(f"greenbridge-{self.name}").description(model.grid.illustrative).tags([TAG])
        built = built.timezone("utc").refresh(self.refresh).time(f"now-{self.period}", "now").editable()
        built = built.tooltip(DashboardCursorSync.CROSSHAIR)
        built = built.annotation(_alarms_raised()).link(_other_dashboards()).link(_console(model))
        for name in self.variables:
            built = built.with_variable(variable(model, name))
        number = 0
        for title, panels in self.rows(model):
            if not panels:
                continue
            number += 1
            built = built.with_row(dashboard.Row(title).id(number))
            for panel in panels:
                number += 1
                built = built.with_panel(panel.id(number))
        return json.dumps(built.build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def dashboard_url(name: str, more: str = "") -> str:
    """Address of one of the dashboards within Grafana, at the same time range."""
    return f"/d/greenbridge-{name}?${{__url_time_range}}" + (f"&{more}" if more else "")


def alarm_link(model: Model) -> tuple[str, str]:
    """Column that leads to the console's page of an alarm, where it is acknowledged."""
    return "alarm", f"{model.console}/alarms?alarm=${{__value.raw}}"


def active_alarms(model: Model, query: str) -> Panel:
    """The table of what is wrong now."""
    return listing(
        "Active alarms",
        "The latest state of every alarm of the last 30 days that is not normal again. The last column leads "
        "to greenbridge's own page, where it is acknowledged.",
        query,
        height=7,
        period="30d",
        link=alarm_link(model),
    )


def variable(model: Model, name: str) -> dashboard.QueryVariable:
    """A variable that offers the values of a tag, narrowed down by the variables before it."""
    key, label, where = {
        "area": ("area", "Area", ""),
        "site": ("node", "Site", f" WHERE {AREA}"),
        "device": ("device", "Device", f" WHERE {AREA} AND {SITE}"),
    }[name]
    sources = ", ".join(map(identifier, _measurements(model)))
    query = f"SHOW TAG VALUES FROM {sources} WITH KEY = {identifier(key)}{where}"
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .definition(query)
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(_ALL)
    )


def _measurements(model: Model) -> list[str]:
    """Measurements whose devices the variables offer."""
    return sorted({d.profile for d in model.devices if d.enabled and d.role is not Role.DERIVED})


def _alarms_raised() -> dashboard.AnnotationQuery:
    query = InfluxqlQuery("alarms", RAISED, annotation=True)
    return (
        dashboard.AnnotationQuery()
        .name("Alarms raised")
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color(ALARM)
        .target(Target(query))
    )


def _other_dashboards() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("greenbridge")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
        .icon("external link")
        .tooltip("Other dashboards of greenbridge")
    )


def _console(model: Model) -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Console")
        .type(DashboardLinkType.LINK)
        .url(model.console)
        .target_blank(True)
        .icon("external link")
        .tooltip("The operators' page")
    )
