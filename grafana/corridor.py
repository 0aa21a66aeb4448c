"""The dashboard of a corridor: what flows, what was agreed, what is missing, and who was alarmed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync

from alerts.config import AlertsSettings
from alerts.rules.line_state import MeterAccuracy
from grafana.influxql import (
    ACTIVE_ALARMS,
    ALARM_LOG,
    SETTLED,
    Meter,
    agreed,
    bad_counts,
    filled,
    grouped_mean,
    residual,
    residual_share,
    settled,
    together,
)
from grafana.limits import two_end_limit
from grafana.losses import hvdc_expression, line_expression
from grafana.panels import band, bars, columns, dashed, listing, trend
from telemetry.devices import Device, Role
from telemetry.grid import Grid, Hvdc, Tie, TieKind
from telemetry.profiles import DeviceProfile

POWER, FREQUENCY, VOLTAGE, ENERGY = "megwatt", "hertz", "kvolt", "mwatth"
"""Units as Grafana names them (``@grafana/data``, value formats)."""

FREQUENCY_LIMITS_HZ = (0.05, 0.2, 0.4)
VOLTAGE_LIMIT_PU = 0.05

Panel = timeseries.Panel | table.Panel


@dataclass(frozen=True, slots=True)
class Corridor:
    """Builds the dashboard of a site."""

    name: str
    grid: Grid
    devices: Sequence[Device]
    profiles: Mapping[str, DeviceProfile]
    alerts: AlertsSettings

    def document(self) -> str:
        """The dashboard as Grafana imports it: JSON text that ends with a line break."""
        built = dashboard.Dashboard(self.name)
        built = built.uid("greenbridge-corridor").description(self.grid.illustrative).tags(["greenbridge"])
        built = built.timezone("utc").refresh("10s").time("now-1h", "now").editable()
        built = built.tooltip(DashboardCursorSync.CROSSHAIR)
        number = 0
        for title, panels in self._rows():
            number += 1
            built = built.with_row(dashboard.Row(title).id(number))
            for panel in panels:
                number += 1
                built = built.with_panel(panel.id(number))
        return json.dumps(built.build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"

    def _rows(self) -> Iterator[tuple[str, list[Panel]]]:
        yield "Alarms", [*self._alarms()]
        yield "Ties", [*map(self._flow, self.grid.tie)]
        yield "Off schedule", [*self._deviations()]
        yield "Settlement", [*self._settlement()]
        yield "Two ends", [*self._two_ends()]
        yield "HVDC", [panel for link in self.grid.hvdc for panel in self._hvdc(link)]
        yield "Frequency and voltage", [*self._state()]
        yield "Quality", [*self._quality()]

    def _alarms(self) -> Iterator[Panel]:
        yield listing(
            "Active alarms",
            "The latest state of every alarm of the last 30 days that is not normal again. "
            "Acknowledge on greenbridge's own page.",
            ACTIVE_ALARMS,
            height=7,
            period="30d",
        )
        yield listing("Alarm log", "Every change of an alarm, newest first.", ALARM_LOG, height=7)

    def _flow(self, tie: Tie) -> Panel:
        node = tie.delivery_node
        queries = [
            (role.value, meter.trend("TotW"))
            for role in (Role.MAIN, Role.CHECK)
            if (meter := self._meter(tie.id, node, role)) is not None
        ]
        main = self._meter(tie.id, node)
        if main is not None:
            steps = agreed(main, "TotW", tie.schedule, deviation=False)
            queries += [("schedule", query) for query in steps]
        panel = trend(
            f"{tie.id} at {node}",
            f"Power into the tie at its delivery point, main and check meter, against the schedule. "
            f"Net transfer capacity {tie.ntc_mw:.0f} MW.",
            POWER,
            queries,
        )
        return dashed(panel, "schedule")

    def _deviations(self) -> Iterator[Panel]:
        for tie in self.grid.tie:
            meter = self._meter(tie.id, tie.delivery_node)
            if tie.kind is TieKind.RING or meter is None:
                continue
            steps = agreed(meter, "TotW", tie.schedule, deviation=True)
            limits = [max(x.mw, x.pct_ntc / 100 * tie.ntc_mw) for x in self.alerts.exchange.of(tie.id).limits]
            yield trend(
                f"{tie.id}: deviation from schedule",
                f"Measured less agreed power at {tie.delivery_node}; dashed: the limits of rule R1.",
                POWER,
                [("deviation", filled(query)) for query in steps],
                thresholds=band(0, *limits[-3:]),
            )
        yield from self._ring_deviation()

    def _ring_deviation(self) -> Iterator[Panel]:
        ties = [tie for tie in self.grid.tie if tie.kind is TieKind.RING]
        meters = [self._meter(tie.id, tie.delivery_node) for tie in ties]
        # with steps at several times the sum would need a query for each combination
        constant = all(len(tie.schedule) == 1 for tie in ties)
        one_sense = len({(tie.from_area, tie.to_area) for tie in ties}) == 1
        if len(ties) < 2 or not constant or not one_sense or None in meters:
            return
        parts = [
            agreed(meter, "TotW", tie.schedule, deviation=True)[0]
            for tie, meter in zip(ties, meters, strict=True)
            if meter is not None
        ]
        names = " + ".join(tie.id for tie in ties)
        yield trend(
            f"{names}: deviation of the sum",
            "The ties of an AC ring share loop flow: only their sum can be scheduled; none is judged alone.",
            POWER,
            [("deviation", together(parts, "deviation"))],
            width=24,
        )

    def _settlement(self) -> Iterator[Panel]:
        yield columns(
            "Inadvertent energy of each quarter of an hour",
            "Metered less agreed energy of ties and areas, by the newest revision; of a contract what came "
            "in less what left and the agreed losses.",
            ENERGY,
            ("$tag_account", settled("inadvertent_mwh")),
        )
        if self.grid.contract:
            yield columns(
                "Wheeled energy of each quarter of an hour",
                "What came into the transit area for each contract, pro rata of its schedule.",
                ENERGY,
                ("$tag_account", settled("wheeled_mwh", kind="contract")),
            )
        yield listing(
            "Settled quarters of an hour",
            "The newest revision of each interval, newest first; energies in MWh.",
            SETTLED,
            height=8,
        )

    def _two_ends(self) -> Iterator[Panel]:
        residuals, shares, losses = [], [], []
        for line in self.grid.line:
            ends = [self._device(line.id, node, Role.MAIN) for node in (line.from_node, line.to_node)]
            devices = [device for device in ends if device is not None]
            if len(devices) < 2:
                continue
            near, far = map(Meter.of, devices)
            expected = line_expression(self.grid, line)
            accuracies = [MeterAccuracy.of(self.profiles[device.profile]) for device in devices]
            limit = two_end_limit(self.grid, line, self.alerts.two_end.of(line.id).limits[0], *accuracies)
            residuals.append((line.id, residual(near, expected, far)))
            shares.append((line.id, residual_share(near, expected, limit, far)))
            losses.append((line.id, together([near.mean("TotW", "loss"), far.mean("TotW", "loss")], "loss")))
        yield trend(
            "Two-end residual against the limit of R6",
            "The residual below as a multiple of the rule's first limit while power is steady: beyond 1 for "
            "the on-delay, R6 raises an alarm.",
            "none",
            shares,
            thresholds=band(0, 1),
            width=24,
            decimals=2,
        )
        yield trend(
            "Two-end residual",
            "Power of both ends of a line less the loss that its two-port expects: about 0 unless power "
            "leaves between the meters, a meter is wrong or weather raises the corona loss.",
            POWER,
            residuals,
            width=24,
            decimals=2,
        )
        yield trend(
            "Measured loss of lines",
            "Power of both main meters of a line together; never below 0 but for the meters' uncertainty.",
            POWER,
            losses,
            width=24,
            decimals=2,
        )

    def _hvdc(self, link: Hvdc) -> Iterator[Panel]:
        near, far = self._meter(link.id, link.from_node), self._meter(link.id, link.to_node)
        if near is None or far is None:
            return
        yield trend(
            f"{link.id}: power into the link",
            f"Both converters' meters; {link.from_node} sends when its power is above 0.",
            POWER,
            [(link.from_node, near.trend("TotW")), (link.to_node, far.trend("TotW"))],
        )
        yield trend(
            f"{link.id}: loss less model",
            f"Loss of converters and cable less what is expected while {link.from_node} sends.",
            POWER,
            [("residual", residual(near, hvdc_expression(link), far))],
            decimals=2,
        )

    def _state(self) -> Iterator[Panel]:
        rated = self.grid.u_rated_kv
        for measurement in self._profiles_with("Hz", Role.INJECTION):
            yield trend(
                "Frequency",
                "Mean over the busbars of an area.",
                FREQUENCY,
                [("$tag_area", grouped_mean(measurement, "Hz", "area"))],
                thresholds=band(50, *FREQUENCY_LIMITS_HZ),
                decimals=3,
            )
        for measurement in self._profiles_with("PPV", Role.INJECTION):
            yield trend(
                "Busbar voltage",
                f"Line to line; dashed: {VOLTAGE_LIMIT_PU:.0%} off the rated {rated:.0f} kV.",
                VOLTAGE,
                [("$tag_node", grouped_mean(measurement, "PPV", "node"))],
                thresholds=band(rated, VOLTAGE_LIMIT_PU * rated),
            )

    def _quality(self) -> Iterator[Panel]:
        for point, what in (("TotW", "meters"), ("W", "plants")):
            measurements = self._profiles_with(point)
            if measurements:
                yield bars(
                    f"Bad readings of {what}",
                    f"Readings of {point} of bad quality in each interval, by device; none when all is well.",
                    [("$tag_device", bad_counts(measurements, point))],
                    width=12,
                )

    def _profiles_with(self, point: str, role: Role | None = None) -> list[str]:
        """Measurements of devices in use that have a point."""
        return sorted(
            {
                device.profile
                for device in self.devices
                if device.enabled
                and role in {None, device.role}
                and point in self.profiles[device.profile].points
            }
        )

    def _device(self, branch: str, node: str, role: Role) -> Device | None:
        for device in self.devices:
            if (device.branch, device.node, device.role, device.enabled) == (branch, node, role, True):
                return device
        return None

    def _meter(self, branch: str, node: str, role: Role = Role.MAIN) -> Meter | None:
        device = self._device(branch, node, role)
        return Meter.of(device) if device is not None else None
