"""Notifications as JSON documents posted to a web address."""

from __future__ import annotations

import aiohttp
import msgspec

from alerts.config import Webhook
from alerts.notify.channel import Notification, RefusedError
from telemetry.errors import UnavailableError

_RETRY = frozenset({408, 429})
"""Client errors that pass: request timeout and too many requests (RFC 9110, RFC 6585)."""

_EXCERPT = 200
"""Part of a reply that is shown in an error [characters]."""


class WebhookChannel:
    """Posts each notification to one address.

    The body is the notification as JSON; the header ``Idempotency-Key`` carries its key, the same at every
    attempt. Any 2xx reply confirms it. Redirects are not followed.
    """

    def __init__(self, settings: Webhook) -> None:
        self.id = settings.id
        self._url = settings.url
        self._timeout = aiohttp.ClientTimeout(total=settings.timeout_s)

    async def deliver(self, notification: Notification) -> None:
        """Posts the notification.

        Raises
        ------
        UnavailableError
            No connection, no reply in time, or a reply that says to come back later (408, 429, 5xx).
        RefusedError
            Any other reply.

        """
        body = msgspec.json.encode(notification)
        headers = {"Content-Type": "application/json", "Idempotency-Key": notification.key}
        try:
            # a session for each message: they are rare, and a connection kept open would only go stale
            async with (
                aiohttp.ClientSession(timeout=self._timeout) as session,
                session.post(self._url, data=body, headers=headers, allow_redirects=False) as reply,
            ):
                status = reply.status
                accepted = 200 <= status < 300
                text = "" if accepted else (await reply.text(errors="replace"))[:_EXCERPT]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            detail = str(error) or type(error).__name__
            raise UnavailableError(f"webhook {self.id}: {detail}") from error
        if accepted:
            return
        message = f"webhook {self.id} answered {status}: {text.strip() or 'no text'}"
        if status in _RETRY or status >= 500:
            raise UnavailableError(message)
        raise RefusedError(f"{message}; check its url in the configuration")
