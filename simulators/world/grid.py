"""The AC grid in operation: its switches, its islands, and what a collapse has left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from simulators.world import network, powerflow
from simulators.world.corridor import Corridor
from simulators.world.network import BASE_MVA, Network, Switching
from simulators.world.powerflow import Collapse, Solution
from simulators.world.reactors import ReactorControl

Array = NDArray[np.float64]


class Weather(StrEnum):
    """Weather along a line, which decides its corona loss."""

    FAIR = "fair"
    DRY_SNOW = "dry_snow"
    RAIN = "rain"
    HOARFROST = "hoarfrost"


CORONA_KW_PER_KM: Mapping[Weather, float] = {
    Weather.DRY_SNOW: 9.0,
    Weather.RAIN: 30.0,
    Weather.HOARFROST: 79.0,
}
"""Corona loss of a 500 kV circuit at rated voltage [kW/km]; fair weather is in the data set."""


class Grid:
    """Holds the position of every switch and finds the state of the network for given injections.

    An island whose power flow has no solution collapses: its buses are dark, slack and all, until
    :meth:`restore`. Other islands go on.
    """

    def __init__(self, corridor: Corridor, standby: Mapping[str, str], *, switch_reactors: bool) -> None:
        self.corridor = corridor
        self._lines = {line.id: line for line in corridor.lines}
        self._switching = Switching(standby=standby)
        self._taps: dict[str, float] = {}
        self.weather = dict.fromkeys(self._lines, Weather.FAIR)
        self.reactors = ReactorControl(np.array([r.units for r in corridor.reactors], np.int64))
        self.switch_reactors = switch_reactors
        buses = {bus.id: i for i, bus in enumerate(corridor.buses)}
        self._reactor_bus = np.array([buses[r.bus] for r in corridor.reactors], np.intp)
        self._metered = tuple((i, bus.id) for i, bus in enumerate(corridor.buses) if bus.metered)
        self.network: Network = network.build(corridor, self._switching)
        """The network as its switches stand."""
        self.own_slacks: tuple[str, ...] = ()
        """Buses that stand in for the slack that their island has lost."""
        self.dead_nodes: tuple[str, ...] = ()
        """Metered nodes without voltage."""
        self.collapse: Collapse | None = None
        """Why part of the grid, or all of it, is down."""
        self.solution: Solution | None = None
        """The latest state found, of :attr:`network`."""
        self._built_for = self._switching

    def set_circuits(self, line: str, in_service: int) -> None:
        """Opens or closes circuits so that so many are in service."""
        known = self._lines[line]
        if not 0 <= in_service <= known.circuits:
            raise ValueError(f"{line} has {known.circuits} circuits, not {in_service}")
        circuits = {**self._switching.circuits, line: in_service}
        self._switching = replace(self._switching, circuits=circuits)

    def set_tap(self, line: str, mw: float) -> None:
        """Hangs a load in the middle of a line's first circuit; 0 takes it away."""
        _ = self._lines[line]
        if mw:
            self._taps[line] = mw
        else:
            self._taps.pop(line, None)
        self._switching = replace(self._switching, taps=frozenset(self._taps))

    def set_weather(self, line: str, weather: Weather) -> None:
        """Weather along a line."""
        _ = self._lines[line]
        self.weather[line] = weather
        corona = {k: CORONA_KW_PER_KM[w] for k, w in self.weather.items() if w is not Weather.FAIR}
        self._switching = replace(self._switching, corona_kw_per_km=corona)

    def restore(self) -> None:
        """Energises again what has collapsed; whether it holds shows the next solution."""
        self.collapse = None
        self._switching = replace(self._switching, dark=frozenset())
        self.solution = None

    def in_service(self, line: str) -> int:
        """Circuits of a line that are in service."""
        return self._switching.in_service(self._lines[line])

    def step(self, dt_s: float) -> None:
        """Lets the reactors look at the voltages of the latest solution for ``dt_s`` [s]."""
        if self.switch_reactors and self.solution is not None:
            voltage = self.solution.voltage[self._reactor_bus]
            if self.reactors.step(dt_s, voltage, self._reactor_bus):
                units = tuple(int(unit) for unit in self.reactors.units)
                self._switching = replace(self._switching, reactor_units=units)

    def rebuild(self) -> None:
        """Brings :attr:`network` up to date with the switches."""
        if self._switching is not self._built_for:
            previous = self.network
            self.network = network.build(self.corridor, self._switching)
            self._built_for = self._switching
            self.dead_nodes = tuple(node for i, node in self._metered if not self.network.live[i])
            usual = {slack.bus for slack in self.corridor.slacks}
            holding = (self.network.buses[i] for i in self.network.slack)
            self.own_slacks = tuple(bus for bus in holding if bus not in usual)
            if self.solution is not None:
                self.solution = carried(self.solution, previous, self.network)

    def solve(self, p: Array, q: Array) -> tuple[Solution, Array]:
        """The state at given injections of the data set's buses [pu], and the injections with taps.

        Islands that have none collapse on the way; :attr:`network` and :attr:`collapse` tell of it.
        """
        self.rebuild()
        for _ in range(1 + len(self.corridor.slacks)):
            wanted_p, wanted_q = self._with_taps(self.network, p, q)
            found = powerflow.solve(self.network, wanted_p, wanted_q, self.solution)
            if isinstance(found, Collapse) and self.solution is not None:
                found = powerflow.solve(self.network, wanted_p, wanted_q)
            if isinstance(found, Solution):
                self.solution = found
                return found, wanted_p
            self.solution = None
            self._darken(p, q, found)
            self.rebuild()
        raise AssertionError("a network without islands has a state")  # pragma: no cover

    def _with_taps(self, net: Network, p: Array, q: Array) -> tuple[Array, Array]:
        extra = np.zeros(len(net.buses) - len(p))
        p, q = np.concatenate([p, extra]), np.concatenate([q, extra])
        for line, bus in zip(net.taps, net.tap_bus, strict=True):
            p[bus] -= self._taps[line] / BASE_MVA
        return p * net.live, q * net.live

    def _darken(self, p: Array, q: Array, found: Collapse) -> None:
        """Finds the islands without a state and takes them out."""
        islands = self.network.islands
        failed: list[frozenset[str]] = []
        for island in islands:
            others = frozenset().union(*(other for other in islands if other is not island))
            alone = network.build(self.corridor, network.without(self._switching, others))
            if isinstance(powerflow.solve(alone, *self._with_taps(alone, p, q)), Collapse):
                failed.append(island)
        # each island alone may hold where rounding has failed them together
        dark = frozenset().union(*(failed or islands))
        self._switching = network.without(self._switching, dark)
        fallen = tuple(node for _, node in self._metered if node in self._switching.dark)
        self.collapse = Collapse(found.reason, fallen)


def carried(solution: Solution, old: Network, new: Network) -> Solution:
    """A state of the old network as a start for the new one; an added bus starts between its neighbours."""
    kept = {bus: i for i, bus in enumerate(old.buses) if solution.voltage[i] > 0}
    voltage, angle = np.ones(len(new.buses)), np.zeros(len(new.buses))
    for i, bus in enumerate(new.buses):
        near = (
            [bus]
            if bus in kept
            else [b for j, b in enumerate(new.buses) if new.admittance[i, j] and b in kept]
        )
        if near:
            voltage[i] = np.mean([solution.voltage[kept[b]] for b in near])
            angle[i] = np.mean([solution.angle[kept[b]] for b in near])
    return replace(solution, voltage=voltage, angle=angle, inverse=None)
