"""The site as the page draws it: placed nodes, branches with the points that measure them, all points."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from console import layout
from telemetry.devices import Device, Role
from telemetry.grid import Hvdc, Line, Tie
from telemetry.site import Site

POWER = "TotW"
"""Active power of a meter [MW]."""
PLANT_POWER = "W"
"""Active power of a plant [MW]."""
VOLTAGE = "PPV"
"""Line-to-line voltage of a meter [kV]."""
FREQUENCY = "Hz"
"""Frequency of a meter [Hz]."""


class AreaView(msgspec.Struct, frozen=True):
    """One control area."""

    id: str
    name: str
    operator: str
    utc_offset_h: float
    sync_area: str


class NodeView(msgspec.Struct, frozen=True):
    """A busbar and where its card stands on the diagram; points by index, null where none measures it."""

    id: str
    name: str
    area: str
    latitude: float
    longitude: float
    x: float
    y: float
    injection: int | None
    voltage: int | None
    frequency: int | None
    plants: list[int]
    """Active power of the plants at the node."""


class EndView(msgspec.Struct, frozen=True):
    """One end of a branch: the main meter's points."""

    node: str
    power: int | None
    device: str


class BranchView(msgspec.Struct, frozen=True):
    """A line or HVDC link."""

    id: str
    kind: str
    """``ac`` or ``hvdc``."""
    ends: tuple[EndView, EndView]
    circuits: int
    km: float
    limit_mw: float
    tie: bool
    from_area: str
    """Of a tie; empty otherwise."""
    to_area: str
    """Of a tie: area or neighbouring country that it leads to; empty otherwise."""
    out_of: str
    """Of a tie: whose export its meter at the delivery node counts as +; empty otherwise."""
    into: str
    """Of a tie: whose export it counts as -; empty otherwise."""
    delivery_node: str
    """Of a tie: where its meter counts for the schedule; empty otherwise."""
    ntc_mw: float | None
    """Of a tie: most that may be scheduled [MW]."""


class NeighbourView(msgspec.Struct, frozen=True):
    """What lies outside the model, at the end of a tie."""

    name: str
    node: str
    """Node that leads there."""
    branch: str
    x: float
    y: float


class DeviceView(msgspec.Struct, frozen=True):
    """A device."""

    id: str
    title: str
    profile: str
    node: str
    branch: str
    role: str
    rated_mw: float | None
    link: str
    enabled: bool


class PointView(msgspec.Struct, frozen=True):
    """A point; ``path`` is its address in requests."""

    index: int
    path: str
    device: str
    name: str
    title: str
    unit: str
    kind: str
    period_s: float
    states: dict[str, str]


class SiteView(msgspec.Struct, frozen=True):
    """Everything that changes only with the configuration."""

    name: str
    illustrative: str
    width: float
    height: float
    areas: list[AreaView]
    nodes: list[NodeView]
    branches: list[BranchView]
    neighbours: list[NeighbourView]
    devices: list[DeviceView]
    points: list[PointView]
    live: list[int]
    """Points whose values come with the event stream."""
    version: str = ""
    """Differs between any two sites that look different: a page of another version must be loaded again."""


def site_view(site: Site) -> SiteView:
    """Builds the view of a configuration."""
    grid = site.grid
    drawn: list[Line | Hvdc] = [*grid.line, *grid.hvdc]
    areas = {area.id for area in grid.area}
    leading_out = [tie for tie in grid.tie if tie.to_area not in areas]
    placed = layout.place(
        {node.id: (node.latitude, node.longitude) for node in grid.node},
        [(branch.from_node, branch.to_node) for branch in drawn],
        {_outside(tie): tie.delivery_node for tie in leading_out},
    )
    nodes = [
        NodeView(
            node.id,
            node.name,
            node.area,
            node.latitude,
            node.longitude,
            *placed[node.id],
            injection=_first(site, node.id, POWER, Role.INJECTION),
            voltage=_first(site, node.id, VOLTAGE, Role.INJECTION, Role.MAIN),
            frequency=_first(site, node.id, FREQUENCY, Role.INJECTION, Role.MAIN),
            plants=[
                index
                for device in _devices(site, node.id, Role.PLANT)
                if (index := _index(site, device, PLANT_POWER)) is not None
            ],
        )
        for node in grid.node
    ]
    branches = [_branch(site, branch) for branch in drawn]
    live = [index for branch in branches for end in branch.ends if (index := end.power) is not None]
    for view in nodes:
        live += [i for i in (view.injection, view.voltage, view.frequency) if i is not None]
        live += view.plants
    shown = SiteView(
        name=site.name,
        illustrative=grid.illustrative,
        width=layout.WIDTH,
        height=layout.HEIGHT,
        areas=[
            AreaView(area.id, area.name, area.operator, area.utc_offset_h, area.sync_area)
            for area in grid.area
        ],
        nodes=nodes,
        branches=branches,
        neighbours=[
            NeighbourView(tie.to_area, tie.delivery_node, tie.id, *placed[_outside(tie)])
            for tie in leading_out
        ],
        devices=[
            DeviceView(
                device.id,
                device.title,
                device.profile,
                device.node,
                device.branch or "",
                device.role.value,
                device.rated_mw,
                device.link,
                device.enabled,
            )
            for device in site.devices.values()
        ],
        points=[
            PointView(
                point.index,
                point.path,
                point.key.device,
                point.key.name,
                point.spec.title,
                point.spec.unit.value,
                point.spec.kind.value,
                point.profile.period_s,
                point.spec.states,
            )
            for point in site.points.values()
        ],
        live=list(dict.fromkeys(live)),
    )
    return msgspec.structs.replace(shown, version=sha256(msgspec.json.encode(shown)).hexdigest()[:16])


def _outside(tie: Tie) -> str:
    # a blank cannot stand in a node's id, so that no neighbour is taken for a node
    return f"beyond {tie.id}"


def _branch(site: Site, branch: Line | Hvdc) -> BranchView:
    grid = site.grid
    tie = next((tie for tie in grid.tie if tie.id == branch.id), None)
    return BranchView(
        id=branch.id,
        kind="hvdc" if isinstance(branch, Hvdc) else "ac",
        ends=(_end(site, branch.id, branch.from_node), _end(site, branch.id, branch.to_node)),
        circuits=1 if isinstance(branch, Hvdc) else branch.circuits,
        km=branch.km,
        limit_mw=branch.limit_mw,
        tie=tie is not None,
        from_area=tie.from_area if tie is not None else "",
        to_area=tie.to_area if tie is not None else "",
        out_of=grid.outflow(tie)[0] if tie is not None else "",
        into=grid.outflow(tie)[1] if tie is not None else "",
        delivery_node=tie.delivery_node if tie is not None else "",
        ntc_mw=tie.ntc_mw if tie is not None else None,
    )


def _end(site: Site, branch: str, node: str) -> EndView:
    meter = site.meter(branch, node)
    if meter is None:
        return EndView(node, None, "")
    return EndView(node, _index(site, meter, POWER), meter.id)


def _devices(site: Site, node: str, role: Role) -> list[Device]:
    return [d for d in site.devices.values() if d.node == node and d.role is role and d.enabled]


def _first(site: Site, node: str, name: str, *roles: Role) -> int | None:
    devices = [device for role in roles for device in _devices(site, node, role)]
    indices = (_index(site, device, name) for device in devices)
    return next((index for index in indices if index is not None), None)


def _index(site: Site, device: Device, name: str) -> int | None:
    point = site.find(device.id, name)
    return point.index if point is not None else None
