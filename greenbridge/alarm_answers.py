"""What ``greenbridge alarms`` is answered: by the running process, or from its files when none runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import msgspec

from alerts.alarms import Alarm, AlarmError, AlarmState, Indeterminate
from alerts.book import AlarmBook
from alerts.config import AlertsSettings
from alerts.first_out import first_out
from alerts.holds import Hold
from alerts.journal import AlarmJournal, Delivery, Step
from alerts.kpi import ALL, DAY, AlarmKpis, Indicators
from alerts.lifecycle import Event
from telemetry.clock import Clock
from telemetry.errors import GreenbridgeError, StorageError, UnavailableError

ALARMS = "alarms"
"""The command, among those that a running process takes over its control socket."""
FILE = "alarms.sqlite"
"""File of the alarm journal in the state directory."""

MAX_HISTORY = 10_000


class Desk(Protocol):
    """What is asked; :class:`alerts.desk.Desk`, or :class:`StoredDesk` when nothing runs."""

    def active(self) -> Sequence[Alarm]:
        """Alarms that people are told of."""
        ...

    def held(self) -> Sequence[Alarm]:
        """Those that they are not."""
        ...

    def orders(self) -> Sequence[tuple[str, Hold]]:
        """What people hold back."""
        ...

    def indeterminate(self) -> Sequence[Indeterminate]:
        """Rules that cannot be judged."""
        ...

    def kpi(self, position: str = ALL) -> Indicators:
        """The indicators."""
        ...

    async def history(self, limit: int = 200) -> Sequence[Alarm]:
        """Occurrences, newest first."""
        ...

    async def steps(self, alarm_id: str) -> Sequence[Step]:
        """Every step of an occurrence."""
        ...

    async def deliveries(self, alarm_id: str) -> Sequence[Delivery]:
        """What people were told of an occurrence."""
        ...

    async def acknowledge(self, alarm_id: str, who: str, comment: str = "") -> Alarm:
        """Acknowledges."""
        ...

    async def reset(self, alarm_id: str, who: str) -> Alarm | None:
        """Resets a latched alarm."""
        ...

    async def hold(
        self, name: str, kind: AlarmState, who: str, reason: str, for_s: float | None
    ) -> Alarm | None:
        """Holds a condition back."""
        ...

    async def unhold(self, name: str, kind: AlarmState, who: str) -> Alarm | None:
        """Ends that."""
        ...


class AlarmAnswers:
    """Answers requests with documents for machines; times in them are [ns, UTC]."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def answer(self, request: dict[str, Any], who: str) -> dict[str, Any]:
        """Answers one request.

        Raises
        ------
        GreenbridgeError
            There is no such alarm, it does not allow what is wanted, or the request is none.

        """
        found = await self._looked(request)
        if found is None:
            found = await self._done(request, who)
        if found is None:
            wanted = str(request.get("do"))[:80]
            raise GreenbridgeError(f"alarms: {wanted!r} cannot be done, or something is missing")
        return found

    async def _looked(self, request: dict[str, Any]) -> dict[str, Any] | None:
        desk = self._desk
        match request:
            case {"do": "list"}:
                orders = [{"condition": key, **asdict(hold)} for key, hold in desk.orders()]
                alarms = [*desk.active(), *desk.held()]
                return {
                    "first_out": {name: asdict(place) for name, place in first_out(alarms).items()},
                    "alarms": _plain(desk.active()),
                    "held": _plain(desk.held()),
                    "orders": orders,
                    "indeterminate": _plain(desk.indeterminate()),
                }
            case {"do": "show", "name": str(name)}:
                return await self._show(name)
            case {"do": "history", "limit": int(limit)} if 0 < limit <= MAX_HISTORY:
                return {"alarms": _plain(await desk.history(limit))}
            case {"do": "kpi", "position": str(position)}:
                found = desk.kpi(position)
                return {**asdict(found), "top_share_pct": found.top_share_pct}
        return None

    async def _done(self, request: dict[str, Any], who: str) -> dict[str, Any] | None:
        desk = self._desk
        match request:
            case {"do": "acknowledge", "name": str(name), "comment": str(comment)}:
                alarm: Alarm | None = await desk.acknowledge(name, who, comment)
            case {"do": "reset", "name": str(name)}:
                alarm = await desk.reset(name, who)
            case {"do": "hold", "name": str(name), "kind": str(kind), "reason": str(reason)}:
                for_s = request.get("for_s")
                lasts = float(for_s) if isinstance(for_s, int | float) else None
                alarm = await desk.hold(name, AlarmState(kind), who, reason, lasts)
            case {"do": "unhold", "name": str(name), "kind": str(kind)}:
                alarm = await desk.unhold(name, AlarmState(kind), who)
            case _:
                return None
        return {"alarm": None if alarm is None else _plain(alarm)}

    async def _show(self, name: str) -> dict[str, Any]:
        desk = self._desk
        there = [*desk.active(), *desk.held()]
        alarm_id = next((alarm.id for alarm in there if name in {alarm.id, alarm.key}), name)
        steps = await desk.steps(alarm_id)
        if not steps:
            raise AlarmError(f"there is no alarm {name}; see greenbridge alarms list and alarms history")
        alarm = next((alarm for alarm in there if alarm.id == alarm_id), steps[-1].alarm)
        return {
            "alarm": _plain(alarm),
            "children": _plain([child for child in there if child.parent == alarm_id]),
            "cascade": _cascade(there, alarm_id),
            "told": _plain(await desk.deliveries(alarm_id)),
            "steps": [
                {
                    "at": step.at,
                    "event": step.event,
                    "reason": step.reason,
                    "before": step.before,
                    "after": step.alarm.state.value,
                    "priority": step.alarm.priority.value,
                    "by": _by(step),
                    "comment": step.alarm.comment
                    if step.event == Event.ACKNOWLEDGE
                    else step.alarm.held_reason,
                }
                for step in steps
            ],
        }


class StoredDesk:
    """What a process that does not run any more has left; nothing can be done to it."""

    def __init__(
        self, book: AlarmBook, journal: AlarmJournal, kpis: AlarmKpis, state: Path, now: int
    ) -> None:
        self._book = book
        self._journal = journal
        self._kpis = kpis
        self._state = state
        self._now = now

    def active(self) -> Sequence[Alarm]:
        """Alarms that people are told of."""
        return self._book.active()

    def held(self) -> Sequence[Alarm]:
        """Those that they are not."""
        return self._book.held()

    def orders(self) -> Sequence[tuple[str, Hold]]:
        """What people hold back."""
        return self._book.orders()

    def indeterminate(self) -> Sequence[Indeterminate]:
        """Rules that cannot be judged."""
        return self._book.indeterminate()

    def kpi(self, position: str = ALL) -> Indicators:
        """The indicators."""
        return self._kpis.indicators(self._now, self.active(), self.held(), position)

    async def history(self, limit: int = 200) -> Sequence[Alarm]:
        """Occurrences, newest first."""
        return await self._journal.history(limit)

    async def steps(self, alarm_id: str) -> Sequence[Step]:
        """Every step of an occurrence."""
        return await self._journal.steps(alarm_id)

    async def deliveries(self, alarm_id: str) -> Sequence[Delivery]:
        """What people were told of an occurrence."""
        return await self._journal.deliveries(alarm_id)

    async def acknowledge(self, alarm_id: str, who: str, comment: str = "") -> Alarm:
        """Refuses."""
        raise self._not_running()

    async def reset(self, alarm_id: str, who: str) -> Alarm | None:
        """Refuses."""
        raise self._not_running()

    async def hold(
        self, name: str, kind: AlarmState, who: str, reason: str, for_s: float | None
    ) -> Alarm | None:
        """Refuses."""
        raise self._not_running()

    async def unhold(self, name: str, kind: AlarmState, who: str) -> Alarm | None:
        """Refuses."""
        raise self._not_running()

    def _not_running(self) -> UnavailableError:
        return UnavailableError(
            f"no greenbridge runs on the state directory {self._state}: alarms can be looked at, "
            "but not changed; start it with greenbridge run"
        )


@asynccontextmanager
async def stored(state: Path, settings: AlertsSettings, clock: Clock) -> AsyncIterator[AlarmAnswers]:
    """Answers from the files of a process that does not run.

    Raises
    ------
    StorageError
        There are none, or they are damaged.

    """
    path = state / FILE
    if not path.exists():
        raise StorageError(f"{path} does not exist; name another configuration, or run greenbridge first")
    async with AlarmJournal(path) as journal:
        progress, tracked = await journal.load()
        now = clock.now_ns()
        kpis = AlarmKpis(settings.desk.fleeting_s)
        for step in await journal.steps_since(now - DAY):
            kpis.take(Event(step.event), AlarmState(step.before), step.alarm)
        book = AlarmBook(tracked, progress.number, settings.desk)
        yield AlarmAnswers(StoredDesk(book, journal, kpis, state, now))


def _by(step: Step) -> str:
    """Who took a step; empty for what followed by itself."""
    if step.event == Event.ACKNOWLEDGE:
        return step.alarm.acknowledged_by
    return step.alarm.held_by if step.event in {Event.SHELVE, Event.SUPPRESS, Event.REMOVE} else ""


def _said(step: Step) -> str:
    return step.alarm.comment if step.event == Event.ACKNOWLEDGE else step.alarm.held_reason


def _cascade(there: Sequence[Alarm], alarm_id: str) -> list[dict[str, Any]]:
    """The cascade that an alarm is part of, first-out first."""
    places, titles = first_out(there), {alarm.id: alarm.title for alarm in there}
    own = places.get(alarm_id)
    return [
        {"id": name, "title": titles[name], **asdict(place)}
        for name, place in places.items()
        if own is not None and place.cascade == own.cascade
    ]


def _plain(thing: Any) -> Any:
    """As JSON has it: what is not a number is null."""
    return msgspec.json.decode(msgspec.json.encode(thing))
