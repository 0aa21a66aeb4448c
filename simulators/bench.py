"""Configuration of a bench: which devices there are, where they answer, and what is scripted to happen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import Field

from simulators.world.corridor import reference
from simulators.world.plants import PlantKind, reference_plants
from simulators.world.world import WorldPlan
from telemetry.errors import ConfigError, Problem
from telemetry.points import Identifier
from telemetry.settings import Settings, nearest, parse

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Kind(StrEnum):
    """What a device is, and with it how it speaks."""

    PM5XXX = "pm5xxx"
    UMG = "umg"
    BUS_METER = "bus-meter"
    WIND_PLANT = "wind-plant"
    SOLAR_PLANT = "solar-plant"
    POWER_PLANT = "power-plant"

    @property
    def modbus(self) -> bool:
        """Whether it stands behind a Modbus gateway; the others publish over MQTT."""
        return self in {Kind.PM5XXX, Kind.UMG}

    @property
    def plants(self) -> frozenset[PlantKind]:
        """Kinds of plant that it can be the controller of; empty for a meter."""
        return _PLANTS_OF.get(self, frozenset())


_PLANTS_OF: Mapping[Kind, frozenset[PlantKind]] = {
    Kind.WIND_PLANT: frozenset({PlantKind.WIND}),
    Kind.SOLAR_PLANT: frozenset({PlantKind.SOLAR}),
    Kind.POWER_PLANT: frozenset({PlantKind.THERMAL, PlantKind.HYDRO}),
}


class Broker(Settings):
    """The MQTT broker that the publishing devices use."""

    host: str = "127.0.0.1"
    port: Port = 1883
    username: str = ""
    """Empty for a broker that lets anyone in."""
    password: str = ""
    buffer: Annotated[int, Field(ge=1)] = 20_000
    """Messages kept while the broker is away; beyond it the oldest is dropped and counted."""
    in_flight: Annotated[int, Field(ge=1, le=1000)] = 16
    """Messages sent and not yet acknowledged."""
    ack_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    """An acknowledgement that takes longer means a dead connection [s]."""


class GatewaySettings(Settings):
    """A Modbus TCP server."""

    id: Identifier
    port: Port
    """0 takes a free one."""


class SimulatedDevice(Settings):
    """One device."""

    id: Identifier
    """Also its serial number, which decides its class error."""
    kind: Kind
    node: Identifier
    branch: Identifier | None = None
    """Line or HVDC link whose end at ``node`` a meter observes; without it, the node's injection."""
    plant: Identifier | None = None
    """Plant that a plant controller reports."""
    gateway: Identifier | None = None
    unit: Annotated[int, Field(ge=1, le=247)] | None = None
    topic: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^#+\x00 ]+$")] | None = None


class TapScript(Settings):
    """A load that appears in the middle of a line for a time."""

    line: Identifier
    mw: Annotated[float, Field(gt=0, le=1000)]
    at_s: Seconds
    """Start, from the start of the bench [s]."""
    for_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Duration [s]."""
    repeat_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Period from one start to the next [s]; without it the tap comes once."""


class Bench(Settings):
    """The whole bench, on the reference corridor."""

    seed: Annotated[int, Field(ge=0)]
    host: str = "127.0.0.1"
    """Address that gateways and control interface listen on."""
    control_port: Port
    ledger: str = ""
    """File for a line of JSON for each message that the broker acknowledged; empty for none."""
    broker: Broker = Broker()
    gateway: tuple[GatewaySettings, ...] = ()
    device: Annotated[tuple[SimulatedDevice, ...], Field(min_length=1)]
    tap: tuple[TapScript, ...] = ()

    @cached_property
    def plan(self) -> WorldPlan:
        """The world that the devices observe."""
        return WorldPlan(reference(), reference_plants())

    def problems(self, file: str) -> Iterator[Problem]:
        """Faults that only the bench as a whole shows."""
        gateways = {gateway.id for gateway in self.gateway}
        yield from _repeated(file, "gateway", "id", [gateway.id for gateway in self.gateway])
        yield from _repeated(file, "device", "id", [device.id for device in self.device])
        yield from _repeated(file, "device", "topic", [device.topic for device in self.device])
        ports = [gateway.port or None for gateway in self.gateway]
        yield from _repeated(file, "gateway", "port", ports)
        if self.control_port and self.control_port in ports:
            yield Problem(file, "control_port", str(self.control_port), "is also the port of a gateway")
        units: dict[tuple[str | None, int | None], str] = {}
        for i, device in enumerate(self.device):
            where = f"device[{i}]"
            yield from self._misplaced(file, where, device)
            if not device.kind.modbus:
                continue
            if device.gateway is not None and device.gateway not in gateways:
                yield _unknown(file, f"{where}.gateway", device.gateway, "gateway", gateways)
            holder = units.setdefault((device.gateway, device.unit), device.id)
            if device.unit is not None and holder != device.id:
                reason = f"unit of gateway {device.gateway} is taken by {holder}"
                yield Problem(
                    file, f"{where}.unit", str(device.unit), reason, "give each device its own unit"
                )
        lines = {line.id for line in self.plan.corridor.lines}
        for i, tap in enumerate(self.tap):
            if tap.line not in lines:
                yield _unknown(file, f"tap[{i}].line", tap.line, "line", lines)
            if tap.repeat_s is not None and tap.repeat_s <= tap.for_s:
                reason = f"must be longer than for_s = {tap.for_s:g}"
                yield Problem(file, f"tap[{i}].repeat_s", f"{tap.repeat_s:g}", reason)

    def _misplaced(self, file: str, where: str, device: SimulatedDevice) -> Iterator[Problem]:
        kind = f"a {device.kind.value}"
        needed = {"gateway", "unit"} if device.kind.modbus else {"topic"}
        if device.kind.plants:
            needed.add("plant")
        allowed = needed | (set() if device.kind.plants else {"branch"})
        for key in ("gateway", "unit", "topic", "plant", "branch"):
            value = getattr(device, key)
            if value is None and key in needed:
                yield Problem(file, f"{where}.{key}", "", f"{kind} needs it", f"add {key} to {device.id}")
            if value is not None and key not in allowed:
                yield Problem(file, f"{where}.{key}", str(value), f"{kind} has none", "remove it")
        nodes = {bus.id for bus in self.plan.corridor.nodes}
        if device.node not in nodes:
            yield _unknown(file, f"{where}.node", device.node, "node", nodes)
            return
        if device.branch is not None:
            yield from self._wrong_branch(file, where, device)
        if device.plant is not None and device.kind.plants:
            plants = {plant.id: plant for plant in self.plan.plants if plant.kind in device.kind.plants}
            if device.plant not in plants:
                yield _unknown(file, f"{where}.plant", device.plant, f"plant for {kind}", plants)
            elif plants[device.plant].node != device.node:
                reason = f"{device.plant} stands at {plants[device.plant].node}"
                yield Problem(file, f"{where}.node", f'"{device.node}"', reason)

    def _wrong_branch(self, file: str, where: str, device: SimulatedDevice) -> Iterator[Problem]:
        corridor = self.plan.corridor
        ends = {line.id: (line.from_bus, line.to_bus) for line in corridor.lines}
        ends[corridor.hvdc.id] = (corridor.hvdc.from_bus, corridor.hvdc.to_bus)
        if device.branch not in ends:
            yield _unknown(file, f"{where}.branch", str(device.branch), "line or HVDC link", ends)
        elif device.node not in ends[device.branch]:
            reason = f"{device.branch} does not end there"
            yield Problem(file, f"{where}.node", f'"{device.node}"', reason, " or ".join(ends[device.branch]))


def load(text: str, file: str, environment: Mapping[str, str]) -> Bench:
    """Reads a bench from TOML text; ``file`` names it in errors.

    Raises
    ------
    ConfigError
        With every fault of the text, or else every fault of the bench as a whole.

    """
    bench = parse(text, file, Bench, environment)
    if problems := list(bench.problems(file)):
        raise ConfigError(problems)
    return bench


def load_file(path: Path | None, environment: Mapping[str, str]) -> Bench:
    """Reads a bench from a file; ``None`` takes the shipped bench of the demo.

    Raises
    ------
    ConfigError
        The file cannot be read or holds no valid bench.

    """
    if path is None:
        text = resources.files("simulators").joinpath("bench.toml").read_text(encoding="utf-8")
        return load(text, "bench.toml", environment)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(str(path), "", "", f"cannot be read: {error}")]) from None
    return load(text, str(path), environment)


def _repeated(file: str, table: str, key: str, values: Sequence[str | int | None]) -> Iterator[Problem]:
    for i, value in enumerate(values):
        if value is not None and value in values[:i]:
            yield Problem(file, f"{table}[{i}].{key}", str(value), "used twice", f"give it another {key}")


def _unknown(file: str, key: str, value: str, what: str, valid: Mapping[str, object] | set[str]) -> Problem:
    return Problem(file, key, f'"{value}"', f"no such {what}", nearest(value, valid))
