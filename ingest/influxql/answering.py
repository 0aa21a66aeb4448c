"""Answers a query from a store, in the shape in which InfluxDB answers."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from ingest.influxql.evaluation import selected
from ingest.influxql.frames import Frame
from ingest.influxql.parser import parse
from ingest.influxql.reading import Readings
from ingest.influxql.syntax import QueryError, Select, ShowMeasurements, ShowTagValues

EPOCHS = {"ns": 1, "u": 1_000, "ms": 10**6, "s": 10**9}
"""Precisions in which times are answered [ns]."""

Series = dict[str, Any]


async def answered(text: str, epoch: str, readings: Readings) -> list[Series]:
    """Series of the answer, as in ``results[0].series`` (InfluxDB 1.8 documentation, "API reference").

    Parameters
    ----------
    text
        One statement.
    epoch
        Precision of times: one of :data:`EPOCHS`.
    readings
        The store, with a site's devices as series.

    Raises
    ------
    QueryError
        The query is none of those that are answered, or asks for too much.
    UnavailableError, StorageError
        The store cannot be asked now.

    """
    if epoch not in EPOCHS:
        raise QueryError(f"epoch = {epoch[:20]!r} is not answered; give one of {', '.join(EPOCHS)}")
    statement = parse(text)
    match statement:
        case ShowMeasurements(limit):
            names = readings.measurements[:limit]
            return [_series("measurements", {}, ["name"], [[name] for name in names])] if names else []
        case ShowTagValues(measurements, key, where):
            found = {name: readings.tag_values(name, key, where) for name in sorted(set(measurements))}
            return [
                _series(name, {}, ["key", "value"], [[key, value] for value in values])
                for name, values in found.items()
                if values
            ]
        case Select():
            frames = await _evaluated(statement, readings, statement.low, statement.high)
            columns = ["time", *(field.name for field in statement.fields)]
            return [
                _series(frame.name, dict(frame.tags), columns, _values(frame, columns, EPOCHS[epoch]))
                for frame in frames
            ]


async def _evaluated(
    select: Select, readings: Readings, outer_low: int | None, outer_high: int | None
) -> list[Frame]:
    """Frames of a query; a subquery reads no further than the query around it."""
    low = _tighter(select.low, outer_low, max)
    high = _tighter(select.high, outer_high, min)
    if low is None or high is None:
        raise QueryError("the query has no bounds of time: add time >= ... AND time <= ...")
    frames: list[Frame] = []
    for source in dict.fromkeys(select.sources):
        if isinstance(source, str):
            frames += await readings.frames(source, select, low, high)
        else:
            frames += await _evaluated(source, readings, low, high)
    # arithmetic over a million rows takes long enough for others to wait
    return await asyncio.to_thread(selected, select, frames, low, high)


def _tighter(own: int | None, outer: int | None, tighter: Any) -> int | None:
    known = [bound for bound in (own, outer) if bound is not None]
    return int(tighter(known)) if known else None


def _series(name: str, tags: dict[str, str], columns: list[str], values: list[list[Any]]) -> Series:
    return {"name": name, **({"tags": tags} if tags else {}), "columns": columns, "values": values}


def _values(frame: Frame, columns: list[str], unit: int) -> list[list[Any]]:
    times = (frame.t // unit).tolist()
    contents = [_plain(frame.columns[name].tolist()) for name in columns[1:]]
    return [list(row) for row in zip(times, *contents, strict=True)]


def _plain(values: list[Any]) -> list[Any]:
    """Null for what is no number."""
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]
