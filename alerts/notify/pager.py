"""The shell around paging: follows alarms and the clock; each turn is one transaction of the journal."""

from __future__ import annotations

import asyncio

import structlog

from alerts.alarms import Alarm
from alerts.journal import AlarmJournal
from alerts.lifecycle import Event
from alerts.notify.config import NotifySettings
from alerts.notify.paging import Paging
from alerts.notify.routing import Routing
from telemetry.clock import Clock
from telemetry.errors import StorageError

_log = structlog.get_logger(__name__)

TICK_S = 1.0
"""Period of what follows from time alone [s]."""
RETRY_S = 1.0
"""Pause after a failed transaction [s]."""
CHUNK = 2000
"""Steps that are taken in one turn."""


class Pager:
    """Decides who is told of what; the outbox delivers. Run it with :meth:`run`, one at a time."""

    def __init__(self, journal: AlarmJournal, settings: NotifySettings, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._lock = asyncio.Lock()
        self._seq = 0
        self.reconfigure(settings)

    def reconfigure(self, settings: NotifySettings) -> None:
        """Goes by other settings from the next :meth:`run` on; not while one is under way."""
        self._settings = settings
        self.routing = Routing(settings)
        """Routes and rotations as they are now."""
        self._paging = Paging(self.routing)

    def reached_now(self, alarm: Alarm) -> set[str]:
        """Channels of those who would be told of an alarm at once."""
        now = self._clock.now_ns()
        route = self.routing.route(alarm, now)
        people = self.routing.people(route.to, now) if route is not None else []
        return {channel for name in people for channel in self._channels(name)}

    async def run(self) -> None:
        """Tells people until cancelled; returns at once when there is nobody to tell.

        Raises
        ------
        StorageError
            The state cannot be loaded. Nothing is lost; run it again.

        """
        if not self._settings.recipient:
            await self._journal.forget_paging()
            return
        await self._load()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="pager-follow")
            group.create_task(self._tick(), name="pager-tick")

    async def _load(self) -> None:
        newest = self._journal.transitions.value
        seq, rows = await self._journal.paging()
        self._paging = Paging(self.routing, rows)
        self._seq = newest if seq is None else seq
        if seq is None:
            # nobody was told before: what is open now is told, what is past is not
            _, tracked = await self._journal.load()
            alarms = [entry.alarm for entry in tracked if entry.alarm is not None]
            self._paging.adopt(alarms, self._clock.now_ns())

    async def _follow(self) -> None:
        while True:
            await self._journal.transitions.past(self._seq)
            await self._turn()

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            await self._turn()

    async def _turn(self) -> None:
        async with self._lock:
            try:
                await self._take()
            except StorageError as error:
                _log.error("paging_storage_failed", error=str(error))
                await self._clock.sleep(RETRY_S)
                await self._load()

    async def _take(self) -> None:
        """Takes the steps since the last turn, and what follows from the time."""
        newest = self._journal.transitions.value
        steps = await self._journal.steps_after(self._seq, CHUNK) if newest > self._seq else ()
        now = self._clock.now_ns()
        for _, step in steps:
            self._paging.take(Event(step.event), step.alarm, now)
        complete = len(steps) < CHUNK
        seq = max(self._seq, steps[-1][0] if steps else 0, newest if complete else 0)
        messages = self._paging.settle(now) if complete else []
        outgoing = [
            (channel, message.notification)
            for message in messages
            for channel in self._channels(message.recipient)
        ]
        rows = self._paging.take_dirty()
        if steps or rows or outgoing:
            overflowed = await self._journal.page(seq, rows, outgoing, now)
            if overflowed:
                _log.error("notifications_overflowed", count=overflowed)
        self._seq = seq
        for message in messages:
            found = message.notification
            _log.info(
                "person_paged",
                recipient=message.recipient,
                key=found.key,
                occasion=found.occasion.value,
                alarm=found.alarm.id,
                alarms=found.total,
            )

    def _channels(self, name: str) -> list[str]:
        recipient = self._settings.recipient_of(name)
        return [] if recipient is None else [channel_of(name, address.id) for address in recipient.address]


def channel_of(recipient: str, address: str) -> str:
    """Name of the channel that is an address of a recipient: ``aigerim/mail``."""
    return f"{recipient}/{address}"
