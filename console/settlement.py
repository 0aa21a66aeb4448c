"""What the HTTP API answers about schedules and settlement; who may ask is decided in :mod:`console.app`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from alerts.schedule_table import Row
from alerts.schedules import Party, Version
from alerts.settlement.interval import Interval
from alerts.settlement.running import Running
from console.views import ms

MAX_SCHEDULE_BYTES = 1 << 20
"""Longest posted schedule [B]: a month of quarter-hours for four ties."""


class ScheduleRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One agreed value of a posted schedule."""

    tie: str
    """Tie or contract."""
    start: str
    """ISO 8601 with a zone."""
    end: str
    mw: float


class PostedSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a posted schedule."""

    rows: tuple[ScheduleRow, ...]
    party: Party = Party.OWN
    author: str = ""
    source: str = ""

    def table(self) -> list[Row]:
        """The rows as a table has them."""
        return [
            Row(f"rows[{i}]", row.tie, row.start, row.end, f"{row.mw:.9f}".rstrip("0").rstrip("."))
            for i, row in enumerate(self.rows)
        ]


class PieceView(msgspec.Struct, frozen=True, array_like=True):
    """Begin and end [ms, UTC] and value [MW] as an array."""

    start: int
    end: int
    mw: float


class VersionView(msgspec.Struct, frozen=True):
    """A schedule version; times in milliseconds."""

    number: int
    subject: str
    party: str
    author: str
    source: str
    received_at: int
    start: int
    end: int
    pieces: Sequence[PieceView]


def version_view(version: Version) -> VersionView:
    """View of a version."""
    return VersionView(
        version.number,
        version.subject,
        version.party.value,
        version.author,
        version.source,
        ms(version.received_at),
        ms(version.start),
        ms(version.end),
        [PieceView(ms(piece.start), ms(piece.end), piece.mw) for piece in version.pieces],
    )


class IntervalView(msgspec.Struct, frozen=True):
    """A settled interval; energies [MWh], times in milliseconds."""

    account: str
    kind: str
    area: str
    minutes: int
    start: int
    end: int
    scheduled_mwh: float
    metered_mwh: float | None
    estimated_mwh: float | None
    inadvertent_mwh: float | None
    wheeled_mwh: float | None
    losses_mwh: float | None
    completeness_pct: float
    quality: str
    version: int
    revision: int
    closed_at: int
    reason: str


def interval_view(interval: Interval) -> IntervalView:
    """View of a settled interval."""
    return IntervalView(
        interval.account,
        interval.kind.value,
        interval.area,
        interval.minutes,
        ms(interval.start),
        ms(interval.end),
        interval.scheduled_mwh,
        interval.metered_mwh,
        interval.estimated_mwh,
        interval.inadvertent_mwh,
        interval.wheeled_mwh,
        interval.losses_mwh,
        interval.completeness_pct,
        interval.quality.value,
        interval.version,
        interval.revision,
        ms(interval.closed_at),
        interval.reason,
    )


class RunningView(msgspec.Struct, frozen=True):
    """An open interval; energies [MWh], times in milliseconds."""

    account: str
    kind: str
    minutes: int
    start: int
    end: int
    at: int
    scheduled_mwh: float
    metered_mwh: float | None
    inadvertent_mwh: float | None
    mean_mw: float | None
    projected_mwh: float | None
    completeness_pct: float
    fault: str


def running_view(running: Running) -> RunningView:
    """View of an open interval."""
    return RunningView(
        running.account,
        running.kind.value,
        running.minutes,
        ms(running.start),
        ms(running.end),
        ms(running.at),
        running.scheduled_mwh,
        running.metered_mwh,
        running.inadvertent_mwh,
        running.mean_mw,
        running.projected_mwh,
        running.completeness_pct,
        running.fault,
    )


class LedgerView(msgspec.Struct, frozen=True):
    """Settled intervals, newest first, and those that are open."""

    intervals: list[IntervalView]
    open: list[RunningView]
