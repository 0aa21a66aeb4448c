"""The admittance model of the corridor, as its switches stand: circuits, reactors, taps, weather, islands.

A line section is its exact (hyperbolic) two-port, not a nominal pi: A = cosh(gamma l), B = Zc sinh(gamma l);
for sections of hundreds of kilometres the nominal pi is invalid (Kundur, Power System Stability and Control,
section 6.1).
"""

from __future__ import annotations

import cmath
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from simulators.world.corridor import Corridor, Line, LineParameters

BASE_MVA = 100.0
"""Base of per-unit powers [MVA]."""


@dataclass(frozen=True, slots=True)
class TwoPort:
    """Symmetric two-port of a section: I_f = own V_f + mutual V_t [S]."""

    own: complex
    mutual: complex


def section(parameters: LineParameters, u_rated_kv: float, km: float, circuits: int) -> TwoPort:
    """The exact two-port of ``circuits`` equal circuits in parallel [S]."""
    z = complex(parameters.r_ohm_per_km, parameters.x_ohm_per_km)
    y = complex(parameters.corona_kw_per_km * 1e3 / (u_rated_kv * 1e3) ** 2, parameters.b_us_per_km * 1e-6)
    gamma = cmath.sqrt(z * y)
    a = cmath.cosh(gamma * km)
    b = cmath.sqrt(z / y) / circuits * cmath.sinh(gamma * km)
    return TwoPort(a / b, -1 / b)


@dataclass(frozen=True, slots=True)
class Switching:
    """How the switches stand, and what hangs on the lines; what is not named is as in the data set."""

    circuits: Mapping[str, int] = field(default_factory=dict)
    """Circuits in service, by line: the first ones of it."""
    corona_kw_per_km: Mapping[str, float] = field(default_factory=dict)
    """Corona loss of a circuit at rated voltage, by line [kW/km]."""
    reactor_units: tuple[int, ...] | None = None
    """Units in service of each reactor group of the data set; without it all."""
    taps: frozenset[str] = frozenset()
    """Lines with a load in the middle of their first circuit."""
    dark: frozenset[str] = frozenset()
    """Buses that have collapsed and are not restored."""
    standby: Mapping[str, str] = field(default_factory=dict)
    """By slack bus, the bus that holds an island's voltage and angle when it has lost every slack."""

    def in_service(self, line: Line) -> int:
        """Circuits of a line that are in service."""
        return self.circuits.get(line.id, line.circuits)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Everything that a power flow needs; admittances and powers in per unit of :data:`BASE_MVA`."""

    buses: tuple[str, ...]
    taps: tuple[str, ...]
    """Lines that are tapped; the buses of their middles stand in ``tap_bus``."""
    tap_bus: tuple[int, ...]
    admittance: NDArray[np.complex128]
    piece_from: NDArray[np.intp]
    piece_to: NDArray[np.intp]
    own: NDArray[np.complex128]
    """Own admittance of each piece: a section, or part of one, of equal circuits."""
    mutual: NDArray[np.complex128]
    first_piece: NDArray[np.intp]
    """For each circuit of each line, the piece at its ``from`` end."""
    last_piece: NDArray[np.intp]
    first_share: NDArray[np.float64]
    """For each circuit, its part of the current of its first piece; 0 out of service."""
    last_share: NDArray[np.float64]
    line_start: NDArray[np.intp]
    """For each line, its first circuit."""
    islands: tuple[frozenset[str], ...]
    """Energised islands, each with at least one slack."""
    live: NDArray[np.bool_]
    """Buses that are energised."""
    slack: NDArray[np.intp]
    slack_pu: NDArray[np.float64]
    free: NDArray[np.intp]
    """Energised buses whose voltage the power flow finds."""
    controlled: NDArray[np.intp]
    control_gain: NDArray[np.float64]
    """k of Q = k (vset^2 - V^2)."""
    control_set: NDArray[np.float64]
    control_min: NDArray[np.float64]
    control_max: NDArray[np.float64]

    @property
    def index(self) -> dict[str, int]:
        """Position of each bus."""
        return {bus: i for i, bus in enumerate(self.buses)}


class _Pieces:
    """Collects buses and pieces of lines."""

    def __init__(self, corridor: Corridor) -> None:
        self.corridor = corridor
        self.buses = [bus.id for bus in corridor.buses]
        self.index = {bus: i for i, bus in enumerate(self.buses)}
        self.ends: list[tuple[int, int]] = []
        self.own: list[complex] = []
        self.mutual: list[complex] = []
        self.middles: dict[str, int] = {}

    def bus(self, name: str) -> int:
        """Position of a bus, added if it is new."""
        if name not in self.index:
            self.index[name] = len(self.buses)
            self.buses.append(name)
        return self.index[name]

    def add(self, a: str, b: str, km: float, circuits: int, parameters: LineParameters) -> int:
        """Adds a piece and returns its position."""
        base_ohm = self.corridor.u_rated_kv**2 / BASE_MVA
        port = section(parameters, self.corridor.u_rated_kv, km, circuits)
        self.ends.append((self.bus(a), self.bus(b)))
        self.own.append(port.own * base_ohm)
        self.mutual.append(port.mutual * base_ohm)
        return len(self.ends) - 1

    def line(
        self, line: Line, circuits: int, parameters: LineParameters, *, tapped: bool
    ) -> tuple[list[int], list[int]]:
        """Adds a line; returns the pieces at both ends of each circuit in service."""
        at, offset = _middle(line) if tapped else (-1, 0.0)
        first: list[int] = []
        last: list[int] = []
        for k, (a, b, km) in enumerate(zip(line.chain, line.chain[1:], line.sections_km, strict=False)):
            if k == at and offset == 0.0:
                self.middles[line.id] = self.bus(a)
            if k == at and offset > 0.0:
                middle = f"{line.id}/middle"
                self.middles[line.id] = self.bus(middle)
                into = self.add(a, middle, offset, 1, parameters)
                out = self.add(middle, b, km - offset, 1, parameters)
                rest = [self.add(a, b, km, circuits - 1, parameters)] * (circuits - 1) if circuits > 1 else []
                begin, end = [into, *rest], [out, *rest]
            else:
                begin = end = [self.add(a, b, km, circuits, parameters)] * circuits
            first = first or begin
            last = end
        return first, last


def build(corridor: Corridor, switching: Switching | None = None) -> Network:
    """The network of the corridor with its switches in a position.

    Raises
    ------
    KeyError
        A tap, a circuit or a corona loss names no line.

    """
    switching = switching or Switching()
    for name in (*switching.taps, *switching.circuits, *switching.corona_kw_per_km):
        corridor.line(name)
    pieces = _Pieces(corridor)
    first: list[int] = []
    last: list[int] = []
    first_share: list[float] = []
    last_share: list[float] = []
    starts: list[int] = []
    for line in corridor.lines:
        count = switching.in_service(line)
        fair = corridor.line_parameters
        corona = switching.corona_kw_per_km.get(line.id, fair.corona_kw_per_km)
        parameters = LineParameters(fair.r_ohm_per_km, fair.x_ohm_per_km, fair.b_us_per_km, corona)
        starts.append(len(first))
        begin: list[int] = []
        end: list[int] = []
        if count:
            begin, end = pieces.line(line, count, parameters, tapped=line.id in switching.taps)
        missing = [0] * (line.circuits - count)
        first += begin + missing
        last += end + missing
        first_share += [1 / begin.count(piece) for piece in begin] + [0.0] * len(missing)
        last_share += [1 / end.count(piece) for piece in end] + [0.0] * len(missing)
    admittance = _admittance(pieces, switching)
    islands, slacks = _islands(pieces, switching)
    index = pieces.index
    live = np.zeros(len(pieces.buses), np.bool_)
    for island in islands:
        live[[index[bus] for bus in island]] = True
    slack = np.array([index[bus] for bus, _ in slacks], np.intp)
    control = [c for c in corridor.voltage_control if live[index[c.bus]]]
    taps = tuple(sorted(pieces.middles))
    return Network(
        buses=tuple(pieces.buses),
        taps=taps,
        tap_bus=tuple(pieces.middles[name] for name in taps),
        admittance=admittance,
        piece_from=np.array([i for i, _ in pieces.ends], np.intp),
        piece_to=np.array([j for _, j in pieces.ends], np.intp),
        own=np.array(pieces.own, np.complex128),
        mutual=np.array(pieces.mutual, np.complex128),
        first_piece=np.array(first, np.intp),
        last_piece=np.array(last, np.intp),
        first_share=np.array(first_share),
        last_share=np.array(last_share),
        line_start=np.array(starts, np.intp),
        islands=islands,
        live=live,
        slack=slack,
        slack_pu=np.array([pu for _, pu in slacks]),
        free=np.setdiff1d(np.flatnonzero(live), slack),
        controlled=np.array([index[c.bus] for c in control], np.intp),
        control_gain=np.array([c.k_mvar_per_pu2 / BASE_MVA for c in control]),
        control_set=np.array([c.vset_pu for c in control]),
        control_min=np.array([c.qmin_mvar / BASE_MVA for c in control]),
        control_max=np.array([c.qmax_mvar / BASE_MVA for c in control]),
    )


def without(switching: Switching, buses: frozenset[str]) -> Switching:
    """The same position of the switches with more buses dark."""
    return replace(switching, dark=switching.dark | buses)


def _admittance(pieces: _Pieces, switching: Switching) -> NDArray[np.complex128]:
    corridor, index = pieces.corridor, pieces.index
    admittance = np.zeros((len(pieces.buses), len(pieces.buses)), np.complex128)
    for (i, j), own, mutual in zip(pieces.ends, pieces.own, pieces.mutual, strict=True):
        admittance[i, i] += own
        admittance[j, j] += own
        admittance[i, j] += mutual
        admittance[j, i] += mutual
    unit = complex(corridor.reactor_loss_kw / 1e3, -corridor.reactor_unit_mvar) / corridor.reactor_unit_kv**2
    unit *= corridor.u_rated_kv**2 / BASE_MVA
    switched = switching.reactor_units or tuple(reactor.units for reactor in corridor.reactors)
    for reactor, units in zip(corridor.reactors, switched, strict=True):
        part = 1.0
        if reactor.line is not None:
            line = corridor.line(reactor.line)
            part = switching.in_service(line) / line.circuits
        admittance[index[reactor.bus], index[reactor.bus]] += units * part * unit
    return admittance


def _islands(
    pieces: _Pieces, switching: Switching
) -> tuple[tuple[frozenset[str], ...], list[tuple[str, float]]]:
    """Energised islands and the slacks that hold them, with their voltages [pu]."""
    near: dict[str, set[str]] = {bus: set() for bus in pieces.buses}
    for i, j in pieces.ends:
        near[pieces.buses[i]].add(pieces.buses[j])
        near[pieces.buses[j]].add(pieces.buses[i])
    islands: list[frozenset[str]] = []
    slacks: list[tuple[str, float]] = []

    def hold(bus: str, vset_pu: float) -> None:
        slacks.append((bus, vset_pu))
        if not any(bus in island for island in islands):
            seen, todo = {bus}, [bus]
            while todo:
                fresh = near[todo.pop()] - seen - switching.dark
                seen |= fresh
                todo += fresh
            islands.append(frozenset(seen))

    for slack in pieces.corridor.slacks:
        if slack.bus not in switching.dark:
            hold(slack.bus, slack.vset_pu)
    for slack in pieces.corridor.slacks:
        spare = switching.standby.get(slack.bus)
        if spare is None or spare in switching.dark or any(spare in island for island in islands):
            continue
        hold(spare, slack.vset_pu)
    return tuple(islands), slacks


def _middle(line: Line) -> tuple[int, float]:
    """Section of a line's middle and distance from its start [km]; 0 where the middle is a joint.

    Two halves of the exact two-port compose to the whole, so a bus without load changes nothing.
    """
    left = line.km / 2
    for k, km in enumerate(line.sections_km):
        if left < km:
            return k, left
        left -= km
    raise ValueError(f"{line.id} has no length")
