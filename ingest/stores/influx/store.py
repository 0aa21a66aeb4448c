"""Writing side of the InfluxDB store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ingest.config import InfluxSettings
from ingest.ports import EventRecord, JournalCursors, JournalRecord, Position, Totals
from ingest.stages.deadband import Deadbands, References
from ingest.stages.deduplication import HighWaterMarks, Resolution, Rows
from ingest.stores.influx.client import InfluxClient, Target, read_token
from ingest.stores.influx.encoding import Encoder, Lines, Listed, encode_events
from ingest.stores.influx.letters import LetterBox, refused_lines, undeclared_points
from ingest.stores.influx.preparation import NO_QUALITIES, NO_ROWS, NO_VALUES, Standing
from ingest.stores.influx.preparing import Preparing
from ingest.stores.influx.query import InfluxQuery
from ingest.stores.influx.schema import Schema
from ingest.stores.influx.writer import LineWriter
from telemetry.batch import Columns
from telemetry.clock import Clock
from telemetry.registry import PointRegistry
from telemetry.site import Site


class MarkedCursors(JournalCursors, Protocol):
    """Cursors that keep high-water marks and references of deadbands with a position."""

    async def load_marks(self, name: str) -> bytes:
        """Marks saved with the position; empty if none were."""
        ...

    async def load_references(self, name: str) -> bytes:
        """References saved with the position; empty if none were."""
        ...

    async def save(
        self, name: str, position: Position, marks: bytes = b"", references: bytes | None = None
    ) -> None:
        """Makes a position durable, with marks and references if they are given."""
        ...


class InfluxStore:
    """A :class:`ingest.ports.Store` in InfluxDB; ``async with`` opens and closes the connections.

    InfluxDB has no transactions: the position is in the journal's cursors and moves after its answer.
    A crash between the two writes the same lines again, which changes nothing.
    """

    def __init__(
        self,
        settings: InfluxSettings,
        site: Site,
        registry: PointRegistry,
        *,
        cursors: MarkedCursors,
        letters: LetterBox,
        clock: Clock,
        environment: Mapping[str, str],
    ) -> None:
        """The token is read at once.

        Raises
        ------
        StorageError
            There is no token where the settings say.

        """
        target = Target(settings.url, settings.org, settings.bucket, settings.timeout_s)
        self._client = InfluxClient(target, read_token(settings, environment))
        schema = Schema(site, registry)
        self._preparing = Preparing("influx-preparing", Deadbands.of_site(site), Encoder(schema))
        self._writer = LineWriter(self._client)
        self._cursors = cursors
        self._letters = letters
        self._clock = clock
        self._standing: Standing | None = None
        self._saving = asyncio.Lock()  # readings and events move different parts of one position
        self.query = InfluxQuery(self._client, schema)
        """The :class:`ingest.ports.QueryPort` on the same server."""

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)
        await self._preparing.close()

    @property
    def name(self) -> str:
        """Label of the store."""
        return "influx"

    async def position(self) -> Position:
        """How far this store has come: what the server confirmed."""
        return await self._cursors.load(self.name)

    async def count(self) -> None:
        """Not known: counting rows in InfluxDB reads all of them."""
        return

    async def apply(self, records: Sequence[JournalRecord]) -> Position:
        """Writes records; those at or before the position are passed over.

        Lines that the server refuses become dead letters with its reason.

        Raises
        ------
        RetryLaterError
            The server takes nothing now; the same records are to be applied again later.
        StorageError
            Cursor or dead letters cannot be written, or the records are of another journal.

        """
        position = await self.position()
        records = [record for record in records if record.offset > position.offset]
        if not records:
            return position
        standing = await self._loaded()
        prepared = await self._preparing.batch(records, standing)
        held = await self._held(prepared.batch.columns, prepared.suspects)
        outcome = await self._preparing.settled(prepared, *held)
        lost = await self._write(outcome.columns, outcome.lines)
        totals = position.totals.plus(_totals(outcome.plan, lost))
        totals = totals.plus(Totals(suppressed=prepared.suppressed, missed=prepared.missed))
        # what is not there says nothing; itself if nothing was lost, so that what is prepared fits
        after = prepared.after.without(outcome.columns.point[lost])
        async with self._saving:
            position = replace(await self.position(), offset=records[-1].offset, totals=totals)
            marks = _marks(after).to_bytes()
            await self._cursors.save(self.name, position, marks, after.references.to_bytes())
        self._standing = after  # only now: readings of a failed attempt must count as new again
        return position

    async def prepare(self, records: Sequence[JournalRecord]) -> None:
        """Prepares the records that follow those being applied: these need not wait for more than the server.

        Raises
        ------
        StorageError
            They do not follow.

        """
        await self._preparing.next(records)

    async def apply_events(self, events: Sequence[tuple[int, EventRecord]]) -> Position:
        """Writes events; a line that the server refuses becomes a dead letter.

        Raises
        ------
        RetryLaterError
            The server takes nothing now; the same events are to be applied again later.

        """
        position = await self.position()
        fresh = [(number, event) for number, event in events if number > position.event]
        if not fresh:
            return position
        lines = Listed(encode_events([event for _, event in fresh]))
        refused = await self._writer.write(lines)
        await self._letters.add(refused_lines(self.name, self._clock.now_ns(), lines, refused), self.name)
        async with self._saving:
            position = replace(await self.position(), event=fresh[-1][0])
            await self._cursors.save(self.name, position)
        return position

    async def refill(self, columns: Columns) -> None:
        """Writes readings that the journal deleted before this store had them; position and totals stay.

        Lines that the server refuses become dead letters with its reason.

        Raises
        ------
        RetryLaterError
            The server takes nothing now; the same readings are to be given again later.

        """
        standing = await self._loaded()
        standing = replace(standing, references=standing.references.without(columns.point))
        self._standing = standing
        await self._write(columns, await self._preparing.encoded(columns, np.ones(len(columns), bool)))
        marks = _marks(standing).raised_to(columns.point, columns.t_source)
        self._standing = replace(standing, marks=marks)

    async def _loaded(self) -> Standing:
        """How the store stands; from the cursors at first."""
        if self._standing is None:
            position = await self.position()
            self._standing = Standing(
                position.totals.accounted,
                References.from_bytes(await self._cursors.load_references(self.name)),
                HighWaterMarks.from_bytes(await self._cursors.load_marks(self.name)),
            )
        return self._standing

    async def _held(
        self, columns: Columns, rows: Rows
    ) -> tuple[Rows, NDArray[np.float64], NDArray[np.uint8]]:
        """Of some rows those whose key the server has, in ascending order, with its value and quality."""
        if not len(rows):
            return NO_ROWS, NO_VALUES, NO_QUALITIES
        point, t = columns.point[rows], columns.t_source[rows]
        starts = np.flatnonzero(
            np.append(True, point[1:] != point[:-1])
        )  # rows are sorted by point, then time
        ends = np.append(starts[1:], len(point)) - 1
        spans = [(int(point[a]), int(t[a]), int(t[b]) + 1) for a, b in zip(starts, ends, strict=True)]
        stored = await self.query.spans(spans)
        there = {
            key: i for i, key in enumerate(zip(stored.point.tolist(), stored.t_source.tolist(), strict=True))
        }
        found = [
            (row, there[key])
            for row, key in zip(rows.tolist(), zip(point.tolist(), t.tolist(), strict=True), strict=True)
            if key in there
        ]
        theirs = np.array([i for _, i in found], np.intp)
        return np.array([row for row, _ in found], np.intp), stored.value[theirs], stored.quality[theirs]

    async def _write(self, columns: Columns, lines: Lines) -> Rows:
        """Writes readings with distinct keys; returns the rows that became dead letters."""
        refused = await self._writer.write(lines)
        now = self._clock.now_ns()
        letters = refused_lines(self.name, now, lines, refused)
        letters += undeclared_points(self.name, now, columns, lines)
        await self._letters.add(letters, self.name)
        return np.concatenate([*(lines.rows(line.index) for line in refused), lines.unknown])


def _marks(standing: Standing) -> HighWaterMarks:
    return standing.marks or HighWaterMarks()


def _totals(plan: Resolution, lost: Rows) -> Totals:
    """Counts of a batch of which some of the rows to insert, then those to update, were refused."""
    new = int(np.count_nonzero(lost < len(plan.insert)))
    return Totals(
        plan.stored - new,
        plan.revised - (len(lost) - new),
        plan.duplicates,
        dead_lettered=len(lost),
    )
