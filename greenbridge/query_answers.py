"""What a store is asked from the command line: the request as a person gives it, and the answer as rows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Self

from ingest.ports import QueryPort
from telemetry.errors import GreenbridgeError
from telemetry.points import PointKey
from telemetry.quality import reason_of
from telemetry.registry import PointRegistry
from telemetry.settings import nearest

COMMAND = "query"
_SECOND = 1_000_000_000
MOST_ROWS = 20_000
"""Rows of one answer."""
MOST_TRENDS = 100
"""Points that are summed up in one answer: each is a query."""
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|min|m|h|d|w)")
_UNITS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_ALWAYS = 1 << 62


class What(StrEnum):
    """What is asked for."""

    LAST = "last"
    READINGS = "readings"
    SERIES = "series"
    EVENTS = "events"


COLUMNS: Mapping[What, tuple[str, ...]] = {
    What.LAST: ("time", "point", "value", "unit", "quality"),
    What.READINGS: ("time", "point", "value", "unit", "quality"),
    What.SERIES: ("time", "point", "low", "mean", "high", "last", "unit", "count", "quality"),
    What.EVENTS: ("time", "key", "tags", "fields"),
}
"""Columns of each kind of row; a time is in ns since 1970, UTC."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question to a store."""

    what: What
    points: tuple[str, ...] = ()
    """Patterns of DEVICE/NAME."""
    start: int = -_ALWAYS
    """First source time [ns, UTC]."""
    end: int = _ALWAYS
    """Source time to stop before [ns, UTC]."""
    step: int = 0
    """Length of an interval [ns]."""
    kind: str = ""
    """Of events: which."""
    limit: int = 1000
    """Rows at most."""

    @classmethod
    def of(
        cls,
        points: Sequence[str],
        *,
        start: str = "",
        end: str = "",
        every: str = "",
        events: str = "",
        limit: int = 1000,
        now: int,
        zone: tzinfo = UTC,
    ) -> Self:
        """A question as a person asks it: times as of ISO 8601, or as a length of time before ``now`` [ns].

        A time without an offset is in ``zone``.

        Raises
        ------
        GreenbridgeError
            A part of it cannot be understood.

        """
        first = moment(start, now, zone, "--from") if start else None
        last = moment(end, now, zone, "--to") if end else None
        if not 1 <= limit <= MOST_ROWS:
            more = "; for more rows: greenbridge export" if limit > MOST_ROWS else ""
            raise GreenbridgeError(f"--limit {limit}: give 1 to {MOST_ROWS}{more}")
        if events and (points or every):
            raise GreenbridgeError("--events are of no point and no interval: leave POINT and --every out")
        if not events and not points:
            raise GreenbridgeError(
                "no point is asked for: give DEVICE/NAME, or a pattern like SHY-TAS_*/TotW"
            )
        step = round(length_s(every, "--every") * _SECOND) if every else 0
        if step and first is None:
            raise GreenbridgeError("--every needs --from: over which time is to be summed up?")
        last = _ALWAYS if last is None else last
        first = -_ALWAYS if first is None else first
        if last <= first:
            raise GreenbridgeError("--to is not after --from")
        what = What.READINGS if start or end else What.LAST
        what = What.EVENTS if events else What.SERIES if step else what
        return cls(what, tuple(points), first, min(last, now + 1) if step else last, step, events, limit)

    def document(self) -> dict[str, Any]:
        """For the control socket."""
        names = ("what", "points", "start", "end", "step", "kind", "limit")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """What :meth:`document` wrote.

        Raises
        ------
        GreenbridgeError
            It is something else.

        """
        try:
            return cls(
                What(document["what"]),
                tuple(str(point) for point in document["points"]),
                int(document["start"]),
                int(document["end"]),
                int(document["step"]),
                str(document["kind"]),
                min(MOST_ROWS, int(document["limit"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise GreenbridgeError(f"the query cannot be understood: {error}") from None


async def answered(query: QueryPort, registry: PointRegistry, question: Query) -> dict[str, Any]:
    """The answer: ``what``, ``columns``, ``rows`` and whether there are ``more``.

    Raises
    ------
    GreenbridgeError
        No point is meant, or too many; the store cannot be asked.

    """
    if question.what is What.EVENTS:
        rows = await _events(query, question)
    else:
        points = _matching(registry, question.points)
        if question.what is What.SERIES and len(points) > MOST_TRENDS:
            raise GreenbridgeError(
                f"{len(points)} points match: at most {MOST_TRENDS} are summed up at a time; "
                "narrow the pattern, or ask without --every"
            )
        rows = await (_series if question.what is What.SERIES else _readings)(query, question, points)
    return {
        "what": question.what.value,
        "columns": list(COLUMNS[question.what]),
        "rows": rows[: question.limit],
        "more": len(rows) > question.limit,
    }


def _matching(registry: PointRegistry, patterns: Sequence[str]) -> dict[int, PointKey]:
    keys = {index: registry.key(index) for index in range(len(registry))}
    paths = {index: f"{key.device}/{key.name}" for index, key in keys.items()}
    found: dict[int, PointKey] = {}
    for pattern in patterns:
        of_it = [index for index, path in paths.items() if fnmatchcase(path, pattern)]
        if not of_it:
            raise GreenbridgeError(
                f"no point matches {pattern}; a point is DEVICE/NAME: {nearest(pattern, paths.values())}"
            )
        found |= {index: keys[index] for index in of_it}
    return dict(sorted(found.items()))


async def _readings(query: QueryPort, question: Query, points: Mapping[int, PointKey]) -> list[list[Any]]:
    if question.what is What.LAST:
        found = await query.last(list(points))
    else:
        found = await query.range(list(points), question.start, question.end, question.limit + 1)
    columns = (found.t_source, found.point, found.value, found.quality)
    return [
        [t, _path(points[point]), _number(value), points[point].unit, reason_of(quality)]
        for t, point, value, quality in zip(*(column.tolist() for column in columns), strict=True)
    ]


async def _series(query: QueryPort, question: Query, points: Mapping[int, PointKey]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for point, key in points.items():
        s = await query.series(point, question.start, question.end, question.step)
        columns = (s.t, s.low, s.mean, s.high, s.last, s.count, s.worst)
        for t, low, mean, high, last, count, worst in zip(*(c.tolist() for c in columns), strict=True):
            numbers = map(_number, (low, mean, high, last))
            rows.append([t, _path(key), *numbers, key.unit, count, reason_of(worst)])
        if len(rows) > question.limit:
            break
    return rows


async def _events(query: QueryPort, question: Query) -> list[list[Any]]:
    found = await query.events(question.kind, question.start, question.end, question.limit + 1)
    return [[event.t, event.key, dict(event.tags), dict(event.fields)] for event in found]


def moment(text: str, now: int, zone: tzinfo, option: str) -> int:
    """A time [ns, UTC] as a person gives it: ``2026-11-24T10:30``, ``10:30`` (today), ``now`` or ``2h`` ago.

    Raises
    ------
    GreenbridgeError
        It is none of these.

    """
    if text == "now":
        return now
    if _LENGTH.fullmatch(text.removeprefix("-")):
        return now - round(length_s(text.removeprefix("-"), option) * _SECOND)
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
            today = datetime.fromtimestamp(now / _SECOND, zone).date().isoformat()
            text = f"{today}T{text:0>5}"
        given = datetime.fromisoformat(text)
    except ValueError:
        raise GreenbridgeError(
            f"{option} {text}: give a time like 2026-11-24T10:30 or 10:30, or how long ago, like 2h"
        ) from None
    aware = given if given.tzinfo is not None else given.replace(tzinfo=zone)
    return int(aware.replace(microsecond=0).timestamp()) * _SECOND + aware.microsecond * 1000


def length_s(text: str, option: str) -> float:
    """A length of time [s]: ``10s``, ``15min``, ``2h``, ``1d``.

    Raises
    ------
    GreenbridgeError
        It is none, or 0.

    """
    found = _LENGTH.fullmatch(text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if seconds <= 0:
        raise GreenbridgeError(f"{option} {text}: give a length of time like 10s, 15min, 2h or 1d")
    return seconds


def _path(key: PointKey) -> str:
    return f"{key.device}/{key.name}"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
