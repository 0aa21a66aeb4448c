"""The outermost layer: which host names are answered, who may change state, and the security headers.

Pure ASGI, so that an event stream passes through unbuffered.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console import metrics
from console.problems import ApiError, problem_response

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[0-9a-z.-]+)(:[0-9]{1,5})?")

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # no text can become markup or script in the page, whatever a device or a configuration calls itself
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)

SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """Refuses foreign host names and cross-site changes; adds headers to every answer."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], *, secure: bool = False) -> None:
        self._app = app
        self._hosts = hosts
        self._headers = dict(SECURITY_HEADERS)
        if secure:
            # RFC 6797, section 6.1: a browser that was here by HTTPS does not come by HTTP any more
            self._headers["strict-transport-security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a refusal itself and hands everything else on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = refusal_of(scope["method"], Headers(scope=scope), self._hosts)
        if refusal is None:
            await self._app(scope, receive, guarded)
            return
        reason, error = refusal
        metrics.REFUSED.labels(reason).inc()
        await problem_response(error)(scope, receive, guarded)


def refusal_of(method: str, headers: Headers, hosts: frozenset[str]) -> tuple[str, ApiError] | None:
    """Why a request is refused: a bounded reason and the answer; None when it may pass.

    A foreign ``Host`` is how DNS rebinding reaches a server on loopback; a foreign ``Origin`` is how another
    site's page makes a browser act for its user.
    """
    named = headers.getlist("host")
    host = named[0].lower() if len(named) == 1 else ""
    if host_name(host) not in hosts:
        return "host", ApiError(
            400,
            "this host name is not served here",
            "add the name to allowed_hosts in [console], or use one that is listed there",
        )
    # an API token is never sent by a browser of itself: a page elsewhere would have to ask first (CORS)
    if method in SAFE_METHODS or ("authorization" in headers and "origin" not in headers):
        return None
    origins = headers.getlist("origin")
    if len(origins) != 1 or origins[0].lower() not in {f"http://{host}", f"https://{host}"}:
        return "origin", ApiError(
            403,
            "a change must come from the console's own page",
            "send an Origin header that names this console, for example Origin: http://127.0.0.1:8080",
        )
    return None


def host_name(host: str) -> str:
    """The name in a ``Host`` header: ``[::1]:8080`` gives ``[::1]``; empty if it is not a host."""
    match = _HOST.fullmatch(host)
    return match["name"] if match is not None else ""
