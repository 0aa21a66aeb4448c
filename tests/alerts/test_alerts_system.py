"""Alarms about greenbridge itself, also while nothing can be written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.book import AlarmBook
from alerts.config import Occasion
from alerts.notify.channel import Notification, RefusedError
from alerts.notify.outbox import Outbox
from alerts.rules.system_health import SystemHealth
from ingest.ports import Ailment
from telemetry.clock import ManualClock, settle
from telemetry.errors import UnavailableError

if TYPE_CHECKING:
    from tests.alerts.conftest import Bench, RefusingJournal

FULL = Ailment("journal", "disk_full", "the disk of /state has 3 MB left", 5)


class Channel:
    """Fails as it is told, then keeps what it is given."""

    id = "log"

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.keys: list[str] = []

    async def deliver(self, notification: Notification) -> None:
        if self.answers:
            raise self.answers.pop(0)
        self.keys.append(notification.key)


async def test_a_full_disk_is_one_urgent_alarm_and_no_silence_of_devices(bench: Bench) -> None:
    async with bench.running() as desk:
        await bench.run(10)
        bench.ailments = [FULL]
        await bench.clock.advance(60)  # nothing is recorded: every device seems silent
        await bench.run(1)
        (alarm,) = desk.active()
        assert (alarm.key, alarm.priority) == ("SYSTEM/journal", Priority.URGENT)
        assert alarm.cause == FULL.detail
        assert "disk is full" in alarm.title
        assert alarm.raised_at - bench.clock.now_ns() < -50_000_000_000
    async with bench.running() as desk:
        assert [a.key for a in desk.active()] == ["SYSTEM/journal"]
        bench.ailments = []
        await bench.run(15)
        (alarm,) = desk.active()
        assert (alarm.key, alarm.state) == ("SYSTEM/journal", AlarmState.RETURNED)


async def test_while_nothing_can_be_written_it_is_shown_and_told_from_memory_once(
    bench: Bench, refusing_journal: RefusingJournal
) -> None:
    async with bench.running(refusing_journal) as desk:
        await bench.run(10)
        refusing_journal.full = True
        bench.ailments = [FULL]
        await bench.clock.advance(30)
        assert sorted(a.key for a in desk.active()) == ["SYSTEM/alarms", "SYSTEM/journal"]
        assert sorted(n.alarm.key for n in bench.urgent) == ["SYSTEM/alarms", "SYSTEM/journal"]
        assert {n.occasion for n in bench.urgent} == {Occasion.RAISED}
        assert await refusing_journal.next_entry("log") is None
        refusing_journal.full = False
        bench.ailments = []
        await bench.run(20)
        assert {(a.key, a.state) for a in desk.active()} == {
            ("SYSTEM/journal", AlarmState.RETURNED),
            ("SYSTEM/alarms", AlarmState.RETURNED),
        }
        assert len(bench.urgent) == 2
        # the outbox now has them too, and does not repeat what a channel has confirmed
        channel = Channel(UnavailableError("no answer"))
        outbox = Outbox(refusing_journal, [channel], bench.clock)
        for notification in bench.urgent:
            outbox.tell(notification)
        task = asyncio.create_task(outbox.run())
        for _ in range(10):
            await bench.clock.advance(1)
            await refusing_journal.counts()
            await settle()
        memory = [key for key in channel.keys if key.endswith("-memory")]
        assert memory == [notification.key for notification in bench.urgent]
        task.cancel()
        await asyncio.wait({task})


async def test_what_was_told_from_memory_is_not_told_again(
    bench: Bench, refusing_journal: RefusingJournal
) -> None:
    async with bench.running(refusing_journal):
        channel = Channel()
        outbox = Outbox(refusing_journal, [channel], bench.clock)
        task = asyncio.create_task(outbox.run())
        await bench.run(2)
        refusing_journal.full = True
        await bench.clock.advance(10)
        (told,) = bench.urgent
        outbox.tell(told)
        await settle()
        refusing_journal.full = False
        await bench.run(20)
        occasions = [(key.split("-")[1], key.endswith("memory")) for key in channel.keys]
        assert occasions == [("alarms", True), ("alarms", False)], (
            "raised from memory, returned from the outbox"
        )
        assert (await refusing_journal.counts())["log"].delivered == 2
        task.cancel()
        await asyncio.wait({task})


async def test_a_refused_or_overflowing_message_from_memory_holds_nothing_up(
    refusing_journal: RefusingJournal, clock: ManualClock
) -> None:
    async with refusing_journal:
        channel = Channel(RefusedError("too long"))
        outbox = Outbox(refusing_journal, [channel], clock)
        for number in range(103):
            outbox.tell(Notification(str(number), Occasion.RAISED, 0, raised()))
        task = asyncio.create_task(outbox.run())
        for _ in range(20):
            await clock.advance(1)
            await refusing_journal.counts()
        task.cancel()
        await asyncio.wait({task})
    assert channel.keys == [str(number) for number in range(1, 100)]


def raised() -> Alarm:
    """The alarm of a full disk."""
    book = AlarmBook()
    changes = []
    for at in (1_000_000_000, 4_000_000_000):
        ((finding, timing),) = SystemHealth().findings(at, [FULL], ())
        changes.append(book.judge(finding, timing, at))
    assert changes[1] is not None
    return changes[1].alarm


@pytest.mark.parametrize(
    ("part", "state", "priority"),
    [
        ("journal", "size_cap", Priority.URGENT),
        ("journal", "write_failed", Priority.URGENT),
        ("alarms", "write_failed", Priority.URGENT),
        ("store/influx", "unauthorized", Priority.HIGH),
    ],
)
def test_every_part_says_what_to_do(part: str, state: str, priority: Priority) -> None:
    ((finding, timing),) = SystemHealth().findings(9, [Ailment(part, state, "why", 1)] * 2, ())
    assert (finding.subject.asset, finding.level) == (part, 1)
    assert timing.grades[0].priority is priority
    assert finding.texts is not None
    assert finding.texts.cause == "why"
    assert finding.texts.response.startswith("1. ")


def test_a_part_that_is_well_again_ends_its_alarm() -> None:
    ((finding, _),) = SystemHealth().findings(9, [], {"SYSTEM/journal", "R6/SHY-TAS"})
    assert (finding.subject.key, finding.level, finding.held_level) == ("SYSTEM/journal", 0, 0)
