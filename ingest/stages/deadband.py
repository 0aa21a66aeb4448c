"""Deadband: a reading that says nothing new is not handed to a store; pure and deterministic on replay.

A reading is held back when it is newer than the one of its point that was handed on last, has the same
quality, differs from it by no more than the deadband, and follows it by less than the longest silence. So
whoever holds the last stored value is never wrong by more than the deadband, and a trend has no hole longer
than the silence and one period. Late readings, repetitions and revisions (not newer) always pass: of a stored
reading, deduplication needs to see them. A late reading that lies outside is the value that holds from its
time on; what was held back between it and the next one is then told by it.

Readings are taken one by one in the order of the journal, whatever batches they come in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.ports import JournalRecord
from telemetry.batch import POINT_DTYPE, QUALITY_DTYPE, TIME_DTYPE, VALUE_DTYPE, Columns
from telemetry.points import Deadband
from telemetry.site import Site

_NEVER = np.iinfo(np.int64).min
_ROW = np.dtype(
    [("point", POINT_DTYPE), ("t_source", TIME_DTYPE), ("value", VALUE_DTYPE), ("quality", QUALITY_DTYPE)]
)


class Deadbands:
    """Deadbands of points, as dense columns over the point index."""

    def __init__(self, bands: Mapping[int, tuple[float, int]] | None = None) -> None:
        """``bands``: by point index the width [unit of the point] and the longest silence [ns]."""
        bands = bands or {}
        size = max(bands, default=-1) + 1
        self._width = np.full(size, np.nan)
        self._silence = np.zeros(size, np.int64)
        for point, (width, silence) in bands.items():
            self._width[point], self._silence[point] = width, silence
        self.any = bool(bands)
        """Some point has one."""

    @classmethod
    def of_site(cls, site: Site) -> Deadbands:
        """What the profiles of a site say."""
        found: dict[int, tuple[float, int]] = {}
        for index, point in site.points.items():
            band: Deadband | None = point.spec.deadband
            if band is not None:
                found[index] = (band.width(point.spec), round(band.max_silence_s * 1e9))
        return cls(found)

    def rows(self, point: NDArray[np.uint32]) -> NDArray[np.intp]:
        """Rows of a column of points that have one."""
        inside = np.flatnonzero(point < len(self._width))
        return np.asarray(inside[~np.isnan(self._width[point[inside]])], np.intp)

    def of(self, point: NDArray[np.uint32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Width [unit] and longest silence [ns] of points that have one."""
        return self._width[point], self._silence[point]


class References:
    """Of each point the reading that was handed on last, by source time; a value, never changed."""

    def __init__(self, columns: Columns | None = None) -> None:
        """``columns`` has one reading for each point."""
        columns = Columns.empty() if columns is None else columns
        order = np.argsort(columns.point)
        self._columns = columns.where(order)

    @classmethod
    def from_bytes(cls, data: bytes) -> References:
        """References from :meth:`to_bytes`."""
        rows = np.frombuffer(data, _ROW)
        return cls(Columns.of(rows["point"], rows["t_source"], rows["value"], rows["quality"]))

    def to_bytes(self) -> bytes:
        """A row for each point: index, time, value, quality, little-endian and packed."""
        rows = np.empty(len(self._columns), _ROW)
        for name in _ROW.names or ():
            rows[name] = getattr(self._columns, name)
        return rows.tobytes()

    def without(self, point: NDArray[np.uint32]) -> References:
        """The same without those of some points: whatever each of them brings next is handed on."""
        return References(self._columns.where(~np.isin(self._columns.point, point)))

    def of(
        self, point: NDArray[np.uint32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint8]]:
        """Time, value and quality for points; the smallest time for one without a reference."""
        c = self._columns
        t, value, quality = (
            np.full(len(point), _NEVER),
            np.full(len(point), np.nan),
            np.zeros(len(point), "u1"),
        )
        if len(c):
            at = np.minimum(np.searchsorted(c.point, point), len(c) - 1)
            known = c.point[at] == point
            t[known], value[known] = c.t_source[at[known]], c.value[at[known]]
            quality[known] = c.quality[at[known]]
        return t, value, quality

    def renewed(self, fresh: Columns) -> References:
        """The same with others for the points of some readings, one for each."""
        kept = self._columns.where(~np.isin(self._columns.point, fresh.point))
        return References(Columns.joined([kept, fresh]))


def thinned(
    columns: Columns, bands: Deadbands, references: References
) -> tuple[NDArray[np.bool_], References]:
    """Mask of the readings that are handed on, in their order of arrival, and the references after them."""
    passing = np.ones(len(columns), bool)
    rows = bands.rows(columns.point)
    if not len(rows):
        return passing, references
    rows = rows[np.argsort(columns.point[rows], kind="stable")]  # of each point in the order of arrival
    starts = np.flatnonzero(np.append(True, np.diff(columns.point[rows]) != 0))
    lengths = np.diff(np.append(starts, len(rows)))
    longest = np.argsort(-lengths, kind="stable")  # so that the points with a row left come first
    starts, lengths = starts[longest], lengths[longest]
    point = columns.point[rows[starts]]
    width, silence = bands.of(point)
    t, value, quality = references.of(point)
    left = np.searchsorted(-lengths, -np.arange(int(lengths[0])), side="left")
    for rank, points in enumerate(left.tolist()):  # the next row of every point at once
        row = rows[starts[:points] + rank]
        its_t, its_value, its_quality = columns.t_source[row], columns.value[row], columns.quality[row]
        ref_t, ref_value = t[:points], value[:points]
        near = np.abs(its_value - ref_value) <= width[:points]
        near |= np.isnan(its_value) & np.isnan(ref_value)
        held = near & (its_t > ref_t) & (ref_t > its_t - silence[:points]) & (its_quality == quality[:points])
        passing[row] = ~held
        newer = np.flatnonzero(~held & (its_t >= ref_t))
        t[newer], value[newer], quality[newer] = its_t[newer], its_value[newer], its_quality[newer]
    known = t != _NEVER
    return passing, references.renewed(Columns(point[known], t[known], value[known], quality[known]))


def handed_on(
    records: Sequence[JournalRecord], accounted: int, bands: Deadbands, references: References
) -> tuple[Columns, int, References]:
    """Readings of records that go on to a store, how many were held back, and the references after them.

    At a gap after ``accounted`` readings all references are forgotten: what lies in it may come later, from
    elsewhere.
    """
    if not bands.any:
        return Columns.joined([record.batch for record in records]), 0, references
    parts: list[Columns] = []
    held_back = 0
    for run in _runs(records):
        if run[0].readings_before != accounted:
            references = References()
        accounted = run[-1].readings_before + len(run[-1].batch)
        columns = Columns.joined([record.batch for record in run])
        mask, references = thinned(columns, bands, references)
        held_back += int(np.count_nonzero(~mask))
        parts.append(columns.where(mask))
    return Columns.joined(parts), held_back, references


def _runs(records: Sequence[JournalRecord]) -> list[list[JournalRecord]]:
    """Records in stretches without a gap."""
    runs: list[list[JournalRecord]] = []
    expected = -1
    for record in records:
        if record.readings_before != expected:
            runs.append([])
        runs[-1].append(record)
        expected = record.readings_before + len(record.batch)
    return runs
