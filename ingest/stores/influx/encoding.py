"""Readings and events as line protocol, with cached prefixes; pure. Nanoseconds since 1970, UTC."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

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
_PIECES = 4
_QUALITIES = np.array([f"{code}i" for code in range(256)], object)
EVENT_SPREAD = 1_000_000
"""Events are spread over so many nanoseconds by their key, so that two of one time stay two."""


class Block(Protocol):
    """Lines of line protocol that can be cut anywhere between two of them."""

    def __len__(self) -> int:
        """Number of lines."""
        ...

    def body(self, first: int, last: int) -> bytes:
        """The lines first <= line < last, with a line break between two of them."""
        ...


class Listed:
    """A :class:`Block` of lines that are there one by one."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def body(self, first: int, last: int) -> bytes:
        """The lines first <= line < last."""
        return b"\n".join(self._lines[first:last])


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """A :class:`Block` of readings, and which rows of the input each line carries.

    Lines are kept in pieces that are joined when a request is made of them: a line of its own for each
    device and time would cost more than all the rest.
    """

    pieces: list[str]
    """Four for each row: what leads to the value, value, name of the quality, quality and what follows."""
    order: Rows
    """Rows in the order of the lines."""
    bounds: list[int]
    """Where the rows of each line begin in ``order``, and where those of the last one end."""
    unknown: Rows
    """Rows of points that were never declared; they have no line."""

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def body(self, first: int, last: int) -> bytes:
        """The lines first <= line < last."""
        pieces = self.pieces[_PIECES * self.bounds[first] : _PIECES * self.bounds[last]]
        return "".join(pieces)[:-1].encode()

    def rows(self, line: int) -> Rows:
        """Rows that a line carries."""
        return self.order[self.bounds[line] : self.bounds[line + 1]]


class _Words(NamedTuple):
    """What a line says around the value of a field."""

    first: str
    """Before the value, where the line's fields begin."""
    next: str
    """Before the value, after another field."""
    quality: str
    """Before the quality, after the value."""

    @classmethod
    def of(cls, field: str) -> _Words:
        return cls(f"{field}=", f",{field}=", f",{field}{QUALITY}=")


class Encoder:
    """Encodes readings; keeps the prefix and the words of every point that it has met."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._series: dict[str, int] = {}
        self._prefixes: list[str] = []
        self._number = np.zeros(0, np.int64)
        self._words: dict[str, _Words] = {}
        self._first, self._next, self._quality = (np.zeros(0, object) for _ in _Words._fields)

    def encode(self, columns: Columns, revises: NDArray[np.bool_] | None = None) -> Lines:
        """One line for each device and time, with the value and the quality of each point.

        A value that is not finite is left out. Where ``revises`` is set, the field that voids or restores an
        earlier value is written too. Keys must be unique.
        """
        if not len(columns):
            return Lines([], _NO_ROWS, [0], _NO_ROWS)
        self._learn(int(columns.point.max()))
        series = self._number[columns.point]
        order = np.lexsort((columns.t_source, series))
        known = series[order] >= 0
        unknown, order = order[~known], order[known]
        if not len(order):
            return Lines([], order, [0], unknown)
        series, t = series[order], columns.t_source[order]
        starts = np.flatnonzero(np.append(True, (series[1:] != series[:-1]) | (t[1:] != t[:-1])))
        bounds = [*starts.tolist(), len(order)]
        prefixes = np.array(self._prefixes, object)[series[starts]].tolist()
        marks = None if revises is None else revises[order]
        pieces = self._pieces(columns.where(order), marks, bounds, prefixes, t[starts].tolist())
        return Lines(pieces, order, bounds, unknown)

    def _pieces(
        self,
        rows: Columns,
        marks: NDArray[np.bool_] | None,
        bounds: list[int],
        prefixes: list[str],
        times: list[int],
    ) -> list[str]:
        """The pieces of all lines, whose rows come one after the other."""
        finite = np.isfinite(rows.value)
        heads = self._next[rows.point].tolist()
        names = self._quality[rows.point].tolist()
        # msgspec writes the shortest digits that read back as the same number, three times as fast as repr
        numbers = msgspec.json.encode(rows.value.tolist())[1:-1].decode().split(",")
        qualities = _QUALITIES[rows.quality].tolist()
        for row in np.flatnonzero(~finite).tolist():
            heads[row], numbers[row], names[row] = ",", "", names[row][1:]
        for row in () if marks is None else np.flatnonzero(marks).tolist():
            field = self._first[rows.point[row]][:-1]
            qualities[row] += f",{field}{VOID}={'false' if finite[row] else 'true'}"
        firsts = self._first[rows.point[bounds[:-1]]].tolist()
        for row, prefix, first in zip(bounds[:-1], prefixes, firsts, strict=True):
            heads[row] = f"{prefix} {first if finite[row] else ''}"
        for end, time in zip(bounds[1:], times, strict=True):
            qualities[end - 1] += f" {time}\n"
        pieces = [""] * (_PIECES * len(rows))
        for place, column in enumerate((heads, numbers, names, qualities)):
            pieces[place::_PIECES] = column
        return pieces

    def _learn(self, highest: int) -> None:
        """Looks up the points up to an index that are new."""
        numbers, words = [], []
        for index in range(len(self._number), highest + 1):
            place = self._schema.place(index)
            if place is None:
                numbers.append(-1)
                words.append(_Words("", "", ""))
                continue
            prefix = place.series.prefix
            if prefix not in self._series:
                self._series[prefix] = len(self._prefixes)
                self._prefixes.append(prefix)
            numbers.append(self._series[prefix])
            field = escaped(place.field)
            # devices of a kind share their words
            words.append(self._words.setdefault(field, _Words.of(field)))
        if not numbers:
            return
        self._first, self._next, self._quality = (
            np.append(known, np.array(fresh, object))
            for known, fresh in zip(
                (self._first, self._next, self._quality), zip(*words, strict=True), strict=True
            )
        )
        self._number = np.append(self._number, numbers)


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
