"""The newest readings with the quality of now, as the console shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from adapters.link import LinkState
from alerts.alignment import stale_after_s
from ingest.live import LiveTable
from telemetry.batch import Columns
from telemetry.clock import Clock
from telemetry.quality import Quality, Validity, usable, validity_of
from telemetry.site import Site

_NEVER = -1


class LiveValues:
    """:class:`console.ports.LiveValues` over the live table.

    A reading is stale when it was received longer ago than the limit of rule R13 for its point's period;
    behind a lost link it says so instead. A reading that is bad already keeps its own reason. What is
    reported by exception (Sparkplug) does not age: its source says when it is not known any more.
    """

    def __init__(self, site: Site, table: LiveTable, clock: Clock, links: Mapping[str, LinkState]) -> None:
        self._table = table
        self._clock = clock
        self._links = links
        self.show(site)

    def show(self, site: Site) -> None:
        """Judges by the periods and links of another site from now on."""
        self._limit_ns: dict[int, int] = {}
        self._link_of: dict[int, str] = {}
        for index, point in site.points.items():
            limit_s = stale_after_s(point.profile.period_of(point.key.name))
            self._limit_ns[index] = _NEVER if point.profile.by_exception else round(limit_s * 1e9)
            self._link_of[index] = point.device.link

    def latest(self, points: Sequence[int]) -> Columns:
        """Newest reading of each point by index; points never received are left out."""
        now = self._clock.now_ns()
        snapshot = self._table.snapshot()
        at = np.searchsorted(snapshot.point, np.asarray(points, np.uint32))
        found = [
            int(row)
            for row, point in zip(at, points, strict=True)
            if row < len(snapshot) and snapshot.point[row] == point
        ]
        quality = [
            self._quality(
                int(snapshot.point[row]), int(snapshot.quality[row]), int(snapshot.t_received[row]), now
            )
            for row in found
        ]
        return Columns.of(snapshot.point[found], snapshot.t_source[found], snapshot.value[found], quality)

    def _quality(self, point: int, quality: int, t_received: int, now: int) -> int:
        if validity_of(quality) is Validity.BAD or point not in self._limit_ns:
            return quality
        limit = self._limit_ns[point]
        if limit != _NEVER and now - t_received <= limit:
            return quality
        link = self._links.get(self._link_of[point])
        if link is not None and not link.connected:
            return Quality.LINK_LOST
        return quality if limit == _NEVER else Quality.STALE


def devices_seen(site: Site, table: LiveTable, since: int, is_enabled: Callable[[str], bool]) -> int:
    """Number of devices in use that delivered a usable reading after a time [ns, UTC]."""
    snapshot = table.snapshot()
    heard = snapshot.point[(snapshot.t_received >= since) & usable(snapshot.quality)].tolist()
    seen = {site.points[point].key.device for point in heard if point in site.points}
    return sum(is_enabled(device) for device in seen)
