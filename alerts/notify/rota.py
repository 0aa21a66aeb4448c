"""Who is on call: turns, hand-overs and overrides. Pure; times are [ns, UTC] unless they are local."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from alerts.notify.config import SECOND, Rotation, Turn
from alerts.notify.week import DAY, minute_of

_AHEAD_DAYS = 800
"""How far the next hand-over is looked for, at most [d]."""


@dataclass(frozen=True, slots=True)
class OnCall:
    """Who is on call at a time, and why."""

    person: str
    reason: str
    """``turn``, or what an override says."""


def local_time(now: int, time_zone: str) -> datetime:
    """A time as a clock on the wall shows it."""
    return datetime.fromtimestamp(now // SECOND, UTC).astimezone(ZoneInfo(time_zone)).replace(tzinfo=None)


def utc(local: datetime, time_zone: str) -> int:
    """When a clock on the wall shows a time [ns, UTC]; the earlier one if it does twice."""
    return round(local.replace(tzinfo=ZoneInfo(time_zone)).timestamp()) * SECOND


def on_call(rotation: Rotation, time_zone: str, now: int) -> OnCall | None:
    """Who is on call at a time; None in a gap, which a checked rotation does not have.

    Parameters
    ----------
    rotation
        Turns and overrides; an override counts before any turn.
    time_zone
        Of a rotation that does not name its own.
    now
        [ns, UTC].

    """
    for override in rotation.override:
        if override.holds(now):
            return OnCall(override.person, override.reason or "override")
    local = local_time(now, rotation.time_zone or time_zone)
    minute = minute_of(local)
    for turn in rotation.turn:
        if turn.contains(minute):
            return OnCall(_whose(turn, local), "turn")
    return None


def next_hand_over(rotation: Rotation, time_zone: str, now: int) -> int | None:
    """When somebody else will be on call; None when that is not within two years."""
    here = on_call(rotation, time_zone, now)
    for at in sorted(_moments(rotation, time_zone, now)):
        there = on_call(rotation, time_zone, at)
        if there is None or here is None or there.person != here.person:
            return at
    return None


def _whose(turn: Turn, local: datetime) -> str:
    """Whose turn it is; counted in days on the calendar, so that a change to summer time moves nothing."""
    passed = (local - turn.first) // timedelta(days=turn.every_days)
    return turn.people[passed % len(turn.people)]


def _moments(rotation: Rotation, time_zone: str, now: int) -> Iterator[int]:
    """Times after now at which a hand-over can be."""
    zone = rotation.time_zone or time_zone
    local = local_time(now, zone)
    for override in rotation.override:
        yield from (at for at in (override.start_ns, override.end_ns) if at > now)
    for turn in rotation.turn:
        moments = [
            local.replace(hour=0, minute=0, second=0) + timedelta(days=day, minutes=bound % DAY)
            for bound in turn.bounds
            for day in range(9)
        ]
        period = timedelta(days=turn.every_days)
        first = turn.first + ((local - turn.first) // period + 1) * period
        if first - local < timedelta(days=_AHEAD_DAYS):
            moments += [first, first + period]
        for moment in moments:
            at = utc(moment, zone)
            if at > now:
                yield at
