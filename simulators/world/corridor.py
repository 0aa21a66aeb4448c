"""The data set of the corridor: buses, lines, reactors, voltage control, HVDC link and schedule."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

import msgspec

from telemetry.errors import ConfigError, Problem
from telemetry.settings import nearest


class LineParameters(msgspec.Struct, frozen=True):
    """Constants of one circuit."""

    r_ohm_per_km: float
    x_ohm_per_km: float
    b_us_per_km: float
    corona_kw_per_km: float
    """Corona loss at rated voltage [kW/km]."""


class Bus(msgspec.Struct, frozen=True):
    """A busbar, or the reactor station between two sections of a line."""

    id: str
    metered: bool
    p_mw: float
    """Injection of the base case [MW], + into the bus."""
    q_mvar: float
    """Injection of the base case without voltage control [Mvar], + into the bus."""
    area: str = ""


class Line(msgspec.Struct, frozen=True):
    """An AC line: one or more equal circuits, in sections joined at intermediate buses."""

    id: str
    from_bus: str = msgspec.field(name="from")
    to_bus: str = msgspec.field(name="to")
    km: float
    circuits: int
    limit_mw: float
    """Transfer limit with every circuit in service [MW]."""
    sections_km: tuple[float, ...]
    limit_mw_by_circuits_in_service: dict[str, float]
    mid: tuple[str, ...] = ()
    """Buses at the joints, from ``from`` to ``to``."""

    @property
    def chain(self) -> tuple[str, ...]:
        """Every bus that the line passes, ends included."""
        return (self.from_bus, *self.mid, self.to_bus)


class Reactor(msgspec.Struct, frozen=True):
    """Shunt reactors at a bus."""

    bus: str
    units: int
    line: str | None = None
    """Line that they belong to; they stand on the bus side of its meter."""


class Slack(msgspec.Struct, frozen=True):
    """A bus whose voltage and angle a neighbouring grid holds."""

    bus: str
    vset_pu: float


class VoltageControl(msgspec.Struct, frozen=True):
    """Reactive source Q = k (vset^2 - V^2) within limits, + into the bus."""

    bus: str
    vset_pu: float
    qmin_mvar: float
    qmax_mvar: float
    k_mvar_per_pu2: float


class Hvdc(msgspec.Struct, frozen=True):
    """A point-to-point HVDC link with voltage-source converters."""

    from_bus: str = msgspec.field(name="from")
    to_bus: str = msgspec.field(name="to")
    p_order_mw: float
    """Power at the sending converter's busbar [MW]."""
    km: float
    u_dc_kv: float
    """Voltage of each pole against earth [kV]."""
    r_ohm_per_km: float
    converter_const_loss_mw: float
    converter_prop_loss: float
    limit_mw: float

    @property
    def id(self) -> str:
        """Name of the link."""
        return f"{self.from_bus}-{self.to_bus}"

    def received_mw(self, sent_mw: float, poles: int = 2) -> float:
        """Power at the receiving busbar [MW] for a power sent [MW].

        Each converter loses a constant part for each of its poles and a share of its power, the two cables
        R I^2 each. With one pole the cable of the other is the return conductor, so that the current is twice
        that of two poles.
        """
        if sent_mw <= 0.0 or poles == 0:
            return 0.0
        constant = self.converter_const_loss_mw * poles / 2
        dc = sent_mw - constant - self.converter_prop_loss * sent_mw
        current_a = dc * 1e6 / (poles * self.u_dc_kv * 1e3)
        dc -= 2 * self.r_ohm_per_km * self.km * current_a**2 / 1e6
        return max(dc - constant - self.converter_prop_loss * dc, 0.0)


class Corridor(msgspec.Struct, frozen=True):
    """The whole data set. Powers + into a bus, and + from a busbar into a branch."""

    u_rated_kv: float
    line_parameters: LineParameters
    thermal_a_per_circuit: float
    reactor_unit_mvar: float
    reactor_unit_kv: float
    """Voltage at which ``reactor_unit_mvar`` and ``reactor_loss_kw`` hold [kV]."""
    reactor_loss_kw: float
    buses: tuple[Bus, ...]
    lines: tuple[Line, ...]
    reactors: tuple[Reactor, ...]
    slacks: tuple[Slack, ...]
    voltage_control: tuple[VoltageControl, ...]
    hvdc: Hvdc

    @property
    def nodes(self) -> tuple[Bus, ...]:
        """The metered buses."""
        return tuple(bus for bus in self.buses if bus.metered)

    def line(self, name: str) -> Line:
        """The line of that name.

        Raises
        ------
        KeyError
            There is none; the message names the nearest.

        """
        for line in self.lines:
            if line.id == name:
                return line
        raise KeyError(f'no line "{name}" ({nearest(name, [line.id for line in self.lines])})')

    def problems(self, file: str) -> Iterator[Problem]:
        """Faults that only the whole data set shows."""
        buses = {bus.id for bus in self.buses}
        for i, line in enumerate(self.lines):
            if abs(sum(line.sections_km) - line.km) > 1e-6:
                total = f"sections add up to {sum(line.sections_km):g} km"
                yield Problem(file, f"lines[{i}].km", f"{line.km:g}", total, "make both equal")
            if len(line.chain) != len(line.sections_km) + 1:
                reason = f"{len(line.sections_km)} sections need {len(line.sections_km) - 1} joints"
                yield Problem(file, f"lines[{i}].mid", str(list(line.mid)), reason)
        named = [(f"lines[{i}]", bus) for i, line in enumerate(self.lines) for bus in line.chain]
        named += [(f"reactors[{i}].bus", reactor.bus) for i, reactor in enumerate(self.reactors)]
        named += [(f"slacks[{i}].bus", slack.bus) for i, slack in enumerate(self.slacks)]
        named += [
            (f"voltage_control[{i}].bus", control.bus) for i, control in enumerate(self.voltage_control)
        ]
        named += [("hvdc.from", self.hvdc.from_bus), ("hvdc.to", self.hvdc.to_bus)]
        for key, bus in named:
            if bus not in buses:
                yield Problem(file, key, f'"{bus}"', "no such bus", nearest(bus, buses))


def parse(text: str | bytes, file: str) -> Corridor:
    """Reads the data set from JSON text; ``file`` names it in errors.

    Raises
    ------
    ConfigError
        The text is not a consistent data set.

    """
    try:
        corridor = msgspec.json.decode(text, type=Corridor)
    except msgspec.DecodeError as error:
        raise ConfigError([Problem(file, "", "", str(error), "see the shipped corridor.json")]) from None
    if problems := list(corridor.problems(file)):
        raise ConfigError(problems)
    return corridor


def reference() -> Corridor:
    """The shipped 17-node reference corridor (illustrative)."""
    return parse(resources.files("simulators.world").joinpath("corridor.json").read_bytes(), "corridor.json")
