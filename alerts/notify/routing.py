"""Which route an alarm takes, and whom its steps reach. Pure: settings, an alarm and a time in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from alerts.alarms import Alarm, Priority
from alerts.notify.config import MINUTE, NotifySettings, Rotation, Route
from alerts.notify.rota import local_time, on_call, utc
from alerts.notify.week import WEEK, Window, minute_of


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a route."""

    after: int
    """Since people were first told [ns]."""
    to: tuple[str, ...]
    """Recipients and rotations."""


class Routing:
    """The routes of a site."""

    def __init__(self, settings: NotifySettings) -> None:
        self.settings = settings
        self._rotations = {rotation.id: rotation for rotation in settings.rotation}
        self._recipients = {recipient.id: recipient for recipient in settings.recipient}
        self._routes = {route.id: route for route in settings.route}
        self._steps = {
            route.id: [
                Step(0, route.to),
                *(Step(round(step.after_min * MINUTE), step.to) for step in route.escalate),
            ]
            for route in settings.route
        }
        # what was found out for one moment: a flood asks the same for each of its alarms
        self._known_at = -1
        self._minute = 0
        self._quiet_ends: dict[str, int] = {}

    def route(self, alarm: Alarm, now: int) -> Route | None:
        """The first route that matches an alarm at a time [ns, UTC]."""
        self._know(now)
        minute = self._minute
        for route in self.settings.route:
            if route.contains(minute) and matches(route, alarm):
                return route
        return None

    def named(self, name: str) -> Route | None:
        """A route by its id."""
        return self._routes.get(name)

    def steps(self, route: Route) -> Sequence[Step]:
        """Whom it tells at once, and whom later."""
        return self._steps[route.id]

    def people(self, names: Iterable[str], now: int) -> list[str]:
        """Recipients behind names at a time, each once; names that are gone are left out."""
        found: dict[str, None] = {}
        for name in names:
            if name in self._recipients:
                found[name] = None
            elif (person := self.on_call(name, now)) in self._recipients:
                found[person] = None
        return list(found)

    def rotation(self, name: str) -> Rotation | None:
        """A rotation by its id."""
        return self._rotations.get(name)

    def on_call(self, name: str, now: int) -> str:
        """Who is on call in a rotation; empty when there is no such rotation."""
        rotation = self._rotations.get(name)
        found = on_call(rotation, self.settings.time_zone, now) if rotation is not None else None
        return found.person if found is not None else ""

    def quiet_until(self, recipient: str, priority: Priority, now: int) -> int:
        """When a recipient's quiet hours end for a priority [ns, UTC]; ``now`` when there are none."""
        quiet = self.settings.quiet
        if quiet is None or priority not in quiet.priorities or recipient not in self._recipients:
            return now
        self._know(now)
        if recipient not in self._quiet_ends:
            zone = self._recipients[recipient].time_zone or self.settings.time_zone
            self._quiet_ends[recipient] = _end(quiet, zone, now)
        return self._quiet_ends[recipient]

    def _know(self, now: int) -> None:
        if now != self._known_at:
            self._known_at, self._quiet_ends = now, {}
            self._minute = minute_of(local_time(now, self.settings.time_zone))


def _end(quiet: Window, zone: str, now: int) -> int:
    """When a window that contains a time ends [ns, UTC]; ``now`` when it does not, or never ends."""
    local = local_time(now, zone)
    minute = minute_of(local)
    ends = [bound for bound in quiet.bounds if not quiet.contains(bound)]
    if not quiet.contains(minute) or not ends:
        return now
    rest = min((end - minute) % WEEK for end in ends)
    return utc(local.replace(second=0) + timedelta(minutes=rest), zone)


def matches(route: Route, alarm: Alarm) -> bool:
    """Whether a route is for an alarm, whatever the time."""
    return (
        (not route.areas or alarm.area in route.areas)
        and (not route.priorities or alarm.priority in route.priorities)
        and (not route.rules or alarm.rule in route.rules)
        and (not route.assets or alarm.asset in route.assets)
    )
