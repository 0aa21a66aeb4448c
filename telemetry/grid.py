"""The grid as the operator knows it: areas, nodes, lines, HVDC links, ties and schedules.

Signs: a branch meter reads + when power leaves the busbar into the branch, an injection is + into the bus, a
net position is + for export.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from telemetry.errors import Problem
from telemetry.points import Identifier
from telemetry.settings import Settings, nearest

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class Area(Settings):
    """One control area: a country's transmission system."""

    id: Identifier
    name: str
    operator: str = ""
    """Transmission system operator."""
    utc_offset_h: Annotated[float, Field(ge=-12, le=14)]
    """Offset of local time from UTC [h]."""
    sync_area: str
    """Synchronous area that the grid belongs to; areas of one share a frequency."""


class Node(Settings):
    """A busbar."""

    id: Identifier
    name: str
    area: Identifier
    latitude: Annotated[float, Field(ge=-90, le=90)]
    """[degrees north]; places the node on the one-line diagram."""
    longitude: Annotated[float, Field(ge=-180, le=180)]
    """[degrees east]."""


class Reactive(Settings):
    """Compensation at the joint between two sections of a line."""

    reactor_mvar: NotNegative = 0.0
    """Shunt reactors in service, absorbed at ``reactor_kv`` [Mvar]."""
    reactor_kv: Positive = 525.0
    """Voltage at which ``reactor_mvar`` holds [kV]."""
    reactor_loss_mw: NotNegative = 0.0
    """Loss of the reactors at ``reactor_kv`` [MW]."""
    control_k_mvar_per_pu2: NotNegative = 0.0
    """Gain of a voltage controller Q = k (vset^2 - V^2) [Mvar/pu^2]; 0 without one."""
    control_vset_pu: Positive = 1.0
    control_qmin_mvar: float = 0.0
    control_qmax_mvar: float = 0.0


class Section(Settings):
    """Uniform piece of a line, solved with the exact (hyperbolic) two-port."""

    km: Positive
    joint: Reactive | None = None
    """What stands at the far joint of the section; none at the last one."""


class LineParameters(Settings):
    """Per-kilometre constants of one circuit."""

    r_ohm_per_km: Positive
    x_ohm_per_km: Positive
    b_us_per_km: Positive
    corona_kw_per_km: NotNegative
    """Corona loss of a circuit in fair weather at rated voltage [kW/km]."""
    corona_sigma_kw_per_km: NotNegative = 0.0
    """Standard uncertainty of the corona loss when no weather is measured [kW/km]."""


class Line(Settings):
    """An AC line of one or more equal circuits between two nodes."""

    id: Identifier
    from_node: Annotated[Identifier, Field(alias="from")]
    to_node: Annotated[Identifier, Field(alias="to")]
    circuits: Annotated[int, Field(ge=1)]
    limit_mw: Positive
    """Transfer limit with all circuits in service [MW]."""
    sections: Annotated[tuple[Section, ...], Field(min_length=1)]
    parameters: LineParameters | None = None
    """Overrides the grid's ``line_parameters``."""

    @property
    def km(self) -> float:
        """Length [km]."""
        return sum(section.km for section in self.sections)


class Hvdc(Settings):
    """A point-to-point HVDC link."""

    id: Identifier
    from_node: Annotated[Identifier, Field(alias="from")]
    to_node: Annotated[Identifier, Field(alias="to")]
    km: Positive
    limit_mw: Positive
    u_dc_kv: Positive
    r_ohm_per_km: Positive
    converter_const_loss_mw: NotNegative
    converter_prop_loss: NotNegative


class TieKind(StrEnum):
    """How far the flow of a tie can be scheduled on its own."""

    RADIAL = "radial"
    HVDC = "hvdc"
    RING = "ring"
    """Part of a meshed ring: only the sum over the ring's ties is schedulable."""


class ScheduleStep(Settings):
    """From this time on the agreed exchange has this value, reached by a linear ramp of +-5 min around it."""

    start: AwareDatetime
    """UTC, for example ``2026-01-01T00:00:00Z``."""
    mw: float
    """[MW]; + away from the delivery node's busbar into the tie."""


class Tie(Settings):
    """A branch between two areas (or to a neighbour outside the model) with an agreed exchange."""

    id: Identifier
    """Id of the line or HVDC link."""
    kind: TieKind
    from_area: Identifier
    to_area: str
    """Area or neighbouring country that the tie leads to."""
    delivery_node: Identifier
    """Where the exchange is accounted; the schedule's sign is that of this end's meter."""
    schedule: Annotated[tuple[ScheduleStep, ...], Field(min_length=1)]
    """Agreed exchange over time; before the first step the first value holds."""
    ntc_mw: Positive
    """Net transfer capacity [MW]."""


class Grid(Settings):
    """The whole model."""

    u_rated_kv: Positive
    line_parameters: LineParameters
    illustrative: str = ""
    """What in this model is an assumption; shown to people wherever the grid is shown."""
    area: tuple[Area, ...]
    node: tuple[Node, ...]
    line: tuple[Line, ...] = ()
    hvdc: tuple[Hvdc, ...] = ()
    tie: tuple[Tie, ...] = ()

    def parameters_of(self, line: Line) -> LineParameters:
        """Constants of a line: its own or the grid's."""
        return line.parameters or self.line_parameters

    def problems(self, file: str) -> Iterator[Problem]:
        """Faults that only the whole model shows: duplicate ids and names that refer to nothing."""
        areas = {area.id for area in self.area}
        nodes = {node.id for node in self.node}
        branches: dict[str, Line | Hvdc] = {line.id: line for line in self.line}
        branches |= {link.id: link for link in self.hvdc}
        yield from _duplicates(file, "area", [area.id for area in self.area])
        yield from _duplicates(file, "node", [node.id for node in self.node])
        yield from _duplicates(file, "line", [line.id for line in self.line])
        yield from _duplicates(file, "hvdc", [link.id for link in self.hvdc])
        yield from _duplicates(file, "tie", [tie.id for tie in self.tie])
        for i, node in enumerate(self.node):
            if node.area not in areas:
                yield _unknown(file, f"node[{i}].area", node.area, "area", areas)
        keyed: list[tuple[str, Line | Hvdc]] = [(f"line[{i}]", line) for i, line in enumerate(self.line)]
        keyed += [(f"hvdc[{i}]", link) for i, link in enumerate(self.hvdc)]
        for where, end_of in keyed:
            for key, value in (("from", end_of.from_node), ("to", end_of.to_node)):
                if value not in nodes:
                    yield _unknown(file, f"{where}.{key}", value, "node", nodes)
        for i, tie in enumerate(self.tie):
            if tie.id not in branches:
                yield _unknown(file, f"tie[{i}].id", tie.id, "line or HVDC link", branches)
                continue
            branch = branches[tie.id]
            ends = {branch.from_node, branch.to_node}
            if tie.delivery_node not in ends:
                yield _unknown(file, f"tie[{i}].delivery_node", tie.delivery_node, "end of the tie", ends)
            if tie.from_area not in areas:
                yield _unknown(file, f"tie[{i}].from_area", tie.from_area, "area", areas)


def _duplicates(file: str, kind: str, ids: list[str]) -> Iterator[Problem]:
    for i, name in enumerate(ids):
        if name in ids[:i]:
            yield Problem(file, f"{kind}[{i}].id", f'"{name}"', "used twice", "give it another id")


def _unknown(file: str, key: str, value: str, what: str, valid: Iterable[str]) -> Problem:
    return Problem(file, key, f'"{value}"', f"no such {what}", nearest(value, valid))
