"""Settings of edge nodes in a bench."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from simulators.devices.sparkplug.observation import METRICS
from telemetry.errors import Problem
from telemetry.points import Identifier
from telemetry.settings import Settings, nearest

if TYPE_CHECKING:
    from simulators.bench import Bench, SimulatedDevice

SparkplugId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^+/#\x00]+$")]
"""tck-id-topic-structure-namespace-valid-edge-node-id."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class EdgeNodeSettings(Settings):
    """A Sparkplug B edge node that shows devices of the bench, besides the ways they have of their own."""

    id: SparkplugId
    group: SparkplugId = "corridor"
    devices: Annotated[tuple[Identifier, ...], Field(min_length=1)]
    """Devices of the bench; the id of a line with a count stands for all its devices."""
    primary_host: SparkplugId | None = None
    """Host application without which nothing is published: values are kept until it is online."""
    period_s: Positive = 1.0
    """Time from one look at the devices to the next [s]."""
    deadband: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Factor on the deadband that each metric has; 0 reports every change."""
    buffer: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """Values kept for each device while nobody can be told; beyond it the oldest is dropped and counted."""
    batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Kept values in one message."""
    replay_s: Annotated[float, Field(ge=0, le=3600)] = 25.0
    """Values sent this long before a session ended are sent again as historical [s]; a silent connection is
    known to be lost within two keep-alives and a second, which is what the default covers in real time."""
    memory: str = ""
    """File that keeps the number of the last birth through restarts; empty to begin at 0 each time."""

    @property
    def name(self) -> str:
        """Its name among the links of a bench, which are broken by name: ``corridor/mirny-wind``."""
        return f"{self.group}/{self.id}"

    def members(self, bench: Bench) -> list[SimulatedDevice]:
        """Its devices, numbered ones one by one; unknown ones are left out."""
        found = []
        for name in self.devices:
            found += [
                served.device
                for served in bench.served()
                if name in {served.device.id, bench.device[served.position].id}
            ]
        return found


def problems(bench: Bench, file: str) -> Iterator[Problem]:
    """Faults of the edge nodes of a bench."""
    known = {device.id for device in bench.device} | {served.device.id for served in bench.served()}
    for i, node in enumerate(bench.edge_node):
        where = f"edge_node[{i}]"
        yield from _clash(file, f"{where}.id", node, bench.edge_node[:i])
        for k, name in enumerate(node.devices):
            if name not in known:
                reason = "no such device"
                yield Problem(file, f"{where}.devices[{k}]", f'"{name}"', reason, nearest(name, known))
        members = node.members(bench)
        for device in members:
            if device.kind not in METRICS:
                reason = f"a {device.kind.value} has nothing that an edge node could show"
                yield Problem(file, f"{where}.devices", f'"{device.id}"', reason, "remove it")
        ids = [device.id.casefold() for device in members]
        if len(set(ids)) < len(ids):
            twice = next(device.id for device in members if ids.count(device.id.casefold()) > 1)
            # tck-id-topic-structure-namespace-unique-device-id, tck-id-case-sensitivity-sparkplug-ids
            yield Problem(file, f"{where}.devices", f'"{twice}"', "named twice", "name each device once")


def _clash(
    file: str, key: str, node: EdgeNodeSettings, before: Sequence[EdgeNodeSettings]
) -> Iterator[Problem]:
    """tck-id-topic-structure-namespace-unique-edge-node-descriptor, tck-id-case-sensitivity-sparkplug-ids."""
    own = (node.group.casefold(), node.id.casefold())
    if any((other.group.casefold(), other.id.casefold()) == own for other in before):
        reason = f"used twice in group {node.group}"
        yield Problem(
            file, key, f'"{node.id}"', reason, "give it another id; upper and lower case do not count"
        )
    if node.memory and any(other.memory == node.memory for other in before):
        reason = "is the file of another edge node"
        yield Problem(file, key.replace(".id", ".memory"), f'"{node.memory}"', reason, "give each its own")
