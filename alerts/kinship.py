"""Which alarm explains which: relations between rules, and how their assets hang together. Pure.

A relation names two rules and how their assets must be related. A new rule declares in :data:`RELATIONS`
which alarms explain its own; a site adds relations with ``[[alerts.relation]]``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter

from telemetry.devices import Device
from telemetry.grid import Grid, Hvdc, Line
from telemetry.site import Site

EVERYTHING = "telemetry"
"""Asset of an alarm about all links at once."""


class Kin(StrEnum):
    """How a child's asset must be related to its parent's."""

    SAME = "same"
    """It is the same asset."""
    BEHIND = "behind"
    """It is the parent's device, or one at the parent's link, branch or station; or the parent is about all
    links at once."""
    AT = "at"
    """Both have a station in common, or one is the area or the station that the other lies in."""
    AREA = "area"
    """Both lie, at least with one end, in one area."""
    ANY = "any"
    """Whatever the assets are."""


class Effect(StrEnum):
    """What becomes of a child while its parent is active."""

    SUPPRESS = "suppress"
    """It is a line under the parent, and nobody is told of it; urgent ones are told of all the same."""
    GROUP = "group"
    """It is a line under the parent, and an alarm of its own all the same: it asks for another action."""


@dataclass(frozen=True, slots=True)
class Relation:
    """Alarms of one rule explain alarms of another."""

    parent: str
    """Rule: ``R13``."""
    child: str
    """Rule: ``R15``."""
    kin: Kin
    effect: Effect = Effect.SUPPRESS
    waits: bool = False
    """The child is not raised while the on-delay of a possible parent is running."""


RELATIONS: tuple[Relation, ...] = (
    # telemetry that is missing makes what is derived from it unusable
    Relation("R13", "R13", Kin.BEHIND),
    *(Relation("R13", rule, Kin.BEHIND, waits=True) for rule in ("R14", "R15", "R16", "R17", "R19")),
    Relation("R13", "R24", Kin.AREA),
    # the estimator sees what a balance of one line, node or cable has named already
    *(Relation(rule, "R18", Kin.ANY, waits=True) for rule in ("R6", "R7", "R8")),
    # what is off its schedule now will settle out, and shows in the sums over the area
    Relation("R1", "R3", Kin.SAME, waits=True),
    Relation("R2", "R3", Kin.AT, waits=True),
    Relation("R2", "R5", Kin.AREA),
    Relation("R2", "R9", Kin.AT, waits=True),
    # what a line, a busbar or a cable lacks, its area lacks too
    *(Relation(rule, "R4", Kin.AREA, waits=True) for rule in ("R6", "R7", "R8")),
    # a tripped cable or plant is one event whose consequences ask for actions of their own
    *(Relation("R8", rule, Kin.AT, Effect.GROUP) for rule in ("R1", "R2", "R9", "R11", "R20")),
    *(Relation("R11", rule, Kin.AREA, Effect.GROUP) for rule in ("R2", "R9", "R10", "R23")),
    Relation("R11", "R19", Kin.AT),
    # a frequency that falls fast is soon off its value, and every control sees it
    Relation("R23", "R10", Kin.SAME, Effect.GROUP),
    Relation("R23", "R9", Kin.AREA, Effect.GROUP),
    # where a cable or the plants of an area went down, what they leave dark is no telemetry to be restored
    *(Relation(rule, "R24", Kin.AREA) for rule in ("R8", "R11")),
)
"""Relations of the catalogue, after what the rules mean (docs/alarm-desk.md)."""


class Topology:
    """What the assets that alarms name have to do with each other."""

    def __init__(self, grid: Grid, devices: Iterable[Device]) -> None:
        areas = {node.id: node.area for node in grid.node}
        self._before: dict[str, frozenset[str]] = {}
        self._stations: dict[str, frozenset[str]] = {node: frozenset({node}) for node in areas}
        self._areas: dict[str, frozenset[str]] = {area.id: frozenset({area.id}) for area in grid.area}
        branches: list[Line | Hvdc] = [*grid.line, *grid.hvdc]
        for branch in branches:
            self._stations[branch.id] = frozenset({branch.from_node, branch.to_node})
        links: dict[str, set[str]] = {}
        for device in devices:
            self._stations[device.id] = frozenset({device.node})
            before = {device.id, device.link, device.branch or "", device.node} - {""}
            self._before[device.id] = frozenset({*before, EVERYTHING})
            if device.link:
                links.setdefault(device.link, set()).add(device.node)
        for link, nodes in links.items():
            self._stations[link] = frozenset(nodes)
            self._before[link] = frozenset({EVERYTHING})
        for contract in grid.contract:
            ties = [*contract.entry, *contract.exit]
            self._stations[contract.id] = frozenset().union(*(self._stations.get(tie, ()) for tie in ties))
        for asset, stations in self._stations.items():
            self._areas[asset] = frozenset(areas[node] for node in stations if node in areas)
        for tie in grid.tie:
            self._areas[tie.id] = self._areas.get(tie.id, frozenset()) | {tie.from_area}
        self._whole = frozenset(areas.values())

    @property
    def assets(self) -> frozenset[str]:
        """Everything that is known: areas, stations, branches, devices and links."""
        return frozenset({*self._areas, EVERYTHING})

    def related(self, kin: Kin, parent: str, child: str) -> bool:
        """Whether two assets are related in a way."""
        match kin:
            case Kin.ANY:
                return True
            case Kin.SAME:
                return parent == child
            case Kin.BEHIND:
                return parent in self.before(child)
            case Kin.AREA:
                return bool(self.areas(parent) & self.areas(child))
            case Kin.AT:
                return (
                    parent == child
                    or bool(self._stations.get(parent, frozenset()) & self._stations.get(child, frozenset()))
                    or child in self.areas(parent)
                    or parent in self.areas(child)
                )

    def covered(self, outage: str, asset: str) -> bool:
        """Whether an asset is out of use while another one is."""
        return outage == asset or self.related(Kin.BEHIND, outage, asset) or outage in self.areas(asset)

    def before(self, asset: str) -> frozenset[str]:
        """What a device or link stands behind: itself, its link, branch and station, and all links."""
        return self._before.get(asset, frozenset())

    def areas(self, asset: str) -> frozenset[str]:
        """Areas that an asset touches; all for what is not known, such as a synchronous area."""
        return self._areas.get(asset, self._whole)


class Kinship:
    """The relations of a site.

    Parameters
    ----------
    relations
        Those of the catalogue and of the configuration; without cycles but for a rule with itself.
    topology
        Of the site; None where there are no relations.

    """

    def __init__(self, relations: Sequence[Relation] = (), topology: Topology | None = None) -> None:
        self._topology = topology
        self._of: dict[str, list[Relation]] = {}
        for relation in relations if topology is not None else ():
            self._of.setdefault(relation.child, []).append(relation)
        self._rank = {rule: rank for rank, rule in enumerate(order(relations))}

    @classmethod
    def of(cls, site: Site, further: Sequence[Relation] = ()) -> Kinship:
        """The relations of the catalogue and further ones on a site."""
        return cls([*RELATIONS, *further], Topology(site.grid, site.devices.values()))

    def rank(self, rule: str) -> int:
        """Orders rules so that parents come before their children; unrelated ones come first."""
        return self._rank.get(rule, -1)

    def parents(
        self, rule: str, asset: str, candidates: Mapping[str, Collection[str]]
    ) -> Iterator[tuple[Relation, str]]:
        """The relation and the asset of every parent that a child has among candidates.

        Parameters
        ----------
        rule, asset
            Of the child.
        candidates
            Assets by the rule that has an alarm there.

        """
        topology = self._topology
        if topology is None:
            return
        for relation in self._of.get(rule, ()):
            there = candidates.get(relation.parent, ())
            if relation.kin is Kin.SAME:
                found: Iterable[str] = [asset] if asset in there else []
            elif relation.kin is Kin.BEHIND:
                # looked up, not searched for: in a flood there are thousands of candidates
                found = sorted(before for before in topology.before(asset) if before in there)
            else:
                found = sorted(parent for parent in there if topology.related(relation.kin, parent, asset))
            for parent in found:
                if (relation.parent, parent) != (rule, asset):
                    yield relation, parent

    def covered(self, outage: str, asset: str) -> bool:
        """Whether an asset is out of use while another one is."""
        return outage == asset or (self._topology is not None and self._topology.covered(outage, asset))


def order(relations: Iterable[Relation]) -> list[str]:
    """Rules, parents first.

    Raises
    ------
    CycleError
        A rule would explain itself over others.

    """
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for relation in relations:
        if relation.parent != relation.child:
            sorter.add(relation.child, relation.parent)
    return list(sorter.static_order())


def cycle(relations: Iterable[Relation]) -> list[str]:
    """Rules that explain each other in a circle; empty when there is none."""
    try:
        order(relations)
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []
