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
from ingest.ports import DeadLetter, EventRecord, JournalCursors, JournalRecord, Position, Totals
from ingest.stages.continuity import missed
from ingest.stages.deduplication import HighWaterMarks, Keyed, Resolution, Rows, keyed, resolve
from ingest.stores.influx.client import InfluxClient, read_token
from ingest.stores.influx.encoding import Encoder, Lines, encode_events
from ingest.stores.influx.query import InfluxQuery
from ingest.stores.influx.schema import Schema
from ingest.stores.influx.writer import RefusedLine, write_lines
from telemetry.batch import Columns
from telemetry.clock import Clock
from telemetry.registry import PointRegistry
from telemetry.site import Site


class MarkedCursors(JournalCursors, Protocol):
    """Cursors that keep high-water marks with a position."""

    async def load_marks(self, name: str) -> bytes:
        """Marks saved with the position; empty if none were."""
        ...

    async def save(self, name: str, position: Position, marks: bytes = b"") -> None:
        """Makes a position durable, with marks if they are given."""
        ...


class LetterBox(Protocol):
    """Where refused lines go."""

    async def add(self, letters: Sequence[DeadLetter], origin: str = ...) -> None:
        """Makes letters durable."""
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
        self._client = InfluxClient(settings, read_token(settings, environment))
        schema = Schema(site, registry)
        self._encoder = Encoder(schema)
        self._cursors = cursors
        self._letters = letters
        self._clock = clock
        self._marks: HighWaterMarks | None = None
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
        gaps = missed(records, position.totals.accounted)
        marks = await self._loaded_marks()
        batch = keyed(Columns.joined([record.batch for record in records]))
        suspects = np.flatnonzero(batch.first & ~marks.above(batch.columns))
        plan = resolve(batch, *await self._held(batch.columns, suspects))
        chosen = np.concatenate([plan.insert, plan.update])
        written = batch.columns.where(chosen)
        encoded = self._encoder.encode(written, _revises(batch, plan))
        refused = await write_lines(self._client, encoded.lines)
        lost = [encoded.rows(line.index) for line in refused] + [encoded.unknown]
        await self._letters.add(self._dead_letters(written, encoded, refused), self.name)
        totals = position.totals.plus(_totals(plan, np.concatenate(lost))).plus(Totals(missed=gaps))
        newest = batch.columns.where(batch.newest)
        raised = HighWaterMarks.from_bytes(marks.to_bytes())
        raised.raise_to(newest.point, newest.t_source)
        async with self._saving:
            position = replace(await self.position(), offset=records[-1].offset, totals=totals)
            await self._cursors.save(self.name, position, raised.to_bytes())
        self._marks = raised  # only now: readings of a failed attempt must count as new again
        return position

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
        lines = encode_events([event for _, event in fresh])
        refused = await write_lines(self._client, lines)
        await self._letters.add([self._letter(lines[line.index], line) for line in refused], self.name)
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
        marks = await self._loaded_marks()
        encoded = self._encoder.encode(columns, np.ones(len(columns), bool))
        refused = await write_lines(self._client, encoded.lines)
        await self._letters.add(self._dead_letters(columns, encoded, refused), self.name)
        marks.raise_to(columns.point, columns.t_source)

    async def _loaded_marks(self) -> HighWaterMarks:
        if self._marks is None:
            self._marks = HighWaterMarks.from_bytes(await self._cursors.load_marks(self.name))
        return self._marks

    async def _held(
        self, columns: Columns, rows: Rows
    ) -> tuple[Rows, NDArray[np.float64], NDArray[np.uint8]]:
        """Of some rows those whose key the server has, in ascending order, with its value and quality."""
        if not len(rows):
            return rows, np.zeros(0), np.zeros(0, np.uint8)
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

    def _dead_letters(
        self, batch: Columns, encoded: Lines, refused: Sequence[RefusedLine]
    ) -> list[DeadLetter]:
        letters = [self._letter(encoded.lines[line.index], line) for line in refused]
        now = self._clock.now_ns()
        for index in np.unique(batch.point[encoded.unknown]).tolist():
            detail = f"the point registry never gave index {index}; restore points.sqlite from a backup"
            letters.append(DeadLetter(now, self.name, f"point {index}", "unknown_point", detail, b"", 0))
        return letters

    def _letter(self, line: bytes, refused: RefusedLine) -> DeadLetter:
        reason = "line_too_large" if refused.status == 413 else "line_refused"
        measurement = line.partition(b",")[0].decode(errors="replace")
        return DeadLetter(
            self._clock.now_ns(), self.name, measurement, reason, refused.reason, line, len(line)
        )


def _revises(batch: Keyed, plan: Resolution) -> NDArray[np.bool_]:
    """Mask over the rows to insert, then those to update: may an earlier value of the key be on the server?

    Also for a new key that came several times: before a crash its first value may have been written.
    """
    repeated = batch.last & ~batch.first
    return np.append(repeated[plan.insert], np.ones(len(plan.update), bool))


def _totals(plan: Resolution, lost: Rows) -> Totals:
    """Counts of a batch of which some of the rows to insert, then those to update, were refused."""
    new = int(np.count_nonzero(lost < len(plan.insert)))
    return Totals(
        plan.stored - new,
        plan.revised - (len(lost) - new),
        plan.duplicates,
        dead_lettered=len(lost),
    )
