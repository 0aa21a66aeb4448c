"""What happens in the simulated year: incidents at the rates of a good desk, floods, chatter, people. Pure.

Rates follow the indicators of ISA-18.2 and EEMUA 191: fewer than 150 alarms a day, 80/15/5 % low, medium and
high, urgent ones under 1 %, little time in flood. The rest is illustrative.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from alerts.alarms import AlarmState, Priority
from alerts.notify.config import NotifySettings
from alerts.rules.finding import Grade, Subject, Timing

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
START = round(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * SECOND
PER_DAY = 80.0
"""Incidents that begin in a day, beside floods and chatter."""
FLOODS, CHATTERS, SHELVED_PER_DAY, RESTARTS = 26, 104, 2.0, 52
"""In a year, but for what is shelved."""
UNHEARD = 0.05
"""Part of the alarms that nobody acknowledges until they were escalated."""
ESCALATE_MIN = 10
"""Time after which the chief is told [min]."""
CONDITIONS = 120
_PRIORITIES = (
    [Priority.LOW] * (CONDITIONS * 79 // 100)
    + [Priority.MEDIUM] * (CONDITIONS * 15 // 100)
    + [Priority.HIGH] * (CONDITIONS * 5 // 100)
)
AREAS = ("KZ", "UZ", "AZ")
PEOPLE = ("ann", "bek", "cem")
CHIEF = "chief"
ZONE = ZoneInfo("Europe/Brussels")
"""Of the rotation: the corridor's own countries keep one time all the year."""
FIRST = datetime(2026, 1, 5, 8)  # noqa: DTZ001 - on the wall
"""A hand-over to the first of :data:`PEOPLE`, in local time; they take turns of a week."""
RULES = ("R6", "R10", "R12", "R13", "R17", "R20")


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that can be wrong."""

    subject: Subject
    timing: Timing


@dataclass(frozen=True, slots=True, order=True)
class Happening:
    """One thing at one time, in their order."""

    at: int
    """[ns, UTC]."""
    number: int
    """Of it among all, so that those of one time keep an order."""
    what: str
    """``begin`` or ``end`` of a condition, ``acknowledge``, ``shelve``, ``unshelve``, ``remove``, ``restore``
    by a person, ``restart``."""
    condition: int = -1
    for_s: float = 0.0
    """Of a shelving [s]."""


HOLDS = {
    "shelve": AlarmState.SHELVED,
    "unshelve": AlarmState.SHELVED,
    "remove": AlarmState.OUT_OF_SERVICE,
    "restore": AlarmState.OUT_OF_SERVICE,
}


def conditions(rng: random.Random) -> list[Condition]:
    """The conditions of the year; what is judged holds at once, since delays are the rules' own matter."""
    priorities = [*_PRIORITIES, *[Priority.URGENT] * (CONDITIONS - len(_PRIORITIES))]
    rng.shuffle(priorities)
    return [
        Condition(
            Subject(RULES[i % len(RULES)], 1, f"asset-{i}", AREAS[i % len(AREAS)]),
            Timing((Grade(priority, 0.0),), 0.0),
        )
        for i, priority in enumerate(priorities)
    ]


def notify_settings() -> NotifySettings:
    """Whoever is on call hears of everything but what is low, and the chief when nobody acknowledges."""
    return NotifySettings.model_validate(
        {
            "time_zone": "Asia/Almaty",
            "recipient": [
                {"id": name, "address": [{"id": "phone", "url": "http://127.0.0.1/"}]}
                for name in (*PEOPLE, CHIEF)
            ],
            "rotation": [
                {
                    "id": "duty",
                    "time_zone": str(ZONE),
                    "turn": [{"people": PEOPLE, "first": FIRST, "every_days": 7}],
                }
            ],
            "route": [
                {
                    "id": "grave",
                    "priorities": ("medium", "high", "urgent"),
                    "to": ("duty",),
                    "escalate": ({"after_min": ESCALATE_MIN, "to": (CHIEF,)},),
                },
                {"id": "list", "to": ()},
            ],
        },
        strict=False,
    )


def on_duty(at: int) -> str:
    """Who is on call at a time [ns, UTC], counted in days on the local calendar."""
    local = datetime.fromtimestamp(at // SECOND, UTC).astimezone(ZONE).replace(tzinfo=None)
    return PEOPLE[(local - FIRST) // timedelta(days=7) % len(PEOPLE)]


def happenings(days: int, rng: random.Random) -> Sequence[Happening]:
    """Everything that happens in so many days, in its order."""
    found = [
        *_incidents(days, rng),
        *_floods(days, rng),
        *_chatter(days, rng),
        *_held(days, rng),
        *((_any(days, rng), "restart", -1, 0.0) for _ in range(max(1, RESTARTS * days // 365))),
    ]
    end = START + days * DAY
    found.sort(key=lambda entry: entry[0])
    return [
        Happening(at, i, what, condition, for_s)
        for i, (at, what, condition, for_s) in enumerate(found)
        if at < end
    ]


Entry = tuple[int, str, int, float]


def _any(days: int, rng: random.Random) -> int:
    return START + round(rng.random() * days * DAY)


def _incident(condition: int, at: int, rng: random.Random) -> Iterator[Entry]:
    """A condition holds for minutes, rarely for days; somebody acknowledges, mostly soon."""
    lasts_s = rng.lognormvariate(6.0, 1.2) if rng.random() > 0.002 else rng.uniform(1, 3) * 86_400
    heard_s = rng.expovariate(1 / 180) if rng.random() > UNHEARD else rng.uniform(15, 40) * 60
    yield at, "begin", condition, 0.0
    yield at + round(heard_s * SECOND), "acknowledge", condition, 0.0
    yield at + round(lasts_s * SECOND), "end", condition, 0.0


def _incidents(days: int, rng: random.Random) -> Iterator[Entry]:
    for _ in range(round(PER_DAY * days)):
        yield from _incident(rng.randrange(CONDITIONS), _any(days, rng), rng)


def _floods(days: int, rng: random.Random) -> Iterator[Entry]:
    for _ in range(max(1, FLOODS * days // 365)):
        at = _any(days, rng)
        for condition in rng.sample(range(CONDITIONS), rng.randint(20, 60)):
            yield from _incident(condition, at + round(rng.random() * 300 * SECOND), rng)


def _chatter(days: int, rng: random.Random) -> Iterator[Entry]:
    for _ in range(max(1, CHATTERS * days // 365)):
        at, condition = _any(days, rng), rng.randrange(CONDITIONS)
        for _ in range(rng.randint(6, 20)):
            yield at, "begin", condition, 0.0
            at += round(rng.uniform(2, 8) * SECOND)
            yield at, "end", condition, 0.0
            at += round(rng.uniform(2, 8) * SECOND)
        yield at + 300 * SECOND, "acknowledge", condition, 0.0
        # one that chatters returns only once it was over for a minute
        yield at + 90 * SECOND, "end", condition, 0.0


def _held(days: int, rng: random.Random) -> Iterator[Entry]:
    for _ in range(round(SHELVED_PER_DAY * days)):
        at, condition, hours = _any(days, rng), rng.randrange(CONDITIONS), rng.uniform(1, 8)
        yield at, "shelve", condition, hours * 3600
        if rng.random() < 0.3:
            yield at + round(hours * rng.random() * 3600 * SECOND), "unshelve", condition, 0.0
    for _ in range(max(1, days // 7)):
        at, condition = _any(days, rng), rng.randrange(CONDITIONS)
        yield at, "remove", condition, 0.0
        yield at + round(rng.uniform(0.5, 3) * DAY), "restore", condition, 0.0
