"""What an edge node is: its identity, its devices and the metrics of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from simulators.devices.sparkplug.payloads import DataType

BD_SEQ = "bdSeq"
REBIRTH = "Node Control/Rebirth"


@dataclass(frozen=True, slots=True)
class MetricPlan:
    """One metric; all that a birth says of it but its value."""

    name: str
    datatype: DataType
    unit: str = ""
    """Engineering unit, shown as the property ``engUnit``."""
    deadband: float = 0.0
    """Changes up to this size, in the metric's unit, are not reported."""
    transient: bool = False
    """Of interest at the moment only: not kept for later."""


STORE_WAITING = MetricPlan("Store/Waiting", DataType.INT64, "1", transient=True)
"""Samples kept for later."""
STORE_DROPPED = MetricPlan("Store/Dropped", DataType.INT64, "1", transient=True)
"""Samples that there was no room to keep, since the start."""


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """One device of an edge node."""

    id: str
    metrics: tuple[MetricPlan, ...]


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One edge node."""

    group: str
    id: str
    devices: tuple[DevicePlan, ...]
    metrics: tuple[MetricPlan, ...] = (STORE_WAITING, STORE_DROPPED)
    """Metrics of the node itself, besides ``bdSeq`` and ``Node Control/Rebirth``."""
    primary_host: str | None = None
    """Host application that must be online before anything is published."""
    buffer: int = 20_000
    """Samples kept for each device while nobody can be told."""
    batch: int = 500
    """Kept samples in one message."""
    replay_ms: int = 25_000
    """What was sent this long before a session ended is sent again."""

    def units(self) -> Iterator[tuple[str | None, tuple[MetricPlan, ...]]]:
        """The node itself (``None``) and each device, with their metrics."""
        yield None, self.metrics
        for device in self.devices:
            yield device.id, device.metrics

    def aliases(self) -> dict[tuple[str | None, str], int]:
        """Alias of each metric by unit and name, unique over the node (tck-id-payloads-alias-uniqueness)."""
        numbers = count(1)
        return {(unit, m.name): next(numbers) for unit, metrics in self.units() for m in metrics}
