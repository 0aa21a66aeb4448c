"""Values of metrics become columns of readings: scaled, judged and brought into the order of time.

Numbers arrive one by one and are worked on together, once for many messages.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from telemetry.batch import Columns
from telemetry.quality import Quality

EARLIEST_MS = 946_684_800_000
"""2000-01-01 UTC: a source time before it is implausible [ms]."""
MAX_AHEAD_MS = 3_600_000
"""A source time further ahead of the time of receipt is implausible [ms]."""
LAST_MS = 9_223_372_036_854
"""Last time that nanoseconds in 64 bits can hold [ms]."""

_MS = 1_000_000


class Rows:
    """The configured points of a host: how to convert each, and what was last said of it."""

    def __init__(
        self,
        index: Sequence[int],
        scale: Sequence[float],
        offset: Sequence[float],
        low: Sequence[float],
        high: Sequence[float],
    ) -> None:
        self.index = np.array(index, np.uint32)
        self.scale, self.offset = np.array(scale, np.float64), np.array(offset, np.float64)
        self.low, self.high = np.array(low, np.float64), np.array(high, np.float64)
        self.newest = np.zeros(len(self.index), np.int64)
        """Newest plausible time of a reading [ms]."""
        self.floor = np.zeros(len(self.index), np.int64)
        """Time of the last mark that a point is stale [ms]: what is current now comes after it."""

    def __len__(self) -> int:
        return len(self.index)

    def carry(self, before: Rows) -> None:
        """Takes over what was last said of points that were there before."""
        known = {index: row for row, index in enumerate(before.index.tolist())}
        same = [(row, known[index]) for row, index in enumerate(self.index.tolist()) if index in known]
        if same:
            mine, theirs = np.array(same, np.intp).T
            self.newest[mine], self.floor[mine] = before.newest[theirs], before.floor[theirs]

    def step_back(self, now_ms: int) -> None:
        """The wall clock was set back: what was said of times that lie ahead now does not bind."""
        np.minimum(self.newest, now_ms, out=self.newest)
        np.minimum(self.floor, now_ms, out=self.floor)


class Readings:
    """Readings of one batch, in the order in which they are to be stored."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._done: list[Columns] = []
        # the common case, appended to directly by the decoder: current, good as far as the payload says
        self.row: list[int] = []
        self.t_ms: list[int] = []
        self.value: list[float] = []
        self._row: list[int] = []
        self._t_ms: list[int] = []
        self._value: list[float] = []
        self._quality: list[int] = []
        self._live: list[bool] = []

    def put(self, row: int, t_ms: int, value: float, quality: int, *, live: bool = True) -> None:
        """Adds a reading that needs a word.

        Parameters
        ----------
        row
            Position of the point in the rows.
        t_ms
            Source time [ms since 1970, UTC]; 0 if there is none.
        value
            Raw value.
        quality
            Quality code that the payload amounts to.
        live
            It tells of now, not of earlier.

        """
        self._row.append(row)
        self._t_ms.append(t_ms)
        self._value.append(value)
        self._quality.append(quality)
        self._live.append(live)

    def mark(
        self, rows: Sequence[int], t_ms: int, quality: Quality, received_ns: int, *, keep: bool = True
    ) -> None:
        """Says that nothing is known of points from a time on [ms]; in no case before their newest reading.

        With ``keep`` what is current later on will come after the mark, whatever the device's clock says.
        """
        self.close(received_ns)
        if not rows:
            return
        chosen = np.array(rows, np.intp)
        t = np.maximum(np.int64(min(t_ms, LAST_MS)), self._rows.newest[chosen] + 1)
        if keep:
            self._rows.floor[chosen] = np.maximum(self._rows.floor[chosen], t)
        n = len(chosen)
        index = self._rows.index[chosen]
        self._done.append(Columns.of(index, t * _MS, np.full(n, np.nan), np.full(n, quality, np.uint8)))

    def close(self, received_ns: int) -> None:
        """Works out what was added since; what follows is stored after it."""
        # a doubt comes before the reading that may settle it: at the same time the later one holds
        if self._row:
            quality = np.array(self._quality, np.uint8)
            live = np.array(self._live, np.bool_)
            self._work(np.array(self._row, np.intp), self._t_ms, self._value, quality, live, received_ns)
            for column in (self._row, self._t_ms, self._value, self._quality, self._live):
                column.clear()
        if self.row:
            n = len(self.row)
            fresh = np.zeros(n, np.uint8)
            every = np.ones(n, np.bool_)
            self._work(np.array(self.row, np.intp), self.t_ms, self.value, fresh, every, received_ns)
            for column in (self.row, self.t_ms, self.value):
                column.clear()

    def follow(self, rows: Rows, received_ns: int) -> None:
        """Works out what was added, received until a wall time [ns, UTC]; what follows is of other rows."""
        self.close(received_ns)
        self._rows = rows

    def columns(self, received_ns: int) -> Columns:
        """Everything that was added, received until a wall time [ns, UTC]."""
        self.close(received_ns)
        done, self._done = self._done, []
        if len(done) == 1:
            return done[0]
        if not done:
            return Columns.empty()
        return Columns(
            np.concatenate([part.point for part in done]),
            np.concatenate([part.t_source for part in done]),
            np.concatenate([part.value for part in done]),
            np.concatenate([part.quality for part in done]),
        )

    def _work(  # noqa: PLR0917 - one argument for each column
        self,
        at: NDArray[np.intp],
        t_ms: Sequence[int],
        raw: Sequence[float],
        quality: NDArray[np.uint8],
        live: NDArray[np.bool_],
        received_ns: int,
    ) -> None:
        rows = self._rows
        given = np.array(t_ms, np.uint64)
        received_ms = received_ns // _MS
        missing = given == 0
        if missing.any():
            _raise(quality, missing, Quality.RECEIPT_STAMPED)
        beyond = given > LAST_MS
        t = np.where(missing | beyond, received_ms, given.astype(np.int64))
        doubtful = beyond | (t < EARLIEST_MS) | (t > received_ms + MAX_AHEAD_MS)
        if doubtful.any():
            _raise(quality, doubtful, Quality.CLOCK_SUSPECT)
        behind = live & (t <= rows.floor[at])
        if behind.any():
            self._after_mark(at, t, quality, np.flatnonzero(behind))
        sure = ~doubtful & live
        np.maximum.at(rows.newest, at[sure], t[sure])
        with np.errstate(over="ignore", invalid="ignore"):
            value = np.array(raw, np.float64) * rows.scale[at] + rows.offset[at]
        unknown = ~np.isfinite(value)
        if unknown.any():
            value[unknown] = np.nan
            _raise(quality, unknown & (quality < Quality.STALE), Quality.NOT_A_NUMBER)
        outside = ~unknown & ((value < rows.low[at]) | (value > rows.high[at]))
        if outside.any():
            _raise(quality, outside, Quality.OUT_OF_RANGE)
        self._done.append(Columns(rows.index[at], t * _MS, value, quality))

    def _after_mark(
        self, at: NDArray[np.intp], t: NDArray[np.int64], quality: NDArray[np.uint8], hits: NDArray[np.intp]
    ) -> None:
        """Moves readings right behind the mark of their point, and says so: the device's clock is behind."""
        floor = self._rows.floor
        for hit in hits.tolist():
            floor[at[hit]] += 1
            t[hit] = floor[at[hit]]
        quality[hits] = np.maximum(quality[hits], np.uint8(Quality.CLOCK_SUSPECT))


def _raise(quality: NDArray[np.uint8], where: NDArray[np.bool_], floor: Quality) -> None:
    quality[where] = np.maximum(quality[where], np.uint8(floor))
