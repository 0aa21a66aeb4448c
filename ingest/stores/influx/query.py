"""Queries of the InfluxDB store, in InfluxQL: the one language of InfluxDB 1.x, 2.x and 3 Core."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ingest.ports import EventRecord, Series
from ingest.stores.influx.client import InfluxClient
from ingest.stores.influx.encoding import EVENT_SPREAD
from ingest.stores.influx.schema import (
    EVENT_KEY,
    EVENT_TIME,
    QUALITY,
    VOID,
    Place,
    Schema,
    identifier,
    literal,
)
from telemetry.batch import Columns

_MAX_QUERY = 6000
"""Longest query [characters]: it travels in the address of a GET request."""
_BAD = 128  # quality codes from here on are bad, see telemetry.quality
Row = tuple[int, int, float, int]
"""Point, t_source, value, quality."""


class InfluxQuery:
    """A :class:`ingest.ports.QueryPort` on InfluxDB."""

    def __init__(self, client: InfluxClient, schema: Schema) -> None:
        self._client = client
        self._schema = schema

    async def last(self, points: Sequence[int]) -> Columns:
        """Newest reading of each point, by source time; points without one are left out.

        The newest line of every device of a measurement comes in one statement; points that are not in the
        newest line of their device are then asked for one by one.
        """
        places = self._places(points)
        by_measurement: dict[str, dict[int, Place]] = defaultdict(dict)
        for point, place in places.items():
            by_measurement[place.series.measurement][point] = place
        statements = []
        for measurement, group in by_measurement.items():
            names = sorted({place.field for place in group.values()})
            tags = ", ".join(identifier(tag) for tag in _selecting(next(iter(group.values()))))
            source = f"FROM {identifier(measurement)} GROUP BY {tags} ORDER BY time DESC LIMIT 1"
            statements.append(f"SELECT {', '.join(map(_fields, names))} {source}")
        found: dict[int, Row] = {}
        for group, result in zip(by_measurement.values(), await self._ask(statements), strict=True):
            lines = {_tag_key(series["tags"]): series for series in result.get("series", [])}
            for point, place in group.items():
                series = lines.get(_tag_key({t: place.series.tags[t] for t in _selecting(place)}))
                if series is not None:
                    found.update((point, row) for row in _rows(point, place.field, series))
        left = {point: place for point, place in places.items() if point not in found}
        statements = [f"{_select(place)} ORDER BY time DESC LIMIT 1" for place in left.values()]
        for (point, place), result in zip(left.items(), await self._ask(statements), strict=True):
            for series in result.get("series", []):
                found.update((point, row) for row in _rows(point, place.field, series))
        return _columns(found[point] for point in places if point in found)

    async def range(self, points: Sequence[int], start: int, end: int, limit: int = 100_000) -> Columns:
        """Readings with start <= t_source < end [ns, UTC], ordered by point, then time; at most ``limit``."""
        spans = [(point, start, end) for point in sorted(set(points))]
        return await self.spans(spans, limit)

    async def spans(self, spans: Sequence[tuple[int, int, int]], limit: int | None = None) -> Columns:
        """Readings of several (point, start, end), in that order."""
        places = self._places([point for point, _, _ in spans])
        wanted = [(point, a, b) for point, a, b in spans if point in places]
        cut = f" LIMIT {limit}" if limit is not None else ""
        statements = [
            f"{_select(places[point])} AND time >= {a} AND time < {b}{cut}" for point, a, b in wanted
        ]
        rows: list[Row] = []
        for (point, _, _), result in zip(wanted, await self._ask(statements), strict=True):
            for series in result.get("series", []):
                rows += _rows(point, places[point].field, series)
        return _columns(rows[:limit])

    async def series(self, point: int, start: int, end: int, step: int) -> Series:
        """Readings of one point summed up over intervals of ``step`` [ns]."""
        place = self._schema.place(point)
        if place is None:
            return _series({}, {})
        field, quality = identifier(place.field), identifier(place.field + QUALITY)
        where = f"{_from(place)} AND time >= {start} AND time < {end}"
        group = f"GROUP BY time({step}ns) fill(none)"
        extent = f"min({field}), max({field}), mean({field}), last({field}), count({field})"
        usable, worst = await self._ask(
            [
                f"SELECT {extent} {where} AND {quality} < {_BAD} {group}",
                f"SELECT max({quality}) {where} {group}",
            ]
        )
        return _series(
            {row[0]: row[1:] for row in _values(usable)}, {row[0]: row[1] for row in _values(worst)}
        )

    async def events(self, kind: str, start: int, end: int, limit: int = 1000) -> Sequence[EventRecord]:
        """Events with start <= t < end [ns, UTC], newest first."""
        # the time of a line is up to EVENT_SPREAD behind that of its event
        span = f"time >= {start} AND time < {end + EVENT_SPREAD}"
        source = f"FROM {identifier(kind)} WHERE {span} GROUP BY * ORDER BY time DESC LIMIT {limit + 100}"
        (result,) = await self._ask([f"SELECT * {source}"])
        found: dict[str, EventRecord] = {}
        for series in result.get("series", []):
            tags = {name: value for name, value in series.get("tags", {}).items() if value}
            for values in series["values"]:
                fields = {n: v for n, v in zip(series["columns"], values, strict=True) if v is not None}
                del fields["time"]
                t, key = fields.pop(EVENT_TIME), fields.pop(EVENT_KEY)
                if start <= t < end and (key not in found or found[key].t < t):
                    found[key] = EventRecord(kind, key, t, tags, fields)
        return sorted(found.values(), key=lambda e: (-e.t, e.key))[:limit]

    def _places(self, points: Iterable[int]) -> dict[int, Place]:
        places = {point: self._schema.place(point) for point in points}
        return {point: place for point, place in places.items() if place is not None}

    async def _ask(self, statements: Sequence[str]) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = []
        for request in _requests(statements):
            results += await self._client.query(request)
        return results


def _requests(statements: Sequence[str]) -> Iterator[str]:
    """Joins statements into requests that are not too long."""
    joined: list[str] = []
    length = 0
    for statement in statements:
        if joined and length + len(statement) > _MAX_QUERY:
            yield "; ".join(joined)
            joined, length = [], 0
        joined.append(statement)
        length += len(statement) + 2
    if joined:
        yield "; ".join(joined)


def _fields(field: str) -> str:
    return ", ".join(identifier(field + ending) for ending in ("", QUALITY, VOID))


def _selecting(place: Place) -> list[str]:
    """Tags that identify a series: the others may change when a device is moved."""
    return [tag for tag in ("device", "unit") if tag in place.series.tags]


def _from(place: Place) -> str:
    tags = " AND ".join(f"{identifier(tag)} = {literal(place.series.tags[tag])}" for tag in _selecting(place))
    return f"FROM {identifier(place.series.measurement)} WHERE {tags}"


def _select(place: Place) -> str:
    return f"SELECT {_fields(place.field)} {_from(place)}"


def _tag_key(tags: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(tags.items()))


def _rows(point: int, field: str, series: dict[str, Any]) -> Iterator[Row]:
    columns = series["columns"]
    value, quality, void = (columns.index(field + ending) for ending in ("", QUALITY, VOID))
    for row in series["values"]:
        if row[quality] is not None:
            known = row[value] is not None and not row[void]
            yield point, row[0], row[value] if known else np.nan, row[quality]


def _columns(rows: Iterable[Row]) -> Columns:
    listed = list(rows)
    if not listed:
        return Columns.empty()
    point, t, value, quality = zip(*listed, strict=True)
    return Columns.of(point, t, value, quality)


def _values(result: dict[str, Any]) -> list[list[Any]]:
    return [row for series in result.get("series", []) for row in series["values"]]


def _series(usable: dict[int, list[Any]], worst: dict[int, int]) -> Series:
    t = sorted(worst)
    rows = [usable.get(start, [np.nan, np.nan, np.nan, np.nan, 0]) for start in t]
    low, high, mean, last, count = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return Series(
        np.array(t, np.int64),
        np.array(low, np.float64),
        np.array(high, np.float64),
        np.array(mean, np.float64),
        np.array(last, np.float64),
        np.array(count, np.int64),
        np.array([worst[start] for start in t], np.uint8),
    )
