"""All dashboards of a site."""

from __future__ import annotations

from grafana import alarms, areas, corridor, health, plants, quality, settling, ties
from grafana.model import Model
from grafana.sheet import Sheet

_PLACES = ("area", "site")
_DEVICES = ("area", "site", "device")

SHEETS = (
    Sheet("corridor", "corridor overview", corridor.rows, _DEVICES),
    Sheet("ties", "tie-lines and transit", ties.rows),
    Sheet("areas", "area balance and frequency", areas.rows, _PLACES),
    Sheet(plants.FLEET, "plant fleet", plants.rows, _DEVICES, "3h"),
    Sheet("settlement", "settlement", settling.rows, ("area",), "24h", "1m"),
    Sheet("alarms", "alarms and their indicators", alarms.rows, ("area",), "24h", "30s"),
    Sheet("quality", "data quality", quality.rows, _DEVICES),
    Sheet("health", "system health", health.rows, _PLACES),
)
"""In the order of a shift: what is wrong, where, why, what it costs, how we do."""


def documents(model: Model) -> dict[str, str]:
    """JSON text of every dashboard by the name of its file; a site without plants has none about plants."""
    made = {}
    for sheet in SHEETS:
        if any(panels for _, panels in sheet.rows(model)):
            made[sheet.name] = sheet.document(model)
    return made
