"""What every fault has: a kind, a target and a size; and what there is to strike on a bench."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from simulators.bench import Bench
from simulators.world.schedules import Schedules
from telemetry.errors import Problem
from telemetry.settings import Settings, nearest

BROKER = "mqtt"
"""Target of the faults on the link of the devices that publish."""
EVERYWHERE = "all"
"""Target of weather that is the same on every line."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Duration = Annotated[float, Field(gt=0, le=86400)]


class Where(StrEnum):
    """What a fault strikes."""

    LINE = "line"
    WEATHER = "line or all"
    NODE = "node"
    REGION = "area or node"
    AREA = "area"
    PLANT = "plant"
    HVDC = "HVDC link"
    SCHEDULE = "tie or contract"
    SYNC_AREA = "synchronous area"
    METER = "meter or plant"
    GATEWAY = "gateway on TCP"
    LINK = "gateway on TCP, edge node or mqtt"
    BROKER = "broker"


@dataclass(frozen=True, slots=True)
class Assets:
    """Names of everything that a fault can strike."""

    names: Mapping[Where, Collection[str]]
    polled: Collection[str] = ()
    """Meters that are polled, and so show no time of their own."""
    circuits: Mapping[str, int] = field(default_factory=dict)
    """How many circuits each line has."""
    link_mw: float = math.inf
    """Most that the HVDC link can send [MW]."""

    @classmethod
    def of(cls, bench: Bench) -> Assets:
        """The assets of a bench."""
        corridor = bench.plan.corridor
        lines = [line.id for line in corridor.lines]
        nodes = [bus.id for bus in corridor.nodes]
        areas = sorted({bus.area for bus in corridor.nodes})
        # a serial line has nothing in front of it that could break it
        gateways = [s.settings.id for s in bench.servers() if not s.settings.serial_port]
        return cls(
            {
                Where.LINE: lines,
                Where.WEATHER: [*lines, EVERYWHERE],
                Where.NODE: nodes,
                Where.REGION: [*nodes, *areas],
                Where.AREA: [regulation.area for regulation in bench.plan.regulations],
                Where.PLANT: [plant.id for plant in bench.plan.plants],
                Where.HVDC: [corridor.hvdc.id],
                Where.SCHEDULE: Schedules(bench.plan.contracts).names,
                Where.SYNC_AREA: sorted(set(bench.plan.sync_areas.values())),
                Where.METER: [s.device.id for s in bench.served() if s.device.kind.measures],
                Where.GATEWAY: gateways,
                Where.LINK: [*gateways, *(node.name for node in bench.edge_node), BROKER],
                Where.BROKER: [BROKER],
            },
            [s.device.id for s in bench.served() if s.device.kind.modbus],
            {line.id: line.circuits for line in corridor.lines},
            corridor.hvdc.limit_mw,
        )


class Fault(Settings):
    """One fault: what, where, how much."""

    where: ClassVar[Where]
    title_format: ClassVar[str]
    """What it is called, with its parameters by name."""
    ends: ClassVar[str] = "is over"
    """How its end is announced."""

    target: str
    """Name of what it strikes."""

    @property
    def title(self) -> str:
        """For people, after an article: ``30 MW tap in the middle of SHY-TAS``."""
        return self.title_format.format_map(self.model_dump())

    @property
    def name(self) -> str:
        """Its kind as a part of its id: ``plant-trip``."""
        return str(getattr(self, "kind", "fault")).replace("_", "-")

    def problems(self, file: str, key: str, assets: Assets) -> Iterator[Problem]:
        """What is wrong with the fault on a bench with these assets."""
        valid = assets.names.get(self.where, ())
        if self.target not in valid:
            reason = f"no such {self.where.value}"
            yield Problem(file, f"{key}.target", f'"{self.target}"', reason, nearest(self.target, valid))
