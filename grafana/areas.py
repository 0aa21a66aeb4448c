"""Areas: net position against schedule, control error, generation, frequency and voltage."""

from __future__ import annotations

from collections.abc import Iterator

from grafana.groups import CHOSEN, good, grouped, role, total
from grafana.influxql import agreed, identifier, literal, number, together
from grafana.limits import grades, voltage_bounds
from grafana.model import Model
from grafana.panels import Panel, band, trend
from grafana.sheet import FREQUENCY, POWER, VOLTAGE, Row
from telemetry.devices import Role
from telemetry.grid import Area


def rows(model: Model) -> Iterator[Row]:
    """Rows of panels."""
    yield "Net positions", [*net_positions(model), *_off_schedule(model)]
    yield "Control", [*_control_errors(model)]
    yield "Frequency and voltage", [*frequency(model), *_voltage(model)]
    yield "Generation and injection", [*_generation(model)]


def net_positions(model: Model) -> Iterator[Panel]:
    """Exports of every area over its ties."""
    queries = []
    for area in model.grid.area:
        exchanges = model.exchanges(area.id)
        if exchanges:
            parts = [meter.mean("TotW", "export", sign) for _, sign, meter in exchanges]
            queries.append((area.id, together(parts, "export")))
    if queries:
        yield trend(
            "Net positions",
            "Sum of the exchanges of each area at the delivery points of its ties, + for export.",
            POWER,
            queries,
        )


def _deviation(model: Model, area: Area) -> list[str]:
    """Parts whose sum is export less agreed export; empty where schedules change in steps."""
    exchanges = model.exchanges(area.id)
    if not exchanges or any(len(tie.schedule) > 1 for tie, _, _ in exchanges):
        return []
    return [
        agreed(meter, "TotW", tie.schedule, deviation=True, sign=sign)[0] for tie, sign, meter in exchanges
    ]


def _off_schedule(model: Model) -> Iterator[Panel]:
    for area in model.grid.area:
        parts = _deviation(model, area)
        if parts:
            yield trend(
                f"{area.id}: net position less schedule",
                "Export less agreed export over all ties; dashed: the limits of rule R2.",
                POWER,
                [("deviation", together(parts, "deviation"))],
                thresholds=band(0, grades(model.alerts.net_position.of(area.id).limits)),
            )


def _control_errors(model: Model) -> Iterator[Panel]:
    for area in model.grid.area:
        parts, bias = _deviation(model, area), area.bias_mw_per_hz
        measurements = {meter.measurement for _, _, meter in model.exchanges(area.id) or ()}
        # InfluxQL adds nothing up across measurements: the frequency is that of the same kind of meters
        if not parts or not bias or len(measurements) != 1:
            continue
        [measurement] = measurements
        nominal = model.alerts.frequency.of(area.sync_area).nominal_hz
        where = [f'"area" = {literal(area.id)}', role(Role.MAIN.value), *good("Hz"), "$timeFilter"]
        answer = (
            f'SELECT mean("Hz") * {number(bias)} - {number(bias * nominal)} AS "deviation" '  # noqa: S608
            f"FROM {identifier(measurement)} WHERE {' AND '.join(where)} "
            "GROUP BY time($__interval) fill(none)"
        )
        yield trend(
            f"{area.id}: area control error",
            f"Net position less schedule, plus {bias:.0f} MW/Hz times the deviation of frequency; dashed: "
            "the limits of rule R9.",
            POWER,
            [("error", together([*parts, answer], "deviation"))],
            thresholds=band(0, grades(model.alerts.control_error.of(area.id).limits)),
        )


def frequency(model: Model) -> Iterator[Panel]:
    """Frequency by area."""
    settings = model.alerts.frequency
    for measurement in model.measurements_with("Hz", role=Role.INJECTION):
        query = grouped([measurement], 'mean("Hz") AS "Hz"', ["area"], [*good("Hz"), *CHOSEN[:2]])
        yield trend(
            "Frequency",
            "Mean over the busbars of an area; dashed: the limits of rule R10.",
            FREQUENCY,
            [("$tag_area", query)],
            thresholds=band(settings.nominal_hz, grades(settings.limits)),
            decimals=3,
        )


def _voltage(model: Model) -> Iterator[Panel]:
    settings, rated = model.alerts.voltage, model.grid.u_rated_kv
    low, high = voltage_bounds(settings, rated)
    middle = (low + high) / 2
    for measurement in model.measurements_with("PPV", role=Role.INJECTION):
        query = grouped([measurement], 'mean("PPV") AS "PPV"', ["node"], [*good("PPV"), *CHOSEN[:2]])
        yield trend(
            "Busbar voltage",
            f"Line to line, rated {rated:.0f} kV; dashed: the limits of rule R20.",
            VOLTAGE,
            [("$tag_node", query)],
            thresholds=band(middle, [(high - middle, settings.priority)]),
        )


def _generation(model: Model) -> Iterator[Panel]:
    plants = model.measurements_with("W", role=Role.PLANT)
    if plants:
        yield trend(
            "Generation of the named plants",
            "Sum of the plants' usable output by area; a silent plant is missing from it.",
            POWER,
            [("$tag_area", total(plants, "W", "area", [role(Role.PLANT.value), *CHOSEN[:2]]))],
        )
    meters = model.measurements_with("TotW", role=Role.INJECTION)
    if meters:
        yield trend(
            "Injection of busbars",
            "Sum of all that is metered at the busbars and is no branch, by area: + generates more than it "
            "consumes.",
            POWER,
            [("$tag_area", total(meters, "TotW", "area", [role(Role.INJECTION.value), *CHOSEN[:2]]))],
        )
