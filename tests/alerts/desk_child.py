"""An engine, its journals and an operator in a process that is there to be killed; see test_alerts_kills.py.

Every minute of its own time a line is tapped and an operator acts. Each promise is printed once it is kept.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from alerts.alarms import Alarm, AlarmState
from alerts.config import AlertsSettings
from alerts.desk import Desk
from alerts.engine import GATHER_S, AlarmEngine
from alerts.journal import AlarmJournal
from alerts.notify import pager as notify_pager
from alerts.notify.channel import Notification
from alerts.notify.config import NotifySettings
from alerts.notify.outbox import Outbox
from ingest.audit import AuditLog
from ingest.config import JournalSettings
from ingest.journal.journal import Journal
from ingest.ports import JournalRecord
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock, SystemClock
from tests.alerts.conftest import ENDS, START, STEADY, small_site

SECOND = 1_000_000_000
CYCLE, TAP_FROM, ACT_AT, TAP_UNTIL = 40, 3, 18, 28
SHELVED_S = 12.0
"""An alarm that is shelved at ACT_AT comes back while the line is still tapped, is shelved again, and is over
before the next tap: with seconds to spare on both sides, as the engine may lag on a busy machine [s]."""
SETTINGS = AlertsSettings.model_validate_json(
    '{"R18": {"enabled": false},'
    ' "R6": {"off_s": 4, "limits": [{"priority": "high", "sigmas": 6, "pct_p": 2, "on_s": 6}]}}'
)


NOTIFY = NotifySettings.model_validate_json(
    '{"recipient": [{"id": "ann", "address": [{"id": "phone", "url": "http://127.0.0.1/"}]}],'
    ' "route": [{"id": "all", "to": ["ann"]}], "flood": {"group_s": 1, "messages": 1000}}'
)
REAL = SystemClock()


def say(*words: str) -> None:
    """Tells the test, at once."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


class Pager:
    """Writes every delivery down at once: what a person has received cannot be taken back."""

    id = "pager"

    def __init__(self, file: Path) -> None:
        self._file = file

    async def deliver(self, notification: Notification) -> None:
        with self._file.open("a") as file:
            file.write(f"{notification.key}\n")
        say("sent", notification.key)


class Phone:
    """A person's, who is told by a route."""

    id = "ann/phone"

    def __init__(self, file: Path) -> None:
        self._file = file

    async def deliver(self, notification: Notification) -> None:
        with self._file.open("a") as file:
            file.write(f"{notification.key} {notification.alarm.id} {notification.occasion.value}\n")
        say("paged", notification.key)


class StoryClock(ManualClock):
    """The story's own time; it knows when the engine gathers, which it does with everything judged."""

    gathers = False

    async def sleep(self, seconds: float) -> None:
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
        return self._journal.head

    @property
    def readings(self) -> int:
        return self._journal.readings

    async def read(self, after: int, max_readings: int = 20_000) -> Sequence[JournalRecord]:
        return await self._journal.read(after, max_readings)

    async def wait(self, after: int) -> None:
        # who asks for more has made everything up to here durable
        self._done = after
        await self._journal.wait(after)

    async def until(self, offset: int) -> None:
        """Returns when everything up to an offset was judged and made durable."""
        while self._done < offset and not self._clock.gathers:
            await REAL.sleep(0.001)


async def main(state: Path, until: int) -> None:
    site = small_site()
    journal_settings = JournalSettings(min_free_bytes=0)
    start = ManualClock(START)
    async with Journal(state / "journal", journal_settings, start) as journal:
        first = journal.head
    clock = StoryClock(START + first // len(ENDS) * SECOND)
    async with (
        Journal(state / "journal", journal_settings, clock) as journal,
        AlarmJournal(state / "alarms.sqlite", ["pager"]) as alarms,
        AuditLog(state / "audit.sqlite", clock) as audit,
    ):
        followed = Followed(journal, clock)
        engine = AlarmEngine(site, SETTINGS, followed, alarms, clock, audit=audit.append)
        desk = Desk(engine, alarms)
        outbox = Outbox(alarms, [Pager(state / "delivered"), Phone(state / "paged")], clock)
        people = notify_pager.Pager(alarms, NOTIFY, clock)
        tasks = [asyncio.create_task(work()) for work in (engine.run, outbox.run, people.run)]
        await engine.resumed.wait()
        say("resumed")
        number = journal.head
        while number < until * len(ENDS):
            second, device = divmod(number, len(ENDS))
            branch, node = ENDS[device]
            p, q, v = STEADY[branch, node]
            tapped = TAP_FROM <= second % CYCLE < TAP_UNTIL and (branch, node) == ("SHY-TAS", "TAS")
            points = [point.index for point in site.points_of(f"{branch}_{node}_main")]
            now = START + second * SECOND
            values = [p + 30 * tapped, q, v]
            await journal.append(
                ReadingBatch.of(
                    "t", 1, number, now, point=points, t_source=[now] * 3, value=values, quality=[0] * 3
                )
            )
            number += 1
            if device == len(ENDS) - 1:
                await clock.advance(1.0)
                await followed.until(number - len(ENDS))
                await act(desk, second)
        for _ in range(20):
            await clock.advance(1.0)
            await REAL.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    say("finished")


async def act(desk: Desk, second: int) -> None:
    """Acknowledges in one cycle, shelves in the next; the rest is left to the alarm."""
    if second % CYCLE < ACT_AT:
        return
    for alarm in _due(desk):
        if second // CYCLE % 2:
            say("ordering")
            await desk.hold(alarm.id, AlarmState.SHELVED, "operator", "patrol", SHELVED_S)
            say("shelved", alarm.id)
        else:
            say("ordering")
            await desk.acknowledge(alarm.id, "operator", f"cycle {second // CYCLE}")
            say("acknowledged", alarm.id)


def _due(desk: Desk) -> list[Alarm]:
    due = {AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED}
    return [alarm for alarm in desk.active() if alarm.rule == "R6" and alarm.state in due]


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
