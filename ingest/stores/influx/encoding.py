"""Readings and events as line protocol, with cached prefixes; pure. Nanoseconds since 1970, UTC."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from ingest.ports import EventRecord
from ingest.stages.deduplication import Rows
from ingest.stores.influx.schema import (
    EVENT_KEY,
    EVENT_TIME,
    QUALITY,
    VOID,
    Schema,
    Series,
    escaped,
    quoted,
)
from telemetry.batch import Columns

_NO_ROWS: Rows = np.zeros(0, np.intp)
EVENT_SPREAD = 1_000_000
"""Events are spread over so many nanoseconds by their key, so that two of one time stay two."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Line protocol, and which rows of the input each line carries."""

    lines: list[bytes]
    order: Rows
    """Rows in the order of the lines."""
    ends: list[int]
    """Where the rows of each line end in ``order``."""
    unknown: Rows
    """Rows of points that were never declared; they have no line."""

    def rows(self, line: int) -> Rows:
        """Rows that a line carries."""
        return self.order[self.ends[line - 1] if line else 0 : self.ends[line]]


class Encoder:
    """Encodes readings; keeps the prefix and the field names of every point that it has met."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._series: dict[str, int] = {}
        self._prefixes: list[str] = []
        self._number: list[int] = []
        self._names: list[str] = []

    def encode(self, columns: Columns, revises: NDArray[np.bool_] | None = None) -> Lines:
        """One line for each device and time, with the value and the quality of each point.

        A value that is not finite is left out. Where ``revises`` is set, the field that voids or restores an
        earlier value is written too. Keys must be unique.
        """
        if not len(columns):
            return Lines([], _NO_ROWS, [], _NO_ROWS)
        self._learn(int(columns.point.max()))
        series = np.array(self._number, np.int64)[columns.point]
        order = np.lexsort((columns.t_source, series))
        known = series[order] >= 0
        unknown, order = order[~known], order[known]
        if not len(order):
            return Lines([], order, [], unknown)
        series, t = series[order], columns.t_source[order]
        fields = self._fields(columns, order, None if revises is None else revises[order])
        starts = np.flatnonzero(np.append(True, (series[1:] != series[:-1]) | (t[1:] != t[:-1])))
        ends = [*starts[1:].tolist(), len(order)]
        prefixes = np.array(self._prefixes, object)[series[starts]].tolist()
        lines = [
            f"{prefix} {','.join(fields[start:end])} {time}".encode()
            for prefix, start, end, time in zip(
                prefixes, starts.tolist(), ends, t[starts].tolist(), strict=True
            )
        ]
        return Lines(lines, order, ends, unknown)

    def _fields(self, columns: Columns, order: Rows, marks: NDArray[np.bool_] | None) -> list[str]:
        """The fields of each row: value, quality and, where it is marked, whether the value is void."""
        point, quality, value = columns.point[order], columns.quality[order], columns.value[order]
        # few pairs of point and quality occur: each is put into words once
        pairs, which = np.unique(point.astype(np.int64) << 8 | quality, return_inverse=True)
        words = [f",{self._names[pair >> 8]}{QUALITY}={pair & 255}i" for pair in pairs.tolist()]
        names = np.array(self._names, object)[point].tolist()
        tails = np.array(words, object)[which].tolist()
        # msgspec writes the shortest digits that read back as the same number, three times as fast as repr
        numbers = msgspec.json.encode(value.tolist())[1:-1].decode().split(",")
        fields = [f"{name}={number}{tail}" for name, number, tail in zip(names, numbers, tails, strict=True)]
        finite = np.isfinite(value)
        for row in np.flatnonzero(~finite).tolist():
            fields[row] = tails[row][1:]
        for row in () if marks is None else np.flatnonzero(marks).tolist():
            fields[row] += f",{names[row]}{VOID}={'false' if finite[row] else 'true'}"
        return fields

    def _learn(self, highest: int) -> None:
        for index in range(len(self._names), highest + 1):
            place = self._schema.place(index)
            if place is None:
                self._number.append(-1)
                self._names.append("")
                continue
            prefix = place.series.prefix
            if prefix not in self._series:
                self._series[prefix] = len(self._prefixes)
                self._prefixes.append(prefix)
            self._number.append(self._series[prefix])
            self._names.append(escaped(place.field))


def encode_events(events: Sequence[EventRecord]) -> list[bytes]:
    """One line for each event; its key and exact time are fields.

    A field keeps the type of its first value for ever (an InfluxDB rule): a whole number stays one. Fields
    that are NaN or infinite are left out.
    """
    lines = []
    for event in events:
        fields = [f"{EVENT_KEY}={quoted(event.key)}", f"{EVENT_TIME}={event.t}i"]
        fields += [
            f"{escaped(name)}={_field(value)}"
            for name, value in event.fields.items()
            if not (isinstance(value, float) and not math.isfinite(value))
        ]
        series = Series(event.kind, event.tags)
        lines.append(f"{series.prefix} {','.join(fields)} {event_time(event)}".encode())
    return lines


def event_time(event: EventRecord) -> int:
    """Time under which an event is stored: its own plus less than a millisecond that its key determines."""
    return event.t + zlib.crc32(event.key.encode()) % EVENT_SPREAD


def _field(value: float | int | str | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i"
    return quoted(value) if isinstance(value, str) else repr(float(value))
