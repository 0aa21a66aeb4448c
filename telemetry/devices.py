"""Devices: the hardware behind one address, and what each of them observes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from telemetry.points import Identifier
from telemetry.profiles import WordOrder
from telemetry.settings import Settings


class Role(StrEnum):
    """What a device observes."""

    MAIN = "main"
    """Main meter of a branch end."""
    CHECK = "check"
    """Check meter of a branch end."""
    INJECTION = "injection"
    """Meter of a node's total injection."""
    PLANT = "plant"
    """Controller of a generating plant."""
    UNIT = "unit"
    """One turbine, inverter or instrument inside a plant, whose controller tells of the whole."""
    DERIVED = "derived"
    """No device: points that formulas make of others."""


class ModbusAddress(Settings):
    """Where a device is found on Modbus."""

    gateway: Identifier
    """Id of the gateway (one TCP connection)."""
    unit: Annotated[int, Field(ge=0, le=255)]
    """Unit identifier behind the gateway."""
    word_order: WordOrder | None = None
    """Order in which this device sends the words of a value, if not its profile's."""


class MqttAddress(Settings):
    """Where a device publishes."""

    broker: Identifier
    """Id of the broker."""
    topic: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^#+\x00 ]+$")] | None = None
    """Topic without wildcards. ``{area}``, ``{site}`` (the node), ``{device}`` and, where each point has a
    topic of its own, ``{point}`` stand for names. Without one, the broker's topic template holds."""


SparkplugId = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^+/#\x00]+$")]
"""Group, edge node or device (Sparkplug 3.0, tck-id-topic-structure-namespace-valid-group-id)."""


class SparkplugAddress(Settings):
    """Where a device is found in the Sparkplug namespace."""

    host: Identifier
    """Id of the host application's settings: one connection to a broker."""
    group: SparkplugId
    edge: SparkplugId
    """Edge node."""
    device: SparkplugId | None = None
    """Device of the edge node; without one, the edge node's own metrics."""


class Device(Settings):
    """One device of the site."""

    id: Identifier
    title: str = ""
    profile: Identifier
    node: Identifier
    """Busbar that the device stands at."""
    branch: Identifier | None = None
    """Line or HVDC link that a main or check meter observes, at the end that ``node`` names."""
    role: Role
    rated_mw: Annotated[float, Field(gt=0)] | None = None
    """Rating of a plant [MW]."""
    modbus: ModbusAddress | None = None
    mqtt: MqttAddress | None = None
    sparkplug: SparkplugAddress | None = None
    enabled: bool = True

    @property
    def link(self) -> str:
        """The link that the device depends on, for example ``modbus/SHY``; one alarm tells of its loss."""
        if self.modbus is not None:
            return f"modbus/{self.modbus.gateway}"
        if self.sparkplug is not None:
            return f"sparkplug/{self.sparkplug.host}"
        return f"mqtt/{self.mqtt.broker}" if self.mqtt is not None else ""
