"""The newest reading of every point, in memory, as the page and the rules see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.growth import Growth
from ingest.ports import JournalReader, JournalRecord
from telemetry.batch import Columns

_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True, eq=False)
class LiveReadings:
    """Newest readings of some points."""

    version: int
    """Version of the table that they were taken at."""
    point: NDArray[np.uint32]
    t_source: NDArray[np.int64]
    t_received: NDArray[np.int64]
    """[ns, UTC]; 0 for a reading that was primed from a store, whose receipt is not known."""
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.point)


class LiveTable:
    """Newest reading of each point, fed from the journal in order.

    Newest is by source time, where a time after the receipt counts as the receipt: a device whose clock was
    ahead does not hide its own later readings once the clock is right.

    Prime it from a store's ``last``, then ``run`` it from that store's position, so that nothing is left out
    between the two.
    """

    def __init__(self, journal: JournalReader) -> None:
        self._journal = journal
        self._growth = Growth()
        self._version = 0
        self._changed = np.zeros(0, np.int64)
        self._rank = np.zeros(0, np.int64)
        self._t_source = np.zeros(0, np.int64)
        self._t_received = np.zeros(0, np.int64)
        self._value = np.zeros(0)
        self._quality = np.zeros(0, np.uint8)

    @property
    def version(self) -> int:
        """Grows with every change of any point."""
        return self._version

    def prime(self, newest: Columns, now: int) -> None:
        """Fills the table with readings of an earlier run, received before ``now`` [ns, UTC]."""
        n = len(newest)
        self._take(newest, np.zeros(n, np.int64), np.minimum(newest.t_source, np.full(n, now)))

    async def run(self, after: int | None = None) -> None:
        """Follows the journal from behind an offset, by default from its head, until it is cancelled."""
        after = self._journal.head if after is None else after
        while True:
            records = await self._journal.read(after)
            if records:
                self.take(records)
                after = records[-1].offset
            else:
                await self._journal.wait(after)

    def take(self, records: Sequence[JournalRecord]) -> None:
        """Takes over the readings of records."""
        batches = [record.batch for record in records]
        received = np.repeat(
            np.array([batch.t_received for batch in batches], np.int64), [len(batch) for batch in batches]
        )
        columns = Columns.joined(batches)
        self._take(columns, received, np.minimum(columns.t_source, received))

    def snapshot(self) -> LiveReadings:
        """Newest reading of every point that has one."""
        return self.changed_since(0)

    def changed_since(self, version: int) -> LiveReadings:
        """Newest reading of the points that changed after a version."""
        point = np.flatnonzero(self._changed > version)
        return LiveReadings(
            self._version,
            point.astype(np.uint32),
            self._t_source[point],
            self._t_received[point],
            self._value[point],
            self._quality[point],
        )

    async def wait(self, version: int) -> int:
        """Returns the new version as soon as it is above ``version``."""
        while self._version <= version:
            await self._growth.wait()
        return self._version

    def _take(self, columns: Columns, received: NDArray[np.int64], rank: NDArray[np.int64]) -> None:
        if not len(columns):
            return
        self._reserve(int(columns.point.max()) + 1)
        # of each point the newest; at the same time the later one, which is a revision
        order = np.lexsort((rank, columns.point))
        last = np.append(np.diff(columns.point[order]) != 0, True)
        chosen = order[last]
        point = columns.point[chosen]
        newer = rank[chosen] >= self._rank[point]
        chosen, point = chosen[newer], point[newer]
        if not len(point):
            return
        self._version += 1
        self._changed[point] = self._version
        self._rank[point] = rank[chosen]
        self._t_source[point] = columns.t_source[chosen]
        self._t_received[point] = received[chosen]
        self._value[point] = columns.value[chosen]
        self._quality[point] = columns.quality[chosen]
        self._growth.notify()

    def _reserve(self, points: int) -> None:
        more = points - len(self._changed)
        if more > 0:
            self._changed = np.append(self._changed, np.zeros(more, np.int64))
            self._rank = np.append(self._rank, np.full(more, _NEVER))
            self._t_source = np.append(self._t_source, np.full(more, _NEVER))
            self._t_received = np.append(self._t_received, np.zeros(more, np.int64))
            self._value = np.append(self._value, np.full(more, np.nan))
            self._quality = np.append(self._quality, np.zeros(more, np.uint8))
