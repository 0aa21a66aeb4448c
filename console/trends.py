"""The trend of one point as a page draws it: intervals, and where the line must break. Pure."""

from __future__ import annotations

import math

import msgspec

from ingest.ports import Series
from telemetry.quality import Validity, reason_of, validity_of

STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
"""Interval lengths on offer [s]: each divides a day, so that intervals start at round times."""

_STALE_PERIODS = 3
"""A reading holds for three expected periods (rule R13), then there is a gap."""


class TrendView(msgspec.Struct, frozen=True):
    """Down-sampled readings; columns of equal length. A row of nulls breaks the line: a gap is a gap."""

    point: int
    path: str
    title: str
    unit: str
    step: int
    """Length of an interval [ms]."""
    start: int
    """[ms, UTC]."""
    end: int
    """[ms, UTC]."""
    t: list[int]
    """Start of each interval [ms, UTC]."""
    low: list[float | None]
    high: list[float | None]
    mean: list[float | None]
    count: list[int]
    """Usable readings in the interval; 0 in a gap and where every reading was bad."""
    worst: list[int]
    """Worst quality code of the interval; 0 in a gap."""
    reasons: dict[int, str]
    """Text of each code in ``worst``."""


def step_for(span_ns: int, intervals: int) -> int:
    """Interval length [ns] that cuts a span into at most so many: the shortest on offer that does."""
    needed = span_ns / intervals
    for step_s in STEPS_S:
        if step_s * 1e9 >= needed:
            return step_s * 1_000_000_000
    days = math.ceil(needed / (86400 * 1e9))
    return days * 86_400_000_000_000


def trend(
    series: Series,
    *,
    point: int,
    path: str,
    title: str,
    unit: str,
    period_s: float,
    start: int,
    end: int,
    step: int,
    by_exception: bool = False,
    silence_s: float = 0.0,
    newest: tuple[int, float, int] | None = None,
) -> TrendView:
    """Makes a series drawable: numbers that JSON can hold, and a break wherever readings are missing.

    Two intervals belong to one line if no more than three expected periods lie between them. A point that is
    reported by exception was as it had been until the next interval with readings, unless one of them told of
    a fault; ``newest`` is its newest reading (time [ns], value, quality now), which holds until the end. So
    was one with a deadband, for no longer than its silence ``silence_s`` and three periods.
    """
    view = TrendView(
        point,
        path,
        title,
        unit,
        step // 1_000_000,
        start // 1_000_000,
        end // 1_000_000,
        [],
        [],
        [],
        [],
        [],
        [],
        {},
    )
    longest = step + round(_STALE_PERIODS * period_s * 1e9)
    before: int | None = None
    for i, t in enumerate(series.t.tolist()):
        if before is not None and t - before > longest:
            held = by_exception or t - before <= longest + round(silence_s * 1e9)
            if held and _usable(view.worst[-1]):
                _hold(view, t - step)
            else:
                _append(view, before + step, None, 0, 0)
        usable = int(series.count[i])
        worst = int(series.worst[i])
        numbers = (float(series.low[i]), float(series.high[i]), float(series.mean[i]))
        _append(view, t, numbers if usable else None, usable, worst)
        if worst:
            view.reasons[worst] = reason_of(worst)
        before = t
    if newest is not None:
        _until_the_end(view, newest, start, end, step)
    return view


def _until_the_end(view: TrendView, newest: tuple[int, float, int], start: int, end: int, step: int) -> None:
    t, value, quality = newest
    if not _usable(quality) or t >= end:
        return
    numbers = (value, value, value)
    if not view.t:
        _append(view, max(start, t) // step * step, numbers, 0, quality)
    last = (end - 1) // step * step
    if last > view.t[-1] * 1_000_000:
        _append(view, last, numbers, 0, quality)
    if quality:
        view.reasons[quality] = reason_of(quality)


def _hold(view: TrendView, t: int) -> None:
    """Goes on as it was until a time [ns]; no reading stands behind it."""
    mean, worst = view.mean[-1], view.worst[-1]
    _append(view, t, None if mean is None else (mean, mean, mean), 0, worst)


def _usable(quality: int) -> bool:
    return validity_of(quality) is not Validity.BAD


def _append(
    view: TrendView, t: int, numbers: tuple[float, float, float] | None, count: int, worst: int
) -> None:
    low, high, mean = numbers or (None, None, None)
    view.t.append(t // 1_000_000)
    view.low.append(low)
    view.high.append(high)
    view.mean.append(mean)
    view.count.append(count)
    view.worst.append(worst)
