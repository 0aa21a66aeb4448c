"""Faults of the notification settings that only the whole shows: gaps, unknown names. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import combinations

from alerts.alarms import Priority
from alerts.notify.config import NotifySettings, Rotation, Route
from alerts.notify.week import gaps, shown
from telemetry.errors import Problem
from telemetry.settings import nearest

ELSEWHERE = ""
"""Area of alarms that belong to none, such as those about greenbridge itself."""


def problems(
    file: str,
    settings: NotifySettings,
    *,
    areas: Collection[str],
    assets: Collection[str],
    languages: Collection[str],
    taken: Collection[str],
    prefix: str = "alerts.notify",
) -> Iterator[Problem]:
    """Checks the table as a whole.

    Parameters
    ----------
    file
        That holds it.
    settings
        The table.
    areas, assets
        Of the grid and its devices.
    languages
        For which there is a catalogue.
    taken
        Ids of the feeds.
    prefix
        Key of the table.

    """
    people = [recipient.id for recipient in settings.recipient]
    rotations = [rotation.id for rotation in settings.rotation]
    yield from _twice(file, f"{prefix}.recipient", people, taken)
    yield from _twice(file, f"{prefix}.rotation", rotations, [*people, *taken])
    yield from _twice(file, f"{prefix}.route", [route.id for route in settings.route], ())
    for i, recipient in enumerate(settings.recipient):
        key = f"{prefix}.recipient[{i}]"
        yield from _twice(file, f"{key}.address", [address.id for address in recipient.address], ())
        language = recipient.language
        if language not in languages:
            reason, fix = "there is no catalogue of this language", nearest(language, languages)
            yield Problem(file, f"{key}.language", f'"{language}"', reason, fix)
    for i, rotation in enumerate(settings.rotation):
        yield from _rotation(file, f"{prefix}.rotation[{i}]", rotation, people)
    for i, route in enumerate(settings.route):
        key, tell = f"{prefix}.route[{i}]", "recipient or rotation"
        known = [*people, *rotations]
        yield from _unknown(file, f"{key}.to", route.to, known, tell)
        for k, step in enumerate(route.escalate):
            yield from _unknown(file, f"{key}.escalate[{k}].to", step.to, known, tell)
        yield from _unknown(file, f"{key}.areas", route.areas, areas, "area")
        yield from _unknown(file, f"{key}.assets", route.assets, assets, "station, branch, device or link")
    yield from _unrouted(file, f"{prefix}.route", settings, areas)


def _twice(file: str, key: str, ids: Sequence[str], taken: Collection[str]) -> Iterator[Problem]:
    for i, name in enumerate(ids):
        if name in taken or name in ids[:i]:
            yield Problem(file, f"{key}[{i}].id", f'"{name}"', "used twice", "give it another id")


def _unknown(
    file: str, key: str, names: Iterable[str], valid: Collection[str], what: str
) -> Iterator[Problem]:
    for i, name in enumerate(names):
        if name not in valid:
            yield Problem(file, f"{key}[{i}]", f'"{name}"', f"no such {what}", nearest(name, valid))


def _rotation(file: str, key: str, rotation: Rotation, people: Sequence[str]) -> Iterator[Problem]:
    for i, turn in enumerate(rotation.turn):
        yield from _unknown(file, f"{key}.turn[{i}].people", turn.people, people, "recipient")
        before = rotation.turn[:i]
        if before and not gaps([*before]):
            reason = "nobody would ever serve it: the turns before it cover the whole week"
            yield Problem(file, f"{key}.turn[{i}]", "", reason, "put it before them, or take it out")
    for begin, end in gaps(rotation.turn):
        yield Problem(
            file,
            f"{key}.turn",
            f'"{rotation.id}"',
            f"a gap: nobody is on call from {shown(begin)} to {shown(end)}",
            "add a turn for that time, or let one last longer",
        )
    for i, override in enumerate(rotation.override):
        where = f"{key}.override[{i}]"
        if override.person not in people:
            reason, fix = "no such recipient", nearest(override.person, people)
            yield Problem(file, f"{where}.person", f'"{override.person}"', reason, fix)
    for (i, one), (k, other) in combinations(enumerate(rotation.override), 2):
        if one.start < other.end and other.start < one.end:
            reason = f"overlaps override[{i}]: two people would be on call"
            yield Problem(file, f"{key}.override[{k}].start", str(other.start), reason, "let one end first")


def _unrouted(file: str, key: str, settings: NotifySettings, areas: Collection[str]) -> Iterator[Problem]:
    """Times at which alarms of a priority in an area reach no route: silence that nobody chose."""
    if not settings.recipient and not settings.route:
        return
    general = [route for route in settings.route if not route.rules and not route.assets]
    unrouted = [
        f"{priority} alarms {_where(area)} {_when(taking, span)}"
        for priority in reversed(Priority)
        for area in (*areas, ELSEWHERE)
        for taking in [[route for route in general if _takes(route, area, priority)]]
        for span in gaps(taking)
    ]
    more = f", and {len(unrouted) - 1} more like this" if len(unrouted) > 1 else ""
    for what in unrouted[:1]:
        yield Problem(
            file,
            key,
            "",
            f"a gap: {what} match no route{more}",
            "add a last route without conditions; to = [] says that nobody is to be told",
        )


def _takes(route: Route, area: str, priority: Priority) -> bool:
    """Whether a route is for an area and a priority, at some time."""
    return (not route.areas or area in route.areas) and (not route.priorities or priority in route.priorities)


def _where(area: str) -> str:
    return f"in area {area}" if area else "of no area, such as those about greenbridge itself,"


def _when(taking: Sequence[Route], span: tuple[int, int]) -> str:
    return f"from {shown(span[0])} to {shown(span[1])}" if taking else "at any time"
