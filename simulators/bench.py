"""Configuration of a bench: which devices there are, where they answer, and what is scripted to happen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from simulators import bench_checks
from simulators.devices.identification import RefusalName
from simulators.devices.modbus import Transport
from simulators.devices.payloads import Shape
from simulators.devices.registers import WordOrder
from simulators.devices.sparkplug.config import EdgeNodeSettings
from simulators.kinds import Kind
from simulators.world.corridor import reference
from simulators.world.plants import reference_plants
from simulators.world.world import WorldPlan
from telemetry.errors import ConfigError, Problem
from telemetry.points import Identifier
from telemetry.settings import Settings, parse

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
UnitId = Annotated[int, Field(ge=1, le=247)]


class Broker(Settings):
    """The MQTT broker that the publishing devices use."""

    host: str = "127.0.0.1"
    port: Port = 1883
    username: str = ""
    """Empty for a broker that lets anyone in."""
    password: str = ""
    ca_file: str = ""
    """Certificates (PEM) that the broker's must lead to; with it the connection is encrypted."""
    certificate_file: str = ""
    """Certificate (PEM) that the publisher shows, for a broker that asks for one."""
    key_file: str = ""
    """Private key (PEM) of that certificate."""
    buffer: Annotated[int, Field(ge=1)] = 20_000
    """Messages kept while the broker is away; beyond it the oldest is dropped and counted."""
    in_flight: Annotated[int, Field(ge=1, le=1000)] = 16
    """Messages sent and not yet acknowledged."""
    ack_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    """An acknowledgement that takes longer means a dead connection [s]."""
    relay_port: Port = 0
    """Port where others reach the broker through the bench, so that the faults of its link strike them too; 0
    takes a free one."""


class GatewaySettings(Settings):
    """A Modbus server."""

    id: Identifier
    transport: Transport = Transport.TCP
    port: Port = 0
    """TCP port; 0 takes a free one."""
    units: UnitId = 247
    """Units on one port; numbered devices beyond it go on at the next port."""
    serial_port: str = ""
    """Device file of a serial line."""
    baudrate: Annotated[int, Field(ge=300, le=4_000_000)] = 19200
    parity: Literal["N", "E", "O"] = "E"
    stopbits: Literal[1, 2] = 1


class SimulatedDevice(Settings):
    """One device, or ``count`` numbered ones."""

    id: Identifier
    """Also its serial number, which decides its class error; numbered devices are ``id-1`` and so on."""
    kind: Kind
    node: Identifier | None = None
    branch: Identifier | None = None
    """Line or HVDC link whose end at ``node`` a meter observes; without it, the node's injection."""
    plant: Identifier | None = None
    """Plant that a controller, turbine, inverter or mast stands in."""
    number: Annotated[int, Field(ge=1)] = 1
    """Which turbine or inverter of the plant it is; numbered devices count on from it."""
    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    """How many devices this is: units count on from ``unit``, and ``{n}`` in a topic is the number."""
    gateway: Identifier | None = None
    unit: UnitId | None = None
    word_order: WordOrder = WordOrder.ABCD
    offset: Annotated[int, Field(ge=-65535, le=65535)] = 0
    """Added to every address of the register map: -1 for a device that counts registers from 1."""
    exception: RefusalName | None = None
    """Answer every request with this exception."""
    base: Literal[0, 40000, 50000] = 40000
    """Address of the marker of a SunSpec chain."""
    models: tuple[int, ...] = ()
    """SunSpec models behind model 1; empty for those usual for the kind."""
    wh_exponent: Annotated[int, Field(ge=0, le=6)] = 0
    """Scale factor of 32-bit energy counters: with 0 they roll over at 4.29 GWh."""
    file: str = ""
    """Recording to serve, relative to the bench file."""
    recorded_unit: UnitId | None = None
    """Unit of the recording; not needed if it has only one."""
    topic: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^#+\x00 ]+$")] | None = None
    shape: Shape = Shape.OBJECT
    batch: Annotated[int, Field(ge=1, le=1000)] = 10
    """Samples in one message of the shape ``samples``."""

    def numbered(self, n: int, gateway: GatewaySettings | None) -> SimulatedDevice:
        """The ``n``-th of its devices, counted from 0."""
        shown = str(n + 1).zfill(len(str(self.count)))
        changes: dict[str, object] = {"id": f"{self.id}-{shown}", "count": 1, "number": self.number + n}
        if self.unit is not None and gateway is not None:
            port, slot = divmod(self.unit - 1 + n, gateway.units)
            changes |= {"unit": slot + 1, "gateway": _port_name(gateway.id, port)}
        if self.topic is not None:
            changes["topic"] = self.topic.replace("{n}", shown)
        return self.model_copy(update=changes)


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


class Server(NamedTuple):
    """A server that the bench runs: a gateway, or the next port of one."""

    position: int
    """Position of its gateway in the configuration."""
    settings: GatewaySettings


class Served(NamedTuple):
    """A device that the bench serves."""

    position: int
    """Position of its line in the configuration."""
    device: SimulatedDevice


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
    edge_node: tuple[EdgeNodeSettings, ...] = ()
    tap: tuple[TapScript, ...] = ()

    @cached_property
    def plan(self) -> WorldPlan:
        """The world that the devices observe."""
        return WorldPlan(reference(), reference_plants())

    def served(self) -> tuple[Served, ...]:
        """Every single device, numbered ones included, in the order of configuration."""
        return tuple(self._served())

    def servers(self) -> tuple[Server, ...]:
        """Every single server: the gateways, and the further ports that numbered devices need."""
        needed = {gateway.id: 1 for gateway in self.gateway}
        by_id = {gateway.id: gateway for gateway in self.gateway}
        for device in self.device:
            gateway = by_id.get(device.gateway or "")
            if gateway is not None and device.unit is not None and device.count > 1:
                ports = (device.unit - 2 + device.count) // gateway.units + 1
                needed[gateway.id] = max(needed[gateway.id], ports)
        return tuple(
            Server(i, gateway.model_copy(update={"id": _port_name(gateway.id, k), "port": port}))
            for i, gateway in enumerate(self.gateway)
            for k in range(needed[gateway.id])
            for port in [gateway.port + k if gateway.port else 0]
        )

    def _served(self) -> Iterator[Served]:
        by_id = {gateway.id: gateway for gateway in self.gateway}
        for i, device in enumerate(self.device):
            if device.count == 1:
                yield Served(i, device)
            else:
                for n in range(device.count):
                    yield Served(i, device.numbered(n, by_id.get(device.gateway or "")))


def load(text: str, file: str, environment: Mapping[str, str], folder: Path | None = None) -> Bench:
    """Reads a bench from TOML text; ``file`` names it in errors, ``folder`` is where its files are.

    Raises
    ------
    ConfigError
        With every fault of the text, or else every fault of the bench as a whole.

    """
    bench = parse(text, file, Bench, environment)
    if folder is not None:
        found = tuple(
            device.model_copy(update={"file": str(folder / device.file)}) if device.file else device
            for device in bench.device
        )
        bench = bench.model_copy(update={"device": found})
    if problems := list(bench_checks.problems(bench, file)):
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
    return load(text, str(path), environment, path.parent)


def _port_name(gateway: str, port: int) -> str:
    return gateway if port == 0 else f"{gateway}-{port + 1}"
