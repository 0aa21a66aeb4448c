"""Settings of the console: the ``[console]`` table."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from telemetry.settings import Settings

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Host names that always reach this machine only."""


class ConsoleSettings(Settings):
    """Where the console listens and whom it lets in."""

    behind_proxy: bool = False
    """A proxy in front ends TLS: allows an address other than loopback, marks the cookie ``Secure`` and
    closes ``/metrics`` to strangers. The proxy must pass the ``Host`` header on."""
    host: str = "127.0.0.1"
    """Address to listen on; other than loopback only with ``behind_proxy``."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """TCP port; 0 takes any free one."""
    allowed_hosts: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.\-\[\]:]+$", max_length=253)], ...] = ()
    """Names, without a port, under which people reach the console, beside those of loopback."""
    session_hours: Annotated[float, Field(gt=0, le=8760)] = 168.0
    """How long a sign-in lasts [h]."""
    token_hours: Annotated[float, Field(gt=0, le=720)] = 24.0
    """How long an unused sign-in token is good for [h]."""
    max_streams: Annotated[int, Field(ge=1, le=1000)] = 32
    """Open pages that are served live values at one time; more are refused and counted."""

    @field_validator("host")
    @classmethod
    def _loopback_or_proxy(cls, host: str, info: ValidationInfo) -> str:
        if not is_loopback(host) and not info.data.get("behind_proxy", False):
            raise ValueError(
                "the console speaks plain HTTP and listens on loopback only; put a proxy with TLS in front "
                "and set behind_proxy = true, or use 127.0.0.1"
            )
        return host

    @property
    def hosts(self) -> frozenset[str]:
        """Every host name that a request may carry, in lower case."""
        return LOOPBACK_NAMES | {name.lower() for name in self.allowed_hosts}


def is_loopback(host: str) -> bool:
    """Whether a listening address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
