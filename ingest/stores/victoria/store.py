"""Writing side of the VictoriaMetrics store.

VictoriaMetrics answers 204 when it holds the lines in memory; they reach the disk seconds later, and a power
cut in between loses them. The durable position therefore trails by ``durable_after_s``, and whenever the
server may have lost its memory, everything after that position is written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np
import structlog
from numpy.typing import NDArray

from ingest.config import VictoriaSettings
from ingest.ports import EventRecord, JournalRecord, Position, Totals
from ingest.retry import RetryLaterError
from ingest.stages.deadband import Deadbands, References
from ingest.stores.influx.client import InfluxClient, Target
from ingest.stores.influx.encoding import Encoder, Lines
from ingest.stores.influx.letters import LetterBox, refused_lines, undeclared_points
from ingest.stores.influx.preparation import Standing
from ingest.stores.influx.preparing import Preparing
from ingest.stores.influx.schema import Schema
from ingest.stores.influx.store import MarkedCursors
from ingest.stores.influx.writer import LineWriter
from ingest.stores.victoria.holdback import HoldBack
from ingest.stores.victoria.started import ServerStart
from telemetry.batch import Columns
from telemetry.clock import Clock
from telemetry.registry import PointRegistry
from telemetry.site import Site

log = structlog.get_logger(__name__)


class VictoriaStore:
    """A :class:`ingest.ports.Store` in VictoriaMetrics; ``async with`` opens and closes the connections.

    It cannot be asked for a key, so every reading counts as new, and of a revision it keeps both values.
    """

    def __init__(
        self,
        settings: VictoriaSettings,
        site: Site,
        registry: PointRegistry,
        *,
        cursors: MarkedCursors,
        letters: LetterBox,
        clock: Clock,
    ) -> None:
        # organisation and bucket mean nothing to it, and it knows no tokens
        target = Target(settings.url, "greenbridge", "greenbridge", settings.timeout_s, "VictoriaMetrics")
        self._client = InfluxClient(target, "none")
        self._started = ServerStart(settings.url, settings.timeout_s)
        encoder = Encoder(Schema(site, registry))
        self._preparing = Preparing("victoria-preparing", Deadbands.of_site(site), encoder)
        self._writer = LineWriter(self._client)
        self._cursors = cursors
        self._letters = letters
        self._clock = clock
        self._durable_after_s = settings.durable_after_s
        self._held = HoldBack(settings.durable_after_s)
        self._applied: Position | None = None
        self._standing: Standing | None = None
        self._went_back = False
        self._process: float | None = None

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        await self._started.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._started.__aexit__(kind, error, trace)
        await self._client.__aexit__(kind, error, trace)
        await self._preparing.close()

    REFILL_CHUNK = 1_000_000
    """Readings of one refill: each waits until it is durable."""

    @property
    def name(self) -> str:
        """Label of the store."""
        return "victoria"

    async def position(self) -> Position:
        """How far this store has come: what the server took; what it keeps for certain trails behind."""
        if self._applied is None:
            self._applied = await self._cursors.load(self.name)
        return self._applied

    async def count(self) -> None:
        """Not known: the server cannot be asked for rows."""
        return

    async def apply(self, records: Sequence[JournalRecord]) -> Position:
        """Writes records; those at or before the position are passed over.

        Returns a position before these records when the server may have lost what it had not flushed: the
        records after that position are to be applied again.

        Raises
        ------
        RetryLaterError
            The server takes nothing now; the records after :meth:`position` are to be applied again later.
        StorageError
            Cursor or dead letters cannot be written, or the records are of another journal.

        """
        position = await self.position()
        if self._went_back and records and records[0].offset > position.offset + 1:
            return position
        records = [record for record in records if record.offset > position.offset]
        if not records:
            return position
        prepared = await self._preparing.batch(records, await self._loaded())
        try:
            self._process = self._process or await self._started.ask()
            outcome = await self._preparing.settled(prepared)
            counts, lost = await self._write(outcome.columns, outcome.lines, len(prepared.batch.columns))
            totals = position.totals.plus(counts)
            totals = totals.plus(Totals(suppressed=prepared.suppressed, missed=prepared.missed))
            position = replace(position, offset=records[-1].offset, totals=totals)
            standing = prepared.after.without(lost)
            self._held.reached(self._clock.monotonic(), position, standing.references.to_bytes())
            self._applied, self._standing, self._went_back = position, standing, False
            await self._release()
        except RetryLaterError as error:
            await self._go_back(str(error))
            raise
        return await self.position()

    async def apply_events(self, events: Sequence[tuple[int, EventRecord]]) -> Position:
        """Passes events over: the server keeps numbers only, and what an event says is text."""
        position = await self.position()
        if events:
            self._applied = replace(position, event=max(position.event, events[-1][0]))
        return await self.position()

    async def refill(self, columns: Columns) -> None:
        """Writes readings that the journal deleted before this store had them; returns when they are durable.

        Raises
        ------
        RetryLaterError
            The server takes nothing now, or was started again meanwhile: the same readings are to be given
            again.

        """
        process = await self._started.ask()
        self._standing = (await self._loaded()).without(columns.point)
        await self._write(columns, await self._preparing.encoded(columns), len(columns))
        await self._clock.sleep(self._durable_after_s)
        if await self._started.ask() != process:
            raise RetryLaterError(
                "VictoriaMetrics was started again before the refill was durable", "restarted"
            )

    async def prepare(self, records: Sequence[JournalRecord]) -> None:
        """Prepares the records that follow those being applied: these need not wait for more than the server.

        Raises
        ------
        StorageError
            They do not follow.

        """
        await self._preparing.next(records)

    async def _loaded(self) -> Standing:
        """How the store stands; from the cursors at first."""
        if self._standing is None:
            position = await self.position()
            references = References.from_bytes(await self._cursors.load_references(self.name))
            self._standing = Standing(position.totals.accounted, references, None)
        return self._standing

    async def _write(
        self, columns: Columns, lines: Lines, received: int
    ) -> tuple[Totals, NDArray[np.uint32]]:
        """Counts of what was written, and the points of the readings that became dead letters."""
        refused = await self._writer.write(lines)
        now = self._clock.now_ns()
        letters = refused_lines(self.name, now, lines, refused)
        letters += undeclared_points(self.name, now, columns, lines)
        await self._letters.add(letters, self.name)
        lost = np.concatenate([*(lines.rows(line.index) for line in refused), lines.unknown])
        counts = Totals(
            stored=len(columns) - len(lost),
            duplicates=received - len(columns),
            dead_lettered=len(lost),
        )
        return counts, columns.point[lost]

    async def _release(self) -> None:
        """Makes the position durable whose lines the same process has held long enough."""
        ripe = self._held.ripe(self._clock.monotonic())
        if ripe is None:
            return
        if await self._started.ask() != self._process:
            await self._go_back("the server was started again")
            return
        position, references = ripe
        await self._cursors.save(self.name, position, references=references)

    async def _go_back(self, reason: str) -> None:
        """Back to the durable position: what came after it may be lost with the server's memory."""
        self._held.clear()
        self._process = None
        saved = await self._cursors.load(self.name)
        if self._applied is not None and saved.offset < self._applied.offset:
            log.warning("store_writes_again", store=self.name, after=saved.offset, reason=reason)
            self._went_back = True
        self._applied, self._standing = saved, None
