"""Delivery through the outbox, with channels that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.config import Occasion
from alerts.journal import AlarmJournal, Progress
from alerts.lifecycle import Event
from alerts.notify.channel import Notification, RefusedError
from alerts.notify.outbox import Outbox
from alerts.occurrence import Change
from telemetry.clock import ManualClock, settle
from telemetry.errors import StorageError, UnavailableError

if TYPE_CHECKING:
    from tests.alerts.conftest import RefusingJournal

SECOND = 1_000_000_000


def alarm(clock: ManualClock, number: int = 1) -> Alarm:
    now = clock.now_ns()
    return Alarm(
        f"R6-A-B-{number}", "R6/A-B", "R6", 1, "A-B", "KZ", "A-B: 30 MW missing", Priority.HIGH,
        AlarmState.UNACKNOWLEDGED, 30.0, 7.0, "MW", "good", now, now, now, now,
    )  # fmt: skip


async def change(journal: AlarmJournal, of: Alarm, event: Event = Event.RAISE) -> None:
    await journal.commit(Progress(), [], [Change(event, "test", AlarmState.NORMAL, of)])


class Channel:
    """Answers as it is told, then well."""

    def __init__(self, name: str = "a", *answers: Exception) -> None:
        self.id = name
        self.answers = list(answers)
        self.keys: list[str] = []
        self.attempts = 0

    async def deliver(self, notification: Notification) -> None:
        self.attempts += 1
        if self.answers:
            raise self.answers.pop(0)
        self.keys.append(notification.key)


@asynccontextmanager
async def delivering(journal: AlarmJournal, clock: ManualClock, *channels: Channel) -> AsyncIterator[Outbox]:
    outbox = Outbox(journal, channels, clock, give_up_after_s=3600, uniform=lambda: 0.5)
    task = asyncio.create_task(outbox.run())
    try:
        yield outbox
    finally:
        task.cancel()
        await asyncio.wait([task])


async def passed(journal: AlarmJournal, clock: ManualClock, seconds: float = 0.0) -> None:
    for _ in range(8):
        await journal.load()
        await settle()
    if seconds:
        await clock.advance(seconds)
        await passed(journal, clock)


async def test_each_channel_gets_each_notification_once(tmp_path: Path, clock: ManualClock) -> None:
    a, b = Channel("a"), Channel("b")
    async with AlarmJournal(tmp_path / "a.sqlite", ["a", "b"]) as journal:
        await change(journal, alarm(clock))
        await change(journal, alarm(clock), Event.ACKNOWLEDGE)
        async with delivering(journal, clock, a, b):
            await passed(journal, clock)
            await change(journal, alarm(clock), Event.CLEAR)
            await passed(journal, clock)
    assert a.keys == b.keys == ["R6-A-B-1-1", "R6-A-B-1-3"], "an acknowledgement is no notification"
    async with (
        AlarmJournal(tmp_path / "a.sqlite", ["a", "b"]) as journal,
        delivering(journal, clock, a, b),
    ):
        await passed(journal, clock)
    assert len(a.keys) == len(b.keys) == 2


async def test_only_what_is_asked_for(tmp_path: Path, clock: ManualClock) -> None:
    a = Channel("a")
    async with AlarmJournal(tmp_path / "a.sqlite", ["a"], [Occasion.RAISED]) as journal:
        for event in (Event.RAISE, Event.ESCALATE, Event.CLEAR):
            await change(journal, alarm(clock), event)
        async with delivering(journal, clock, a):
            await passed(journal, clock)
    assert a.keys == ["R6-A-B-1-1"]


async def test_a_failure_is_retried_with_backoff_and_holds_its_channel_only(
    tmp_path: Path, clock: ManualClock
) -> None:
    failing = Channel("a", *[UnavailableError(f"no route {i}") for i in range(3)])
    sound = Channel("b")
    async with AlarmJournal(tmp_path / "a.sqlite", ["a", "b"]) as journal:
        await change(journal, alarm(clock, 1))
        await change(journal, alarm(clock, 2))
        async with delivering(journal, clock, failing, sound) as outbox:
            await passed(journal, clock)
            assert sound.keys == ["R6-A-B-1-1", "R6-A-B-2-2"]
            assert failing.attempts == 1
            (status, _) = await outbox.status()
            assert (status.pending, status.last_error) == (2, "no route 0")
            assert status.failing_since == clock.now_ns()
            for attempts, delay in enumerate((0.75, 1.5, 3.0)):
                await passed(journal, clock, delay - 0.05)
                assert failing.attempts == attempts + 1
                await passed(journal, clock, 0.06)
            assert failing.keys == sound.keys, "the order is kept"
            (status, _) = await outbox.status()
            assert (status.pending, status.delivered, status.failing_since) == (0, 2, None)


async def test_a_channel_that_fails_for_a_minute_is_an_ailment_also_after_a_restart(
    tmp_path: Path, clock: ManualClock
) -> None:
    failing = Channel("ann/mail", *[UnavailableError("no route")] * 9)
    async with AlarmJournal(tmp_path / "a.sqlite", ["ann/mail"]) as journal:
        await change(journal, alarm(clock))
        began = clock.now_ns()
        async with delivering(journal, clock, failing) as outbox:
            await passed(journal, clock, 50)
            assert outbox.ailments() == [], "that may pass"
            await passed(journal, clock, 15)
            (ailment,) = outbox.ailments()
            assert (ailment.part, ailment.state, ailment.detail) == ("notify/ann/mail", "failing", "no route")
    async with (
        AlarmJournal(tmp_path / "a.sqlite", ["ann/mail"]) as journal,
        delivering(journal, clock, failing) as outbox,
    ):
        await passed(journal, clock)
        (ailment,) = outbox.ailments()
        assert ailment.since == began
        failing.answers.clear()
        await passed(journal, clock, 300)
        assert outbox.ailments() == []
        assert failing.keys == ["R6-A-B-1-1"]


async def test_a_refusal_is_final(tmp_path: Path, clock: ManualClock) -> None:
    a = Channel("a", RefusedError("gone"))
    async with AlarmJournal(tmp_path / "a.sqlite", ["a"]) as journal:
        await change(journal, alarm(clock, 1))
        await change(journal, alarm(clock, 2))
        async with delivering(journal, clock, a) as outbox:
            await passed(journal, clock)
            assert a.keys == ["R6-A-B-2-2"]
            assert (await outbox.status())[0].given_up == 1


async def test_the_oldest_gives_way_when_too_many_wait(tmp_path: Path, clock: ManualClock) -> None:
    a = Channel("a")
    async with AlarmJournal(tmp_path / "a.sqlite", ["a"], max_pending=2) as journal:
        for number in range(1, 5):
            await change(journal, alarm(clock, number))
        async with delivering(journal, clock, a) as outbox:
            await passed(journal, clock)
            assert a.keys == ["R6-A-B-3-3", "R6-A-B-4-4"]
            assert (await outbox.status())[0].given_up == 2


async def test_what_is_too_old_is_given_up(tmp_path: Path, clock: ManualClock) -> None:
    a = Channel("a")
    async with AlarmJournal(tmp_path / "a.sqlite", ["a"]) as journal:
        await change(journal, alarm(clock))
        await clock.advance(3601)
        async with delivering(journal, clock, a):
            await passed(journal, clock)
            assert a.attempts == 0
            assert (await journal.counts())["a"].given_up == 1


async def test_a_removed_channel_does_not_fill_the_outbox(tmp_path: Path, clock: ManualClock) -> None:
    async with AlarmJournal(tmp_path / "a.sqlite", ["old"]) as journal:
        await change(journal, alarm(clock))
        async with delivering(journal, clock, Channel("new")):
            await passed(journal, clock)
            assert (await journal.counts())["old"].pending == 0


async def test_a_full_disk_does_not_send_again(refusing_journal: RefusingJournal, clock: ManualClock) -> None:
    channel = Channel("log")
    async with refusing_journal as journal, delivering(journal, clock, channel):
        await change(journal, alarm(clock))
        refusing_journal.full = True
        await passed(journal, clock, 30)
        assert channel.keys == ["R6-A-B-1-1"]
        refusing_journal.full = False
        await passed(journal, clock, 2)
        assert (await journal.counts())["log"].pending == 0


async def test_history_and_events(tmp_path: Path, clock: ManualClock) -> None:
    async with AlarmJournal(tmp_path / "a.sqlite") as journal:
        waiting = asyncio.create_task(journal.wait_events(0))
        await settle()
        assert not waiting.done()
        first = alarm(clock, 1)
        await change(journal, first)
        await waiting
        await clock.advance(1)
        await change(journal, alarm(clock, 2))
        cleared = replace(first, state=AlarmState.NORMAL)
        await change(journal, cleared, Event.CLEAR)
        assert [past.id for past in await journal.history()] == ["R6-A-B-2", "R6-A-B-1"]
        assert await journal.find("R6-A-B-1") == cleared
        assert await journal.find("R6-A-B-9") is None
        events = await journal.events(1)
        assert [(seq, event.key) for seq, event in events] == [(2, "R6-A-B-2-2"), (3, "R6-A-B-1-3")]
        assert events[1][1].tags["state"] == "normal"


async def test_a_file_that_is_no_alarm_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"hello, this is no database" * 10)
    with pytest.raises(StorageError, match="alarm journal"):
        async with AlarmJournal(path):
            pass


async def test_channels_that_come_and_go_while_it_runs(tmp_path: Path, clock: ManualClock) -> None:
    a, b, c = Channel("a"), Channel("b"), Channel("c")
    async with AlarmJournal(tmp_path / "a.sqlite", ["a", "b"]) as journal:
        outbox = Outbox(journal, [a, b], clock)
        outbox.tell(Notification("urgent-1", Occasion.RAISED, clock.now_ns(), alarm(clock, 1)))
        journal.announce(["b", "c"], [Occasion.RAISED], 100)
        outbox.reconfigure([b, c], 3600)
        outbox.tell(Notification("urgent-2", Occasion.RAISED, clock.now_ns(), alarm(clock, 2)))
        await change(journal, alarm(clock, 3))
        task = asyncio.create_task(outbox.run())
        await passed(journal, clock)
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
    assert a.keys == []
    assert b.keys == ["urgent-1", "urgent-2", "R6-A-B-3-1"]
    assert c.keys == ["urgent-2", "R6-A-B-3-1"]
