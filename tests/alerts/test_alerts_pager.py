"""Paging over the alarm journal: through kills, full disks, and with people who come and go."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from alerts.config import AlertsSettings, Occasion
from alerts.journal import AlarmJournal, Entry
from alerts.notify.channel import Notification
from alerts.notify.config import NotifySettings
from alerts.notify.outbox import Outbox
from alerts.notify.pager import Pager
from telemetry.errors import StorageError
from telemetry.settings import parse

if TYPE_CHECKING:
    from tests.alerts.conftest import Bench

NOTIFY = parse(
    """
recipient = [
  { id = "ann", address = [{ id = "a", url = "http://a/" }, { id = "b", url = "http://b/" }] },
  { id = "chief", address = [{ id = "a", url = "http://a/" }] },
]
route = [{ id = "all", to = ["ann"], escalate = [{ after_min = 0.5, to = ["chief"] }] }]
flood = { group_s = 2 }
""",
    "notify.toml",
    NotifySettings,
)
QUICK = AlertsSettings.model_validate_json(
    '{"R18": {"enabled": false}, '
    '"R6": {"off_s": 4, "limits": [{"priority": "high", "sigmas": 6, "pct_p": 2, "on_s": 4}]}}'
)
TAP_FROM, ACKNOWLEDGE_AT, TAP_UNTIL, END = 2, 50, 60, 76
TOLD = [
    ("ann/a", "1", "raised"),
    ("ann/b", "1", "raised"),
    ("chief/a", "1", "unanswered"),
    ("ann/a", "2", "acknowledged"),
    ("ann/b", "2", "acknowledged"),
    ("chief/a", "2", "acknowledged"),
    ("ann/a", "3", "returned"),
    ("ann/b", "3", "returned"),
    ("chief/a", "3", "returned"),
]


class Phone:
    """Keeps what it was sent, over every restart; the dead send nothing."""

    def __init__(
        self, name: str, heard: list[tuple[str, str, str]], journal: AlarmJournal | None = None
    ) -> None:
        self.id = name
        self.heard = heard
        self.journal = journal

    async def deliver(self, notification: Notification) -> None:
        if getattr(self.journal, "dead", False):
            raise KilledError
        number = notification.key.rpartition("-")[2]
        self.heard.append((self.id, number, notification.occasion.value))


class KilledError(BaseException):
    """The process is gone."""


class PagedJournal(AlarmJournal):
    """Dies at the n-th transaction of paging, or at the n-th note of a delivery, before or after it."""

    def __init__(self, path: Path, victim: str, number: int, *, after: bool) -> None:
        super().__init__(path, [])
        self._strike = (victim, number)
        self._after = after
        self._counts: Counter[str] = Counter()
        self.dead = False

    async def page(
        self,
        seq: int,
        rows: Mapping[str, bytes | None],
        outgoing: Sequence[tuple[str, Notification]],
        now: int,
    ) -> int:
        strikes = self._strikes("page")
        found = await super().page(seq, rows, outgoing, now)
        self._behind(strikes)
        return found

    async def end(self, entry: Entry, result: str, detail: str, now: int) -> None:
        strikes = self._strikes("end")
        await super().end(entry, result, detail, now)
        self._behind(strikes)

    def _strikes(self, name: str) -> bool:
        self._counts[name] += 1
        strikes = (name, self._counts[name]) == self._strike
        if self.dead or (strikes and not self._after):
            self.dead = True
            raise KilledError
        return strikes

    def _behind(self, strikes: bool) -> None:
        if strikes:
            self.dead = True
            raise KilledError


async def lived(bench: Bench, heard: list[tuple[str, str, str]], journals: Sequence[AlarmJournal]) -> None:
    """A tap, silence, an acknowledgement; with a new life after each death."""
    second, acknowledged = 0, False
    for journal in journals:
        phones = [Phone(name, heard, journal) for name in ("ann/a", "ann/b", "chief/a")]
        async with bench.running(journal) as desk:
            tasks = [
                asyncio.create_task(Outbox(journal, phones, bench.clock).run()),
                asyncio.create_task(Pager(journal, NOTIFY, bench.clock).run()),
            ]
            while second < END and not getattr(journal, "dead", False):
                bench.tap(30 if TAP_FROM <= second < TAP_UNTIL else 0)
                if second >= ACKNOWLEDGE_AT and not acknowledged:
                    await desk.acknowledge(desk.active()[0].id, "operator")
                    acknowledged = True
                await bench.run(1)
                second += 1
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                with suppress(BaseException):
                    task.result()


@pytest.mark.parametrize(
    ("victim", "number", "after"),
    [
        ("page", 1, False),
        ("page", 1, True),
        ("page", 2, False),
        ("page", 2, True),
        ("page", 4, True),
        ("end", 1, False),
        ("end", 4, False),
        ("end", 4, True),
    ],
)
async def test_a_kill_forgets_nothing_and_repeats_at_most_one_delivery_on_a_channel(
    bench: Bench, victim: str, number: int, after: bool
) -> None:
    bench.settings = QUICK
    heard: list[tuple[str, str, str]] = []
    mortal = PagedJournal(bench.path, victim, number, after=after)
    await lived(bench, heard, [mortal, AlarmJournal(bench.path)])
    assert mortal.dead, "the story must reach the point of death"
    told = Counter(heard)
    assert set(told) == set(TOLD)
    # only a death between deliveries and their notes may repeat: one on each channel, under the same key
    again = Counter(channel for channel, _, _ in (told - Counter(set(heard))).elements())
    assert all(count == 1 for count in again.values())
    if victim == "page":
        assert not again


async def test_without_kills_each_channel_hears_in_order(bench: Bench) -> None:
    bench.settings = QUICK
    heard: list[tuple[str, str, str]] = []
    await lived(bench, heard, [AlarmJournal(bench.path)])
    for channel in ("ann/a", "ann/b", "chief/a"):
        assert [row for row in heard if row[0] == channel] == [row for row in TOLD if row[0] == channel]


async def test_people_hear_of_what_is_open_when_they_are_configured_and_not_of_the_past(bench: Bench) -> None:
    bench.settings = QUICK
    nobody = NotifySettings()
    heard: list[tuple[str, str, str]] = []
    async with bench.running(AlarmJournal(bench.path)):
        outbox = Outbox(bench.journal, [Phone("ann/a", heard)], bench.clock)
        pager = Pager(bench.journal, nobody, bench.clock)
        await pager.run()
        for mw, seconds in ((30, 10), (0, 15), (30, 10)):
            bench.tap(mw)
            await bench.run(seconds)
        pager.reconfigure(NOTIFY)
        tasks = [asyncio.create_task(pager.run()), asyncio.create_task(outbox.run())]
        await bench.run(6)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert heard == [("ann/a", "1", "raised")]
        # and again, when they were taken out and come back: keys of before are not used anew
        pager.reconfigure(nobody)
        await pager.run()
        pager.reconfigure(NOTIFY)
        tasks = [asyncio.create_task(pager.run()), asyncio.create_task(outbox.run())]
        await bench.run(6)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert [row[0::2] for row in heard] == [("ann/a", "raised")] * 2


class FullJournal(AlarmJournal):
    """A journal on a disk that can be full."""

    full = False

    async def page(
        self,
        seq: int,
        rows: Mapping[str, bytes | None],
        outgoing: Sequence[tuple[str, Notification]],
        now: int,
    ) -> int:
        if self.full:
            raise StorageError("disk full")
        return await super().page(seq, rows, outgoing, now)


async def test_a_full_disk_delays_and_repeats_nothing(bench: Bench) -> None:
    bench.settings = QUICK
    journal = FullJournal(bench.path)
    heard: list[tuple[str, str, str]] = []
    async with bench.running(journal):
        tasks = [
            asyncio.create_task(Outbox(journal, [Phone("ann/a", heard)], bench.clock).run()),
            asyncio.create_task(Pager(journal, NOTIFY, bench.clock).run()),
        ]
        journal.full = True
        bench.tap(30)
        await bench.run(20)
        assert heard == []
        journal.full = False
        await bench.run(10)
        assert heard == [("ann/a", "1", "raised")]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_who_hears_while_nothing_can_be_written(bench: Bench) -> None:
    bench.settings = QUICK
    async with bench.running(AlarmJournal(bench.path)) as desk:
        bench.tap(30)
        await bench.run(10)
        pager = Pager(bench.journal, NOTIFY, bench.clock)
        assert pager.reached_now(desk.active()[0]) == {"ann/a", "ann/b"}
        outbox_told: list[tuple[str, str, str]] = []
        phones = [Phone(name, outbox_told) for name in ("ann/a", "ann/b", "chief/a")]
        outbox = Outbox(bench.journal, phones, bench.clock)
        alarm = desk.active()[0]
        outbox.tell(Notification("m-7", Occasion.RAISED, 0, alarm), pager.reached_now(alarm))
        task = asyncio.create_task(outbox.run())
        await bench.run(1)
        task.cancel()
        await asyncio.wait([task])
        assert sorted(outbox_told) == [("ann/a", "7", "raised"), ("ann/b", "7", "raised")]
