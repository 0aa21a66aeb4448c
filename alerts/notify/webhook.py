"""Notifications as JSON documents posted to a web address."""

from __future__ import annotations

import msgspec

from alerts.notify.channel import Notification
from alerts.notify.posting import post
from alerts.notify.signing import request_headers
from telemetry.clock import Clock


class WebhookChannel:
    """Posts each notification to one address.

    The body is the notification as JSON; the header ``Idempotency-Key`` carries its key, the same at every
    attempt. With a key it is signed after Standard Webhooks.
    """

    def __init__(self, name: str, url: str, clock: Clock, key: bytes | None, timeout_s: float) -> None:
        self.id = name
        self._url = url
        self._clock = clock
        self._key = key
        self._timeout_s = timeout_s

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
        headers = {"Idempotency-Key": notification.key}
        if self._key is not None:
            headers |= request_headers(self._key, notification.key, body, self._clock.now_ns())
        await post(f"webhook {self.id}", self._url, body, headers, self._timeout_s)
