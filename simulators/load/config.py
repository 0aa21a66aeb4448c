"""Settings of a load. Load stays on this machine and always ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from telemetry.settings import Settings, parse


def _loopback(host: str) -> str:
    try:
        inside = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise ValueError("load stays on this machine: use 127.0.0.1")
    return host


Loopback = Annotated[str, AfterValidator(_loopback)]
Port = Annotated[int, Field(ge=0, le=65535)]


class ModbusLoad(Settings):
    """A Modbus TCP responder."""

    host: Loopback = "127.0.0.1"
    port: Port = 15600
    """First TCP port; 0 takes free ones."""
    ports: Annotated[int, Field(ge=1, le=256)] = 1
    """Consecutive ports to listen on."""
    units: Annotated[int, Field(ge=1, le=247)] = 247
    """Units behind each port, numbered from 1."""
    max_connections: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """Connections over all ports; further ones are closed at once and counted."""

    @model_validator(mode="after")
    def _ports_exist(self) -> ModbusLoad:
        if self.port and self.port + self.ports > 0x10000:
            raise ValueError(f"{self.ports} ports from {self.port} on go beyond 65535")
        return self


class MqttLoad(Settings):
    """An MQTT publisher."""

    host: Loopback = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    client_id: Annotated[str, Field(min_length=1, max_length=64)] = "greenbridge-load"
    username: str = ""
    """Empty for a broker that lets anyone in."""
    password: str = ""
    topic: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^+#\x00]+$")] = "load"
    """Messages go to ``topic/1``, ``topic/2`` and so on, one for each device."""
    devices: Annotated[int, Field(ge=1, le=10_000)] = 1000
    values: Annotated[int, Field(ge=1, le=1000)] = 50
    """Values in each message."""
    qos: Literal[0, 1] = 1
    in_flight: Annotated[int, Field(ge=1, le=65_000)] = 1000
    """Messages sent and not yet acknowledged, at QoS 1; beyond it, nothing is sent."""
    rate_per_s: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Messages per second; 0 sends as fast as the broker takes them."""
    messages: Annotated[int, Field(ge=0)] = 0
    """Ends after so many; 0 for no such limit."""
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Longest wait for the broker [s]."""


class LoadSettings(Settings):
    """What is loaded, and for how long."""

    modbus: ModbusLoad | None = None
    mqtt: MqttLoad | None = None
    for_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """Ends after this time [s]."""

    @model_validator(mode="after")
    def _something(self) -> LoadSettings:
        if self.modbus is None and self.mqtt is None:
            raise ValueError("nothing to do: give modbus, mqtt or both")
        return self


def from_options(kind: str, options: Mapping[str, str | float], for_s: float) -> LoadSettings:
    """Settings of one load, ``modbus`` or ``mqtt``, from the options of a command.

    Raises
    ------
    ConfigError
        With everything that is wrong.

    """
    lines = [f"for_s = {json.dumps(for_s)}", f"[{json.dumps(kind)}]"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    return parse("\n".join(lines), "command line", LoadSettings)
