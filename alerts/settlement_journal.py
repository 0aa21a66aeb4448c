"""The settlement journal: schedule versions, settled intervals and how far that is, in one SQLite file.

Versions and intervals are only ever appended. An interval that late data or another schedule changed gets a
new revision beside the earlier ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from alerts.revision import Revision
from alerts.schedules import Version
from alerts.settlement.interval import Interval
from ingest.databases import DatabaseKind, transaction
from ingest.owned import OwnedDatabase

FILE = "settlement.sqlite"
"""File in the state directory."""

_KIND = DatabaseKind(
    title="settlement journal",
    application_id=0x47425345,
    version=1,
    schema="""
    CREATE TABLE version (
        number INTEGER PRIMARY KEY, subject TEXT NOT NULL, party TEXT NOT NULL, first INTEGER NOT NULL,
        last INTEGER NOT NULL, body BLOB NOT NULL
    );
    CREATE TABLE interval (
        seq INTEGER PRIMARY KEY, account TEXT NOT NULL, minutes INTEGER NOT NULL, start INTEGER NOT NULL,
        revision INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (start, minutes, account, revision)
    );
    CREATE TABLE progress (
        one INTEGER PRIMARY KEY CHECK (one = 1), offset INTEGER NOT NULL, closed INTEGER NOT NULL,
        version INTEGER NOT NULL, told INTEGER NOT NULL
    )
    """,
    recovery="stop greenbridge, run `{set_aside}` and start again: it begins without schedule versions "
    "and intervals, which are in the file moved aside, or in a backup",
)

_VERSION = msgspec.json.Decoder(Version)
_INTERVAL = msgspec.json.Decoder(Interval)


class Settled(msgspec.Struct, frozen=True):
    """How far the settlement has come."""

    offset: int = 0
    """Newest record of the reading journal whose consequences are all written."""
    closed: int = 0
    """End of the newest quarter of an hour that is closed [ns, UTC]; 0 before the first."""
    version: int = 0
    """Newest schedule version that it took into account."""


class SettlementJournal(OwnedDatabase):
    """``settlement.sqlite``, opened by ``async with``.

    Parameters
    ----------
    path
        File; created if there is none.

    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _KIND)
        self.versions_taken = Revision()
        """Number of the newest schedule version."""

    async def take(self, versions: Sequence[Version]) -> Sequence[Version]:
        """Appends schedule versions, all or none, and returns them with their numbers.

        Raises
        ------
        StorageError
            None is durable.

        """
        taken = await self._call(self._take, versions)
        self.versions_taken.move_to(max((version.number for version in taken), default=0))
        return taken

    async def versions(self, since: int = 0) -> Sequence[Version]:
        """Schedule versions whose validity ends after a time [ns, UTC], oldest first."""
        rows = await self._rows("SELECT body FROM version WHERE last > ? ORDER BY number", since)
        return [_VERSION.decode(body) for (body,) in rows]

    async def version(self, number: int) -> Version | None:
        """A schedule version."""
        rows = await self._rows("SELECT body FROM version WHERE number = ?", number)
        return _VERSION.decode(rows[0][0]) if rows else None

    async def settled(self) -> Settled:
        """How far the settlement has come."""
        rows = await self._rows("SELECT offset, closed, version FROM progress")
        return Settled(*rows[0]) if rows else Settled()

    async def settle(self, intervals: Sequence[Interval], settled: Settled) -> Sequence[Interval]:
        """Appends what differs from the newest revision of its interval, and notes how far that is.

        Whole or not at all. Returns what was appended, with revision numbers.

        Raises
        ------
        StorageError
            Nothing of it is durable.

        """
        return await self._call(self._settle, intervals, settled)

    async def untold(self, limit: int = 500) -> Sequence[tuple[int, Interval]]:
        """Intervals that the stores were not told of, oldest first, with their sequence numbers."""
        rows = await self._rows(
            "SELECT seq, body FROM interval WHERE seq > coalesce((SELECT told FROM progress), 0)"
            " ORDER BY seq LIMIT ?",
            limit,
        )
        return [(seq, _INTERVAL.decode(body)) for seq, body in rows]

    async def tell(self, seq: int) -> None:
        """Notes that the stores were told of the intervals up to a sequence number."""
        await self._call(self._write, "UPDATE progress SET told = ?", (seq,))

    async def intervals(
        self,
        start: int,
        end: int,
        *,
        account: str = "",
        minutes: int = 0,
        revisions: bool = True,
        limit: int = 1000,
    ) -> Sequence[Interval]:
        """Intervals that begin in start <= t < end [ns, UTC], the newest first.

        Parameters
        ----------
        start, end
            [ns, UTC].
        account
            Only of this tie, area or contract; empty for all.
        minutes
            Only of this length; 0 for all.
        revisions
            Every revision, not only the newest one of each interval.
        limit
            At most so many rows.

        """
        rows = await self._rows(
            "SELECT body FROM interval WHERE start >= ? AND start < ? AND (? = '' OR account = ?)"
            " AND (? = 0 OR minutes = ?) AND (? = 1 OR revision = (SELECT max(revision)"
            " FROM interval AS other WHERE (other.start, other.minutes, other.account)"
            " = (interval.start, interval.minutes, interval.account)))"
            " ORDER BY start DESC, minutes, account, revision LIMIT ?",
            *(start, end, account, account, minutes, minutes, int(revisions), limit),
        )
        return [_INTERVAL.decode(body) for (body,) in rows]

    def _write(self, statement: str, values: Sequence[int | str]) -> None:
        with transaction(self._open_connection):
            self._open_connection.execute(statement, values)

    def _take(self, versions: Sequence[Version]) -> list[Version]:
        connection, taken = self._open_connection, []
        with transaction(connection):
            (number,) = connection.execute("SELECT coalesce(max(number), 0) FROM version").fetchone()
            for i, version in enumerate(versions, number + 1):
                numbered = replace(version, number=i)
                row = (i, version.subject, version.party, version.start, version.end)
                connection.execute(
                    "INSERT INTO version VALUES (?, ?, ?, ?, ?, ?)", (*row, msgspec.json.encode(numbered))
                )
                taken.append(numbered)
        return taken

    def _settle(self, intervals: Sequence[Interval], settled: Settled) -> list[Interval]:
        connection, appended = self._open_connection, []
        with transaction(connection):
            for interval in intervals:
                row = connection.execute(
                    "SELECT body FROM interval WHERE start = ? AND minutes = ? AND account = ?"
                    " ORDER BY revision DESC LIMIT 1",
                    (interval.start, interval.minutes, interval.account),
                ).fetchone()
                newest = _INTERVAL.decode(row[0]) if row else None
                if newest is not None and newest.says_as(interval):
                    continue
                revised = replace(interval, revision=0 if newest is None else newest.revision + 1)
                connection.execute(
                    "INSERT INTO interval (account, minutes, start, revision, body) VALUES (?, ?, ?, ?, ?)",
                    (
                        revised.account,
                        revised.minutes,
                        revised.start,
                        revised.revision,
                        msgspec.json.encode(revised),
                    ),
                )
                appended.append(revised)
            connection.execute(
                "INSERT INTO progress VALUES (1, ?, ?, ?, 0) ON CONFLICT (one) DO UPDATE SET"
                " offset = max(offset, excluded.offset), closed = max(closed, excluded.closed),"
                " version = max(version, excluded.version)",
                (settled.offset, settled.closed, settled.version),
            )
        return appended
