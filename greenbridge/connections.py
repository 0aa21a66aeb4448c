"""Faults among the connections of a configuration: names used twice, sessions that throw each other out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adapters.broker import BrokerConnection
from adapters.modbus.config import ModbusSettings
from adapters.mqtt.config import MqttSettings
from adapters.sparkplug.config import SparkplugSettings
from telemetry.errors import Problem


@dataclass(frozen=True, slots=True)
class Connections:
    """All connections to the field."""

    modbus: ModbusSettings
    mqtt: MqttSettings
    sparkplug: SparkplugSettings


def connection_problems(file: str, connections: Connections, watermark_s: float) -> Iterator[Problem]:
    """Every fault of connections that only shows when all are seen; ``watermark_s`` is that of the alerts."""
    modbus, mqtt, sparkplug = connections.modbus, connections.mqtt, connections.sparkplug
    yield from _twice(file, "modbus.gateway", [gateway.id for gateway in modbus.gateway])
    yield from _twice(file, "mqtt.broker", [broker.id for broker in mqtt.broker])
    yield from _twice(file, "sparkplug.host", [host.id for host in sparkplug.host])
    placed: list[tuple[str, BrokerConnection]] = [
        *((f"mqtt.broker[{i}]", broker) for i, broker in enumerate(mqtt.broker)),
        *((f"sparkplug.host[{i}]", host) for i, host in enumerate(sparkplug.host)),
    ]
    sessions: dict[tuple[str, int, str], str] = {}
    for key, connection in placed:
        session = (connection.host, connection.port, connection.client_id)
        other = sessions.setdefault(session, key)
        if other != key:
            reason = f"{other} has it too: a broker ends the older of two sessions of one name"
            yield Problem(file, f"{key}.client_id", f'"{connection.client_id}"', reason, "give each its own")
    hosts: dict[tuple[str, int, str], str] = {}
    for i, host in enumerate(sparkplug.host):
        key = f"sparkplug.host[{i}]"
        other = hosts.setdefault((host.host, host.port, host.host_id), key)
        if other != key:
            # tck-id-operational-behavior-host-application-host-id
            reason = f"{other} has it too: edge nodes could not tell which of them is online"
            yield Problem(file, f"{key}.host_id", f'"{host.host_id}"', reason, "give each its own")
        if host.reorder_timeout_s >= watermark_s:
            reason = f"not below alerts.watermark_s, {watermark_s:g}: rules would see what is out of order"
            fix = "make it smaller, or the watermark larger"
            yield Problem(file, f"{key}.reorder_timeout_s", f"{host.reorder_timeout_s:g}", reason, fix)


def _twice(file: str, table: str, ids: Sequence[str]) -> Iterator[Problem]:
    for i, name in enumerate(ids):
        if name in ids[:i]:
            reason = f"{table}[{ids.index(name)}] has the same"
            yield Problem(file, f"{table}[{i}].id", f'"{name}"', reason, "give each its own")
