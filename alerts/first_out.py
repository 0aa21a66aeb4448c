"""First-out: which alarm of a cascade came first, and how long after it the others came. Pure.

The alarms of a cascade are one that explains others, and those others. What counts is when their conditions
began to hold, not when their on-delays were over: an alarm of a long delay may have been the first. Rules on
aligned inputs are judged at whole seconds, so that two that began in the same one have the same place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alerts.alarms import Alarm

_MILLISECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where an alarm stands in its cascade."""

    cascade: str
    """Id of the alarm that explains the others."""
    order: int
    """1 for the first; equal for those that began in the same second."""
    of: int
    """Alarms of the cascade."""
    after_first_ms: int
    """Time since the first one began [ms]."""
    after_previous_ms: int
    """Time since the one before it began [ms]; 0 for the first."""


def first_out(alarms: Iterable[Alarm]) -> Mapping[str, Place]:
    """The place of every alarm of a cascade, by id in the order of time; an alarm on its own has none."""
    cascades: dict[str, list[Alarm]] = {}
    for alarm in alarms:
        cascades.setdefault(alarm.parent or alarm.id, []).append(alarm)
    places: dict[str, Place] = {}
    for cascade, members in cascades.items():
        if len(members) < 2:
            continue
        members.sort(key=lambda alarm: (alarm.began_at, alarm.raised_at, alarm.id))
        first = previous = members[0].began_at
        order = 1
        for position, alarm in enumerate(members, start=1):
            if alarm.began_at > previous:
                order = position
            gap = alarm.began_at - previous
            previous = alarm.began_at
            since = (alarm.began_at - first) // _MILLISECOND
            places[alarm.id] = Place(cascade, order, len(members), since, gap // _MILLISECOND)
    return places
