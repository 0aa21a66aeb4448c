"""Builds everything that tells people of alarms, from the settings and the secrets in files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from alerts.alarms import Alarm
from alerts.config import AlertsSettings
from alerts.journal import AlarmJournal
from alerts.notify.alertmanager import AlertmanagerFeed
from alerts.notify.channel import Channel, Notification
from alerts.notify.config import Address, NotifySettings, Recipient
from alerts.notify.heartbeat import Beat, Pulse
from alerts.notify.links import MessageLinks
from alerts.notify.log import LogChannel
from alerts.notify.outbox import Outbox
from alerts.notify.pager import Pager, channel_of
from alerts.notify.secret import Where, key_in, secret_in
from alerts.notify.text import Reader, Writer
from alerts.notify.webhook import WebhookChannel
from greenbridge.settings import Configuration
from ingest.ports import Ailment
from telemetry.clock import Clock


@dataclass(frozen=True, slots=True)
class Notifying:
    """Everything that tells people, built and not yet running."""

    feeds: tuple[Channel, ...]
    """Channels that every notification goes to."""
    addresses: tuple[Channel, ...]
    """Channels of recipients."""
    beats: tuple[Beat, ...]
    links: MessageLinks | None

    @property
    def channels(self) -> list[Channel]:
        """All that the outbox serves."""
        return [*self.feeds, *self.addresses]

    @property
    def feed_ids(self) -> list[str]:
        """Names of the feeds."""
        return [channel.id for channel in self.feeds]


class Notifier:
    """Feeds, people and beats of a running site; run it with :meth:`run`.

    Parameters
    ----------
    journal
        The alarm journal, open.
    clock
        Time.
    ready
        Awaited before anything is said of what is active.

    """

    def __init__(self, journal: AlarmJournal, clock: Clock, ready: Callable[[], Awaitable[object]]) -> None:
        self._journal = journal
        self._ready = ready
        self._outbox = Outbox(journal, [], clock)
        self.pager = Pager(journal, NotifySettings(), clock)
        """Decides who is told."""
        self._told = Notifying((), (), (), None)

    def use(self, settings: AlertsSettings, told: Notifying) -> None:
        """Goes by other settings from the next :meth:`run` on; not while one is under way."""
        self._told = told
        self._journal.announce(told.feed_ids, settings.notify_on, settings.max_pending_notifications)
        self._outbox.reconfigure(told.channels, settings.give_up_after_s)
        self.pager.reconfigure(settings.notify)

    async def run(self) -> None:
        """Tells people until cancelled.

        Raises
        ------
        StorageError
            The state cannot be loaded. Nothing is lost; run it again.

        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._outbox.run(), name="notify-outbox")
            group.create_task(self.pager.run(), name="notify-pager")
            await self._ready()
            for beat in self._told.beats:
                group.create_task(beat.run(), name="notify-beat")

    def tell_urgent(self, notification: Notification) -> None:
        """Tells feeds and those on call from memory, while the alarm journal cannot be written."""
        reached = self.pager.reached_now(notification.alarm)
        self._outbox.tell(notification, reached | set(self._told.feed_ids))

    def ailments(self) -> list[Ailment]:
        """What does not reach people, for the alarms about greenbridge itself."""
        beats = [ailment for beat in self._told.beats for ailment in beat.ailments()]
        return [*self._outbox.ailments(), *beats]

    @property
    def links(self) -> MessageLinks | None:
        """Reads the links in messages; None while there are none to acknowledge by."""
        links = self._told.links
        return links if links is not None and links.acknowledges else None


def notifying(
    configuration: Configuration,
    clock: Clock,
    *,
    active: Callable[[], Sequence[Alarm]] = tuple,
    judging: Callable[[], bool] = lambda: False,
) -> Notifying:
    """Builds what a configuration names; reads its secrets.

    Parameters
    ----------
    configuration
        The site's.
    clock
        Time.
    active
        Alarms that people are told of now.
    judging
        Whether alarms are judged.

    Raises
    ------
    ConfigError
        A secret cannot be read, or is none.

    """
    settings, file = configuration.settings.alerts, Path(configuration.file).name
    notify, site = settings.notify, configuration.settings.name
    links = MessageLinks(notify.links, file) if notify.links is not None else None
    alertmanagers = _alertmanagers(settings, file, site, links, clock, active=active, judging=judging)
    beats = [feed.beat for feed in alertmanagers]
    if notify.heartbeat is not None:
        key = key_in(notify.heartbeat.secret_file, Where(file, "alerts.notify.heartbeat.secret_file"))
        beats.append(Pulse(notify.heartbeat, site, key, clock, judging).beat)
    return Notifying(
        (LogChannel(), *_webhooks(settings, file, clock), *alertmanagers),
        tuple(
            address_channel(notify, recipient, address, writer=Writer(site, links), clock=clock, file=file)
            for recipient in notify.recipient
            for address in recipient.address
        ),
        tuple(beats),
        links,
    )


def address_channel(
    notify: NotifySettings, recipient: Recipient, address: Address, *, writer: Writer, clock: Clock, file: str
) -> Channel:
    """The channel to an address of a recipient.

    Raises
    ------
    ConfigError
        Its secret cannot be read, or is none.

    """
    i, k = notify.recipient.index(recipient), recipient.address.index(address)
    place, name = f"alerts.notify.recipient[{i}].address[{k}]", channel_of(recipient.id, address.id)
    if address.url is not None:
        key = key_in(address.secret_file, Where(file, f"{place}.secret_file"))
        return WebhookChannel(name, address.url, clock, key, address.timeout_s)
    # it brings 170 services along, which a site without such an address does not need
    from alerts.notify.apprise_address import AppriseAddress  # noqa: PLC0415

    assert address.apprise_file is not None  # noqa: S101 - an address has one of both
    where = Where(file, f"{place}.apprise_file")
    return AppriseAddress(
        name,
        secret_in(address.apprise_file, where),
        where,
        reader=Reader(recipient.id, recipient.language, recipient.time_zone or notify.time_zone),
        writer=writer,
        clock=clock,
        timeout_s=address.timeout_s,
    )


def _webhooks(settings: AlertsSettings, file: str, clock: Clock) -> list[Channel]:
    return [
        WebhookChannel(
            table.id,
            table.url,
            clock,
            key_in(table.secret_file, Where(file, f"alerts.webhook[{i}].secret_file")),
            table.timeout_s,
        )
        for i, table in enumerate(settings.webhook)
        if table.enabled
    ]


def _alertmanagers(
    settings: AlertsSettings,
    file: str,
    site: str,
    links: MessageLinks | None,
    clock: Clock,
    *,
    active: Callable[[], Sequence[Alarm]],
    judging: Callable[[], bool],
) -> list[AlertmanagerFeed]:
    return [
        AlertmanagerFeed(
            table,
            site,
            console=links.console if links is not None else "",
            bearer=""
            if table.bearer_file is None
            else secret_in(table.bearer_file, Where(file, f"alerts.alertmanager[{i}].bearer_file")),
            clock=clock,
            active=active,
            judging=judging,
        )
        for i, table in enumerate(settings.alertmanager)
        if table.enabled
    ]
