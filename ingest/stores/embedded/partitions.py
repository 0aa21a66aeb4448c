"""Which table holds which readings and roll-ups: levels, partitions by time, and their catalogue.

Fresh readings are appended to the table ``hot``. A compaction moves them, sorted by point and time, into the
partition of their day and adds their roll-ups to the partitions of three coarser levels. Retention drops
whole partitions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from ingest.config import EmbeddedSettings

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
PAST = 400 * DAY
FUTURE = 2 * DAY
"""Times that lie further from a compaction than PAST and FUTURE [ns] come from wrong clocks: they share the
partition STRAY, so that a device with a random clock cannot make a partition for each day of centuries."""
STRAY = -(1 << 40)
"""Slot of the partition of readings with implausible times; they have no roll-ups."""


@dataclass(frozen=True, slots=True)
class Level:
    """A resolution at which data are kept."""

    number: int
    """0 for the readings themselves; the coarser, the higher."""
    width: int
    """Length of an interval [ns]; 0 for readings."""
    span: int
    """Length of time that a partition covers [ns], a multiple of the width."""


_NO_HORIZON = -(1 << 62)
RAW = Level(0, 0, DAY)
ROLLUPS = (
    Level(1, 10 * SECOND, DAY),
    Level(2, 60 * SECOND, 10 * DAY),
    Level(3, 900 * SECOND, 100 * DAY),
)
LEVELS = (RAW, *ROLLUPS)
COARSEST = ROLLUPS[-1].width


@dataclass(frozen=True, slots=True)
class Partition:
    """A table with the data of one level and one span of time."""

    level: Level
    slot: int
    """Number of the span since 1970, or STRAY."""

    @property
    def table(self) -> str:
        """Name of the table, quoted for a statement."""
        name = "stray" if self.slot == STRAY else str(self.slot)
        return f'"level{self.level.number}:{name}"'

    @property
    def start(self) -> int:
        """First time that it covers [ns, UTC]."""
        return self.slot * self.level.span

    @property
    def end(self) -> int:
        """First time that it does not cover any more [ns, UTC]."""
        return self.start + self.level.span


def keep_days(settings: EmbeddedSettings) -> tuple[int, ...]:
    """Age at which the data of each level are dropped [d], in the order of LEVELS."""
    return (
        settings.keep_days,
        settings.keep_10s_days,
        settings.keep_1min_days,
        settings.keep_15min_days,
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """Every partition, and what is gone of each level, as of one moment."""

    partitions: Mapping[int, Sequence[Partition]]
    """By the number of the level, oldest first; STRAY comes before all."""
    horizons: Sequence[int]
    """Times before which a level keeps nothing any more [ns, UTC], in the order of LEVELS."""

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection) -> Layout:
        """Reads it, at the cost of one query."""
        rows = connection.execute(
            "SELECT level, slot, true FROM partition UNION ALL SELECT level, time, false FROM horizon"
        ).fetchall()
        partitions: dict[int, list[Partition]] = {level.number: [] for level in LEVELS}
        horizons = [_NO_HORIZON] * len(LEVELS)
        for number, what, is_partition in sorted(rows):
            if is_partition:
                partitions[number].append(Partition(LEVELS[number], what))
            else:
                horizons[number] = what
        return cls(partitions, horizons)


def catalogue(connection: duckdb.DuckDBPyConnection, level: Level) -> list[Partition]:
    """Every partition of a level, oldest first; STRAY comes before all."""
    rows = connection.execute(
        "SELECT slot FROM partition WHERE level = ? ORDER BY slot", [level.number]
    ).fetchall()
    return [Partition(level, slot) for (slot,) in rows]


def overlapping(partitions: Sequence[Partition], start: int, end: int) -> list[Partition]:
    """Those that may hold times from start up to before end [ns, UTC]; STRAY may hold any."""
    return [p for p in partitions if p.slot == STRAY or (p.start < end and p.end > start)]


def horizon(connection: duckdb.DuckDBPyConnection, level: Level) -> int:
    """Time before which a level keeps nothing any more [ns, UTC]."""
    row = connection.execute("SELECT time FROM horizon WHERE level = ?", [level.number]).fetchone()
    return int(row[0]) if row else _NO_HORIZON
