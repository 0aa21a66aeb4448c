"""The killed desk: readings, rules, desk, audit, outbox and pager in a process that lives a story.

What was promised, and what is about to be made durable, is told on a pipe. Where the process takes the story
up is what its journal holds.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog

from alerts.alarms import AlarmState
from alerts.desk import Desk
from alerts.engine import GATHER_S, AlarmEngine
from alerts.journal import AlarmJournal, Progress
from alerts.notify.channel import Notification
from alerts.notify.config import NotifySettings
from alerts.notify.outbox import Outbox
from alerts.notify.pager import Pager
from alerts.occurrence import Change, Tracked
from ingest.audit import AuditLog
from ingest.config import JournalSettings
from ingest.journal.journal import Journal
from ingest.ports import EventRecord, JournalRecord
from prove.desk_site import DEVICE, panel, settings
from prove.desk_story import (
    CYCLE_S,
    LATCHING,
    ORDER_FROM_S,
    OUTAGE,
    RELEASE_S,
    STEP_S,
    STORY,
    Order,
    outage_s,
    step_at,
)
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock, SystemClock

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
MOST_CYCLES = 2000
"""Cycles for which outages are planned."""
NAMES = tuple(STORY)
NOTIFY = NotifySettings.model_validate_json(
    '{"recipient": [{"id": "ann", "address": [{"id": "phone", "url": "http://127.0.0.1/"}]}],'
    ' "route": [{"id": "all", "to": ["ann"]}], "flood": {"group_s": 1, "messages": 1000}}'
)
FEED, PHONE = "feed", "ann/phone"
REAL = SystemClock()
Say = Callable[..., None]
_DUE = frozenset({AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED, AlarmState.LATCHED_UNACKNOWLEDGED})


class TellingJournal(AlarmJournal):
    """Says which edges are about to become durable, and which are."""

    def __init__(self, path: Path, channels: Sequence[str], say: Say) -> None:
        super().__init__(path, channels, max_pending=100_000)
        self._say = say

    async def commit(
        self,
        progress: Progress,
        conditions: Sequence[Tracked],
        changes: Sequence[Change],
        records: Sequence[EventRecord] = (),
    ) -> int:
        """Commits, and says so before and after."""
        edges = [(change.before.value, change.event.value) for change in changes]
        if edges:
            self._say("about", edges)
        overflowed = await super().commit(progress, conditions, changes, records)
        if edges:
            self._say("done", edges)
        return overflowed


class Receiver:
    """Writes every delivery down at once: what a person has received cannot be taken back."""

    def __init__(self, channel: str, file: Path, say: Say) -> None:
        self.id = channel
        self._file = file
        self._say = say

    async def deliver(self, notification: Notification) -> None:
        """Takes a notification: its key, and the occasion and id of every alarm in it."""
        told = [(notification.occasion, notification.alarm)]
        told += [(also.occasion, also.alarm) for also in notification.also]
        words = [notification.key, *(f"{occasion.value}:{alarm.id}" for occasion, alarm in told)]
        with self._file.open("a") as file:
            file.write(" ".join(words) + "\n")
        self._say("sent", self.id)


class StoryClock(ManualClock):
    """The story's own time; it knows when the engine gathers, which it does with everything judged."""

    gathers = False

    async def sleep(self, seconds: float) -> None:
        """Waits in the story's time."""
        self.gathers |= seconds == GATHER_S
        try:
            await super().sleep(seconds)
        finally:
            self.gathers &= seconds != GATHER_S


class Followed:
    """The journal, and how far its reader has come: a busy machine must not change the story."""

    def __init__(self, journal: Journal, clock: StoryClock) -> None:
        self._journal = journal
        self._clock = clock
        self._done = 0

    @property
    def head(self) -> int:
        """Of the journal."""
        return self._journal.head

    @property
    def readings(self) -> int:
        """Of the journal."""
        return self._journal.readings

    async def read(self, after: int, max_readings: int = 20_000) -> Sequence[JournalRecord]:
        """As the journal."""
        return await self._journal.read(after, max_readings)

    async def wait(self, after: int) -> None:
        """As the journal."""
        # who asks for more has made everything up to here durable
        self._done = after
        await self._journal.wait(after)

    async def until(self, offset: int) -> None:
        """Returns when everything up to an offset was judged and made durable."""
        while self._done < offset and not self._clock.gathers:
            await REAL.sleep(0.0005)


class Operator:
    """Gives the orders of the story, each until it is done."""

    def __init__(self, desk: Desk, say: Say) -> None:
        self._desk = desk
        self._say = say

    async def act(self, second: int) -> None:
        """Gives what is due at a second."""
        if second % STEP_S < ORDER_FROM_S:
            return
        for name in NAMES:
            order = step_at(name, second).order
            if order is not None:
                await self._give(f"CUSTOM/{name}", order)

    async def _give(self, key: str, order: Order) -> None:
        desk = self._desk
        alarm = next((a for a in (*desk.active(), *desk.held()) if a.key == key), None)
        hold = next((h for name, h in desk.orders() if name == key and h.kind is order.kind), None)
        if order.action == "ack" and alarm is not None and alarm.state in _DUE:
            self._say("ordering", key)
            await desk.acknowledge(alarm.id, "operator", "seen")
            self._say("acknowledged", alarm.id)
        elif order.action == "reset" and alarm is not None and alarm.state is AlarmState.LATCHED_ACKNOWLEDGED:
            self._say("ordering", key)
            await desk.reset(alarm.id, "operator")
            self._say("reset", alarm.id)
        elif order.action == "hold" and (hold is None or (order.again and hold.reason != "again")):
            self._say("ordering", key)
            reason = "again" if order.again else "patrol"
            await desk.hold(key, order.kind, "operator", reason, order.for_s)
            until = next(h.until for name, h in desk.orders() if name == key and h.kind is order.kind)
            self._say("held", key, order.kind.value, until)
        elif order.action == "end" and hold is not None:
            self._say("ordering", key)
            await desk.unhold(key, order.kind, "operator")
            self._say("ended", key, order.kind.value)


def _outages() -> list[dict[str, Any]]:
    first, last = outage_s()
    at = [START // SECOND + cycle * CYCLE_S for cycle in range(MOST_CYCLES)]
    return [
        {"asset": OUTAGE, "start": _utc(t + first), "end": _utc(t + last), "reason": "planned"} for t in at
    ]


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


async def _live(state: Path, ends: bool, say: Say) -> None:
    site = panel(NAMES)
    desk_settings = {
        "latch": [f"CUSTOM/{name}" for name in LATCHING],
        "chatter_count": 100,
        "release_s": RELEASE_S,
    }
    rules = settings(NAMES, desk_settings, _outages())
    points = [point.index for point in site.points_of(DEVICE)]
    disk = JournalSettings(min_free_bytes=0)
    async with Journal(state / "journal", disk, ManualClock(START)) as journal:
        second = journal.head
    clock = StoryClock(START + second * SECOND)
    async with (
        Journal(state / "journal", disk, clock) as journal,
        TellingJournal(state / "alarms.sqlite", [FEED], say) as alarms,
        AuditLog(state / "audit.sqlite", clock) as audit,
        asyncio.TaskGroup() as group,
    ):
        followed = Followed(journal, clock)
        engine = AlarmEngine(site, rules, followed, alarms, clock, audit=audit.append)
        desk = Desk(engine, alarms)
        channels = [Receiver(FEED, state / "fed", say), Receiver(PHONE, state / "paged", say)]
        works = (engine.run, Outbox(alarms, channels, clock).run, Pager(alarms, NOTIFY, clock).run)
        tasks = [group.create_task(work()) for work in works]
        await engine.resumed.wait()
        say("resumed", clock.now_ns(), [(key, hold.kind.value, hold.until) for key, hold in desk.orders()])
        operator = Operator(desk, say)
        until = (second // CYCLE_S + 1) * CYCLE_S if ends else MOST_CYCLES * CYCLE_S
        if second:
            await followed.until(second)
            await operator.act(second - 1)
        while second < until:
            now = START + second * SECOND
            values = [step_at(name, second).value for name in NAMES]
            quality = [0] * len(points)
            await journal.append(
                ReadingBatch.of(
                    "t",
                    1,
                    second,
                    now,
                    point=points,
                    t_source=[now] * len(points),
                    value=values,
                    quality=quality,
                )
            )
            second += 1
            await clock.advance(1.0)
            await followed.until(second)
            await operator.act(second - 1)
        while any(count.pending for count in (await alarms.counts()).values()):
            await clock.advance(1.0)
            await REAL.sleep(0.005)
        for task in tasks:
            task.cancel()
    say("finished", until // CYCLE_S)


def _say(*words: object) -> None:
    """One line of JSON, in one write: a kill cannot tear it (pipe(7): up to ``PIPE_BUF``)."""
    os.write(sys.stdout.fileno(), msgspec.json.encode(words) + b"\n")


def nursery() -> None:
    """Gives birth to a process for each line of input, one after the other, with everything loaded already.

    A line is a list: the state directory, and whether the process is to end, at the end of a cycle in which
    everybody was told; otherwise it lives until it is killed. Its end is said in turn.
    """
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.ReturnLoggerFactory()
    )
    for line in sys.stdin:
        state, ends = msgspec.json.decode(line, type=tuple[str, bool])
        child = os.fork()
        if child == 0:
            _say("born", os.getpid())
            asyncio.run(_live(Path(state), ends, _say))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        _say("gone", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    nursery()
