"""Which level answers for which part of a time range; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.stores.embedded.partitions import LEVELS, Level


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a time range [ns, UTC] and the level that answers for it."""

    level: Level
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Share:
    """What a level gives to the answer for a stretch."""

    level: Level
    where: str
    """Which of its rows, as a condition on their time."""


def shares(stretch: Stretch, step: int, horizons: Sequence[int]) -> list[Share]:
    """Who answers for a stretch, so that few rows are read: the coarser levels within intervals of ``step``.

    A row of a coarser level is taken where it lies in one interval of ``step`` [ns]; at the limits between
    them the next finer level takes its place, down to that of the stretch. ``horizons``: as for
    :func:`stretches`.
    """
    coarser = [
        level
        for level in LEVELS[: stretch.level.number : -1]
        if 2 * level.width <= min(step, stretch.end - stretch.start)
        and horizons[level.number] <= stretch.start
    ]
    # the conditions are for times after 1970: a remainder takes the sign of the dividend
    if not coarser or stretch.start < 0:
        return [_whole(stretch.level, stretch.start, stretch.end)]
    width = coarser[0].width
    start, end = -(-stretch.start // width) * width, stretch.end // width * width
    ends = [(stretch.start, start), (end, stretch.end)]
    found = [_whole(stretch.level, low, high) for low, high in ends if low < high]
    above: Level | None = None
    for level in [*coarser, stretch.level]:
        t = _time(level)
        terms = [f"{t} >= {start} AND {t} < {end}"]
        if above is not None:
            terms.append(f"({t} - {t} % {above.width}) % {step} > {step - above.width}")
        if level is not stretch.level:
            terms.append(f"{t} % {step} <= {step - level.width}")
        found.append(Share(level, " AND ".join(terms)))
        above = level
    return found


def _whole(level: Level, start: int, end: int) -> Share:
    t = _time(level)
    return Share(level, f"{t} >= {start} AND {t} < {end}")


def _time(level: Level) -> str:
    """Column that holds the time of a level's rows."""
    return "t" if level.width else "t_source"


def stretches(start: int, end: int, step: int, horizons: Sequence[int]) -> list[Stretch]:
    """Covers start <= t < end for intervals of ``step`` [ns], each time by the coarsest level that is exact.

    ``horizons`` [ns, UTC], in the order of LEVELS, are the times before which a level keeps nothing. Where
    the exact one is gone the next coarser takes its place: its intervals count where they start.
    """
    exact = max(level.number for level in LEVELS if not level.width or step % level.width == 0)
    return _cover(exact, start, end, horizons)


def _cover(number: int, start: int, end: int, horizons: Sequence[int]) -> list[Stretch]:
    if start >= end:
        return []
    level = LEVELS[number]
    gone = min(max(horizons[number], start), end)
    if gone > start:
        older = _coarser(number, start, gone, horizons)
        return older + _cover(number, gone, end, horizons)
    if not level.width:
        return [Stretch(level, start, end)]
    first, last = -(-start // level.width) * level.width, end // level.width * level.width
    if first >= last:
        return _edge(number, start, end, horizons)
    return [
        *_edge(number, start, first, horizons),
        Stretch(level, first, last),
        *_edge(number, last, end, horizons),
    ]


def _coarser(number: int, start: int, end: int, horizons: Sequence[int]) -> list[Stretch]:
    """A stretch that a level keeps no more: whole intervals of the next coarser one that still has it."""
    for level in LEVELS[number + 1 :]:
        kept = min(max(horizons[level.number], start), end)
        if kept < end:
            return [*_coarser(level.number, start, kept, horizons), Stretch(level, kept, end)]
    return []


def _edge(number: int, start: int, end: int, horizons: Sequence[int]) -> list[Stretch]:
    """A stretch shorter than an interval of a level: by the finer ones."""
    return _cover(number - 1, start, end, horizons)
