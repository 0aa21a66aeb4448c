"""The shell around the rules: follows the journal and the clock, and makes every step durable before it is
seen."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import structlog

from alerts import metrics
from alerts.alarms import HELD, Alarm, AlarmError, AlarmState, Indeterminate, NotAllowedError, Priority
from alerts.alignment import SECOND
from alerts.book import AlarmBook
from alerts.config import AlertsSettings, Occasion
from alerts.estimating import Estimating, Publish
from alerts.evaluation import Evaluation
from alerts.holds import Design, Hold
from alerts.journal import AlarmJournal, Progress
from alerts.kinship import Kinship
from alerts.kpi import ALL, DAY, INTERVAL, AlarmKpis, Indicators
from alerts.lifecycle import Event
from alerts.notify.channel import Notification
from alerts.occurrence import Change, Tracked
from alerts.orders import Order
from alerts.revision import Revision
from alerts.rules.system_health import ALARMS
from alerts.rules.system_health import RULE as SYSTEM
from alerts.rules.telemetry_health import RULE as HEALTH
from alerts.schedules import ScheduleBook
from alerts.settlement.view import LedgerView
from ingest.audit_chain import Act
from ingest.ports import Ailment, EventRecord, JournalCursors, JournalReader, Position
from telemetry.clock import Clock
from telemetry.errors import StorageError
from telemetry.site import Site

Result = TypeVar("Result")

_log = structlog.get_logger(__name__)

CONSUMER = "alerts"
"""Name of the rules among the consumers of the reading journal."""

GATHER_S = 0.05
"""Records are gathered this long before they are judged together [s]."""

CHUNK = 4000
"""Readings that are judged in one go, so that a backlog leaves time for everything else."""

TICK_S = 1.0
"""Period of what follows from time alone [s]."""

PULSE_S = 30.0
"""Time without a turn of the clock's task after which it does not judge any more [s]."""

COMMIT_EVERY_S = 5.0
"""Longest time between two commits of the position while no alarm changes [s]."""

RETRY_S = 1.0
"""Pause after a failed commit [s]."""

NEAR_HEAD = 2 * SECOND
"""Age of the newest judged record at which the engine still counts as up to date [ns]."""

_NOTICEABLE = 0.01
"""Part of its limit by which the value of an alarm must move to be shown anew."""


class View(NamedTuple):
    """The alarms as of the latest commit."""

    active: Sequence[Alarm] = ()
    indeterminate: Sequence[Indeterminate] = ()
    held: Sequence[Alarm] = ()
    """Shelved, suppressed or out of service."""
    orders: Sequence[tuple[str, Hold]] = ()
    """What people hold back, by condition, also while there is no alarm."""


class AlarmEngine:
    """Judges the readings of a site; run it with :meth:`run`, one at a time.

    Parameters
    ----------
    site
        What is measured.
    settings
        Rules and thresholds.
    reader
        The reading journal.
    journal
        The alarm journal, open.
    clock
        Time.
    cursors
        Where the reading journal learns what it must keep for a restart; the truth is in the alarm journal.
    ailments
        What the parts of greenbridge complain of now; each becomes an alarm.
    urgent
        Takes the notifications of such alarms while the alarm journal cannot be written.
    publish
        Told of every state estimate.
    audit
        Makes durable what people do, before it takes effect.
    schedules
        Agreed exchanges; without it the standing ones of the grid.
    ledger
        Gives what the rules on settlement see.

    """

    def __init__(
        self,
        site: Site,
        settings: AlertsSettings,
        reader: JournalReader,
        journal: AlarmJournal,
        clock: Clock,
        *,
        cursors: JournalCursors | None = None,
        ailments: Callable[[], Sequence[Ailment]] = tuple,
        urgent: Callable[[Notification], None] | None = None,
        publish: Publish | None = None,
        audit: Callable[[Act], Awaitable[object]] | None = None,
        schedules: ScheduleBook | None = None,
        ledger: Callable[[], LedgerView | None] = lambda: None,
    ) -> None:
        self._publish = publish
        self._schedules = schedules or ScheduleBook(site.grid)
        self._ledger = ledger
        self._estimating: Estimating | None = None
        self._audit = audit
        self._ailments = ailments
        self._urgent = urgent
        self._own_ailment: Ailment | None = None
        self._told: set[str] = set()
        self._site = site
        self._settings = settings
        self._reader = reader
        self._journal = journal
        self._clock = clock
        self._cursors = cursors
        self._lock = asyncio.Lock()
        self._transactions: set[asyncio.Task[Any]] = set()
        self.resumed = asyncio.Event()
        """Set once :attr:`view` shows what an earlier run has left; an empty view before says nothing."""
        self.version = Revision()
        """Grows with every change of what :attr:`view` shows."""
        self.view = View()
        self._evaluation = Evaluation(site, settings, AlarmBook(), schedules=self._schedules)
        self._offset = 0
        self._newest_committed = 0
        self._pending: list[Change] = []
        self._records: list[EventRecord] = []
        self._kpis = AlarmKpis(settings.desk.fleeting_s)
        self._interval = 0
        self._stored = Progress()
        self._stored_at = clock.monotonic()
        self._ticked_at = -math.inf

    async def run(self) -> None:
        """Judges until cancelled, and commits its position when it ends.

        Raises
        ------
        StorageError
            The state cannot be loaded. Nothing is lost; run it again.

        """
        await self._resume()
        self.resumed.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._consume(), name="alerts-consume")
                group.create_task(self._tick(), name="alerts-tick")
                if self._estimating is not None:
                    group.create_task(self._estimating.run(), name="alerts-estimate")
        finally:
            await self._uncancelled(self._finish())

    def _book(self, tracked: Sequence[Tracked], number: int) -> AlarmBook:
        settings = self._settings
        kinship = Kinship.of(self._site, [relation.relation for relation in settings.relation])
        return AlarmBook(tracked, number, settings.desk, Design(kinship, settings.outage))

    def reconfigure(self, site: Site, settings: AlertsSettings) -> None:
        """Judges by another site or thresholds from the next :meth:`run` on; not while one is under way.

        Alarms keep their state: the run takes them up from the journal, as after a restart.
        """
        self._site, self._settings = site, settings
        self._schedules.stand(site.grid)

    async def tell(self, records: Sequence[EventRecord]) -> None:
        """Makes further event records durable for the stores; returns once they are."""
        await self.resumed.wait()
        async with self._lock:
            self._records += records
        await self._store()

    def reschedule(self, subject: str) -> None:
        """Judges a tie by another schedule version from the next instant on."""
        for tie in self._site.grid.tie:
            meter = self._site.meter(tie.id, tie.delivery_node) if tie.id == subject else None
            if meter is not None:
                self._evaluation.reconsider(point.index for point in self._site.points_of(meter.id))

    async def order(self, order: Order) -> Alarm | None:
        """Does what a person wants of a condition, durably, also when the caller is cancelled meanwhile.

        It is written into the audit first; what is refused is written there too. Returns the alarm after it;
        None when the condition has none.

        Raises
        ------
        AlarmError
            There is no such alarm or condition, or its state does not allow it.
        StorageError
            It could not be audited or made durable; the alarm is as it was.

        """
        return await self._uncancelled(self._order(order))

    async def _uncancelled(self, work: Coroutine[None, None, Result]) -> Result:
        """Lets work that holds a transaction finish, also when its caller is cancelled."""
        task = asyncio.create_task(work, name="alarm-transaction")
        self._transactions.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._transactions.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.debug("alarm_transaction_failed", error=str(task.exception()))

    async def _order(self, order: Order) -> Alarm | None:
        async with self._lock:
            book = self._evaluation.book
            before = book.named(order.name)
            try:
                changes = order.apply(book, self._clock.now_ns())
            except NotAllowedError as error:
                await self._audited(order, "refused", {"error": str(error)})
                raise
            after = book.named(before.key)
            if after is before:
                return before.alarm
            try:
                await self._audited(order, "done")
            except StorageError:
                book.restore(before)
                raise
            self._pending += changes
            try:
                await self._commit()
            except StorageError as error:
                self._pending = [change for change in self._pending if change not in changes]
                book.restore(before)
                await self._audited(order, "failed", {"error": str(error)})
                raise
            _log.info("alarm_ordered", action=order.action, name=order.name, by=order.who)
            return changes[-1].alarm if changes else after.alarm

    async def _audited(
        self, order: Order, outcome: str, more: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        if self._audit is not None:
            await self._audit(Act(order.who, order.action, order.name, outcome, {**order.details, **more}))

    @property
    def judging(self) -> bool:
        """Whether what follows from time was judged and made durable lately: the pulse of the heartbeat."""
        return self._clock.monotonic() - self._ticked_at < PULSE_S

    async def _resume(self) -> None:
        """Takes up the latest commit, and fills buffers and means from the records before it."""
        async with self._lock:
            # under the lock: an acknowledgement between two runs must not be missed
            progress, tracked = await self._journal.load()
            book = self._book(tracked, progress.number)
            settings, self._estimating = self._settings.state_estimate, None
            if settings.enabled:
                self._estimating = Estimating(self._site, settings, self._clock, self._publish)
            self._evaluation = Evaluation(
                self._site,
                self._settings,
                book,
                progress.instant,
                self._estimating,
                schedules=self._schedules,
                ledger=self._ledger,
            )
            self._offset, self._pending, self._stored = progress.resume_after, [], progress
            while self._offset < progress.offset:
                records = [r for r in await self._reader.read(self._offset) if r.offset <= progress.offset]
                if not records:
                    break
                now = self._clock.now_ns()
                self._pending += self._evaluation.take(records, now)
                self._offset = records[-1].offset
            self._offset = progress.offset
            self._pending += self._evaluation.begin(self._clock.now_ns())
            self._pending += book.settle(self._clock.now_ns())
            await self._recount()
        self._ticked_at = self._clock.monotonic()
        _log.info("alarms_resumed", offset=self._offset, open=len(book.active()), head=self._reader.head)
        await self._store()

    async def _consume(self) -> None:
        while True:
            try:
                await self._reader.wait(self._offset)
                records = await self._reader.read(self._offset, CHUNK)
            except StorageError as error:
                _log.error("alarms_cannot_read_journal", error=str(error))
                await self._clock.sleep(RETRY_S)
                continue
            async with self._lock:
                now = self._clock.now_ns()
                self._pending += self._evaluation.take(records, now)
                self._offset, self._newest_committed = records[-1].offset, records[-1].t_committed
                self._pending += self._evaluation.book.settle(now)
            await self._store()
            if self._offset >= self._reader.head:
                await self._clock.sleep(GATHER_S)

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            async with self._lock:
                now = self._clock.now_ns()
                at_head = self._reader.head <= self._offset
                self._judge_system(now)
                if at_head or now - self._newest_committed < NEAR_HEAD:
                    self._pending += self._evaluation.tick(now, at_head)
                self._pending += self._evaluation.book.settle(now)
                self._count(now)
                metrics.WATERMARK_LAG.set((now - self._evaluation.instant) / SECOND)
            await self._store()
            self._ticked_at = self._clock.monotonic()

    async def _store(self) -> None:
        """Commits what must be durable, trying until it succeeds, and shows the result."""
        while True:
            try:
                await self._uncancelled(self._store_once())
            except StorageError as error:
                metrics.COMMIT_FAILURES.inc()
                _log.error("alarm_commit_failed", error=str(error), changes=len(self._pending))
                await self._tell_from_memory(error)
                await self._clock.sleep(RETRY_S)
            else:
                return

    def _judge_system(self, now: int) -> None:
        """Judges the parts of greenbridge. The caller holds the lock."""
        own = [] if self._own_ailment is None else [self._own_ailment]
        self._pending += self._evaluation.judge_system([*self._ailments(), *own], now)

    async def _tell_from_memory(self, error: StorageError) -> None:
        """Shows and announces the alarms about greenbridge itself although they cannot be made durable.

        Everything else waits: it must not be announced and then forgotten by a crash.
        """
        async with self._lock:
            now = self._clock.now_ns()
            if self._own_ailment is None:
                self._own_ailment = Ailment(ALARMS, "write_failed", str(error), now)
            self._judge_system(now)
            raised = [c for c in self._pending if c.alarm.rule == SYSTEM and c.event is Event.RAISE]
            for change in raised:
                if change.alarm.id not in self._told and self._urgent is not None:
                    self._told.add(change.alarm.id)
                    key = f"{change.alarm.id}-memory"
                    self._urgent(Notification(key, Occasion.RAISED, change.alarm.updated_at, change.alarm))
            system = [alarm for alarm in self._evaluation.book.active() if alarm.rule == SYSTEM]
            others = [alarm for alarm in self.view.active if alarm.rule != SYSTEM]
            self._show_view(self.view._replace(active=(*system, *others)))

    async def _store_once(self) -> None:
        async with self._lock:
            if self._pending or self._records or self._due():
                await self._commit()
            else:
                self._show()

    def _due(self) -> bool:
        moved = self._progress() != self._stored
        return moved and self._clock.monotonic() - self._stored_at >= COMMIT_EVERY_S

    def _progress(self) -> Progress:
        evaluation = self._evaluation
        return Progress(
            self._offset,
            max(evaluation.resume_after, self._stored.resume_after),
            evaluation.instant,
            evaluation.book.number,
        )

    async def _commit(self) -> None:
        """One transaction: position, conditions, changes and notifications. The caller holds the lock."""
        book, progress = self._evaluation.book, self._progress()
        changes, dirty, records = list(self._pending), book.take_dirty(), list(self._records)
        try:
            overflowed = await self._journal.commit(progress, dirty, changes, records)
        except StorageError:
            book.mark_dirty(dirty)
            raise
        self._pending.clear()
        self._records.clear()
        self._note(changes)
        self._told.clear()
        self._own_ailment = None
        self._stored, self._stored_at = progress, self._clock.monotonic()
        await self._tell_cursor(progress)
        if overflowed:
            _log.error("notifications_overflowed", count=overflowed)
        for change in changes:
            _report(change)
        self._show()

    async def _recount(self) -> None:
        """Counts the last day anew from the history, as after a restart. The caller holds the lock."""
        now = self._clock.now_ns()
        self._kpis = AlarmKpis(self._settings.desk.fleeting_s)
        self._interval = now // INTERVAL
        for step in await self._journal.steps_since(now - DAY):
            self._kpis.take(Event(step.event), AlarmState(step.before), step.alarm)

    def _note(self, changes: Sequence[Change]) -> None:
        ends = {change.alarm.id: change.alarm.state for change in changes}
        for change in changes:
            if change.event is not Event.RAISE or ends[change.alarm.id] not in HELD:
                self._kpis.take(change.event, change.before, change.alarm)

    def _count(self, now: int) -> None:
        """Makes records of the indicators at the end of every interval. The caller holds the lock."""
        if now // INTERVAL <= self._interval:
            return
        self._interval = now // INTERVAL
        for position in (ALL, *(area.id for area in self._site.grid.area)):
            found = self._kpis.indicators(
                self._interval * INTERVAL, self.view.active, self.view.held, position
            )
            self._records.append(found.record())

    def explained(self, asset: str) -> Mapping[str, float | str]:
        """What the newest state estimate says about a branch, node or area; nothing without one."""
        return {} if self._estimating is None else self._estimating.told(asset, self._clock.now_ns())

    def kpi(self, position: str = ALL) -> Indicators:
        """The indicators of the alarms now, for an area or for all.

        Raises
        ------
        AlarmError
            There is no such area.

        """
        areas = [area.id for area in self._site.grid.area]
        if position not in {ALL, *areas}:
            raise AlarmError(f"there is no area {position}; there are {', '.join(areas)}, or {ALL} for all")
        return self._kpis.indicators(self._clock.now_ns(), self.view.active, self.view.held, position)

    async def _tell_cursor(self, progress: Progress) -> None:
        if self._cursors is not None:
            try:
                await self._cursors.save(CONSUMER, Position(progress.resume_after))
            except StorageError as error:
                # only retention follows this copy; it catches up with the next commit
                _log.warning("alerts_cursor_not_saved", error=str(error))

    async def _finish(self) -> None:
        async with self._lock:
            try:
                await self._commit()
            except StorageError as error:
                _log.error("alarm_commit_failed", error=str(error), changes=len(self._pending))

    def _show(self) -> None:
        """Shows the alarms as they are durable now."""
        book = self._evaluation.book
        # devices that R13 says nothing of are behind a link with an alarm, or were just started
        unknown = tuple(entry for entry in book.indeterminate() if entry.rule != HEALTH)
        self._show_view(View(tuple(book.active()), unknown, tuple(book.held()), tuple(book.orders())))

    def _show_view(self, view: View) -> None:
        if _differs(self.view, view):
            self.view = view
            self.version.move_to(self.version.value + 1)
            metrics.INDETERMINATE.set(len(view.indeterminate))
            for priority in Priority:
                count = sum(alarm.priority is priority for alarm in view.active)
                metrics.ACTIVE.labels(priority.value).set(count)
            for state in sorted(HELD):
                count = sum(alarm.state is state for alarm in view.held)
                metrics.HELD_ALARMS.labels(state.value).set(count)


def _differs(shown: View, view: View) -> bool:
    """There is something new to see; small movements of a value are not."""
    if shown.indeterminate != view.indeterminate or shown.orders != view.orders:
        return True
    before, after = (*shown.active, *shown.held), (*view.active, *view.held)
    if len(before) != len(after):
        return True
    for old, new in zip(before, after, strict=True):
        if (old.id, old.state, old.updated_at, old.quality, old.parent) != (
            new.id,
            new.state,
            new.updated_at,
            new.quality,
            new.parent,
        ):
            return True
        if abs(old.value - new.value) > _NOTICEABLE * abs(new.limit):
            return True
    return False


def _report(change: Change) -> None:
    alarm = change.alarm
    metrics.TRANSITIONS.labels(alarm.rule, change.event.value).inc()
    if change.event is Event.RAISE:
        metrics.READ_TO_ALARM.labels(alarm.rule).observe((alarm.raised_at - alarm.t_received) / SECOND)
    _log.info(
        "alarm_changed",
        alarm=alarm.id,
        change=change.event.value,
        reason=change.reason,
        priority=alarm.priority.value,
        state=alarm.state.value,
        title=alarm.title,
    )
