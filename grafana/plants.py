"""The fleet: output of wind and solar plants, and the turbines and inverters inside one of them."""

from __future__ import annotations

from collections.abc import Iterator

from grafana.groups import CHOSEN, bad_counts, difference, mean, newest, role, share, total
from grafana.model import Model
from grafana.panels import NORMAL, Panel, above, bars, linked, states, trend
from grafana.sheet import PERCENT, POWER, Row, dashboard_url
from telemetry.devices import Role

FLEET = "plants"
"""Name of this dashboard."""


def rows(model: Model) -> Iterator[Row]:
    """Rows of panels."""
    yield "Fleet", [*_fleet(model)]
    yield "Wind", [*_kind(model, "HorWdSpd", "Wind speed", "velocityms")]
    yield "Solar", [*_kind(model, "GHI", "Irradiance", "Wm2")]
    yield "Inside the plants", [*_inside(model)]
    yield "Quality", [*_quality(model)]


def _drill(panel: Panel) -> Panel:
    chosen = "var-device=${__field.labels.device}"
    return linked(panel, "Only this device", dashboard_url(FLEET, chosen))  # type: ignore[arg-type]


def _fleet(model: Model) -> Iterator[Panel]:
    plants = model.measurements_with("W", role=Role.PLANT)
    if not plants:
        return
    where = [role(Role.PLANT.value), *CHOSEN]
    yield _drill(
        trend(
            "Output of plants",
            "Usable output of each plant's controller; a click on a series leaves only that plant.",
            POWER,
            [("$tag_device", mean(plants, "W", where=where))],
            width=12,
        )
    )
    yield trend(
        "Output by area",
        "Sum over the plants whose output is usable.",
        POWER,
        [("$tag_area", total(plants, "W", "area", where))],
    )
    queries, limits = [], set()
    for device in model.devices:
        if device.role is Role.PLANT and device.enabled and device.rated_mw is not None:
            queries.append((device.id, share(device.profile, device.id, "W", device.rated_mw)))
            settings = model.alerts.plausibility.of(device.id)
            limits.add((settings.rated_pct, settings.priority))
    if queries:
        # overrides of single plants cannot be drawn in one panel: then the strictest counts
        yield trend(
            "Output as a part of the rating",
            "Dashed: what rule R19 takes for impossible.",
            PERCENT,
            queries,
            thresholds=above(min(limits)),
            width=24,
        )


def _kind(model: Model, resource: str, title: str, unit: str) -> Iterator[Panel]:
    """Plants that live on a resource: what it is, what it would allow, what is in service."""
    plants = model.measurements_with("W", "AvlW", resource, role=Role.PLANT)
    if not plants:
        return
    yield _drill(
        trend(f"{title} at the plants", "Means of the plants' own instruments.", unit,
              [("$tag_device", mean(plants, resource))])
    )  # fmt: skip
    yield _drill(
        trend(
            "Held back" if resource == "HorWdSpd" else "Held back by solar plants",
            "What the resource would allow less what is delivered: curtailment, units out of service or a "
            "plant that underperforms.",
            POWER,
            [("$tag_device", difference(plants, "AvlW", "W"))],
        )
    )
    if model.measurements_with("OnlCnt", resource, role=Role.PLANT):
        yield trend(
            "Turbines in service" if resource == "HorWdSpd" else "Inverters in service",
            "As the plants' controllers count them.",
            "none",
            [("$tag_device", mean(model.measurements_with("OnlCnt", resource, role=Role.PLANT), "OnlCnt"))],
            decimals=0,
        )


def _inside(model: Model) -> Iterator[Panel]:
    units = model.measurements_with("W", role=Role.UNIT)
    if units:
        yield _drill(
            trend(
                "Output of units",
                "Turbines, inverters and farm controllers inside the plants; choose a site or devices above.",
                POWER,
                [("$tag_device", mean(units, "W", where=[role(Role.UNIT.value), *CHOSEN]))],
                width=24,
            )
        )
    for measurement in model.measurements_with(role=Role.UNIT):
        profile = model.profiles[measurement]
        for name, spec in profile.points.items():
            if spec.states:
                meanings = {
                    code: (text, NORMAL if i % 2 else "blue")
                    for i, (code, text) in enumerate(spec.states.items())
                }
                yield states(
                    f"{profile.title}: {spec.title}",
                    f"State point {name} as the devices tell it, in their own words; empty where it is bad "
                    "or silent.",
                    [("$tag_device", newest(measurement, name))],
                    meanings,
                )


def _quality(model: Model) -> Iterator[Panel]:
    measurements = model.measurements_with("W")
    if measurements:
        yield bars(
            "Bad readings of output",
            "Readings of W of bad quality in each interval, by device; none when all is well.",
            [("$tag_device", bad_counts(measurements, "W"))],
            width=24,
        )
