"""The grid as the operator knows it: areas, nodes, lines, HVDC links, ties and schedules.

Signs: a branch meter reads + when power leaves the busbar into the branch, an injection is + into the bus, a
net position is + for export.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Annotated

from pydantic import AwareDatetime, Field

from telemetry.errors import Problem
from telemetry.points import Identifier
from telemetry.settings import Settings, nearest

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


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
    bias_mw_per_hz: Positive | None = None
    """Frequency bias K of the area control error [MW/Hz]; without it, rule R9 does not watch the area."""


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
    control_qmin_mvar: Finite = 0.0
    control_qmax_mvar: Finite = 0.0


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
    limit_one_out_mw: Positive | None = None
    """Transfer limit with one circuit out of service [MW]; without it, in proportion to the circuits."""
    thermal_a: Positive | None = None
    """Thermal current of one circuit [A]; without it, currents are not judged."""
    sections: Annotated[tuple[Section, ...], Field(min_length=1)]
    parameters: LineParameters | None = None
    """Overrides the grid's ``line_parameters``."""

    @property
    def km(self) -> float:
        """Length [km]."""
        return sum(section.km for section in self.sections)

    @property
    def limits_mw(self) -> list[float]:
        """Transfer limit with one circuit in service, with two, ... [MW]."""
        most = self.limit_mw * (self.circuits - 1) / self.circuits
        one_out = most if self.limit_one_out_mw is None else self.limit_one_out_mw
        fewer = [one_out * n / (self.circuits - 1) for n in range(1, self.circuits)]
        return [*fewer, self.limit_mw]


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
    mw: Finite
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


class Contract(Settings):
    """Energy that is carried through an area for others: in over some ties, out over others, less losses."""

    id: Identifier
    name: str = ""
    transit_area: Identifier
    """Area that the energy passes."""
    entry: Annotated[tuple[Identifier, ...], Field(min_length=1)]
    """Ties over which it comes in."""
    exit: Annotated[tuple[Identifier, ...], Field(min_length=1)]
    """Ties over which it leaves."""
    loss_share: Annotated[float, Field(ge=0, lt=0.5)]
    """Part of what comes in that the transit area may keep for its losses, 0 to 1."""
    schedule: Annotated[tuple[ScheduleStep, ...], Field(min_length=1)]
    """Agreed power into the transit area, never below 0 [MW]."""


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
    contract: tuple[Contract, ...] = ()

    def branch_of(self, tie: Tie) -> Line | Hvdc:
        """The line or HVDC link that a tie is."""
        branches: list[Line | Hvdc] = [*self.line, *self.hvdc]
        return next(branch for branch in branches if branch.id == tie.id)

    def outflow(self, tie: Tie) -> tuple[str, str]:
        """Areas that power comes from and goes to when the meter at a tie's delivery node reads +.

        If the far end of the branch is still in the tie's own area, the neighbour begins beyond the delivery
        node, and + is into the own area.
        """
        branch = self.branch_of(tie)
        away = branch.to_node if branch.from_node == tie.delivery_node else branch.from_node
        area = next((node.area for node in self.node if node.id == away), "")
        return (tie.to_area, tie.from_area) if area == tie.from_area else (tie.from_area, tie.to_area)

    def parameters_of(self, line: Line) -> LineParameters:
        """Constants of a line: its own or the grid's."""
        return line.parameters or self.line_parameters

    def problems(self, file: str) -> Iterator[Problem]:
        """Faults that only the whole model shows: ids used twice, names of nothing, wrong order."""
        areas = {area.id for area in self.area}
        nodes = {node.id for node in self.node}
        branches: dict[str, Line | Hvdc] = {line.id: line for line in self.line}
        branches |= {link.id: link for link in self.hvdc}
        keyed: list[tuple[str, Line | Hvdc]] = [(f"line[{i}]", line) for i, line in enumerate(self.line)]
        keyed += [(f"hvdc[{i}]", link) for i, link in enumerate(self.hvdc)]
        yield from _duplicates(file, [(f"area[{i}]", area.id) for i, area in enumerate(self.area)])
        yield from _duplicates(file, [(f"node[{i}]", node.id) for i, node in enumerate(self.node)])
        yield from _duplicates(file, [(where, branch.id) for where, branch in keyed])
        accounted = [(f"tie[{i}]", tie.id) for i, tie in enumerate(self.tie)]
        accounted += [(f"contract[{i}]", contract.id) for i, contract in enumerate(self.contract)]
        yield from _duplicates(file, accounted)
        for i, node in enumerate(self.node):
            if node.area not in areas:
                yield _unknown(file, f"node[{i}].area", node.area, "area", areas)
        for where, branch in keyed:
            for key, value in (("from", branch.from_node), ("to", branch.to_node)):
                if value not in nodes:
                    yield _unknown(file, f"{where}.{key}", value, "node", nodes)
            if branch.from_node == branch.to_node:
                shown = f'"{branch.to_node}"'
                yield Problem(file, f"{where}.to", shown, "both ends are one node", "name the other end")
        for i, line in enumerate(self.line):
            one_out, key = line.limit_one_out_mw, f"line[{i}].limit_one_out_mw"
            if one_out is not None and line.circuits == 1:
                yield Problem(file, key, f"{one_out:g}", "the line has one circuit only", "remove it")
            elif one_out is not None and one_out > line.limit_mw:
                reason = f"above limit_mw = {line.limit_mw:g}: fewer circuits cannot carry more"
                yield Problem(file, key, f"{one_out:g}", reason, "swap the two limits")
            if line.sections[-1].joint is not None:
                key = f"line[{i}].sections[{len(line.sections) - 1}].joint"
                yield Problem(file, key, "", "the last section ends at a node, not at a joint", "remove it")
        for i, tie in enumerate(self.tie):
            yield from _tie_problems(file, f"tie[{i}]", tie, branches, areas)
        ties = {tie.id: tie for tie in self.tie}
        for i, contract in enumerate(self.contract):
            yield from _contract_problems(file, f"contract[{i}]", contract, ties, areas)


def _tie_problems(
    file: str, where: str, tie: Tie, branches: dict[str, Line | Hvdc], areas: set[str]
) -> Iterator[Problem]:
    if tie.from_area not in areas:
        yield _unknown(file, f"{where}.from_area", tie.from_area, "area", areas)
    branch = branches.get(tie.id)
    if branch is None:
        yield _unknown(file, f"{where}.id", tie.id, "line or HVDC link", branches)
    elif tie.delivery_node not in {branch.from_node, branch.to_node}:
        ends = (branch.from_node, branch.to_node)
        yield _unknown(file, f"{where}.delivery_node", tie.delivery_node, "end of the tie", ends)
    yield from _step_problems(file, where, tie.schedule)


def _contract_problems(
    file: str, where: str, contract: Contract, ties: dict[str, Tie], areas: set[str]
) -> Iterator[Problem]:
    if contract.transit_area not in areas:
        yield _unknown(file, f"{where}.transit_area", contract.transit_area, "area", areas)
    for key, named in (("entry", contract.entry), ("exit", contract.exit)):
        for k, name in enumerate(named):
            tie = ties.get(name)
            if tie is None:
                yield _unknown(file, f"{where}.{key}[{k}]", name, "tie", ties)
            elif contract.transit_area in areas and contract.transit_area not in {
                tie.from_area,
                tie.to_area,
            }:
                reason = f"does not border {contract.transit_area}, the transit area"
                borders = [t.id for t in ties.values() if contract.transit_area in {t.from_area, t.to_area}]
                fix = nearest(name, borders)
                yield Problem(file, f"{where}.{key}[{k}]", f'"{name}"', reason, fix)
            elif key == "exit" and name in contract.entry:
                reason = "energy comes in and leaves over the same tie"
                yield Problem(file, f"{where}.exit[{k}]", f'"{name}"', reason, "name another tie")
    yield from _step_problems(file, where, contract.schedule)
    for k, step in enumerate(contract.schedule):
        if step.mw < 0:
            reason, fix = "below 0", "entry and exit say the direction: swap them, or write a power from 0 on"
            yield Problem(file, f"{where}.schedule[{k}].mw", f"{step.mw:g}", reason, fix)


def _step_problems(file: str, where: str, steps: Sequence[ScheduleStep]) -> Iterator[Problem]:
    for i, (earlier, later) in enumerate(pairwise(steps), start=1):
        if later.start <= earlier.start:
            key = f"{where}.schedule[{i}].start"
            shown = later.start.isoformat()
            yield Problem(file, key, shown, "not after the step before it", "order the steps by time")


def _duplicates(file: str, ids: list[tuple[str, str]]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for where, name in ids:
        if name in seen:
            reason = f"used twice, first by {seen[name]}"
            yield Problem(file, f"{where}.id", f'"{name}"', reason, "give it another id")
        seen.setdefault(name, where)


def _unknown(file: str, key: str, value: str, what: str, valid: Iterable[str]) -> Problem:
    return Problem(file, key, f'"{value}"', f"no such {what}", nearest(value, valid))
