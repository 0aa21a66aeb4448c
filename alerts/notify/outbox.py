"""The outbox: each notification reaches each channel at least once, under a key that never changes.

Every channel has a worker of its own, so that one that fails does not hold up the others. Within a channel
the order is kept: people do not read that an alarm is over before they read of the alarm.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import structlog

from alerts import metrics
from alerts.config import Occasion
from alerts.journal import DELIVERED, OVERFLOW, AlarmJournal, Entry
from alerts.notify.channel import Channel, Notification, RefusedError
from ingest.ports import Ailment
from telemetry.backoff import Backoff
from telemetry.clock import Clock
from telemetry.errors import StorageError, UnavailableError

_log = structlog.get_logger(__name__)

_SECOND = 1_000_000_000
_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 300.0
_STORAGE_RETRY_S = 1.0
_PASSING = 60 * _SECOND
"""Failures that last longer are an alarm [ns]."""
PART = "notify"
"""What the names of parts that are channels begin with."""
_MAX_URGENT = 100
"""Notifications from memory that a channel may have waiting."""

REFUSED, EXPIRED, CHANNEL_REMOVED = "refused", "expired", "channel_removed"
"""Why a notification was given up."""


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """How a channel does."""

    id: str
    pending: int
    delivered: int
    given_up: int
    failing_since: int | None
    """First failed attempt since the last success [ns, UTC]; None if it works."""
    last_error: str


class Outbox:
    """Delivers what the alarm journal holds for each channel; run it with :meth:`run`."""

    def __init__(
        self,
        journal: AlarmJournal,
        channels: Sequence[Channel],
        clock: Clock,
        give_up_after_s: float = 86400.0,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._uniform = uniform
        self._journal = journal
        self._clock = clock
        self._failing_since: dict[str, int] = {}
        self._last_error: dict[str, str] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._urgent: dict[str, asyncio.Queue[Notification]] = {}
        self._told: set[tuple[str, str]] = set()
        self.reconfigure(channels, give_up_after_s)

    def reconfigure(self, channels: Sequence[Channel], give_up_after_s: float) -> None:
        """Serves other channels from the next :meth:`run` on; not while one is under way."""
        self._channels = list(channels)
        self._give_up_after = round(give_up_after_s * _SECOND)
        self._backoffs = {channel.id: self._backoff() for channel in channels}
        for name in [name for name in self._failing_since if name not in self._backoffs]:
            del self._failing_since[name]
        # what waits for a channel that stays goes on waiting
        self._urgent = {
            channel.id: self._urgent.get(channel.id) or asyncio.Queue(_MAX_URGENT) for channel in channels
        }

    async def run(self) -> None:
        """Delivers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for channel in self._channels:
                group.create_task(self._tell_urgent(channel), name=f"outbox-urgent-{channel.id}")
            await self._drop_removed()
            await self._recall_failures()
            for channel in self._channels:
                group.create_task(self._serve(channel), name=f"outbox-{channel.id}")

    def tell(self, notification: Notification, channels: Collection[str] | None = None) -> None:
        """Sends a notification from memory, because it cannot be put into the outbox now.

        The outbox does not repeat it on a channel that confirmed it; only a crash in between can. With too
        many waiting it is dropped, logged and counted: the outbox has it later.

        Parameters
        ----------
        notification
            What to tell.
        channels
            Where; None for every channel.

        """
        for channel, queue in self._urgent.items():
            if channels is not None and channel not in channels:
                continue
            try:
                queue.put_nowait(notification)
            except asyncio.QueueFull:
                metrics.NOTIFICATIONS.labels(channel, OVERFLOW).inc()
                _log.error("urgent_notification_dropped", channel=channel, key=notification.key)

    async def _drop_removed(self) -> None:
        names = [channel.id for channel in self._channels]
        try:
            dropped = await self._journal.drop_channels_except(names, CHANNEL_REMOVED, self._clock.now_ns())
        except StorageError as error:
            # they stay until the next start; what still has a channel must not wait for that
            _log.error("outbox_storage_failed", channel="", error=str(error))
            return
        for name in dropped:
            metrics.NOTIFICATIONS.labels(name, CHANNEL_REMOVED).inc()

    async def _tell_urgent(self, channel: Channel) -> None:
        queue, backoff = self._urgent[channel.id], self._backoff()
        while True:
            notification = await queue.get()
            while True:
                try:
                    await channel.deliver(notification)
                except UnavailableError as error:
                    self._note_failure(channel, str(error))
                    await self._clock.sleep(backoff.next())
                except RefusedError as error:
                    self._note_failure(channel, str(error))
                    metrics.NOTIFICATIONS.labels(channel.id, REFUSED).inc()
                    break
                else:
                    backoff.reset()
                    self._note_success(channel)
                    self._told.add((channel.id, notification.alarm.id))
                    metrics.NOTIFICATIONS.labels(channel.id, DELIVERED).inc()
                    _log.info("notification_from_memory", channel=channel.id, key=notification.key)
                    break

    async def status(self) -> list[ChannelStatus]:
        """How every channel does; also sets the gauges."""
        counts = await self._journal.counts()
        statuses = []
        for channel in self._channels:
            count = counts.get(channel.id)
            pending = count.pending if count else 0
            metrics.NOTIFICATIONS_PENDING.labels(channel.id).set(pending)
            statuses.append(
                ChannelStatus(
                    channel.id,
                    pending,
                    count.delivered if count else 0,
                    count.given_up if count else 0,
                    self._failing_since.get(channel.id),
                    self._last_error.get(channel.id) or (count.last_detail if count else ""),
                )
            )
        return statuses

    async def _serve(self, channel: Channel) -> None:
        while True:
            try:
                seen = self._journal.notifications.value
                entry = await self._journal.next_entry(channel.id)
                if entry is None:
                    await self._journal.notifications.past(seen)
                else:
                    await self._attempt(channel, entry)
            except StorageError as error:
                _log.error("outbox_storage_failed", channel=channel.id, error=str(error))
                await self._clock.sleep(_STORAGE_RETRY_S)

    async def _attempt(self, channel: Channel, entry: Entry) -> None:
        now = self._clock.now_ns()
        told = (channel.id, entry.notification.alarm.id)
        alone = entry.notification.total == 1
        if entry.notification.occasion is Occasion.RAISED and alone and told in self._told:
            self._told.discard(told)
            await self._end(channel, entry, DELIVERED, "from memory")
            return
        if now - entry.created_at > self._give_up_after:
            await self._end(
                channel, entry, EXPIRED, f"not delivered within {self._give_up_after / _SECOND:.0f} s"
            )
            return
        if entry.due_at > now:
            # bounded, because the wall clock may have been stepped back since
            await self._clock.sleep(min((entry.due_at - now) / _SECOND, _LONGEST_RETRY_S))
        try:
            await channel.deliver(entry.notification)
        except UnavailableError as error:
            delay_s = self._backoffs[channel.id].next()
            self._note_failure(channel, str(error))
            metrics.NOTIFICATION_RETRIES.labels(channel.id).inc()
            _log.warning(
                "notification_postponed",
                channel=channel.id,
                key=entry.notification.key,
                attempts=entry.attempts + 1,
                retry_in_s=round(delay_s, 1),
                error=str(error),
            )
            due_at = self._clock.now_ns() + round(delay_s * _SECOND)
            await self._journal.postpone(entry, due_at, str(error))
        except RefusedError as error:
            self._note_failure(channel, str(error))
            await self._end(channel, entry, REFUSED, str(error))
        else:
            self._note_success(channel)
            await self._end(channel, entry, DELIVERED, "")
        await self.status()

    def ailments(self) -> list[Ailment]:
        """Channels that fail for longer than a passing trouble lasts; each becomes an alarm."""
        now = self._clock.now_ns()
        return [
            Ailment(f"{PART}/{name}", "failing", self._last_error.get(name, ""), since)
            for name, since in self._failing_since.items()
            if now - since >= _PASSING
        ]

    def _backoff(self) -> Backoff:
        return Backoff(_FIRST_RETRY_S, _LONGEST_RETRY_S, self._uniform)

    async def _recall_failures(self) -> None:
        """Takes up what failed before a restart, so that its alarm neither returns nor is raised anew."""
        try:
            failing = await self._journal.failing()
        except StorageError as error:
            _log.error("outbox_storage_failed", channel="", error=str(error))
            return
        for name, (since, detail) in failing.items():
            if name in self._backoffs:
                self._failing_since.setdefault(name, since)
                self._last_error.setdefault(name, detail)

    def _note_success(self, channel: Channel) -> None:
        self._backoffs[channel.id].reset()
        self._failing_since.pop(channel.id, None)
        self._last_error.pop(channel.id, None)

    def _note_failure(self, channel: Channel, error: str) -> None:
        self._failing_since.setdefault(channel.id, self._clock.now_ns())
        self._last_error[channel.id] = error

    async def _end(self, channel: Channel, entry: Entry, result: str, detail: str) -> None:
        metrics.NOTIFICATIONS.labels(channel.id, result).inc()
        report = _log.info if result == DELIVERED else _log.error
        key = entry.notification.key
        report("notification_ended", channel=channel.id, key=key, result=result, detail=detail)
        while True:
            try:
                await self._journal.end(entry, result, detail, self._clock.now_ns())
            except StorageError as error:
                # only the note is repeated: sending again because it cannot be written would flood people
                _log.error("outbox_storage_failed", channel=channel.id, error=str(error))
                await self._clock.sleep(_STORAGE_RETRY_S)
            else:
                return
