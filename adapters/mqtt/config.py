"""Settings of an MQTT broker that devices publish to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from adapters.broker import BrokerConnection
from telemetry.points import Identifier
from telemetry.settings import Settings


class BrokerSettings(BrokerConnection):
    """One broker, and the persistent session at it; the link is ``mqtt/<id>``."""

    session_expiry_s: Annotated[int, Field(ge=1, le=4_294_967_295)] = 604_800
    """How long the broker keeps the session while nobody is connected [s]; only MQTT 5 can ask for it."""
    share: Identifier | None = None
    """Group of a shared subscription (``$share/<group>/``): the messages are spread over its members."""
    topic: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^#+\x00 ]+$")] | None = None
    """Topic of the devices that name none, for example ``corridor/{area}/{site}/{device}/telemetry``."""


class MqttSettings(Settings):
    """The MQTT part of a configuration."""

    broker: tuple[BrokerSettings, ...] = ()
