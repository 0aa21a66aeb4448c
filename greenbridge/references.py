"""Faults between devices and the rest of a configuration: names of nothing, addresses used twice."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from adapters.mqtt.config import MqttSettings
from adapters.mqtt.plan import resolved, template_faults
from greenbridge.connections import Connections
from telemetry.devices import Device, Role, SparkplugAddress
from telemetry.errors import Problem
from telemetry.grid import Grid
from telemetry.profiles import DeviceProfile
from telemetry.settings import nearest

_METERS = frozenset({Role.MAIN, Role.CHECK})


@dataclass(frozen=True, slots=True)
class PlacedDevice:
    """A device and where it is written."""

    file: str
    key: str
    device: Device

    def unknown(self, key: str, value: str, what: str, valid: Collection[str]) -> Problem:
        """A name that refers to nothing."""
        return Problem(self.file, f"{self.key}.{key}", f'"{value}"', f"no such {what}", nearest(value, valid))


def with_topics(devices: Iterable[PlacedDevice], mqtt: MqttSettings, grid: Grid | None) -> list[PlacedDevice]:
    """The devices with their MQTT topics: the broker's template for those that name none, names put in."""
    areas = {node.id: node.area for node in grid.node} if grid is not None else {}
    templates = {broker.id: broker.topic for broker in mqtt.broker}
    found = []
    for placed in devices:
        address = placed.device.mqtt
        if address is not None:
            template = address.topic or templates.get(address.broker)
            if template is not None:
                topic = resolved(template, placed.device, areas.get(placed.device.node, ""))
                address = address.model_copy(update={"topic": topic})
            placed = replace(placed, device=placed.device.model_copy(update={"mqtt": address}))  # noqa: PLW2901
        found.append(placed)
    return found


def device_problems(
    devices: Sequence[PlacedDevice],
    connections: Connections,
    grid: Grid | None,
    profiles: Mapping[str, DeviceProfile],
) -> Iterator[Problem]:
    """Every fault of the devices that only the whole configuration shows; places need a grid."""
    ends: dict[str, set[str]] = {}
    nodes: set[str] = set()
    if grid is not None:
        ends |= {line.id: {line.from_node, line.to_node} for line in grid.line}
        ends |= {link.id: {link.from_node, link.to_node} for link in grid.hvdc}
        nodes |= {node.id for node in grid.node}
    gateways = {gateway.id for gateway in connections.modbus.gateway}
    brokers = {broker.id for broker in connections.mqtt.broker}
    hosts = {host.id: host for host in connections.sparkplug.host}
    for placed in devices:
        yield from _profile(placed, profiles)
        if grid is not None:
            yield from _place(placed, nodes, ends)
        device = placed.device
        if device.modbus is not None and device.modbus.gateway not in gateways:
            yield placed.unknown("modbus.gateway", device.modbus.gateway, "gateway", gateways)
        if device.mqtt is not None and device.mqtt.broker not in brokers:
            yield placed.unknown("mqtt.broker", device.mqtt.broker, "broker", brokers)
        yield from _topic(placed, profiles)
        if device.sparkplug is not None and device.sparkplug.host not in hosts:
            yield placed.unknown("sparkplug.host", device.sparkplug.host, "host", hosts.keys())
        elif device.sparkplug is not None:
            yield from _group(placed, device.sparkplug, hosts[device.sparkplug.host].groups)
    yield from _used_twice(devices)


def _profile(placed: PlacedDevice, profiles: Mapping[str, DeviceProfile]) -> Iterator[Problem]:
    device = placed.device
    profile = profiles.get(device.profile)
    if profile is None:
        yield placed.unknown("profile", device.profile, "profile", profiles.keys())
        return
    addresses = {"modbus": device.modbus, "mqtt": device.mqtt, "sparkplug": device.sparkplug}
    if [name for name, address in addresses.items() if address is not None] != [profile.protocol]:
        reason = f'profile "{profile.id}" is for {profile.protocol}'
        yield Problem(
            placed.file, placed.key, "", reason, f"give {profile.protocol} = {{ ... }} and no other"
        )
    order = None if device.modbus is None else device.modbus.word_order
    if order is not None and profile.sunspec is not None:
        reason = "SunSpec devices send the most significant word first"
        yield Problem(placed.file, f"{placed.key}.modbus.word_order", f'"{order}"', reason, "remove it")


def _topic(placed: PlacedDevice, profiles: Mapping[str, DeviceProfile]) -> Iterator[Problem]:
    address, profile = placed.device.mqtt, profiles.get(placed.device.profile)
    key = f"{placed.key}.mqtt.topic"
    if address is None or profile is None or profile.json_payload is None:
        return
    if address.topic is None:
        fix = "add topic, here or as a template in the broker's table"
        yield Problem(placed.file, key, "", "missing", fix)
        return
    for reason, fix in template_faults(address.topic, profile.json_payload.shape):
        yield Problem(placed.file, key, f'"{address.topic}"', reason, fix)


def _group(placed: PlacedDevice, address: SparkplugAddress, groups: Collection[str]) -> Iterator[Problem]:
    if groups and address.group not in groups:
        reason = f'host "{address.host}" does not listen to this group'
        fix = f"add it to the host's groups, or {nearest(address.group, groups)}"
        yield Problem(placed.file, f"{placed.key}.sparkplug.group", f'"{address.group}"', reason, fix)


def _place(placed: PlacedDevice, nodes: set[str], ends: Mapping[str, set[str]]) -> Iterator[Problem]:
    device = placed.device
    if device.node not in nodes:
        yield placed.unknown("node", device.node, "node", nodes)
    if device.role not in _METERS:
        return
    if device.branch is None:
        fix = "a meter names the line or HVDC link that it observes"
        yield Problem(placed.file, f"{placed.key}.branch", "", "missing", fix)
    elif device.branch not in ends:
        yield placed.unknown("branch", device.branch, "line or HVDC link", ends.keys())
    elif device.node in nodes and device.node not in ends[device.branch]:
        yield placed.unknown("node", device.node, f"end of {device.branch}", ends[device.branch])


def _used_twice(devices: Sequence[PlacedDevice]) -> Iterator[Problem]:
    first: dict[tuple[str, str], PlacedDevice] = {}
    for placed in devices:
        for key, shown in _identities(placed.device):
            other = first.setdefault((key, shown), placed)
            if other is not placed:
                reason = f'used by device "{other.device.id}" too ({other.file}: {other.key})'
                yield Problem(placed.file, f"{placed.key}.{key}", f'"{shown}"', reason)


def _identities(device: Device) -> Iterator[tuple[str, str]]:
    """What no two devices may share: (key, as people read it)."""
    yield "id", device.id
    if device.role in _METERS:
        yield "role", f"{device.role} meter of {device.branch} at {device.node}"
    if device.modbus is not None:
        yield "modbus.unit", f"unit {device.modbus.unit} behind {device.modbus.gateway}"
    if device.mqtt is not None:
        yield "mqtt.topic", f"{device.mqtt.broker}: {device.mqtt.topic}"
    if device.sparkplug is not None:
        address = device.sparkplug
        place = "/".join([address.group, address.edge, *([address.device] if address.device else [])])
        yield "sparkplug", f"{address.host}: {place}"
