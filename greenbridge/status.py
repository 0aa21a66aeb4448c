"""The process's view of itself, gathered from its parts for the console."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adapters.link import LinkState
from console.ports import Latency, LinkStatus, Status, StoreStatus
from greenbridge.live import devices_seen
from ingest.conservation import Conservation, CountingStore, conservation
from ingest.intake import JournalIntake
from ingest.journal.journal import Journal
from ingest.live import LiveTable
from ingest.ports import Ailment
from ingest.pump import StorePump
from telemetry.clock import Clock
from telemetry.quality import usable
from telemetry.site import Site

_RATE_WINDOW_S = 10.0
_CHECK_EVERY_S = 1.0
_SILENT_NS = 10_000_000_000
"""A link through which nothing usable came for this long is not called up [ns]."""


@dataclass(frozen=True, slots=True)
class WatchedStore:
    """A store with the pump that fills it."""

    store: CountingStore
    pump: StorePump


_FOR_PEOPLE = frozenset({"unauthorized", "forbidden", "bucket_missing"})
"""States of a store that no waiting cures."""


def ailments(journal: Journal, pumps: Sequence[StorePump]) -> list[Ailment]:
    """What journal and stores cannot do now, for the alarms about greenbridge itself."""
    found = []
    if journal.trouble is not None:
        found.append(Ailment("journal", *journal.trouble))
    for pump in pumps:
        status = pump.status
        if status.state in _FOR_PEOPLE:
            part = status.name.replace("pump/", "store/")
            found.append(Ailment(part, status.state, status.error, status.since_ns))
    return found


class SystemStatus:
    """:class:`console.ports.SystemStatus`; :meth:`run` keeps the conservation sums and the rate fresh."""

    def __init__(
        self,
        site: Site,
        clock: Clock,
        *,
        journal: Journal,
        intake: JournalIntake,
        table: LiveTable,
        stores: Sequence[WatchedStore],
        links: Mapping[str, LinkState],
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._intake = intake
        self._table = table
        self._stores = stores
        self._links = links
        self.show(site)
        self._started_at = clock.now_ns()
        self._changed: dict[str, tuple[bool, int]] = {}
        self._sums: dict[str, Conservation] = {}
        self._oldest: dict[str, int | None] = {}
        self._rate: deque[tuple[float, int]] = deque()
        self.not_ready = "starting"
        """Why the process cannot serve yet; the composition root empties it."""

    def show(self, site: Site) -> None:
        """Counts the devices of another site from now on; its links have some time to be heard."""
        self._site = site
        self._shown_at = self._clock.now_ns()
        self._enabled = {device.id for device in site.devices.values() if device.enabled}
        self._link_points = {
            link: np.array([p.index for device in devices for p in site.points_of(device.id)], np.int64)
            for link, devices in site.links.items()
        }
        self._by_exception = np.array(
            [index for index, point in site.points.items() if point.profile.by_exception], np.int64
        )

    async def run(self) -> None:
        """Checks every second that each reading is accounted for."""
        while True:
            now = self._clock.monotonic()
            self._rate.append((now, self._journal.readings))
            while now - self._rate[0][0] > _RATE_WINDOW_S:
                self._rate.popleft()
            for watched in tuple(self._stores):
                await self._check(watched.store)
            await self._clock.sleep(_CHECK_EVERY_S)

    async def _check(self, store: CountingStore) -> None:
        self._sums[store.name] = await conservation(self._journal, store)
        waiting = await self._journal.read((await store.position()).offset, 1)
        self._oldest[store.name] = waiting[0].batch.t_received if waiting else None

    def status(self) -> Status:
        """The state now."""
        latency = self._intake.latency
        return Status(
            started_at=self._started_at,
            devices=len(self._enabled),
            devices_seen=devices_seen(self._site, self._table, self._started_at, self._enabled.__contains__),
            readings_per_s=self._readings_per_s(),
            readings=self._journal.readings,
            dead_letters=self._intake.rejected,
            read_to_durable=Latency(_known(latency.percentile(50)), _known(latency.percentile(99))),
            links=[self._link(name, state) for name, state in self._links.items()],
            stores=[self._store(watched) for watched in self._stores],
            not_ready=self.not_ready,
        )

    def _readings_per_s(self) -> float:
        if len(self._rate) < 2:
            return 0.0
        (first, before), (last, after) = self._rate[0], self._rate[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def _link(self, name: str, state: LinkState) -> LinkStatus:
        """A link is up when something usable came through it lately; a connection alone says nothing."""
        now = self._clock.now_ns()
        starting = now - self._shown_at < _SILENT_NS
        heard = self._heard(name, now)
        up = state.connected and (heard or starting)
        silent = "connected, but nothing answers"
        detail = state.last_error if not state.connected else f"{silent}: {state.last_error}".rstrip(": ")
        was_up, since = self._changed.get(name, (not up, self._started_at))
        if was_up != up:
            since = (state.connected_since if up else state.last_error_at) or now
            self._changed[name] = (up, since)
        return LinkStatus(name, up, since, state.note if up else detail)

    def _heard(self, link: str, now: int) -> bool:
        snapshot = self._table.snapshot()
        points = self._link_points.get(link)
        if points is None:
            # a Sparkplug host without devices looks around, and has nothing to wait for
            return True
        recent = snapshot.t_received > now - _SILENT_NS
        # what is reported by exception holds until its source says otherwise
        fresh = usable(snapshot.quality) & (recent | np.isin(snapshot.point, self._by_exception))
        return bool(np.isin(points, snapshot.point[fresh]).any())

    def _store(self, watched: WatchedStore) -> StoreStatus:
        status = watched.pump.status
        found = self._sums.get(watched.store.name)
        if found is None:
            return StoreStatus(watched.store.name, 0, watched.pump.position.totals, 0, 0.0, status.error)
        detail = status.error
        if found.rows is not None and found.rows != found.totals.stored:
            detail = f"{found.rows} rows are held, {found.totals.stored} were stored: the store is damaged"
        oldest = self._oldest[watched.store.name]
        lag_s = 0.0 if oldest is None else max(0.0, (self._clock.now_ns() - oldest) / 1e9)
        return StoreStatus(
            watched.store.name, found.received, found.totals, found.pending, lag_s, detail, found.detached
        )


def _known(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
