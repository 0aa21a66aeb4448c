"""Names of a world and their positions in its columns."""

from __future__ import annotations

import numpy as np

from simulators.world.hvdc import POLES
from simulators.world.plan import WorldPlan
from telemetry.settings import nearest


class Places:
    """Everything that never changes: which thing stands where."""

    def __init__(self, plan: WorldPlan) -> None:
        corridor, link = plan.corridor, plan.corridor.hvdc
        self._corridor = corridor
        self.nodes = tuple(bus.id for bus in corridor.nodes)
        """Metered buses."""
        self.ends: tuple[tuple[str, str], ...] = (
            *((line.id, bus) for line in corridor.lines for bus in (line.from_bus, line.to_bus)),
            (link.id, link.from_bus),
            (link.id, link.to_bus),
        )
        """(branch, node) of every branch end."""
        self.circuit_ends: tuple[tuple[str, str, int], ...] = (
            *((x.id, x.from_bus, c + 1) for x in corridor.lines for c in range(x.circuits)),
            *((x.id, x.to_bus, c + 1) for x in corridor.lines for c in range(x.circuits)),
            *((link.id, link.from_bus, c + 1) for c in range(POLES)),
            *((link.id, link.to_bus, c + 1) for c in range(POLES)),
        )
        """(branch, node, number from 1) of every end of a circuit or pole."""
        self.end_index = {end: i for i, end in enumerate(self.ends)}
        self.circuit_index = {end: i for i, end in enumerate(self.circuit_ends)}
        self.plant_index = {plant.id: i for i, plant in enumerate(plan.plants)}
        buses = {bus.id: i for i, bus in enumerate(corridor.buses)}
        self.plant_bus = np.array([buses[plant.node] for plant in plan.plants], np.intp)
        self.node_bus = np.array([buses[node] for node in self.nodes], np.intp)
        self.end_bus = np.array([buses[node] for _, node in self.ends], np.intp)
        self.circuit_bus = np.array([buses[node] for _, node, _ in self.circuit_ends], np.intp)
        self.hvdc_buses = (buses[link.from_bus], buses[link.to_bus])
        self.gather = np.zeros((len(self.nodes), len(self.ends)))
        """Sums ends to nodes."""
        self.gather[[self.nodes.index(node) for _, node in self.ends], np.arange(len(self.ends))] = 1.0
        self.slack_bus = np.array([buses[slack.bus] for slack in corridor.slacks], np.intp)
        self.slack_index = {slack.bus: i for i, slack in enumerate(corridor.slacks)}
        self.areas = tuple(dict.fromkeys(bus.area for bus in corridor.nodes))
        self.node_area = np.array([self.areas.index(bus.area) for bus in corridor.nodes], np.intp)
        self.sync_areas = tuple(sorted(set(plan.sync_areas.values())))
        self.area_sync = [self.sync_areas.index(plan.sync_areas[area]) for area in self.areas]

    def line(self, name: str) -> None:
        """Refuses a name that is no line with :class:`KeyError`, as the others do for theirs."""
        self._corridor.line(name)

    def sync_area(self, name: str) -> None:
        """Refuses a name that is no synchronous area."""
        if name not in self.sync_areas:
            raise KeyError(f'no synchronous area "{name}" ({nearest(name, self.sync_areas)})')

    def plant(self, name: str) -> int:
        """Position of a plant."""
        if name not in self.plant_index:
            raise KeyError(f'no plant "{name}" ({nearest(name, self.plant_index)})')
        return self.plant_index[name]

    def node(self, name: str) -> int:
        """Position of a node."""
        if name not in self.nodes:
            raise KeyError(f'no node "{name}" ({nearest(name, self.nodes)})')
        return self.nodes.index(name)

    def nodes_of(self, name: str) -> list[int]:
        """Positions of a node, or of all nodes of an area."""
        if name in self.areas:
            return [k for k, area in enumerate(self.node_area) if self.areas[area] == name]
        if name not in self.nodes:
            raise KeyError(f'no node or area "{name}" ({nearest(name, (*self.nodes, *self.areas))})')
        return [self.nodes.index(name)]

    def plants_of(self, name: str) -> list[int]:
        """Positions of the plants of a node or area."""
        buses = {int(self.node_bus[k]) for k in self.nodes_of(name)}
        return [i for i, bus in enumerate(self.plant_bus) if int(bus) in buses]
