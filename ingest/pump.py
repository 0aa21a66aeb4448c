"""Pumps: loops that carry records from the journal, and events from a log, into one store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

import structlog

from ingest import metrics
from ingest.ports import (
    EventLog,
    JournalCursors,
    JournalReader,
    JournalRecord,
    Position,
    Preparing,
    Store,
)
from ingest.refill import Refill
from ingest.retry import RetryLaterError
from telemetry.backoff import Backoff
from telemetry.clock import Clock
from telemetry.errors import StorageError, UnavailableError

log = structlog.get_logger(__name__)

_LOOK_AGAIN_S = 1.0
"""While a gap waits for its source, how often that is asked [s]."""

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


@dataclass(frozen=True, slots=True)
class PumpStatus:
    """How a pump fares."""

    name: str
    state: str
    """``starting``, ``running``, or the reason why the store takes nothing (``unavailable``, ...)."""
    lag: int
    """Records or events that the store does not have yet."""
    error: str
    """Last error, empty when the store works."""
    since_ns: int
    """When the state began [ns, UTC]."""


class _Attempts:
    """Calls a store until it takes what it is given, and keeps the state for people to see."""

    def __init__(self, name: str, store: Store, clock: Clock, backoff: Backoff | None) -> None:
        self.name = name
        self.state = "starting"
        self.error = ""
        self.since_ns = clock.now_ns()
        self._store = store
        self._clock = clock
        self._backoff = backoff or Backoff()

    async def until_done(
        self, call: Callable[[*Arguments], Awaitable[Result]], *arguments: *Arguments
    ) -> Result:
        while True:
            try:
                result = await call(*arguments)
            except UnavailableError as error:
                state = error.state if isinstance(error, RetryLaterError) else "unavailable"
                wait = self._backoff.next()
                if isinstance(error, RetryLaterError) and error.after_s is not None:
                    wait = max(wait, error.after_s)
                self._enter(state, str(error))
                metrics.STORE_FAILURES.labels(self._store.name, state).inc()
                await self._clock.sleep(wait)
            else:
                self._backoff.reset()
                self._enter("running", "")
                return result

    def _enter(self, state: str, error: str) -> None:
        if state != self.state:
            self.since_ns = self._clock.now_ns()
            if error:
                log.warning("store_not_taking", pump=self.name, state=state, reason=error)
            elif self.error:
                log.info("store_taking_again", pump=self.name)
        self.state, self.error = state, error


class StorePump:
    """Carries journal records into a store; ``run`` never returns by itself.

    The store's own position is the truth. A trailing copy goes to ``cursors``, for the journal's
    retention; it is left out for a store that keeps its position there itself.
    """

    def __init__(
        self,
        journal: JournalReader,
        store: Store,
        clock: Clock,
        *,
        cursors: JournalCursors | None = None,
        every_s: float = 0.0,
        max_readings: int = 50_000,
        backoff: Backoff | None = None,
        refill: Refill | None = None,
    ) -> None:
        """``every_s`` is the shortest time between two applications [s]; ``refill`` closes the gaps."""
        self._journal = journal
        self._store = store
        self._clock = clock
        self._cursors = cursors
        self._every_s = every_s
        self._max_readings = max_readings
        self._attempts = _Attempts(f"pump/{store.name}", store, clock, backoff)
        self._refill = refill
        self._position = Position()

    @property
    def position(self) -> Position:
        """How far the store has come, as this pump last saw it."""
        return self._position

    @property
    def status(self) -> PumpStatus:
        """How it fares now."""
        lag = max(0, self._journal.head - self._position.offset)
        a = self._attempts
        return PumpStatus(a.name, a.state, lag, a.error, a.since_ns)

    async def run(self) -> None:
        """Carries records until it is cancelled.

        Raises
        ------
        StorageError
            The store is ahead of the journal, or cannot be used any more.

        """
        self._position = await self._attempts.until_done(self._store.position)
        if self._position.offset > self._journal.head:
            raise StorageError(
                f"store {self._store.name} has applied record {self._position.offset}, but the journal ends "
                f"at {self._journal.head}: they are of different states; restore both from one backup"
            )
        ahead: Sequence[JournalRecord] = ()
        while True:
            started = self._clock.monotonic()
            records = ahead or await self._journal.read(self._position.offset, self._max_readings)
            ahead = await self._carry(records) if records else ()
            if ahead or await self._refilled():
                continue
            if not records:
                await self._wait()
                continue
            left = self._every_s - (self._clock.monotonic() - started)
            if left > 0 and sum(len(r.batch) for r in records) < self._max_readings // 2:
                await self._clock.sleep(left)

    async def _carry(self, records: Sequence[JournalRecord]) -> Sequence[JournalRecord]:
        """Has records applied, and meanwhile those that follow prepared; returns these."""
        preparing = asyncio.create_task(self._prepare(records[-1]))
        try:
            self._position = await self._attempts.until_done(self._store.apply, records)
            await self._trail()
            self._report()
            ahead = await preparing
        finally:
            preparing.cancel()
            await asyncio.wait([preparing])
        # a store may go back to what it knows to be durable
        return ahead if self._position.offset == records[-1].offset else ()

    async def _prepare(self, last: JournalRecord) -> Sequence[JournalRecord]:
        """Reads the records after one, if many wait, and has the store prepare them.

        What cannot be read or prepared now will be when it is its turn, or fail then.
        """
        waiting = self._journal.readings - last.readings_before - len(last.batch)
        gap_open = self._refill is not None and self._refill.next_gap is not None
        if not isinstance(self._store, Preparing) or waiting < self._max_readings // 2 or gap_open:
            return ()
        try:
            records = await self._journal.read(last.offset, self._max_readings)
            if records:
                await self._store.prepare(records)
        except StorageError:
            return ()
        return records

    async def _refilled(self) -> bool:
        """Whether a step of the refill did something."""
        if self._refill is None:
            return False
        try:
            return await self._attempts.until_done(self._refill.step, self._position)
        except StorageError as error:
            log.warning("refill_not_noted", pump=self._attempts.name, reason=str(error))
            return False

    async def _wait(self) -> None:
        """Waits for the next record; with a gap to close, not for long: its source may come up meanwhile."""
        if self._refill is None or self._refill.next_gap is None:
            await self._journal.wait(self._position.offset)
        else:
            await self._clock.sleep(_LOOK_AGAIN_S)

    async def _trail(self) -> None:
        """Tells the journal; a cursor that cannot be written now, for want of space, is written next time."""
        if self._cursors is None:
            return
        try:
            await self._cursors.save(self._store.name, self._position)
        except StorageError as error:
            log.warning("cursor_not_saved", pump=self._attempts.name, reason=str(error))

    def _report(self) -> None:
        name, totals = self._store.name, self._position.totals
        metrics.STORE_LAG_RECORDS.labels(name).set(self.status.lag)
        for outcome in (
            "stored",
            "revised",
            "duplicates",
            "suppressed",
            "dead_lettered",
            "expired",
            "missed",
        ):
            metrics.STORE_READINGS.labels(name, outcome).set(getattr(totals, outcome))


class EventPump:
    """Carries event records into a store; ``run`` never returns by itself."""

    def __init__(
        self, events: EventLog, store: Store, clock: Clock, *, backoff: Backoff | None = None
    ) -> None:
        self._events = events
        self._store = store
        self._attempts = _Attempts(f"events/{store.name}", store, clock, backoff)
        self._seen = 0
        self._applied = 0

    @property
    def status(self) -> PumpStatus:
        """How it fares now; the lag counts only events read already."""
        a = self._attempts
        return PumpStatus(a.name, a.state, self._seen - self._applied, a.error, a.since_ns)

    async def run(self) -> None:
        """Carries events until it is cancelled."""
        self._applied = self._seen = (await self._attempts.until_done(self._store.position)).event
        while True:
            events = await self._events.events(self._applied)
            if not events:
                await self._events.wait_events(self._applied)
                continue
            self._seen = events[-1][0]
            position = await self._attempts.until_done(self._store.apply_events, events)
            self._applied = position.event
