"""A year of alarms on a virtual clock: desk, history, paging and indicators, audited as a whole.

What runs is the product's own: the book with its transition table, holds and chatter, the alarm journal with
its outbox, the paging with routes, rotation and escalation, the indicators. Readings and rules are not in it;
what they would find comes from :mod:`prove.year_plan`. Time moves from one happening to the next, and by a
minute at the most.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from alerts.alarms import HELD, Alarm, AlarmError, AlarmState, Priority
from alerts.book import AlarmBook
from alerts.holds import Hold
from alerts.journal import AlarmJournal, Progress, Step
from alerts.kpi import ALL, INTERVAL, AlarmKpis
from alerts.lifecycle import Event, next_state
from alerts.notify.paging import Paging
from alerts.notify.routing import Routing
from alerts.occurrence import Change
from alerts.rules.finding import Finding, Texts
from ingest.ports import EventRecord
from prove.outcome import Outcome, Size
from prove.subject import CLOCK
from prove.year_plan import (
    CHIEF,
    DAY,
    ESCALATE_MIN,
    HOLDS,
    MINUTE,
    PEOPLE,
    SECOND,
    START,
    Condition,
    Happening,
    conditions,
    happenings,
    notify_settings,
    on_duty,
)

MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of its own is made there
"""Where the journal is if there is such a place: durability is not what this proves."""
CHANNELS = {f"{name}/phone": name for name in (*PEOPLE, CHIEF)}
PATIENCE = 15 * MINUTE
"""Whoever has to be told of an alarm is told within this time, also where messages are limited [ns]."""
MOST_ENDED = 1000
"""Delivered messages that the outbox may keep."""
MOST_BYTES = 4000
"""What the history may take for each step, with its indices [byte]."""
_CHUNK = 5000


class Year:
    """The desk of the year, and what its auditor has seen."""

    def __init__(self, journal: AlarmJournal, known: Sequence[Condition], outcome: Outcome) -> None:
        self._journal = journal
        self._known = known
        self._number = {condition.subject.key: i for i, condition in enumerate(known)}
        self._outcome = outcome
        self._routing = Routing(notify_settings())
        self._paging = Paging(self._routing)
        self._book = AlarmBook()
        self._kpis = AlarmKpis()
        self._changes: list[Change] = []
        self._records: list[EventRecord] = []
        self._holding: set[int] = set()
        self._seq = 0
        self._interval = START // INTERVAL
        self.told: dict[str, dict[str, int]] = {name: {} for name in CHANNELS.values()}
        """By recipient: when they were first told of each alarm [ns, UTC]."""
        self.messages = 0
        self.days: list[int] = []
        """Raises of each day, as the indicators have them."""

    async def live(self, plan: Iterable[Happening], until: int) -> None:
        """Lets everything happen."""
        now = START
        for happening in [*plan, None]:
            end = until if happening is None else happening.at
            while now < end:
                now = min(end, (now // MINUTE + 1) * MINUTE)
                await self._turn(now)
            if happening is not None:
                if happening.what == "restart":
                    await self._restart(now)
                else:
                    self._do(happening)
                    await self._turn(now)

    def _do(self, happening: Happening) -> None:
        """Does one thing; what an operator may not do now is left."""
        i, now = happening.condition, happening.at
        condition = self._known[i]
        key = condition.subject.key
        if happening.what in {"begin", "end"}:
            (self._holding.add if happening.what == "begin" else self._holding.discard)(i)
            self._find(i, now)
            return
        tracked = self._book.tracked(key)
        with suppress(AlarmError):
            if happening.what == "acknowledge":
                if tracked is not None and tracked.alarm is not None:
                    change = self._book.acknowledge(tracked.alarm.id, "operator", "seen", now)
                    self._changes += [change] if change is not None else []
            elif happening.what in {"shelve", "remove"}:
                until = now + round(happening.for_s * SECOND) if happening.for_s else None
                hold = Hold(HOLDS[happening.what], "operator", "work", now, until)
                self._changes += self._book.hold(key, hold)
            else:
                self._changes += self._book.unhold(key, HOLDS[happening.what], now)

    def _find(self, i: int, now: int) -> None:
        condition = self._known[i]
        level = int(i in self._holding)
        texts = Texts(f"{condition.subject.key} holds", "", "", "", {}) if level else None
        finding = Finding(condition.subject, now, level, level, float(level), 0.5, "1", texts=texts)
        change = self._book.judge(finding, condition.timing, now)
        self._changes += [change] if change is not None else []

    async def _turn(self, now: int) -> None:
        """What the engine and the pager do between two things: settle, commit, tell, count."""
        # one that chatters stays until its condition was over for long enough
        for key in sorted(self._book.open_keys()) if now % MINUTE == 0 else ():
            tracked, i = self._book.tracked(key), self._number[key]
            if tracked is not None and tracked.timers.running and i not in self._holding:
                self._find(i, now)
        self._changes += self._book.settle(now)
        self._count(now)
        if self._changes or self._records:
            await self._commit(now)
        messages = self._paging.settle(now)
        rows = self._paging.take_dirty()
        if messages or rows:
            outgoing = [(f"{message.recipient}/phone", message.notification) for message in messages]
            await self._journal.page(self._seq, rows, outgoing, now)
            for channel in dict.fromkeys(channel for channel, _ in outgoing):
                await self._deliver(channel, now)

    async def _commit(self, now: int) -> None:
        changes, records = self._changes, self._records
        self._changes, self._records = [], []
        progress = Progress(instant=now, number=self._book.number)
        await self._journal.commit(progress, self._book.take_dirty(), changes, records)
        ends = {change.alarm.id: change.alarm.state for change in changes}
        for change in changes:
            if change.event is not Event.RAISE or ends[change.alarm.id] not in HELD:
                self._kpis.take(change.event, change.before, change.alarm)
            self._paging.take(change.event, change.alarm, now)
        self._seq = self._journal.transitions.value
        for i in self._holding:
            tracked = self._book.tracked(self._known[i].subject.key)
            if tracked is None or tracked.alarm is None or not tracked.level:
                self._outcome.problems.append(f"{self._known[i].subject.key} holds and is no alarm")

    async def _deliver(self, channel: str, now: int) -> None:
        recipient = CHANNELS[channel]
        while (entry := await self._journal.next_entry(channel)) is not None:
            await self._journal.end(entry, "delivered", "", now)
            self.messages += 1
            found = entry.notification
            for alarm in (found.alarm, *(also.alarm for also in found.also)):
                self.told[recipient].setdefault(alarm.id, now)

    def _count(self, now: int) -> None:
        if now // INTERVAL <= self._interval:
            return
        self._interval = now // INTERVAL
        at = self._interval * INTERVAL
        found = self._kpis.indicators(at, self._book.active(), self._book.held(), ALL)
        self._records.append(found.record())
        if at % DAY == 0:
            self.days.append(found.last_day)

    async def _restart(self, now: int) -> None:
        """Forgets everything, and takes up what the journal has."""
        before = (self._book.active(), self._book.held(), self._book.orders())
        counted = self._kpis.indicators(now, before[0], before[1])
        waiting = sorted(self._paging.waiting(), key=lambda case: case.alarm.id)
        progress, tracked = await self._journal.load()
        self._book = AlarmBook(tracked, progress.number)
        seq, rows = await self._journal.paging()
        self._paging, self._seq = Paging(self._routing, rows), seq or 0
        self._kpis = AlarmKpis()
        for step in await self._journal.steps_since(now - DAY):
            self._kpis.take(Event(step.event), AlarmState(step.before), step.alarm)
        problems = self._outcome.problems
        if before != (self._book.active(), self._book.held(), self._book.orders()):
            problems.append(f"restart at {now}: other alarms than before")
        if waiting != sorted(self._paging.waiting(), key=lambda case: case.alarm.id):
            problems.append(f"restart at {now}: other people to be told than before")
        if counted != self._kpis.indicators(now, *before[:2]):
            problems.append(f"restart at {now}: other indicators than before")
        self._outcome.rounds += 1


def year(directory: Path, size: Size, rng: random.Random) -> Outcome:
    """A year of alarms, floods, chatter, shelving, escalation, hand-overs and restarts, and its audit."""
    outcome, started, worked = Outcome("year"), CLOCK.monotonic(), _processor_s()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else directory) as place:
        asyncio.run(_year(Path(place), size.days, rng, outcome))
    outcome.figures["seconds"] = round(CLOCK.monotonic() - started, 1)
    outcome.figures["processor_s"] = round(_processor_s() - worked, 1)
    return outcome


def _processor_s() -> float:
    """What this process has used of its processors [s]."""
    spent = os.times()
    return spent.user + spent.system


async def _year(place: Path, days: int, rng: random.Random, outcome: Outcome) -> None:
    known, until = conditions(rng), START + days * DAY
    async with AlarmJournal(place / "alarms.sqlite", (), max_pending=100_000) as journal:
        lived = Year(journal, known, outcome)
        await lived.live(happenings(days, rng), until)
        steps: list[Step] = []
        seq = 0
        while chunk := await journal.steps_after(seq, _CHUNK):
            steps += (step for _, step in chunk)
            seq = chunk[-1][0]
        _judge_steps(steps, outcome)
        _judge_days(steps, lived.days, outcome)
        _judge_told(steps, lived.told, until, outcome)
        _, kept = await journal.load()
        _, paged = await journal.paging()
        if any(count.pending for count in (await journal.counts()).values()):
            outcome.problems.append("messages wait that nothing holds up")
        if len(kept) > len(known) or len(paged) > 3 * len(known):
            outcome.problems.append(f"{len(kept)} conditions and {len(paged)} cases are kept")
    size = _size(place)
    if size > len(steps) * MOST_BYTES + (MOST_ENDED + 31 * 144) * MOST_BYTES:
        outcome.problems.append(f"the journal has {size / 1e6:.0f} MB for {len(steps)} steps")
    raises = Counter(step.alarm.priority for step in steps if _is_raise(step))
    outcome.figures |= {
        "days": days,
        "alarms": raises.total(),
        "alarms_a_day": round(raises.total() / days, 1),
        "low_pct": round(100 * raises[Priority.LOW] / raises.total(), 1),
        "most_in_a_day": max(lived.days, default=0),
        "steps": len(steps),
        "messages": lived.messages,
        "to_the_chief": len(lived.told[CHIEF]),
        "chattering": sum(step.alarm.chattering and _is_raise(step) for step in steps),
        "held": sum(step.event in {"shelve", "remove"} for step in steps),
        "journal_mb": round(size / 1e6, 1),
    }


def _size(place: Path) -> int:
    """What the journal takes on disk [byte]."""
    return sum(part.stat().st_size for part in place.glob("alarms.sqlite*"))


def _is_raise(step: Step) -> bool:
    return step.event == Event.RAISE and step.alarm.state is AlarmState.UNACKNOWLEDGED


def _judge_steps(steps: Iterable[Step], outcome: Outcome) -> None:
    """Every alarm goes through the table step by step."""
    last: dict[str, AlarmState] = {}
    for step in steps:
        before, alarm = AlarmState(step.before), step.alarm
        if next_state(before, Event(step.event)) is not alarm.state:
            outcome.problems.append(f"{alarm.id}: {step.event} led from {before} to {alarm.state}")
        if alarm.id in last and last[alarm.id] is not before:
            outcome.problems.append(f"{alarm.id}: {step.event} in {before}, but it was {last[alarm.id]}")
        last[alarm.id] = alarm.state


def _judge_days(steps: Iterable[Step], days: Sequence[int], outcome: Outcome) -> None:
    """The indicators have counted what the history has, day by day."""
    counted = Counter((step.at - START - 1) // DAY for step in steps if _is_raise(step))
    for day, raises in enumerate(days):
        if counted[day] != raises:
            outcome.problems.append(
                f"day {day}: {raises} alarms by the indicators, {counted[day]} in the history"
            )


def _judge_told(steps: Iterable[Step], told: dict[str, dict[str, int]], until: int, outcome: Outcome) -> None:
    """Whoever was on call heard of what was grave, and the chief of what nobody acknowledged."""
    since: dict[str, tuple[int, Alarm]] = {}
    for step in steps:
        alarm = step.alarm
        if step.event == Event.RAISE and alarm.state is AlarmState.UNACKNOWLEDGED:
            if alarm.priority is not Priority.LOW:
                since.setdefault(alarm.id, (step.at, alarm))
        elif alarm.id in since:
            _judge_case(*since.pop(alarm.id), step.at, told, outcome)
    for at, alarm in since.values():
        _judge_case(at, alarm, until, told, outcome)


def _judge_case(at: int, alarm: Alarm, until: int, told: dict[str, dict[str, int]], outcome: Outcome) -> None:
    if until - at > PATIENCE and alarm.id not in told[on_duty(at)]:
        outcome.problems.append(f"{on_duty(at)} was on call and heard nothing of {alarm.id}")
    if until - at > ESCALATE_MIN * MINUTE + PATIENCE and alarm.id not in told[CHIEF]:
        outcome.problems.append(f"nobody acknowledged {alarm.id}, and the chief heard nothing of it")
    strangers = [name for name in PEOPLE if alarm.id in told[name] and not _ever(name, at, until)]
    outcome.problems += [f"{name} heard of {alarm.id} and was not on call" for name in strangers]


def _ever(name: str, start: int, end: int) -> bool:
    """Whether somebody was on call at the start or the end of a time, or within."""
    return name in {on_duty(at) for at in (*range(start, end, DAY // 2), end + PATIENCE)}
