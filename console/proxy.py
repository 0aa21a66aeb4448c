"""Which address a request comes from, also behind a proxy. Pure."""

from __future__ import annotations

import ipaddress

from starlette.requests import Request

from console.config import ConsoleSettings


def address_of(request: Request, settings: ConsoleSettings) -> str:
    """Address of whoever asks; empty if the server does not know it.

    ``X-Forwarded-For`` counts only behind a proxy that is trusted, and of it only the last entry, the one
    that this proxy has added: everything before it is what the client claims.
    """
    peer = request.client.host if request.client is not None else ""
    if not settings.behind_proxy or peer not in map(str, settings.trusted_proxies):
        return peer
    forwarded = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(forwarded))
    except ValueError:
        return peer
