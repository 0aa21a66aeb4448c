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
