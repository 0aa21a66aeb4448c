"""The shell around the ledger: follows the journal, closes intervals, and revises them when late data arrive.

What is written follows from the readings and schedules alone. A crash between any two steps is a repetition:
an interval that says the same again is no new revision, and a record that is told again has the same key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from alerts import metrics
from alerts.ledger_config import SettlementSettings
from alerts.schedules import ScheduleBook, Version
from alerts.settlement.accounts import Accounts
from alerts.settlement.buffer import Buffer, Touched
from alerts.settlement.curve import Readings
from alerts.settlement.interval import LENGTHS, MINUTE, Interval, begin_of
from alerts.settlement.running import MEAN, Running, running
from alerts.settlement.settle import MARGIN, settle
from alerts.settlement.view import LedgerView
from alerts.settlement_journal import Settled, SettlementJournal
from ingest.ports import EventRecord, JournalCursors, JournalReader, Position
from telemetry.batch import Columns
from telemetry.clock import Clock
from telemetry.errors import StorageError, UnavailableError
from telemetry.site import Site

log = structlog.get_logger(__name__)

CONSUMER = "settlement"
"""Name among the consumers of the reading journal."""

SECOND = 1_000_000_000
QUARTER, HOUR = 15 * MINUTE, 60 * MINUTE
DAY = 86_400 * SECOND
KEPT = MARGIN + 2 * HOUR
"""How long readings stay in memory [ns]."""
WATERMARK = 5 * SECOND
"""How far the open intervals stay behind the clock, so that what was measured has come [ns]."""
CHUNK = 4000
"""Readings that are taken in one go."""
TICK_S = 1.0
SAVE_EVERY_S = 60.0
"""Longest time between two writes of the position [s]."""
RETRY_S = 1.0
"""Pause after something could not be read or written [s]."""
MOST_READ = 5_000_000
"""Readings that the history is asked for at once."""


class History(Protocol):
    """The readings of earlier: the embedded store."""

    async def position(self) -> Position:
        """How far it has come."""
        ...

    async def range(self, points: Sequence[int], start: int, end: int, limit: int = 100_000) -> Columns:
        """Readings with start <= t_source < end [ns, UTC]."""
        ...


Tell = Callable[[Sequence[EventRecord]], Awaitable[object]]


class Settlement:
    """Settles the intervals of a site; run it with :meth:`run`, one at a time.

    Parameters
    ----------
    site
        What is measured.
    settings
        When intervals are closed.
    reader
        The reading journal.
    journal
        Keeps versions and intervals.
    schedules
        What was agreed.
    clock
        Time.
    history
        Readings of before the start, and of intervals that are long closed.
    tell
        Makes event records durable, for the stores.
    cursors
        Where the reading journal learns what it must keep for a restart.

    """

    def __init__(
        self,
        site: Site,
        settings: SettlementSettings,
        *,
        reader: JournalReader,
        journal: SettlementJournal,
        schedules: ScheduleBook,
        clock: Clock,
        history: History,
        tell: Tell,
        cursors: JournalCursors | None = None,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._journal = journal
        self._schedules = schedules
        self._clock = clock
        self._history = history
        self._tell = tell
        self._cursors = cursors
        self._offset = self._applied = 0
        self._saved, self._saved_at = Settled(), clock.monotonic()
        self._untold = True
        self._closed = self._since = self._version = 0
        self._older = 0
        """Record up to which the history must have come before what is older than the memory is dropped."""
        self._revise: dict[int, str] = {}
        """Begins of closed quarters of an hour that are to be settled again, with the reason."""
        self.open: Sequence[Running] = ()
        """The open intervals, as of the latest look."""
        self.latest: Mapping[str, Interval] = {}
        """The newest closed quarter of an hour of each account."""
        self.view: LedgerView | None = None
        """What rules see of it; None before the first look."""
        self._begun = 0
        self._show(site)

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
        """Settled intervals, as :meth:`.SettlementJournal.intervals` gives them."""
        return await self._journal.intervals(
            start, end, account=account, minutes=minutes, revisions=revisions, limit=limit
        )

    def running(self) -> Sequence[Running]:
        """The open intervals, as of the latest look."""
        return self.open

    def reconfigure(self, site: Site, settings: SettlementSettings) -> None:
        """Settles another site from the next :meth:`run` on; not while one is under way."""
        self._settings = settings
        self._show(site)

    def reschedule(self, version: Version) -> None:
        """Settles again what a schedule version that has come into force changes, if it is closed already."""
        self._version = max(self._version, version.number)
        self._touch([Touched(version.start - HOUR, version.end + HOUR)], f"schedule version {version.number}")

    async def run(self) -> None:
        """Settles until cancelled.

        Raises
        ------
        StorageError
            What was left cannot be read. Nothing is lost; run it again.

        """
        await self._resume()
        due = self._clock.monotonic()
        while True:
            try:
                await self._follow()
                if self._clock.monotonic() >= due:
                    due = self._clock.monotonic() + self._settings.every_s
                    await self._look(self._clock.now_ns())
            except (StorageError, UnavailableError) as error:
                log.error("settlement_held_up", error=str(error))
                metrics.SETTLEMENT_FAILURES.inc()
                await self._clock.sleep(RETRY_S)
            await self._clock.sleep(TICK_S)

    def _show(self, site: Site) -> None:
        self._accounts = Accounts.of(site)
        self._points = self._accounts.points
        self._buffer = Buffer(self._points)

    async def _resume(self) -> None:
        """Takes up where the last run ended, with the readings that the open intervals need."""
        settled = await self._journal.settled()
        now = self._clock.now_ns()
        self._applied = (await self._history.position()).offset
        self._saved, self._saved_at, self._untold = settled, self._clock.monotonic(), True
        self._offset = settled.offset or self._applied
        # before the first start there is nothing to settle; what a long standstill left behind has an end
        self._closed = settled.closed or begin_of(now, 15)
        self._closed = max(self._closed, begin_of(now, 15) - round(self._settings.revise_days * DAY))
        self._begun = 0 if settled.closed else now
        self._since = max(min(self._closed, now) - MARGIN - HOUR, now - KEPT)
        self._buffer = Buffer(self._points)
        self._buffer.take(await self._read(self._since, now + DAY))
        self._buffer.merge()
        for interval in reversed(await self._journal.intervals(self._closed - QUARTER, self._closed)):
            if interval.minutes == LENGTHS[0]:
                self.latest = {**self.latest, interval.account: interval}
        self._version = settled.version
        for version in self._schedules.since(settled.version):
            self.reschedule(version)
        log.info("settlement_resumed", offset=self._offset, closed=self._closed, store=self._applied)

    async def _follow(self) -> None:
        """Takes every record that there is."""
        while self._offset < self._reader.head:
            records = await self._reader.read(self._offset, CHUNK)
            if not records:
                return
            if records[0].offset > self._offset + 1:
                # the journal had no room for what this had not read: the store has it
                log.warning("settlement_missed_records", count=records[0].offset - self._offset - 1)
                since = max(self._closed - DAY, 0)
                self._touch([Touched(since, self._clock.now_ns())], "records were missed")
            for record in records:
                self._buffer.take(record.batch)
                if record.offset <= self._applied and (heard := self._buffer.stretch(record.batch)):
                    # the store had it at the start; an interval that it belongs to may not be settled yet
                    self._touch([heard], "late data")
            self._offset = records[-1].offset

    def _touch(self, stretches: Iterable[Touched], reason: str) -> None:
        """Notes which closed intervals are to be settled again."""
        oldest = self._clock.now_ns() - round(self._settings.revise_days * DAY)
        for stretch in stretches:
            start = begin_of(max(stretch.start, oldest), 15)
            while start < self._closed and start <= stretch.end:
                self._revise.setdefault(start, reason)
                start += QUARTER

    async def _look(self, now: int) -> None:
        """Closes what is due, revises what has changed, and looks at what is open."""
        offset, version = self._offset, self._version
        touched = self._buffer.merge()
        if any(stretch.start < self._since for stretch in touched):
            self._older = offset
        self._touch(touched, "late data")
        revise, self._revise = self._revise, {}
        closing = range(
            self._closed, begin_of(now - round(self._settings.close_after_s * SECOND), 15), QUARTER
        )
        quarters = dict.fromkeys(closing, "closed") | revise
        closed = max(self._closed, closing.stop)
        spans: dict[tuple[int, int], str] = {}
        for start, reason in sorted(quarters.items()):
            spans[start, 15] = reason
            hour = begin_of(start, 60)
            if hour + HOUR <= closed:
                spans[hour, 60] = "closed" if hour + HOUR > self._closed else reason
        try:
            found = await self._settled(spans, now)
            settled = Settled(offset, closed, version)
            if self._due(found, settled):
                self._note(await self._journal.settle(found, settled))
                await self._written(settled)
                self._untold = True
        except (StorageError, UnavailableError):
            self._revise = revise | self._revise
            raise
        self._closed = closed
        if self._untold:
            await self._tell_untold()
            self._untold = False
        self._since = max(self._since, now - KEPT)
        if self._older == 0 or (await self._history.position()).offset >= self._older:
            # what came late for long ago is in the history too
            self._older = 0
            self._buffer.drop(self._since)
        at = now - WATERMARK
        readings = self._buffer.between(begin_of(at, 60) - MEAN - MINUTE, at + MINUTE)
        open_ = running(self._accounts, self._schedules, readings, at)
        # what was not watched from its begin on is no news
        self.open = [each for each in open_ if not (each.fault and each.start < self._begun)]
        self.view = LedgerView(now, self.open, self.latest, self._schedules)

    async def _settled(self, spans: Mapping[tuple[int, int], str], now: int) -> list[Interval]:
        """Settles intervals, hour by hour, from memory or from the history."""
        hours: dict[int, list[tuple[int, int]]] = {}
        for start, minutes in sorted(spans):
            hours.setdefault(begin_of(start, 60), []).append((start, minutes))
        found = []
        for hour, inside in hours.items():
            readings = await self._readings(hour - MARGIN, hour + HOUR + MARGIN)
            for interval in settle(self._accounts, self._schedules, readings, inside):
                reason = spans[interval.start, interval.minutes]
                found.append(replace(interval, closed_at=now, reason=reason))
            await self._clock.sleep(0)
        return found

    async def _readings(self, start: int, end: int) -> Mapping[int, Readings]:
        """Readings of a stretch; what is no longer in memory comes from the history."""
        inside = self._buffer.between(start, end)
        if start >= self._since:
            return inside
        earlier = Buffer(self._points)
        earlier.take(await self._read(start, min(end, self._since)))
        earlier.merge()
        before = earlier.between(start, end)
        # what has come since is newer than what the history holds
        return {point: before[point].joined(inside[point]) for point in self._points}

    async def _read(self, start: int, end: int) -> Columns:
        if not self._points or end <= start:
            return Columns.empty()
        return await self._history.range(self._points, start, end, MOST_READ)

    def _note(self, appended: Sequence[Interval]) -> None:
        for interval in appended:
            if interval.minutes == LENGTHS[0] and interval.start >= self._begun:
                known = self.latest.get(interval.account)
                if known is None or interval.start >= known.start:
                    self.latest = {**self.latest, interval.account: interval}
        for (minutes, revised), count in Counter((i.minutes, i.revision > 0) for i in appended).items():
            what = "revised" if revised else "closed"
            metrics.INTERVALS.labels(str(minutes), what).inc(count)
            log.info("intervals_settled", minutes=minutes, what=what, count=count)

    def _due(self, found: Sequence[Interval], settled: Settled) -> bool:
        """Whether something is to be written now: the position alone can wait for a while."""
        waited_s = self._clock.monotonic() - self._saved_at
        return bool(found) or settled.version > self._saved.version or waited_s >= SAVE_EVERY_S

    async def _written(self, settled: Settled) -> None:
        """Tells the reading journal, which deletes what everybody has passed."""
        if self._cursors is not None and settled.offset > self._saved.offset:
            await self._cursors.save(CONSUMER, Position(settled.offset))
        self._saved, self._saved_at = settled, self._clock.monotonic()

    async def _tell_untold(self) -> None:
        """Hands over what the stores were not told of; a crash in between tells it again, by the same key."""
        while untold := await self._journal.untold():
            await self._tell([interval.record() for _, interval in untold])
            await self._journal.tell(untold[-1][0])
