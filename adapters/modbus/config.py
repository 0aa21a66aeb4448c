"""Settings of a Modbus gateway: one TCP connection, shared by the units behind it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from telemetry.points import Identifier
from telemetry.settings import Settings

Seconds = Annotated[float, Field(gt=0, le=3600)]


class GatewaySettings(Settings):
    """One gateway."""

    id: Identifier
    """Name that devices refer to; the link is ``modbus/<id>``."""
    host: Annotated[str, Field(min_length=1)]
    """Name or address of the gateway."""
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    timeout_s: Seconds = 1.0
    """Longest wait for a reply [s]; then the connection is closed, so that a late reply is never read."""
    connect_timeout_s: Seconds = 3.0
    """Longest wait for a connection [s]."""
    backoff_first_s: Seconds = 0.5
    """First pause after a failed connection [s]; it doubles from there."""
    backoff_max_s: Seconds = 15.0
    """Longest pause between attempts, for the connection and for each silent unit [s]."""
    max_pending_batches: Annotated[int, Field(ge=1, le=1000)] = 16
    """Polls that may wait for the journal's commit at one time; beyond it, polling waits."""


class ModbusSettings(Settings):
    """The Modbus part of a configuration."""

    gateway: tuple[GatewaySettings, ...] = ()
