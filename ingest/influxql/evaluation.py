"""What a query makes of rows; pure.

Rules followed: InfluxQL reference, "Functions" (aggregations, selectors), "GROUP BY time intervals and
fill()", "Subqueries". Intervals begin at multiples of their length since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.influxql.frames import Frame, Mask, Values, joined, known, numbers
from ingest.influxql.syntax import (
    SELECTORS,
    Among,
    Call,
    Column,
    Comparison,
    Condition,
    Either,
    Every,
    Expression,
    Number,
    Operation,
    QueryError,
    Select,
    calls,
    columns,
)

MAX_ROWS = 200_000
"""Rows that one answer may have."""

_ARITHMETIC = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}


def selected(select: Select, frames: Iterable[Frame], low: int, high: int) -> list[Frame]:
    """Frames of the answer, one for each series, in the order of measurement and tags.

    Parameters
    ----------
    select
        The query; its sources are read already.
    frames
        What they hold.
    low, high
        Bounds of time, both part of it [ns, UTC].

    Raises
    ------
    QueryError
        The answer has too many rows.

    """
    kept = [frame for one in frames if len((frame := _kept(one, select.where, low, high)).t)]
    groups: dict[tuple[str, ...], list[Frame]] = {}
    for frame in sorted(kept, key=lambda frame: (frame.name, sorted(frame.tags.items()))):
        key = (frame.name, *(frame.tags.get(tag, "") for tag in sorted(select.tags)))
        groups.setdefault(key, []).append(frame)
    found = [call for each in select.fields for call in calls(each.expression)]
    answer, rows = [], 0
    for (name, *values), group in sorted(groups.items()):
        tags = dict(zip(sorted(select.tags), values, strict=True))
        of = _Group(name, tags, group, low, high)
        if not found:
            made = _rows(select, of)
        elif _picks(select, found):
            made = _picked(select, found[0], of)
        else:
            made = _aggregated(select, of)
        made = _ordered(select, made)
        rows += len(made.t)
        if rows > MAX_ROWS:
            raise QueryError(f"the answer has more than {MAX_ROWS} rows: choose longer intervals")
        if len(made.t):
            answer.append(made)
    return answer


def _kept(frame: Frame, where: Every, low: int, high: int) -> Frame:
    within = np.asarray((frame.t >= low) & (frame.t <= high))
    return frame.where(within & _holds(frame, where))


def _holds(frame: Frame, condition: Condition) -> Mask:
    """Rows for which a condition holds; a null fulfils none, a tag that is missing is an empty text."""
    everywhere = np.ones(len(frame.t), np.bool_)
    match condition:
        case Every(parts):
            for part in parts:
                everywhere = everywhere & _holds(frame, part)
            found = everywhere
        case Either(parts):
            found = ~everywhere
            for part in parts:
                found = found | _holds(frame, part)
        case Among(column, values):
            found = _texts(frame, column, lambda text: values is None or text in values)
        case Comparison(column, operator, str(value)):
            found = _texts(frame, column, lambda text: (text == value) == (operator == "="))
        case Comparison(column, operator, value):
            numeric = column in frame.columns
            left = numbers(frame.column(column)) if numeric else np.full(len(frame.t), np.nan)
            found = _compared(left, operator, float(value))
    return found


def _texts(frame: Frame, column: str, holds: Callable[[str], bool]) -> Mask:
    """Rows whose field, or whose tag, is a text for which something holds."""
    if column in frame.columns:
        return np.array([t is not None and holds(t) for t in frame.columns[column]], np.bool_)
    return np.full(len(frame.t), holds(frame.tags.get(column, "")), np.bool_)


def _compared(left: NDArray[np.float64], operator: str, right: float) -> Mask:
    is_known = ~np.isnan(left)
    match operator:
        case "=":
            found = left == right
        case "!=":
            found = left != right
        case "<":
            found = left < right
        case "<=":
            found = left <= right
        case ">":
            found = left > right
        case _:
            found = left >= right
    return np.asarray(found & is_known)


@dataclass(frozen=True, slots=True)
class _Group:
    """Frames that make one series of the answer."""

    name: str
    tags: dict[str, str]
    frames: Sequence[Frame]
    low: int
    high: int

    def of(self, t: NDArray[np.int64], columns_: dict[str, Values]) -> Frame:
        """The series."""
        return Frame(self.name, self.tags, t, columns_)


def _picks(select: Select, found: Sequence[Call]) -> bool:
    """Whether a sole selector picks rows, and is not a part of a formula."""
    sole = len(found) == 1 and found[0].name in SELECTORS
    return sole and all(isinstance(each.expression, Column | Call) for each in select.fields)


def _rows(select: Select, group: _Group) -> Frame:
    """Rows one by one; those of which no field is known are left out, tags alone make no row."""
    parts = []
    for frame in group.frames:
        made = {each.name: _formula(each.expression, frame.column, len(frame.t)) for each in select.fields}
        fields = [
            each.name
            for each in select.fields
            if any(column in frame.columns for column in columns(each.expression))
        ]
        there = np.zeros(len(frame.t), np.bool_)
        for each in fields:
            there |= known(made[each])
        parts.append(group.of(frame.t, made).where(there))
    t = np.concatenate([part.t for part in parts])
    order = np.argsort(t, kind="stable")
    together = {
        each.name: joined([part.columns[each.name] for part in parts])[order] for each in select.fields
    }
    return group.of(t[order], together)


def _picked(select: Select, call: Call, group: _Group) -> Frame:
    """One row for each interval, picked by a selector; other columns come with it."""
    [column] = columns(call)
    frames = group.frames
    t = np.concatenate([frame.t for frame in frames])
    order = np.argsort(t, kind="stable")
    t, by = t[order], joined([frame.column(column) for frame in frames])[order]
    rows = np.flatnonzero(known(by))
    slots = t[rows] // select.step if select.step is not None else np.zeros(len(rows), np.int64)
    chosen = {int(slot): rows[slots == slot] for slot in np.unique(slots)}
    picks = {slot: _pick(call.name, by, candidates) for slot, candidates in chosen.items()}
    places = _Places.of(select, picks, group)
    made = {}
    for each in select.fields:
        of = each.expression.argument if isinstance(each.expression, Call) else each.expression
        if not isinstance(of, Column):
            raise QueryError(f"{each.name!r}: a formula over {call.name}() is not answered here")
        values = joined([frame.column(of.name) for frame in frames])[order]
        made[each.name] = places.spread([(slot, values[row]) for slot, row in picks.items()])
    if select.step is not None:
        return group.of(places.t, made)
    return group.of(t[list(picks.values())], made)


def _pick(selector: str, values: Values, rows: NDArray[np.intp]) -> int:
    if selector == "last":
        return int(rows[-1])
    candidates = numbers(values)[rows]
    return int(rows[np.argmax(candidates) if selector == "max" else np.argmin(candidates)])


def _aggregated(select: Select, group: _Group) -> Frame:
    """One row for each interval, of sums over it."""
    frames = group.frames
    t = np.concatenate([frame.t for frame in frames])
    slots = t // select.step if select.step is not None else np.zeros(len(t), np.int64)
    weights = [np.ones(len(f.t)) if f.weight is None else f.weight for f in frames]
    results: dict[Call, dict[int, float | int]] = {}
    for each in select.fields:
        for call in calls(each.expression):
            [column] = columns(call)
            values = joined([frame.column(column) for frame in frames])
            results[call] = _over(call.name, slots, values, np.concatenate(weights))
    seen = {slot for result in results.values() for slot in result}
    places = _Places.of(select, dict.fromkeys(seen, 0), group)
    spread = {
        call: places.spread(result.items(), 0 if call.name == "count" else None)
        for call, result in results.items()
    }
    made = {each.name: _combined(each.expression, spread, len(places.t)) for each in select.fields}
    return group.of(places.t, made)


def _over(
    function: str, slots: NDArray[np.int64], values: Values, weights: NDArray[np.float64]
) -> dict[int, float | int]:
    there = known(values)
    slots, weights = slots[there], weights[there]
    if not len(slots):
        return {}
    which, index = np.unique(slots, return_inverse=True)
    if function == "count":
        return dict(zip(which.tolist(), np.bincount(index).tolist(), strict=True))
    figures = numbers(values[there])
    found: NDArray[np.float64]
    match function:
        case "sum":
            found = np.asarray(np.bincount(index, figures), np.float64)
        case "mean":
            found = np.bincount(index, figures * weights) / np.bincount(index, weights)
        case _:
            found = np.full(len(which), -np.inf if function == "max" else np.inf)
            (np.maximum if function == "max" else np.minimum).at(found, index, figures)
    return dict(zip(which.tolist(), found.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class _Places:
    """Intervals that have a row in the answer."""

    t: NDArray[np.int64]
    row: dict[int, int] = field(repr=False)

    @classmethod
    def of(cls, select: Select, found: dict[int, Any], group: _Group) -> _Places:
        low, high = group.low, group.high
        if select.step is None:
            return cls(np.array([low] if found else [], np.int64), dict.fromkeys(found, 0))
        if select.filled and found:
            first, last = low // select.step, high // select.step
            if last - first >= MAX_ROWS:
                raise QueryError(f"the time range has more than {MAX_ROWS} intervals: choose longer ones")
            slots = list(range(first, last + 1))
        else:
            slots = sorted(found)
        return cls(np.array(slots, np.int64) * select.step, {slot: row for row, slot in enumerate(slots)})

    def spread(self, results: Iterable[tuple[int, Any]], nothing: int | None = None) -> Values:
        """Results in their rows; in the others null, or what counts as nothing."""
        made = np.full(len(self.t), nothing, object)
        for slot, value in results:
            made[self.row[slot]] = value
        return made


def _combined(expression: Expression, spread: dict[Call, Values], rows: int) -> Values:
    """An expression over aggregates; a sole one stays as it is, for counts are whole numbers."""
    if isinstance(expression, Call) and expression in spread:
        return spread[expression]
    return _formula(expression, lambda _: np.full(rows, np.nan), rows, spread)


def _formula(
    expression: Expression, column: Any, rows: int, spread: dict[Call, Values] | None = None
) -> Values:
    match expression:
        case Column(name):
            return np.asarray(column(name))
        case _:
            return _number(expression, column, rows, spread or {})


def _number(
    expression: Expression, column: Any, rows: int, spread: dict[Call, Values]
) -> NDArray[np.float64]:
    """An expression as numbers; a division by zero is 0 (InfluxQL reference, "Mathematical operators")."""
    match expression:
        case Number(value):
            return np.full(rows, value)
        case Column(name):
            return numbers(column(name))
        case Call("abs", argument):
            return np.abs(_number(argument, column, rows, spread))
        case Call("sqrt", argument):
            with np.errstate(invalid="ignore"):
                return np.sqrt(_number(argument, column, rows, spread))
        case Call():
            return numbers(spread[expression])
        case Operation(operator, left, right):
            one = _number(left, column, rows, spread)
            other = _number(right, column, rows, spread)
            with np.errstate(all="ignore"):
                found = _ARITHMETIC[operator](one, other)
            if operator == "/":
                found = np.where((other == 0) & ~np.isnan(one), 0.0, found)
            return np.where(np.isinf(found), np.nan, found)


def _ordered(select: Select, frame: Frame) -> Frame:
    order = np.arange(len(frame.t))
    if select.newest_first:
        order = np.argsort(-frame.t, kind="stable")
    if select.limit is not None:
        order = order[: select.limit]
    columns_ = {name: values[order] for name, values in frame.columns.items()}
    return Frame(frame.name, frame.tags, frame.t[order], columns_)
