"""Who takes part in a play: devices, the edge nodes they are behind, and sources on a broker in memory."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from adapters.mqtt.source import MqttSource
from adapters.sparkplug.source import SparkplugSource
from greenbridge.scenarios.broker import MemoryBroker
from greenbridge.settings import SiteSettings
from ingest.ports import Intake
from simulators.faults.model import BROKER
from telemetry.clock import Clock
from telemetry.devices import Device, Role, SparkplugAddress
from telemetry.profiles import DeviceProfile, RegisterMapping, SunSpecMapping
from telemetry.site import SitePoint

OPEN_TO_ALL = {"tls": None, "password_env": None, "password_file": None}
"""There is nobody in memory to whom a key or password would be shown."""


def takes_part(device: Device, struck: Collection[str]) -> bool:
    """Turbines, inverters and instruments of plants stay out unless a fault strikes them or the way to them.

    No rule looks at them; their plant's controller tells of them all.
    """
    names = {device.id}
    if device.modbus is not None:
        names.add(device.modbus.gateway)
    if device.sparkplug is not None:
        names |= {device.sparkplug.device or "", _edge_node(device.sparkplug), BROKER}
    return device.role is not Role.UNIT or not names.isdisjoint(struck)


def behind_edge_nodes(devices: Iterable[Device]) -> dict[str, list[str]]:
    """Devices of the bench that edge nodes tell of, by the names of these on the bench."""
    behind: dict[str, list[str]] = {}
    for device in devices:
        if (address := device.sparkplug) is not None and address.device is not None:
            behind.setdefault(_edge_node(address), []).append(address.device)
    return behind


def subscribers(
    settings: SiteSettings,
    points: Mapping[str, Sequence[SitePoint]],
    broker: MemoryBroker,
    intake: Intake,
    clock: Clock,
) -> list[MqttSource | SparkplugSource]:
    """The sources that are fed by brokers, all by the one in memory; ``points`` by their links."""
    mqtt = [
        MqttSource(
            connection.model_copy(update=OPEN_TO_ALL),
            points[f"mqtt/{connection.id}"],
            intake,
            clock,
            uniform=random.Random(connection.id),  # noqa: S311 - jitter, not a secret
            connect=broker.opener(connection.client_id),
        )
        for connection in settings.mqtt.broker
        if points.get(f"mqtt/{connection.id}")
    ]
    sparkplug = [
        SparkplugSource(
            host.model_copy(update=OPEN_TO_ALL),
            points[f"sparkplug/{host.id}"],
            intake,
            clock,
            uniform=random.Random(host.id),  # noqa: S311 - jitter, not a secret
            connect=broker.opener(host.client_id),
        )
        for host in settings.sparkplug.host
        if points.get(f"sparkplug/{host.id}")
    ]
    return [*mqtt, *sparkplug]


def _edge_node(address: SparkplugAddress) -> str:
    return f"{address.group}/{address.edge}"


def slowed(profile: DeviceProfile, period_s: float) -> DeviceProfile:
    """The profile with no point read more often than the world moves."""
    changes: dict[str, object] = {"period_s": max(profile.period_s, period_s)}
    if profile.modbus is not None:
        registers = {name: _rarer(entry, period_s) for name, entry in profile.modbus.registers.items()}
        changes["modbus"] = profile.modbus.model_copy(update={"registers": registers})
    if profile.sunspec is not None:
        points = {name: _rarer(entry, period_s) for name, entry in profile.sunspec.points.items()}
        changes["sunspec"] = profile.sunspec.model_copy(update={"points": points})
    return profile.model_copy(update=changes)


Entry = TypeVar("Entry", RegisterMapping, SunSpecMapping)


def _rarer(entry: Entry, period_s: float) -> Entry:
    if entry.period_s is None:
        return entry
    return entry.model_copy(update={"period_s": max(entry.period_s, period_s)})
