"""The words of a notification: what a woken engineer needs to act."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from gettext import NullTranslations
from zoneinfo import ZoneInfo

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.config import Occasion
from alerts.notify.catalogue import reviewed, translations
from alerts.notify.channel import Notification
from alerts.notify.links import MessageLinks

_SECOND = 1_000_000_000
_OVER = frozenset({AlarmState.NORMAL, AlarmState.RETURNED, AlarmState.LATCHED_UNACKNOWLEDGED})
_WAITS = frozenset({AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED, AlarmState.LATCHED_UNACKNOWLEDGED})
_UNDERLINE = "-" * 30


def _(text: str) -> str:
    """Marks a text for the catalogues."""
    return text


PRIORITIES: Mapping[Priority, str] = {
    Priority.LOW: _("Low"),
    Priority.MEDIUM: _("Medium"),
    Priority.HIGH: _("High"),
    Priority.URGENT: _("URGENT"),
}

HEADINGS: Mapping[Occasion, str] = {
    Occasion.RAISED: _("{priority}: {title}"),
    Occasion.ESCALATED: _("Worse, now {priority}: {title}"),
    Occasion.RETURNED: _("Over: {title}"),
    Occasion.ACKNOWLEDGED: _("Acknowledged by {who}: {title}"),
    Occasion.UNANSWERED: _("Nobody has acknowledged, {priority}: {title}"),
    Occasion.HANDED_OVER: _("You are on call now, {priority}: {title}"),
    Occasion.TEST: _("Test: {title}"),
}

ASKS = frozenset({Occasion.RAISED, Occasion.ESCALATED, Occasion.UNANSWERED, Occasion.HANDED_OVER})
"""Occasions on which somebody has to do something."""


@dataclass(frozen=True, slots=True)
class Message:
    """A notification in words."""

    title: str
    """One line."""
    body: str


@dataclass(frozen=True, slots=True)
class Reader:
    """Whom a message is for."""

    id: str
    language: str
    time_zone: str


class Writer:
    """Writes the messages of a site.

    Parameters
    ----------
    site
        Its name.
    links
        Makes links; None for messages without any.

    """

    def __init__(self, site: str, links: MessageLinks | None) -> None:
        self._site = site
        self._links = links

    def write(self, notification: Notification, reader: Reader, now: int) -> Message:
        """The message for somebody.

        Parameters
        ----------
        notification
            What to tell.
        reader
            Whom.
        now
            Wall time, for what is said of the past and for the life of links [ns, UTC].

        """
        words = translations(reader.language)
        page = _Page(self._site, self._links, reader, words, now)
        lines = page.group(notification) if notification.total > 1 else page.single(notification)
        return Message(page.title(notification), "\n".join(lines))


class _Page:
    """One message on its way."""

    def __init__(
        self, site: str, links: MessageLinks | None, reader: Reader, words: NullTranslations, now: int
    ) -> None:
        self._site = site
        self._links = links
        self._reader = reader
        self._words = words
        self._now = now

    def title(self, notification: Notification) -> str:
        heading = self._heading(notification.occasion, notification.alarm)
        if notification.total == 1:
            return heading
        count = self._count(notification.total)
        return self._say(_("{count}, first {heading}")).format(count=count, heading=heading)

    def single(self, notification: Notification) -> Iterator[str]:
        if notification.occasion is Occasion.TEST:
            yield notification.alarm.title
        else:
            yield from self._facts(notification.alarm)
            yield from self._advice(notification.alarm, notification.occasion)
        yield from self._foot(notification)

    def group(self, notification: Notification) -> Iterator[str]:
        shares = ", ".join(
            f"{self._say(PRIORITIES[priority])}: {notification.tally[priority]}"
            for priority in reversed(Priority)
            if notification.tally.get(priority)
        )
        yield f"{self._count(notification.total)} ({shares})"
        yield ""
        yield self._heading(notification.occasion, notification.alarm)
        yield from self._facts(notification.alarm)
        yield from self._advice(notification.alarm, notification.occasion)
        for also in notification.also:
            yield ""
            yield self._heading(also.occasion, also.alarm)
            yield self._since(also.alarm)
            if also.occasion in ASKS and (link := self._link(also.alarm)):
                yield link
        if more := notification.total - 1 - len(notification.also):
            yield ""
            yield self._words.ngettext(
                "and {count} more alarm; see the console", "and {count} more alarms; see the console", more
            ).format(count=more)
        yield from self._foot(notification)

    def _heading(self, occasion: Occasion, alarm: Alarm) -> str:
        return " ".join(
            self._say(HEADINGS[occasion])
            .format(priority=self._priority(alarm), title=alarm.title, who=alarm.acknowledged_by)
            .split()
        )

    def _facts(self, alarm: Alarm) -> Iterator[str]:
        where = alarm.asset if not alarm.area else f"{alarm.asset}, {alarm.area}"
        yield self._say(_("Where: {where} (rule {rule})")).format(where=where, rule=alarm.rule)
        yield self._since(alarm)
        yield self._say(
            _("How bad: {priority}; {value} {unit}, limit {limit} {unit}, quality {quality}")
        ).format(
            priority=self._priority(alarm),
            value=f"{alarm.value:.4g}",
            limit=f"{alarm.limit:.4g}",
            unit=alarm.unit,
            quality=alarm.quality,
        )
        if alarm.occurrences > 1:
            yield self._say(_("It was raised {count} times since it was last normal.")).format(
                count=alarm.occurrences
            )

    def _advice(self, alarm: Alarm, occasion: Occasion) -> Iterator[str]:
        if occasion not in ASKS:
            if alarm.comment and occasion is Occasion.ACKNOWLEDGED:
                yield self._say(_("Comment: {text}")).format(text=alarm.comment)
            return
        for label, text in (
            (_("Cause: {text}"), alarm.cause),
            (_("Consequence: {text}"), alarm.consequence),
            (_("What to do: {text}"), alarm.response),
        ):
            if text:
                yield ""
                yield self._say(label).format(text=self._say(text))
        if alarm.evidence:
            yield ""
            yield self._say(_("Evidence:"))
            yield from (f"  {name}: {value}" for name, value in alarm.evidence.items())
        if link := self._link(alarm):
            yield ""
            yield link

    def _foot(self, notification: Notification) -> Iterator[str]:
        yield ""
        yield _UNDERLINE
        if self._links is not None:
            yield self._say(_("Console: {url}")).format(url=self._links.console)
        names = (self._site, notification.alarm.id, notification.key)
        yield self._say(_("Site {site}, alarm {alarm}, message {message}")).format(
            site=names[0], alarm=names[1], message=names[2]
        )
        if not reviewed(self._reader.language):
            yield self._say(_("This translation is a draft that nobody has reviewed."))

    def _link(self, alarm: Alarm) -> str:
        """The line with the link to acknowledge by; empty where there is none."""
        waits = alarm.state in _WAITS
        found = self._links.acknowledge(alarm.id, self._reader.id, self._now) if self._links else ""
        return self._say(_("Acknowledge: {url}")).format(url=found) if found and waits else ""

    def _since(self, alarm: Alarm) -> str:
        zone = ZoneInfo(self._reader.time_zone)
        began = datetime.fromtimestamp((alarm.began_at or alarm.raised_at) // _SECOND, UTC)
        local = f"{began.astimezone(zone):%Y-%m-%d %H:%M:%S}"
        if self._reader.time_zone == "UTC":
            text = self._say(_("Since: {utc} UTC")).format(utc=local)
        else:
            text = self._say(_("Since: {local} ({zone}), {utc} UTC")).format(
                local=local, zone=self._reader.time_zone, utc=f"{began:%H:%M:%S}"
            )
        if alarm.state in _OVER and alarm.cleared_at is not None:
            over = datetime.fromtimestamp(alarm.cleared_at // _SECOND, UTC).astimezone(zone)
            text += self._say(_("; over since {local}")).format(local=f"{over:%H:%M:%S}")
        return text

    def _priority(self, alarm: Alarm) -> str:
        return self._say(PRIORITIES[alarm.priority])

    def _count(self, number: int) -> str:
        return self._words.ngettext("{count} alarm", "{count} alarms", number).format(count=number)

    def _say(self, text: str) -> str:
        return self._words.gettext(text)
