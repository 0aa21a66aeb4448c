"""Settings of who is told of what, when and how: the ``[alerts.notify]`` table.

``sample.toml`` beside this file shows every key; ``docs/notification.md`` says how they work together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, AwareDatetime, Field, NaiveDatetime, model_validator

from alerts.alarms import Priority
from alerts.desk_config import RuleName
from alerts.notify.week import TimeOfDay, Window
from telemetry.points import Identifier
from telemetry.settings import Settings, nearest

SECOND = 1_000_000_000
MINUTE = 60 * SECOND


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"no such time zone; {nearest(name, available_timezones())}") from error
    return name


TimeZone = Annotated[str, AfterValidator(_time_zone)]
"""A name of the IANA time zone database: ``Asia/Almaty``."""

HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/]+")]
Minutes = Annotated[float, Field(gt=0, le=10_080)]


class Address(Settings):
    """One way to reach somebody: an apprise address, or a webhook."""

    id: Identifier
    """Unique for the recipient: ``mail``."""
    apprise_file: Path | None = None
    """File whose only line is an address for apprise, such as ``mailtos://...``; it holds credentials."""
    url: HttpUrl | None = None
    """Receives each message as a JSON document."""
    secret_file: Path | None = None
    """File with the key that requests to ``url`` are signed with."""
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 20.0

    @model_validator(mode="after")
    def _one_way(self) -> Address:
        if (self.apprise_file is None) == (self.url is None):
            raise ValueError("give either apprise_file or url")
        if self.secret_file is not None and self.url is None:
            raise ValueError("secret_file signs what goes to url, and there is none")
        return self


class Recipient(Settings):
    """A person, or a group behind one address."""

    id: Identifier
    name: str = ""
    """For people; the id without it."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] = "en"
    """Of the messages: ``en``, or one with a catalogue."""
    time_zone: TimeZone | None = None
    """Of times in messages and of quiet hours; as for all without it."""
    address: Annotated[tuple[Address, ...], Field(min_length=1)]


class Turn(Window):
    """People who take turns, at some time of the week or always."""

    people: Annotated[tuple[Identifier, ...], Field(min_length=1)]
    """In their order."""
    first: NaiveDatetime
    """A hand-over to the first of them, in local time; the others follow from it, also backwards."""
    every_days: Annotated[int, Field(ge=1, le=366)] = 7
    """Time between two hand-overs [d]."""


class Override(Settings):
    """Somebody stands in for whoever would be on call."""

    person: Identifier
    start: AwareDatetime
    end: AwareDatetime
    reason: str = ""

    @model_validator(mode="after")
    def _forward(self) -> Override:
        if self.end <= self.start:
            raise ValueError("end is not after start: it would never hold")
        return self

    def holds(self, now: int) -> bool:
        """Whether it holds at a time [ns, UTC]."""
        return self.start_ns <= now < self.end_ns

    @property
    def start_ns(self) -> int:
        """[ns, UTC]."""
        return round(self.start.timestamp()) * SECOND

    @property
    def end_ns(self) -> int:
        """[ns, UTC]."""
        return round(self.end.timestamp()) * SECOND


class Rotation(Settings):
    """Who is on call when; there is somebody at any time."""

    id: Identifier
    time_zone: TimeZone | None = None
    """Of its turns; as for all without it."""
    turn: Annotated[tuple[Turn, ...], Field(min_length=1)]
    """The first one whose time it is counts."""
    override: tuple[Override, ...] = ()


class Escalation(Settings):
    """Whom to tell when nobody has acknowledged in time."""

    after_min: Minutes
    """Since people were first told [min]."""
    to: Annotated[tuple[Identifier, ...], Field(min_length=1)]


class Route(Window):
    """Which alarms go to whom; what is not given matches everything."""

    id: Identifier
    areas: tuple[Identifier, ...] = ()
    priorities: tuple[Priority, ...] = ()
    rules: tuple[RuleName, ...] = ()
    assets: tuple[str, ...] = ()
    to: tuple[Identifier, ...]
    """Recipients and rotations; empty to tell nobody, on purpose."""
    escalate: tuple[Escalation, ...] = ()

    @model_validator(mode="after")
    def _ascending(self) -> Route:
        times = [step.after_min for step in self.escalate]
        if times != sorted(set(times)):
            raise ValueError("each after_min of escalate must be above the one before")
        if self.escalate and not self.to:
            raise ValueError("escalate follows somebody's silence, and nobody is told in the first place")
        return self


class Quiet(Window):
    """Hours in which low priorities wait; what is over at their end is not told at all."""

    begins: TimeOfDay = "22:00"
    ends: TimeOfDay = "07:00"
    priorities: Annotated[tuple[Priority, ...], Field(min_length=1)] = (Priority.LOW, Priority.MEDIUM)

    @model_validator(mode="after")
    def _not_urgent(self) -> Quiet:
        if Priority.URGENT in self.priorities:
            raise ValueError("urgent alarms do not wait; take urgent out of priorities")
        return self


class Flood(Settings):
    """How messages to one recipient are joined, so that a flood is one message with a count."""

    group_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """Alarms that follow within this time go out together [s]."""
    messages: Annotated[int, Field(ge=1, le=1000)] = 6
    """At most so many messages ..."""
    per_min: Minutes = 10.0
    """... in this time [min]; what comes meanwhile waits, and goes out together."""
    urgent_every_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    """Beyond that, urgent alarms still go out once in this time [s]."""


class Heartbeat(Settings):
    """An address that hears of us as long as alarms are judged; its silence is for others to notice."""

    url: HttpUrl
    every_s: Annotated[float, Field(ge=5, le=3600)] = 60.0
    secret_file: Path | None = None
    """File with the key that it is signed with."""
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0


class Links(Settings):
    """Links in messages: to the console, and to acknowledge one alarm."""

    console_url: HttpUrl
    """Where people reach the console: ``https://greenbridge.example.org``."""
    key_file: Path | None = None
    """File with the key that links are signed with, at least 32 characters; without it a message has no
    link to acknowledge by."""
    hours: Annotated[float, Field(gt=0, le=168)] = 12.0
    """How long such a link is good for [h]."""


class NotifySettings(Settings):
    """The ``[alerts.notify]`` table: people. Without recipients nobody is told, beside the feeds."""

    time_zone: TimeZone = "UTC"
    """Of everything that does not say another."""
    tell_returned: bool = True
    """Those who were told of an alarm are also told when it is over."""
    tell_acknowledged: bool = True
    """Those who were told of an alarm are also told that somebody else has acknowledged it."""
    recipient: tuple[Recipient, ...] = ()
    rotation: tuple[Rotation, ...] = ()
    route: tuple[Route, ...] = ()
    """The first one that matches an alarm counts."""
    quiet: Quiet | None = None
    flood: Flood = Flood()
    heartbeat: Heartbeat | None = None
    links: Links | None = None

    def recipient_of(self, name: str) -> Recipient | None:
        """A recipient by id."""
        return next((recipient for recipient in self.recipient if recipient.id == name), None)
