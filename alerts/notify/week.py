"""Times of the week, as routes, rotations and quiet hours name them: minutes since Monday 00:00. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field

from telemetry.settings import Settings

DAY, WEEK = 1440, 7 * 1440
"""[min]."""

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]
"""``08:00``; ``24:00`` is the end of a day."""


class Window(Settings):
    """Part of every week, in local time."""

    days: Annotated[tuple[Day, ...], Field(min_length=1)] = DAYS
    """Days on which it begins."""
    begins: TimeOfDay = "00:00"
    ends: TimeOfDay = "24:00"
    """Not after ``begins``: on the next day."""

    def contains(self, minute: int) -> bool:
        """Whether a minute of the week is in it."""
        starts, length = _spans(self.days, self.begins, self.ends)
        return any((minute - start) % WEEK < length for start in starts)

    @property
    def bounds(self) -> set[int]:
        """Minutes of the week at which it begins and ends."""
        starts, length = _spans(self.days, self.begins, self.ends)
        return {minute % WEEK for start in starts for minute in (start, start + length)}


def gaps(windows: Sequence[Window]) -> list[tuple[int, int]]:
    """Spans of the week that no window contains: first minute and the one after the last, in order."""
    bounds = sorted(set().union(*(window.bounds for window in windows)))
    if not bounds:
        return [(0, WEEK)]
    spans = list(zip(bounds, [*bounds[1:], bounds[0] + WEEK], strict=True))
    found: list[tuple[int, int]] = []
    for begin, end in spans:
        if any(window.contains(begin) for window in windows):
            continue
        if found and found[-1][1] == begin:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    if len(found) > 1 and found[-1][1] == found[0][0] + WEEK:
        # it reaches over the end of the week
        found[0] = (found.pop()[0], found[0][1] + WEEK)
    return found


def within(minute: int, windows: Iterable[Window]) -> bool:
    """Whether any of the windows contains a minute of the week."""
    return any(window.contains(minute) for window in windows)


def minute_of(local: datetime) -> int:
    """The minute of the week of a local time."""
    return local.weekday() * DAY + local.hour * 60 + local.minute


def shown(minute: int) -> str:
    """A minute of the week for people: ``Sat 08:00``."""
    day, rest = divmod(minute % WEEK, DAY)
    return f"{DAYS[day].capitalize()} {rest // 60:02d}:{rest % 60:02d}"


@lru_cache(maxsize=256)
def _spans(days: tuple[Day, ...], begins: str, ends: str) -> tuple[tuple[int, ...], int]:
    """Minutes at which a window begins, and how long it lasts each time [min], at most a day."""
    begin = _minutes(begins)
    return tuple(DAYS.index(day) * DAY + begin for day in days), (_minutes(ends) - begin - 1) % DAY + 1


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)
