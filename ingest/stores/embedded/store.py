"""Writing side of the embedded store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, TypeVarTuple

import duckdb
import numpy as np
from numpy.typing import NDArray

from ingest.config import EmbeddedSettings
from ingest.ports import EventRecord, JournalRecord, Position, Totals, Written
from ingest.stages.continuity import missed
from ingest.stages.deadband import Deadbands, References, thinned
from ingest.stages.deduplication import keyed, resolve
from ingest.stores.embedded import rows
from ingest.stores.embedded.compaction import compact
from ingest.stores.embedded.database import fetch_one, open_store, recovery, transaction
from ingest.stores.embedded.newest import Newest
from ingest.stores.embedded.partitions import PAST, RAW, SECOND, horizon
from ingest.stores.embedded.query import EmbeddedQuery
from ingest.stores.embedded.retention import retain
from ingest.threads import OwnerThread
from telemetry.batch import Columns
from telemetry.errors import StorageError, UnavailableError

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class EmbeddedStore:
    """A :class:`ingest.ports.Store` in one DuckDB file; ``async with`` opens and closes it.

    One thread owns the writing connection. Readings, marks, totals and position change in one transaction, so
    that a crash at any point leaves either all or nothing of an application.
    """

    def __init__(self, path: Path, settings: EmbeddedSettings, deadbands: Deadbands | None = None) -> None:
        self._path = path
        self._settings = settings
        self._deadbands = deadbands or Deadbands()
        self._thread = OwnerThread("embedded-writer")
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._position = Position()
        self._newest = Newest()
        self._horizon = 0
        self._sealed = 0
        self._fresh = 0
        self.query = EmbeddedQuery(self._newest)
        """The :class:`ingest.ports.QueryPort` on the same file."""

    async def __aenter__(self) -> Self:
        try:
            connection = await self._thread.call(self._open)
        except StorageError:
            await self._thread.close()
            raise
        self.query.open(connection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.query.close()
        if self._connection is not None:
            await self._thread.call(self._connection.close)
            self._connection = None
        await self._thread.close()

    @property
    def name(self) -> str:
        """Label of the store."""
        return "embedded"

    def thin_by(self, deadbands: Deadbands) -> None:
        """Leaves out what these deadbands say, from the next application on."""
        self._deadbands = deadbands

    async def position(self) -> Position:
        """How far this store has come: what its last transaction committed."""
        return self._position

    async def back_up(self, path: Path) -> None:
        """Writes a complete store, as of one commit, into a new file.

        Raises
        ------
        StorageError
            The file exists, or the store is not open.
        UnavailableError
            The file cannot be written.

        """
        await self.query.back_up(path)

    async def count(self) -> int:
        """Number of rows of all tables of readings, and of those that retention has dropped."""
        return await self.query.count()

    async def written(self, after: int, through: int, max_readings: int = 20_000) -> Written:
        """Readings in the order of the journal: :class:`ingest.ports.WrittenHistory`."""
        return await self.query.written(after, through, max_readings)

    async def apply(self, records: Sequence[JournalRecord]) -> Position:
        """Stores records in one transaction; those at or before the position are passed over.

        Raises
        ------
        UnavailableError
            The disk refused; the same records are to be applied again later.
        StorageError
            The file cannot be used any more, or the records do not belong to it.

        """
        return await self._write(self._apply, records)

    async def apply_events(self, events: Sequence[tuple[int, EventRecord]]) -> Position:
        """Stores events in one transaction; the same kind and key replaces the earlier record."""
        return await self._write(self._apply_events, events)

    async def _write(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        try:
            return await self._thread.call(function, *arguments)
        except (duckdb.FatalException, duckdb.InternalException) as error:
            raise StorageError(
                f"embedded store {self._path}: {error}; restart; if it does not open, {recovery(self._path)}"
            ) from error
        except duckdb.Error as error:
            raise UnavailableError(f"embedded store {self._path}: {error}") from error

    def _open(self) -> duckdb.DuckDBPyConnection:
        connection = open_store(self._path, self._settings)
        _, record, event, _, *totals = fetch_one(connection, "SELECT * FROM state")
        self._position = Position(record, event, Totals(*totals))
        self._newest.load(connection)
        self._horizon = horizon(connection, RAW)
        (self._fresh,) = fetch_one(connection, "SELECT count(*) FROM hot")
        self._connection = connection
        return connection

    def _opened(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            raise StorageError(f"embedded store {self._path} is not open")
        return self._connection

    def _apply(self, records: Sequence[JournalRecord]) -> Position:
        connection = self._opened()
        records = [record for record in records if record.offset > self._position.offset]
        if not records:
            return self._position
        gaps = missed(records, self._position.totals.accounted)
        now = records[-1].t_committed
        columns = Columns.joined([record.batch for record in records])
        record = np.repeat(
            np.array([r.offset for r in records], np.uint64), [len(record.batch) for record in records]
        )
        kept = (columns.t_source >= self._horizon) | (columns.t_source < now - PAST)
        expired = len(columns) - int(np.count_nonzero(kept))
        if expired:
            columns, record = columns.where(kept), record[kept]
        passing = self._passing(columns)
        suppressed = len(columns) - int(np.count_nonzero(passing))
        if suppressed:
            columns, record = columns.where(passing), record[passing]
        batch = keyed(columns)
        record = record[batch.order]
        suspects = np.flatnonzero(batch.first & ~self._newest.marks.above(batch.columns))
        plan = resolve(batch, *rows.held(connection, batch.columns, suspects))
        counts = Totals(plan.stored, plan.revised, plan.duplicates, suppressed, expired=expired, missed=gaps)
        position = Position(records[-1].offset, self._position.event, self._position.totals.plus(counts))
        with transaction(connection):
            rows.insert(connection, batch.columns.where(plan.insert), record[plan.insert])
            rows.update(connection, batch.columns.where(plan.update), record[plan.update])
            rows.set_position(connection, position)
        self._newest.put(batch.columns.where(batch.newest))
        self._position = position
        self._fresh += len(plan.insert)
        self._compact_when_due(connection, now)
        return position

    def _passing(self, columns: Columns) -> NDArray[np.bool_]:
        """Mask of the readings that no deadband holds back."""
        deadbands = self._deadbands
        points = np.unique(columns.point[deadbands.rows(columns.point)])
        # what is stored last of a point is what was handed on last: no state beside it
        passing, _ = thinned(columns, deadbands, References(self._newest.of(points)))
        return passing

    def _compact_when_due(self, connection: duckdb.DuckDBPyConnection, now: int) -> None:
        """Sorts the fresh readings away; ``now`` [ns, UTC] is the time of the newest commit."""
        self._sealed = self._sealed or now
        late = now - self._sealed >= self._settings.compact_s * SECOND
        if self._fresh < self._settings.compact_readings and not (late and self._fresh):
            return
        with transaction(connection):
            compact(connection, now)
            self._newest.save(connection)
        self._sealed, self._fresh = now, 0
        try:
            retain(connection, self._settings, now)
        finally:  # what was dropped before an error is gone, and nothing of its time may be taken any more
            self._horizon = horizon(connection, RAW)

    def _apply_events(self, events: Sequence[tuple[int, EventRecord]]) -> Position:
        connection = self._opened()
        fresh = [(number, event) for number, event in events if number > self._position.event]
        if not fresh:
            return self._position
        position = replace(self._position, event=fresh[-1][0])
        with transaction(connection):
            rows.replace_events(connection, [event for _, event in fresh])
            rows.set_position(connection, position)
        self._position = position
        return position
