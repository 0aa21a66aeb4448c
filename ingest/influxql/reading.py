"""Reads what a query asks of through the query port: the readings of devices and event records, as frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ingest.influxql.frames import Frame, Values
from ingest.influxql.syntax import (
    Among,
    Call,
    Column,
    Comparison,
    Condition,
    Every,
    QueryError,
    Select,
    asked,
    calls,
    columns,
)
from ingest.ports import EventRecord, QueryPort, Series
from ingest.stores.influx.encoding import event_time
from ingest.stores.influx.schema import QUALITY, Place, place_of
from telemetry.quality import usable
from telemetry.site import Site

MAX_READINGS = 2_000_000
"""Single readings that one query may touch; means and worst qualities are read summed up."""
MAX_EVENTS = 50_000
"""Event records that one query may touch."""

_Points = Mapping[str, int]
"""Points of one device by name."""


class Readings:
    """Measurements of a site, as :mod:`ingest.stores.influx.schema` lays them out."""

    def __init__(self, query: QueryPort, site: Site) -> None:
        self._query = query
        self._devices: dict[str, list[tuple[Mapping[str, str], dict[str, int]]]] = {}
        places: dict[str, tuple[Place, dict[str, int]]] = {}
        for index, point in site.points.items():
            place = place_of(site, point)
            places.setdefault(point.device.id, (place, {}))[1][place.field] = index
        for place, points in places.values():
            tags = {name: value for name, value in place.series.tags.items() if value}
            self._devices.setdefault(place.series.measurement, []).append((tags, points))

    @property
    def measurements(self) -> list[str]:
        """Measurements with devices."""
        return sorted(self._devices)

    def tag_values(self, measurement: str, key: str, where: Condition) -> list[str]:
        """Values that a tag has, where conditions on tags hold."""
        devices = self._devices.get(measurement, [])
        return sorted({tags[key] for tags, _ in devices if key in tags and _possible(tags, where)})

    async def frames(self, measurement: str, select: Select, low: int, high: int) -> list[Frame]:
        """What a measurement, or a kind of event records, holds between two times, both included.

        Raises
        ------
        QueryError
            That is too much for one query.

        """
        if measurement not in self._devices:
            return await self._events(measurement, low, high)
        chosen = [
            (tags, points)
            for tags, points in self._devices[measurement]
            if _possible(tags, select.where, points)
        ]
        summed = _summable(select)
        if summed is not None:
            step = select.step or 1
            found = [
                (tags, await self._query.series(points[summed.point], low, high + 1, step))
                for tags, points in chosen
                if summed.point in points
            ]
            return [summed.frame(measurement, tags, series, low) for tags, series in found]
        names = sorted({name.removesuffix(QUALITY) for name in _columns(select)})
        wanted = {
            points[name]: (position, name)
            for position, (_, points) in enumerate(chosen)
            for name in names
            if name in points
        }
        return await self._single(measurement, [tags for tags, _ in chosen], wanted, low, high)

    async def _single(
        self,
        measurement: str,
        devices: Sequence[Mapping[str, str]],
        wanted: Mapping[int, tuple[int, str]],
        low: int,
        high: int,
    ) -> list[Frame]:
        found = await self._query.range(sorted(wanted), low, high + 1, MAX_READINGS + 1)
        if len(found) > MAX_READINGS:
            raise QueryError(
                f"more than {MAX_READINGS} readings of {measurement!r}: choose a shorter time range or fewer "
                "devices"
            )
        parts: dict[int, dict[str, tuple[Any, Any, Any]]] = {}
        changes = (np.flatnonzero(np.diff(found.point)) + 1).tolist()
        for start, end in pairwise([0, *changes, len(found)]) if len(found) else ():
            position, name = wanted[int(found.point[start])]
            rows = slice(start, end)
            parts.setdefault(position, {})[name] = (
                found.t_source[rows],
                found.value[rows],
                found.quality[rows],
            )
        return [_side_by_side(measurement, devices[i], each) for i, each in sorted(parts.items())]

    async def _events(self, kind: str, low: int, high: int) -> list[Frame]:
        # a record stands under a time that is a little behind its own, see event_time
        found = await self._query.events(kind, low - 10**6, high + 1, MAX_EVENTS + 1)
        if len(found) > MAX_EVENTS:
            raise QueryError(f"more than {MAX_EVENTS} records of {kind!r}: choose a shorter time range")
        groups: dict[tuple[tuple[str, str], ...], list[EventRecord]] = {}
        for event in found:
            tags = {name: value for name, value in event.tags.items() if value}
            groups.setdefault(tuple(sorted(tags.items())), []).append(event)
        return [_of_events(kind, dict(tags), events) for tags, events in groups.items()]


def _side_by_side(
    measurement: str, tags: Mapping[str, str], points: Mapping[str, tuple[Any, Any, Any]]
) -> Frame:
    """Points of a device with the same times in one row."""
    t = np.unique(np.concatenate([times for times, _, _ in points.values()]))
    made: dict[str, Values] = {}
    for name, (times, values, qualities) in points.items():
        rows = np.searchsorted(t, times)
        for column, content in ((name, values), (f"{name}{QUALITY}", qualities)):
            made[column] = np.full(len(t), np.nan)
            made[column][rows] = content
    return Frame(measurement, tags, t, made)


def _of_events(kind: str, tags: Mapping[str, str], events: Iterable[EventRecord]) -> Frame:
    ordered = sorted(events, key=event_time)
    names = {name for event in ordered for name in event.fields}
    made: dict[str, Values] = {}
    for name in names:
        made[name] = np.empty(len(ordered), object)
        made[name][:] = [event.fields.get(name) for event in ordered]
    return Frame(kind, tags, np.array([event_time(event) for event in ordered], np.int64), made)


def _columns(select: Select) -> set[str]:
    found = {name for field in select.fields for name in columns(field.expression)}
    return found | set(asked(select.where))


def _possible(tags: Mapping[str, str], condition: Condition, fields: _Points | None = None) -> bool:
    """Whether rows with these tags can fulfil a condition; what is about fields is left open."""
    match condition:
        case Every(parts):
            return all(_possible(tags, part, fields) for part in parts)
        case Among(column, values):
            return values is None or tags.get(column, "") in values
        case Comparison(column, operator, str(value)):
            return (tags.get(column, "") == value) == (operator == "=")
    return True


@dataclass(frozen=True, slots=True)
class _Summed:
    """A point that is read summed up over intervals."""

    point: str
    quality: bool
    """Its worst quality is asked, not its mean."""

    def frame(self, measurement: str, tags: Mapping[str, str], series: Series, low: int) -> Frame:
        """One row for each interval: the mean of the usable readings, or the worst quality of all."""
        t, name = np.maximum(series.t, low), f"{self.point}{QUALITY}"
        if self.quality:
            return Frame(measurement, tags, t, {name: series.worst.astype(np.float64)})
        there = np.asarray(series.count > 0)
        columns_ = {self.point: series.mean[there], name: np.zeros(int(there.sum()))}
        return Frame(measurement, tags, t[there], columns_, series.count[there].astype(np.float64))


def _summable(select: Select) -> _Summed | None:
    """The point of which sums over intervals are enough; None where single readings are needed.

    That is so for means of one point over its usable readings, and for its worst quality.
    """
    found = [call for field in select.fields for call in calls(field.expression)]
    names = {name for field in select.fields for name in columns(field.expression)}
    about = [
        part
        for part in select.where.parts
        if isinstance(part, Comparison) and not isinstance(part.value, str)
    ]
    tags_only = all(isinstance(part, Among | Comparison) for part in select.where.parts)
    if select.step is None or len(names) != 1 or not found or not tags_only:
        return None
    [name] = names
    if all(call.name == "mean" for call in found):
        good = Comparison(f"{name}{QUALITY}", "<", float(_FIRST_BAD))
        return _Summed(name, quality=False) if about == [good] else None
    if found == [Call("max", Column(name))] and name.endswith(QUALITY) and not about:
        return _Summed(name.removesuffix(QUALITY), quality=True)
    return None


_FIRST_BAD = int(np.flatnonzero(~usable(np.arange(256, dtype=np.uint8)))[0])
"""Lowest quality code of a reading that is not usable."""
