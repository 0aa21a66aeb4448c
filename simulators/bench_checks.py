"""Faults that only a bench as a whole shows, each with its place and its fix."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from simulators.devices import recording
from simulators.devices.catalogue import layout_fault
from simulators.devices.modbus import Transport
from simulators.devices.payloads import Shape
from simulators.devices.sparkplug import config as sparkplug
from telemetry.errors import ConfigError, Problem
from telemetry.settings import nearest

if TYPE_CHECKING:
    from simulators.bench import Bench, Broker, GatewaySettings, SimulatedDevice

MAX_ID = 64
_EMPTY = (None, "")


def problems(bench: Bench, file: str) -> Iterator[Problem]:
    """Every fault of the bench."""
    yield from _repeated(file, "gateway", "id", enumerate(gateway.id for gateway in bench.gateway))
    served = bench.served()
    yield from _repeated(file, "device", "id", [(i, device.id) for i, device in served])
    yield from _repeated(file, "device", "topic", [(i, device.topic) for i, device in served])
    yield from _ports(bench, file)
    yield from _tls(bench.broker, file)
    for i, gateway in enumerate(bench.gateway):
        yield from _line(file, f"gateway[{i}]", gateway)
    units: dict[tuple[str | None, int | None], str] = {}
    for i, device in served:
        holder = units.setdefault((device.gateway, device.unit), device.id)
        if device.unit is not None and holder != device.id:
            reason = f"unit of gateway {device.gateway} is taken by {holder}"
            yield Problem(
                file, f"device[{i}].unit", str(device.unit), reason, "give each device its own unit"
            )
    for i, device in enumerate(bench.device):
        yield from _device(bench, file, f"device[{i}]", device)
    yield from sparkplug.problems(bench, file)
    lines = {line.id for line in bench.plan.corridor.lines}
    for i, tap in enumerate(bench.tap):
        if tap.line not in lines:
            yield _unknown(file, f"tap[{i}].line", tap.line, "line", lines)
        if tap.repeat_s is not None and tap.repeat_s <= tap.for_s:
            reason = f"must be longer than for_s = {tap.for_s:g}"
            yield Problem(file, f"tap[{i}].repeat_s", f"{tap.repeat_s:g}", reason)


def _ports(bench: Bench, file: str) -> Iterator[Problem]:
    servers = bench.servers()
    ports = [(s.position, s.settings.port or None) for s in servers]
    yield from _repeated(file, "gateway", "port", ports)
    yield from _repeated(
        file, "gateway", "serial_port", [(i, s.serial_port or None) for i, s in enumerate(bench.gateway)]
    )
    taken = {port: "a gateway" for _, port in ports if port}
    for key, own in (("control_port", bench.control_port), ("broker.relay_port", bench.broker.relay_port)):
        if own in taken:
            yield Problem(file, key, str(own), f"is also the port of {taken[own]}", "set another port")
        elif own:
            taken[own] = f"the {key}"
    for position, server in servers:
        gateway = bench.gateway[position]
        if server.id != gateway.id and gateway.transport is Transport.SERIAL:
            reason = f"a serial line has only {gateway.units} units"
            yield Problem(file, f"gateway[{position}]", gateway.id, reason, "give the devices a lower count")


def _line(file: str, where: str, gateway: GatewaySettings) -> Iterator[Problem]:
    serial = gateway.transport is Transport.SERIAL
    if serial and not gateway.serial_port:
        yield Problem(file, f"{where}.serial_port", "", "a serial line needs it", "add serial_port")
    for key in ("serial_port", "baudrate", "parity", "stopbits", "port"):
        if key in gateway.model_fields_set and serial is (key == "port"):
            kind = f"a {gateway.transport.value} gateway"
            yield Problem(file, f"{where}.{key}", str(getattr(gateway, key)), f"{kind} has none", "remove it")


def _tls(broker: Broker, file: str) -> Iterator[Problem]:
    if broker.certificate_file and not broker.ca_file:
        yield Problem(
            file, "broker.certificate_file", broker.certificate_file, "is of no use without ca_file", "add it"
        )
        return
    if broker.key_file and not broker.certificate_file:
        yield Problem(
            file, "broker.key_file", broker.key_file, "is of no use without certificate_file", "add it"
        )
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    key = "ca_file"
    try:
        if broker.ca_file:
            context.load_verify_locations(broker.ca_file)
        if broker.certificate_file:
            key = "certificate_file"
            context.load_cert_chain(broker.certificate_file, broker.key_file or None)
    except OSError as error:
        value = getattr(broker, key)
        yield Problem(
            file, f"broker.{key}", value, f"cannot be used: {error.strerror or error}", "a PEM file"
        )


def _device(bench: Bench, file: str, where: str, device: SimulatedDevice) -> Iterator[Problem]:
    if misfits := list(_misfits(file, where, device)):
        yield from misfits
        return
    yield from _placed(bench, file, where, device)
    gateways = {gateway.id for gateway in bench.gateway}
    if device.gateway is not None and device.gateway not in gateways:
        yield _unknown(file, f"{where}.gateway", device.gateway, "gateway", gateways)
    if device.count > 1:
        yield from _numbered(file, where, device)
    if "batch" in device.model_fields_set and device.shape is not Shape.SAMPLES:
        reason = f"shape {device.shape.value} has none"
        yield Problem(file, f"{where}.batch", str(device.batch), reason, "remove it")
    if fault := layout_fault(device):
        yield Problem(file, f"{where}.{fault.key}", fault.value, fault.reason, fault.fix)
    if device.file:
        yield from _recording(file, where, device)


def _misfits(file: str, where: str, device: SimulatedDevice) -> Iterator[Problem]:
    """Settings that its kind needs or does not have."""
    kind, traits = f"a {device.kind.value}", device.kind.traits
    for key in type(device).model_fields:
        given = key in device.model_fields_set and getattr(device, key) not in _EMPTY
        if key in traits.needed and not given:
            yield Problem(file, f"{where}.{key}", "", f"{kind} needs it", f"add {key} to {device.id}")
        elif given and key not in {"id", "kind", *traits.needed, *traits.allowed}:
            yield Problem(file, f"{where}.{key}", str(getattr(device, key)), f"{kind} has none", "remove it")


def _numbered(file: str, where: str, device: SimulatedDevice) -> Iterator[Problem]:
    if len(device.id) + 1 + len(str(device.count)) > MAX_ID:
        yield Problem(file, f"{where}.id", device.id, "is too long for numbered devices", "shorten it")
    if device.topic is not None and "{n}" not in device.topic:
        reason = f"is the same for all {device.count} devices"
        yield Problem(file, f"{where}.topic", f'"{device.topic}"', reason, "write {n} for the number")


def _recording(file: str, where: str, device: SimulatedDevice) -> Iterator[Problem]:
    try:
        units = recording.load(Path(device.file))
    except ConfigError as error:
        yield from error.problems
        return
    names = {str(unit) for unit in units}
    if device.recorded_unit is not None and device.recorded_unit not in units:
        yield _unknown(
            file, f"{where}.recorded_unit", str(device.recorded_unit), "unit in the recording", names
        )
    if device.recorded_unit is None and len(units) > 1:
        reason = f"{device.file} holds several units"
        yield Problem(file, f"{where}.recorded_unit", "", reason, f"one of {', '.join(sorted(names))}")


def _placed(bench: Bench, file: str, where: str, device: SimulatedDevice) -> Iterator[Problem]:
    if device.node is None:
        return
    nodes = {bus.id for bus in bench.plan.corridor.nodes}
    if device.node not in nodes:
        yield _unknown(file, f"{where}.node", device.node, "node", nodes)
        return
    if device.branch is not None:
        yield from _wrong_branch(bench, file, where, device)
    if device.plant is None:
        return
    valid = {plant.id: plant for plant in bench.plan.plants if plant.kind in device.kind.traits.plants}
    plant = valid.get(device.plant)
    if plant is None:
        yield _unknown(file, f"{where}.plant", device.plant, f"plant for a {device.kind.value}", valid)
    elif plant.node != device.node:
        yield Problem(file, f"{where}.node", f'"{device.node}"', f"{device.plant} stands at {plant.node}")
    elif "number" in device.kind.traits.allowed and device.number + device.count - 1 > plant.units:
        key, last = ("count", device.count) if device.count > 1 else ("number", device.number)
        yield Problem(file, f"{where}.{key}", str(last), f"{plant.id} has only {plant.units} units")


def _wrong_branch(bench: Bench, file: str, where: str, device: SimulatedDevice) -> Iterator[Problem]:
    corridor = bench.plan.corridor
    ends = {line.id: (line.from_bus, line.to_bus) for line in corridor.lines}
    ends[corridor.hvdc.id] = (corridor.hvdc.from_bus, corridor.hvdc.to_bus)
    if device.branch not in ends:
        yield _unknown(file, f"{where}.branch", str(device.branch), "line or HVDC link", ends)
    elif device.node not in ends[device.branch]:
        reason = f"{device.branch} does not end there"
        yield Problem(file, f"{where}.node", f'"{device.node}"', reason, " or ".join(ends[device.branch]))


def _repeated(
    file: str, table: str, key: str, values: Iterable[tuple[int, str | int | None]]
) -> Iterator[Problem]:
    seen: set[str | int] = set()
    for i, value in values:
        if value is not None and value in seen:
            yield Problem(file, f"{table}[{i}].{key}", str(value), "used twice", f"give it another {key}")
        elif value is not None:
            seen.add(value)


def _unknown(
    file: str, key: str, value: str, what: str, valid: Mapping[str, object] | set[str] | Sequence[str]
) -> Problem:
    return Problem(file, key, f'"{value}"', f"no such {what}", nearest(value, valid))
