"""Messages to people through apprise: mail, Telegram, Slack, Teams, SMS gateways and many more."""

from __future__ import annotations

import asyncio
import logging

import apprise

from alerts.notify.channel import Notification
from alerts.notify.secret import Where
from alerts.notify.text import ASKS, Message, Reader, Writer
from telemetry.clock import Clock
from telemetry.errors import UnavailableError

_EXCERPT = 300
"""Part of what apprise says that is shown in an error [characters]."""


class AppriseAddress:
    """Sends each notification to one address.

    Parameters
    ----------
    name
        Of the channel.
    url
        The address as apprise has it; holds credentials and is never shown.
    where
        Key of the configuration that names it.
    reader
        Whom it reaches.
    writer
        Finds the words.
    clock
        Time.
    timeout_s
        For one attempt [s].

    Raises
    ------
    ConfigError
        apprise does not understand the address.

    """

    def __init__(
        self,
        name: str,
        url: str,
        where: Where,
        *,
        reader: Reader,
        writer: Writer,
        clock: Clock,
        timeout_s: float,
    ) -> None:
        self.id = name
        self._url = url
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._timeout_s = timeout_s
        if apprise.Apprise.instantiate(url, suppress_exceptions=True) is None:
            fix = "see the list of services at github.com/caronc/apprise"
            raise where.refused("***", "holds no address that apprise understands", fix)

    async def deliver(self, notification: Notification) -> None:
        """Sends the notification; returns when the service has taken it.

        Raises
        ------
        UnavailableError
            The service did not take it; apprise does not say whether it ever will.

        """
        message = self._writer.write(notification, self._reader, self._clock.now_ns())
        try:
            async with asyncio.timeout(self._timeout_s):
                failed = await asyncio.to_thread(self._send, message, asks=notification.occasion in ASKS)
        except TimeoutError:
            failed = f"no answer within {self._timeout_s:g} s"
        if failed:
            raise UnavailableError(f"{self.id}: {failed}")

    def _send(self, message: Message, *, asks: bool) -> str:
        """Sends in a thread of its own; returns what went wrong."""
        asset = apprise.AppriseAsset(
            app_id="greenbridge", app_desc="greenbridge", app_url="", async_mode=False, plugin_paths=[]
        )
        service = apprise.Apprise(asset=asset)
        service.add(self._url)
        result = service.notify(
            body=message.body,
            title=message.title,
            notify_type=apprise.NotifyType.WARNING if asks else apprise.NotifyType.INFO,
            body_format=apprise.NotifyFormat.TEXT,
            log_level=logging.WARNING,
        )
        if result:
            return ""
        # warnings only: what is said in more detail can hold credentials
        said = [entry.message for entry in result.logs()]
        return ("; ".join(said) or "not delivered, apprise does not say why")[:_EXCERPT]
