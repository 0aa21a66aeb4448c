"""The live feed: one snapshot per second for all open pages, and what changed since the last one sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from console.corridor import SiteView
from console.ports import Ports
from console.views import (
    AnnouncementView,
    IndeterminateView,
    ReadingView,
    StatusView,
    announcement_views,
    indeterminate_views,
    ms,
    reading_views,
    status_view,
)
from telemetry.clock import Clock

PERIOD_S = 1.0
"""Time between two snapshots [s]."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the stream tells, at one moment."""

    now: int
    """[ms, UTC]."""
    site: str
    """Version of the site that is shown."""
    values: dict[int, ReadingView]
    """By point."""
    alarms_version: int
    indeterminate: list[IndeterminateView]
    status: StatusView
    announcements: list[AnnouncementView]


def changes(before: Snapshot | None, now: Snapshot) -> list[tuple[str, object]]:
    """Named events that bring a page from one snapshot to the next; from nothing, everything.

    A ``tick`` always ends the list: it proves to the page that what it shows is current.
    """
    events: list[tuple[str, object]] = []
    known = before.values if before is not None else {}
    if before is None or before.site != now.site:
        events.append(("site", {"version": now.site}))
    fresh = [reading for point, reading in now.values.items() if known.get(point) != reading]
    if fresh or before is None:
        events.append(("values", fresh))
    if before is None or before.alarms_version != now.alarms_version:
        events.append(("alarms", {"version": now.alarms_version}))
    if before is None or before.indeterminate != now.indeterminate:
        events.append(("indeterminate", now.indeterminate))
    if before is None or before.status != now.status:
        events.append(("status", now.status))
    if before is None or before.announcements != now.announcements:
        events.append(("announcements", now.announcements))
    events.append(("tick", {"now": now.now}))
    return events


class Feed:
    """Takes the snapshots and hands the newest to every stream that waits.

    A slow stream skips snapshots: nothing queues up for it, and what it is sent next is the difference to
    what it last received.
    """

    def __init__(self, clock: Clock, view: SiteView, ports: Ports) -> None:
        self._clock = clock
        self._view = view
        self._ports = ports
        self._number = 0
        self._latest: Snapshot | None = None
        self._turned = asyncio.Condition()
        self._closing = False

    @property
    def closing(self) -> bool:
        """Whether the streams are to end because the server stops."""
        return self._closing

    def show(self, view: SiteView) -> None:
        """Shows another site from the next snapshot on."""
        self._view = view

    def snapshot(self) -> Snapshot:
        """The state now."""
        readings = reading_views(self._ports.live.latest(self._view.live))
        return Snapshot(
            now=ms(self._clock.now_ns()),
            site=self._view.version,
            values={reading.point: reading for reading in readings},
            alarms_version=self._ports.desk.version,
            indeterminate=indeterminate_views(self._ports.desk.indeterminate()),
            status=status_view(self._ports.status.status()),
            announcements=announcement_views(self._ports.announcements.announcements()),
        )

    async def run(self) -> None:
        """Takes a snapshot every second until cancelled."""
        while True:
            await self.turn()
            await self._clock.sleep(PERIOD_S)

    async def turn(self) -> None:
        """Takes one snapshot and wakes the streams."""
        async with self._turned:
            self._latest = self.snapshot()
            self._number += 1
            self._turned.notify_all()

    async def next(self, after: int) -> tuple[int, Snapshot] | None:
        """The newest snapshot and its number, once that is above ``after``; None when the server stops."""
        async with self._turned:
            await self._turned.wait_for(lambda: self._closing or self._number > after)
            if self._closing or self._latest is None:
                return None
            return self._number, self._latest

    async def close(self) -> None:
        """Ends every stream at once."""
        async with self._turned:
            self._closing = True
            self._turned.notify_all()
