"""Readings and events as line protocol, with cached prefixes; pure. Nanoseconds since 1970, UTC."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

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
        number = np.array(self._number, np.int64)[columns.point]
        order = np.lexsort((columns.t_source, number))
        known = number[order] >= 0
        unknown, order = order[~known], order[known]
        marks = np.zeros(len(order), bool) if revises is None else revises[order]
        rows = zip(
            number[order].tolist(),
            columns.t_source[order].tolist(),
            columns.point[order].tolist(),
            columns.value[order].tolist(),
            columns.quality[order].tolist(),
            marks.tolist(),
            strict=True,
        )
        lines: list[bytes] = []
        ends: list[int] = []
        names = self._names
        current, fields = (-1, 0), list[str]()
        for row, (series, t, point, value, quality, mark) in enumerate(rows):
            if (series, t) != current:
                if fields:
                    lines.append(self._line(current, fields))
                    ends.append(row)
                current, fields = (series, t), []
            name = names[point]
            finite = math.isfinite(value)
            if finite:
                fields.append(f"{name}={value!r}")
            fields.append(f"{name}{QUALITY}={quality}i")
            if mark:
                fields.append(f"{name}{VOID}={'false' if finite else 'true'}")
        if fields:
            lines.append(self._line(current, fields))
            ends.append(len(order))
        return Lines(lines, order, ends, unknown)

    def _line(self, where: tuple[int, int], fields: list[str]) -> bytes:
        return f"{self._prefixes[where[0]]} {','.join(fields)} {where[1]}".encode()

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
