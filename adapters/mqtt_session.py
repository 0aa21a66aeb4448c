"""What a connection to a broker is opened with, what comes by it, and how it fails."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import aiomqtt

from telemetry.errors import UnavailableError


class BrokerLostError(UnavailableError):
    """The broker cannot be reached, refused the connection, or the connection ended."""


class SubscriptionRefusedError(UnavailableError):
    """The broker accepted the connection but none of the subscriptions."""


@dataclass(frozen=True, slots=True)
class Received:
    """One message and what its acknowledgement needs."""

    topic: str
    """Empty when it is not valid UTF-8."""
    payload: bytes
    qos: int
    mid: int
    retained: bool
    received_ns: int
    """Wall time of receipt [ns, UTC]."""
    again: bool = False
    """The broker has sent it before and got no acknowledgement."""


@dataclass(frozen=True, slots=True)
class Session:
    """What the broker is to keep when the connection ends."""

    keep_s: int = 0
    """How long it keeps subscriptions and messages [s]; 0 for a clean session. MQTT 3.1.1 knows no limit."""
    will: aiomqtt.Will | None = None
    """What it publishes when the connection ends without a goodbye."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the settings name and only the process can read."""

    password: str | None = None
    tls: ssl.SSLContext | None = None
