"""What the HTTP API answers about schedules and settlement; who may ask is decided in :mod:`console.app`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from alerts.schedule_table import Row
from alerts.schedules import Party, Version
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
