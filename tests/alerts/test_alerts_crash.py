"""The process dies at a write, before or after it took effect: nothing is forgotten or repeated."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from alerts.config import AlertsSettings
from alerts.journal import AlarmJournal
from alerts.notify.channel import Notification
from alerts.notify.outbox import Outbox

if TYPE_CHECKING:
    from tests.alerts.conftest import Bench, MortalJournal

TAP_FROM, ACKNOWLEDGE_AT, TAP_UNTIL, END = 2, 20, 22, 36

QUICK = AlertsSettings.model_validate_json(
    '{"R18": {"enabled": false}, '
    '"R6": {"off_s": 4, "limits": [{"priority": "high", "sigmas": 6, "pct_p": 2, "on_s": 10}]}}'
)


class Pager:
    """Remembers what it delivered, over every restart."""

    id = "log"

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def deliver(self, notification: Notification) -> None:
        self.keys.append(notification.key)


async def lived(bench: Bench, pager: Pager, lives: Iterator[AlarmJournal]) -> list[tuple[str, str]]:
    """The story of a tap and its acknowledgement, with a new life after each death."""
    second, acknowledged = 0, False
    for journal in lives:
        async with bench.running(journal) as desk:
            outbox = asyncio.create_task(Outbox(journal, [pager], bench.clock).run())
            while second < END and not getattr(journal, "dead", False):
                bench.tap(30 if TAP_FROM <= second < TAP_UNTIL else 0)
                if second >= ACKNOWLEDGE_AT and not acknowledged:
                    with suppress(Exception):
                        await desk.acknowledge(desk.active()[0].id, "A")
                        acknowledged = True
                await bench.run(1)
                second += 1
            events = [(e.tags["rule"], e.tags["event"]) for _, e in await journal.events(0)]
            outbox.cancel()
            await asyncio.wait([outbox])
            if not outbox.cancelled():
                outbox.exception()
        if second >= END:
            break
    return events


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("victim", "skip"),
    [
        ("position", 0),
        ("position", 2),
        ("raise", 0),
        ("acknowledge", 0),
        ("clear", 0),
        ("end", 0),
        ("end", 1),
    ],
)
async def test_killed_at_a_write(
    bench: Bench, mortal_journal: Callable[..., MortalJournal], victim: str, skip: int, after: bool
) -> None:
    bench.settings = QUICK
    pager = Pager()
    mortal = mortal_journal(victim, after=after, skip=skip)
    events = await lived(bench, pager, iter([mortal, AlarmJournal(bench.path, ["log"])]))
    assert mortal.dead, "the story must reach the point of death"
    assert events == [("R6", "raise"), ("R6", "acknowledge"), ("R6", "clear")]
    told = Counter(pager.keys)
    assert set(told) == {"R6-SHY-TAS-1-1", "R6-SHY-TAS-1-3"}
    # only a death between delivery and its note may repeat, and then under the same key
    assert sum(told.values()) - len(told) == (1 if victim == "end" and not after else 0)
