"""Which points of a site the estimator reads, and how a scan is taken from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alerts.alignment import Snapshot
from alerts.estimator.measurements import Meter, Scan
from alerts.rules.line_state import MeterAccuracy
from alerts.rules.survey import POWER, REACTIVE, VOLTAGE
from telemetry.devices import Role
from telemetry.grid import Hvdc, Line
from telemetry.site import Site

_NONE = -1


@dataclass(frozen=True, slots=True)
class Plan:
    """The meters of a site and their points, in the same order."""

    meters: tuple[Meter, ...]
    power: tuple[int, ...]
    """Indices of points."""
    reactive: tuple[int, ...]
    """-1 where a meter has none."""
    voltage: tuple[int, ...]
    clock_sigma_s: float
    """Standard uncertainty of source times [s]; counts while power ramps."""

    @property
    def inputs(self) -> Sequence[int]:
        """Every point that is read."""
        return [index for index in (*self.power, *self.reactive, *self.voltage) if index != _NONE]

    def scan(self, snapshot: Snapshot) -> Scan:
        """What the meters read at the instant of a snapshot."""
        legs = [snapshot.leg(point) for point in self.power]
        sigma = [
            meter.accuracy.sigma_mw(leg, self.clock_sigma_s)
            for meter, leg in zip(self.meters, legs, strict=True)
        ]
        return Scan(
            snapshot.instant,
            np.array([leg.value for leg in legs]),
            np.array([_value(snapshot, point) for point in self.reactive]),
            np.array([_value(snapshot, point) for point in self.voltage]),
            np.array(sigma),
        )


def plan_of(site: Site, clock_sigma_s: float) -> Plan:
    """The main and check meters of branches and the injection meters of nodes that measure power."""
    branches: list[Line | Hvdc] = [*site.grid.line, *site.grid.hvdc]
    ends = {(branch.id, node) for branch in branches for node in (branch.from_node, branch.to_node)}
    meters: list[Meter] = []
    power: list[int] = []
    reactive: list[int] = []
    voltage: list[int] = []
    for device in site.devices.values():
        point = site.find(device.id, POWER)
        if not device.enabled or point is None:
            continue
        if device.role in {Role.MAIN, Role.CHECK}:
            branch = device.branch or ""
            if (branch, device.node) not in ends:
                continue
        elif device.role is Role.INJECTION:
            branch = ""
        else:
            continue
        accuracy = MeterAccuracy.of(site.profiles[device.profile])
        meters.append(Meter(device.id, device.node, branch, accuracy))
        power.append(point.index)
        for name, column in ((REACTIVE, reactive), (VOLTAGE, voltage)):
            found = site.find(device.id, name)
            column.append(_NONE if found is None else found.index)
    return Plan(tuple(meters), tuple(power), tuple(reactive), tuple(voltage), clock_sigma_s)


def _value(snapshot: Snapshot, point: int) -> float:
    return float("nan") if point == _NONE else snapshot.leg(point).value
