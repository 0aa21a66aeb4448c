"""Settings of the console: the ``[console]`` table."""

from __future__ import annotations

import ipaddress
from ipaddress import ip_address
from typing import Annotated

from pydantic import Field, IPvAnyAddress, ValidationInfo, field_validator

from telemetry.settings import Settings

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Host names that always reach this machine only."""


class ConsoleTls(Settings):
    """Certificate and key of the console; TLS 1.2 or later."""

    certificate_file: Annotated[str, Field(min_length=1)]
    """Certificate, with those that lead to its authority (PEM)."""
    key_file: Annotated[str, Field(min_length=1)]
    """Its key (PEM)."""
    key_password_file: Annotated[str, Field(min_length=1)] | None = None
    """File whose first line unlocks the key."""


class ConsoleSettings(Settings):
    """Where the console listens and whom it lets in."""

    tls: ConsoleTls | None = None
    """Serves HTTPS; allows an address other than loopback."""
    behind_proxy: bool = False
    """A proxy in front ends TLS: allows an address other than loopback, marks the cookie ``Secure`` and
    closes ``/metrics`` to strangers. The proxy must pass the ``Host`` header on."""
    trusted_proxies: tuple[IPvAnyAddress, ...] = (ip_address("127.0.0.1"), ip_address("::1"))
    """Addresses of the proxy: only from these, and only with ``behind_proxy``, ``X-Forwarded-For`` counts."""
    host: str = "127.0.0.1"
    """Address to listen on; other than loopback only with ``tls`` or ``behind_proxy``."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """TCP port; 0 takes any free one."""
    allowed_hosts: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.\-\[\]:]+$", max_length=253)], ...] = ()
    """Names, without a port, under which people reach the console, beside those of loopback."""
    session_hours: Annotated[float, Field(gt=0, le=8760)] = 168.0
    """How long a sign-in lasts at most [h]."""
    idle_hours: Annotated[float, Field(gt=0, le=8760)] = 8.0
    """A session in which nobody does anything for so long is over [h]; an open page alone does nothing."""
    token_hours: Annotated[float, Field(gt=0, le=720)] = 24.0
    """How long an unused sign-in token is good for [h]."""
    max_streams: Annotated[int, Field(ge=1, le=1000)] = 32
    """Open pages that are served live values at one time; more are refused and counted."""

    @field_validator("host")
    @classmethod
    def _loopback_or_proxy(cls, host: str, info: ValidationInfo) -> str:
        allowed = info.data.get("behind_proxy", False) or info.data.get("tls") is not None
        if not is_loopback(host) and not allowed:
            raise ValueError(
                "without TLS the console listens on loopback only; give [console.tls] a certificate, or put "
                "a proxy with TLS in front and set behind_proxy = true, or use 127.0.0.1"
            )
        return host

    @property
    def secure(self) -> bool:
        """Whether people reach the console by HTTPS only."""
        return self.behind_proxy or self.tls is not None

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine reach the address."""
        return is_loopback(self.host) and not self.behind_proxy

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
