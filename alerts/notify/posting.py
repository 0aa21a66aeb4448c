"""Requests of feeds and channels, and what their answers mean."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from alerts.notify.channel import RefusedError
from telemetry.errors import UnavailableError

_RETRY = frozenset({408, 429})
"""Client errors that pass: request timeout and too many requests (RFC 9110, RFC 6585)."""

_EXCERPT = 200
"""Part of a reply that is shown in an error [characters]."""


async def post(
    what: str, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, *, check: str = "its url"
) -> None:
    """Posts JSON; any 2xx answer confirms it. Redirects are not followed.

    Parameters
    ----------
    what
        For errors: ``webhook ops``.
    url, body, headers
        Of the request.
    timeout_s
        For the whole of it [s].
    check
        What to look at when it is refused.

    Raises
    ------
    UnavailableError
        No connection, no answer in time, or one that says to come back later (408, 429, 5xx).
    RefusedError
        Any other answer.

    """
    try:
        # a session for each message: they are rare, and a connection kept open would only go stale
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s)) as session,
            session.post(
                url, data=body, headers={"Content-Type": "application/json", **headers}, allow_redirects=False
            ) as reply,
        ):
            status = reply.status
            accepted = 200 <= status < 300
            text = "" if accepted else (await reply.text(errors="replace"))[:_EXCERPT]
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnavailableError(f"{what}: {str(error) or type(error).__name__}") from error
    if accepted:
        return
    message = f"{what} answered {status}: {text.strip() or 'no text'}"
    if status in _RETRY or status >= 500:
        raise UnavailableError(message)
    raise RefusedError(f"{message}; check {check} in the configuration")
