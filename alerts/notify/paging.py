"""Whom to tell of what, and when: steps of alarms and the time in, messages out. Pure.

For each alarm that people are told of there is a case, which takes the steps of its route until somebody
acknowledges. What it has to say to somebody waits in that person's inbox until the messages that they may be
sent allow it; what waits goes out together. All of it is kept in rows, each of which has a key, so that a
transaction can hold what a step has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from alerts.alarms import HELD, Alarm, AlarmState, Priority
from alerts.config import Occasion
from alerts.lifecycle import Event
from alerts.notify.channel import MOST_TOLD, Also, Notification
from alerts.notify.config import MINUTE, SECOND, Route
from alerts.notify.routing import Routing

_RANK = {priority: rank for rank, priority in enumerate(reversed(Priority))}
_FOLLOWING = frozenset({Occasion.UNANSWERED, Occasion.HANDED_OVER})
"""What is said to more people because nobody has acknowledged; pointless once that is over."""


@dataclass(frozen=True, slots=True)
class Case:
    """An alarm that people are told of."""

    alarm: Alarm
    """As of its latest step."""
    route: str
    opened_at: int
    """When people were first told, or should have been [ns, UTC]."""
    steps: int = 0
    """Steps of its route that were taken."""
    waits: bool = True
    """Its condition holds, and nobody has acknowledged it."""
    told: tuple[str, ...] = ()
    """Recipients of messages about it."""
    rotations: tuple[str, ...] = ()
    """Rotations among its steps: whoever is on call next hears of it too."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something that somebody has to be told."""

    recipient: str
    occasion: Occasion
    alarm: Alarm
    at: int
    """When it happened [ns, UTC]."""
    due_at: int
    """Not to be told before [ns, UTC]."""
    quiet: bool = False
    """It waits for the end of quiet hours."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """What somebody was sent."""

    number: int = 0
    """Of the latest message."""
    sent: tuple[int, ...] = ()
    """Times of the latest messages, oldest first [ns, UTC]."""


class Outgoing(NamedTuple):
    """A message to a recipient, for each of their addresses."""

    recipient: str
    notification: Notification


class Paging:
    """Cases and inboxes of a site in memory.

    Parameters
    ----------
    routing
        Routes, rotations and quiet hours.
    rows
        As :meth:`take_dirty` gave them, of an earlier run.

    """

    def __init__(self, routing: Routing, rows: Mapping[str, bytes] | None = None) -> None:
        self._routing = routing
        self._cases: dict[str, Case] = {}
        self._items: dict[str, dict[str, Item]] = {}
        self._inboxes: dict[str, Inbox] = {}
        self._dirty: set[str] = set()
        for key, body in (rows or {}).items():
            kind, _, rest = key.partition("/")
            if kind == "case":
                self._cases[rest] = _CASE.decode(body)
            elif kind == "item":
                recipient, _, alarm_id = rest.partition("/")
                self._items.setdefault(recipient, {})[alarm_id] = _ITEM.decode(body)
            else:
                self._inboxes[rest] = _INBOX.decode(body)
        for recipient in [name for name in self._items if not routing.people([name], 0)]:
            for alarm_id in list(self._items[recipient]):
                self._drop(recipient, alarm_id)

    def adopt(self, alarms: Iterable[Alarm], now: int) -> None:
        """Tells people of alarms that nobody was told of, because there was nobody to tell."""
        for alarm in alarms:
            if alarm.state is AlarmState.UNACKNOWLEDGED and alarm.id not in self._cases:
                self._open(alarm, Occasion.RAISED, now)

    def take(self, event: Event, alarm: Alarm, now: int) -> None:
        """Takes a step of an alarm.

        Parameters
        ----------
        event
            What moved it.
        alarm
            As it is after the step.
        now
            Wall time [ns, UTC].

        """
        if alarm.state in HELD:
            self._close(alarm.id)
            return
        if event in {Event.RAISE, Event.ESCALATE}:
            occasion = Occasion.RAISED if event is Event.RAISE else Occasion.ESCALATED
            self._open(alarm, occasion, now)
            return
        case = self._cases.get(alarm.id)
        if case is None:
            return
        self._put(replace(case, alarm=alarm, waits=False))
        if event is Event.ACKNOWLEDGE:
            self._acknowledged(case, alarm, now)
        elif event in {Event.CLEAR, Event.LATCH}:
            self._returned(case, alarm, now)
        if alarm.state is AlarmState.NORMAL:
            self._forget(alarm.id)

    def settle(self, now: int) -> list[Outgoing]:
        """Does what follows from time: further steps of routes, hand-overs, and messages that are due."""
        on_call: dict[str, str] = {}
        for case in [case for case in self._cases.values() if case.waits]:
            self._advance(case, now, on_call)
        return [message for recipient in sorted(self._items) for message in self._emit(recipient, now)]

    def waiting(self) -> list[Case]:
        """Cases that nobody has acknowledged."""
        return [case for case in self._cases.values() if case.waits]

    def take_dirty(self) -> dict[str, bytes | None]:
        """Rows that changed since the last call, None for those that are gone."""
        rows = {key: self._row(key) for key in self._dirty}
        self._dirty.clear()
        return rows

    def _open(self, alarm: Alarm, occasion: Occasion, now: int) -> None:
        before = self._cases.get(alarm.id)
        route = self._routing.route(alarm, now)
        if route is None:
            self._close(alarm.id)
            return
        case = Case(alarm, route.id, now, told=before.told if before else ())
        self._put(case)
        self._step(case, route, occasion, now)

    def _step(self, case: Case, route: Route, occasion: Occasion, now: int) -> None:
        """Takes the next step of a case's route."""
        step = self._routing.steps(route)[case.steps]
        rotations = [name for name in step.to if self._routing.rotation(name)]
        case = replace(
            case,
            steps=case.steps + 1,
            rotations=tuple(dict.fromkeys([*case.rotations, *rotations])),
        )
        self._put(case)
        for recipient in self._routing.people(step.to, now):
            known = occasion is not Occasion.ESCALATED or recipient in case.told
            self._say(recipient, occasion if known else Occasion.RAISED, case.alarm, now)

    def _advance(self, case: Case, now: int, on_call: dict[str, str]) -> None:
        route = self._routing.named(case.route)
        if route is None:
            # the configuration has changed: it goes on by the routes of now
            self._open(case.alarm, Occasion.RAISED, now)
            return
        steps = self._routing.steps(route)
        while case.steps < len(steps) and now >= case.opened_at + steps[case.steps].after:
            self._step(case, route, Occasion.UNANSWERED, now)
            case = self._cases[case.alarm.id]
        for name in case.rotations:
            if name not in on_call:
                on_call[name] = self._routing.on_call(name, now)
            person = on_call[name]
            unheard = person not in case.told and case.alarm.id not in self._items.get(person, ())
            if unheard and self._routing.people([person], now):
                self._say(person, Occasion.HANDED_OVER, case.alarm, now)

    def _acknowledged(self, case: Case, alarm: Alarm, now: int) -> None:
        settings = self._routing.settings
        for recipient in self._heard_or_waiting(case):
            if recipient not in case.told:
                self._drop(recipient, alarm.id)
            elif case.waits:
                self._drop(recipient, alarm.id)
                if settings.tell_acknowledged and by_link(recipient) != alarm.acknowledged_by:
                    self._say(recipient, Occasion.ACKNOWLEDGED, alarm, now)

    def _returned(self, case: Case, alarm: Alarm, now: int) -> None:
        for recipient in self._heard_or_waiting(case):
            item = self._items.get(recipient, {}).get(alarm.id)
            if recipient not in case.told and item is not None:
                if item.quiet or item.occasion in _FOLLOWING:
                    self._drop(recipient, alarm.id)
                else:
                    self._keep(replace(item, alarm=alarm))
            elif self._routing.settings.tell_returned:
                self._say(recipient, Occasion.RETURNED, alarm, now)
            else:
                self._drop(recipient, alarm.id)

    def _heard_or_waiting(self, case: Case) -> list[str]:
        waiting = [name for name, items in self._items.items() if case.alarm.id in items]
        return list(dict.fromkeys([*case.told, *sorted(waiting)]))

    def _say(self, recipient: str, occasion: Occasion, alarm: Alarm, now: int) -> None:
        """Puts something into an inbox; what is there of the same alarm and was not told yet is joined."""
        before = self._items.setdefault(recipient, {}).get(alarm.id)
        grouped = now + round(self._routing.settings.flood.group_s * SECOND)
        quiet = self._routing.quiet_until(recipient, alarm.priority, now)
        item = Item(recipient, occasion, alarm, now, max(grouped, quiet), quiet > now)
        if before is not None:
            # what waits does not begin to wait anew
            item = replace(item, due_at=min(before.due_at, item.due_at), quiet=before.quiet and item.quiet)
            case = self._cases.get(alarm.id)
            if case is None or recipient not in case.told:
                # the first word is still to come: it tells of the alarm as it is now
                item = replace(item, occasion=before.occasion, at=before.at)
        self._keep(item)

    def _emit(self, recipient: str, now: int) -> Iterator[Outgoing]:
        """The message to a recipient that is due, if one is."""
        due = [item for item in self._items[recipient].values() if item.due_at <= now]
        inbox = self._inboxes.get(recipient) or Inbox()
        urgent = any(item.alarm.priority is Priority.URGENT for item in due)
        if not due or now < self._allowed_at(inbox, now, urgent=urgent):
            return
        # those waiting for the rest of their group go along, those of quiet hours do not
        going = [item for item in self._items[recipient].values() if item.due_at <= now or not item.quiet]
        going.sort(key=lambda item: (_RANK[item.alarm.priority], item.at, item.alarm.id))
        for item in going:
            self._drop(recipient, item.alarm.id)
            case = self._cases.get(item.alarm.id)
            if case is not None and recipient not in case.told:
                self._put(replace(case, told=(*case.told, recipient)))
        kept = self._routing.settings.flood.messages
        inbox = Inbox(inbox.number + 1, (*inbox.sent, now)[-kept:])
        self._inboxes[recipient] = inbox
        self._dirty.add(f"inbox/{recipient}")
        first, rest = going[0], going[1:]
        tally = Counter(item.alarm.priority.value for item in going) if rest else {}
        yield Outgoing(
            recipient,
            Notification(
                # also unlike any key of a run that was forgotten, or that a backup goes back behind
                f"{recipient}-{now // SECOND}-{inbox.number}",
                first.occasion,
                now,
                first.alarm,
                tuple(Also(item.occasion, item.alarm) for item in rest[:MOST_TOLD]),
                len(going),
                tally,
            ),
        )

    def _allowed_at(self, inbox: Inbox, now: int, *, urgent: bool) -> int:
        """When a recipient may be sent the next message [ns, UTC]."""
        flood = self._routing.settings.flood
        # after a step of the clock back, times that are still to come say nothing
        sent = [at for at in inbox.sent if at <= now]
        if len(sent) < flood.messages:
            return now
        allowed = sent[-flood.messages] + round(flood.per_min * MINUTE)
        if urgent:
            return min(allowed, sent[-1] + round(flood.urgent_every_s * SECOND))
        return allowed

    def _close(self, alarm_id: str) -> None:
        """Nobody is to be told of an alarm any more."""
        for recipient, items in self._items.items():
            if alarm_id in items:
                self._drop(recipient, alarm_id)
        self._forget(alarm_id)

    def _forget(self, alarm_id: str) -> None:
        if self._cases.pop(alarm_id, None) is not None:
            self._dirty.add(f"case/{alarm_id}")

    def _put(self, case: Case) -> None:
        self._cases[case.alarm.id] = case
        self._dirty.add(f"case/{case.alarm.id}")

    def _keep(self, item: Item) -> None:
        self._items[item.recipient][item.alarm.id] = item
        self._dirty.add(f"item/{item.recipient}/{item.alarm.id}")

    def _drop(self, recipient: str, alarm_id: str) -> None:
        if self._items.get(recipient, {}).pop(alarm_id, None) is not None:
            self._dirty.add(f"item/{recipient}/{alarm_id}")

    def _row(self, key: str) -> bytes | None:
        kind, _, rest = key.partition("/")
        if kind == "case":
            found: Case | Item | Inbox | None = self._cases.get(rest)
        elif kind == "item":
            recipient, _, alarm_id = rest.partition("/")
            found = self._items.get(recipient, {}).get(alarm_id)
        else:
            found = self._inboxes.get(rest)
        return None if found is None else msgspec.json.encode(found)


def by_link(recipient: str) -> str:
    """Who acknowledges, when a recipient does so by the link in a message."""
    return f"{recipient} (link)"


_CASE = msgspec.json.Decoder(Case)
_ITEM = msgspec.json.Decoder(Item)
_INBOX = msgspec.json.Decoder(Inbox)
