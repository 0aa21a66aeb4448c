"""What the book keeps of a condition, and the alarm that follows from a finding or an order; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

from alerts.alarms import Alarm, AlarmState, Indeterminate, Priority
from alerts.holds import Explained, Hold
from alerts.kinship import Effect
from alerts.lifecycle import Event, Timers
from alerts.rules.finding import Finding, Texts

_NO_TEXTS = Texts("", "", "", "", {})


@dataclass(frozen=True, slots=True)
class Tracked:
    """One condition: its delays, what holds it back, and its alarm, if there is one."""

    key: str
    timers: Timers
    level: int = 0
    """Grade at which it is active, counted from 1; 0 when it is not."""
    alarm: Alarm | None = None
    """The occurrence that is not normal."""
    unknown: Indeterminate | None = None
    """Why nothing can be said of it now, and since when."""
    holds: tuple[Hold, ...] = ()
    """Orders of people, at most one of each kind."""
    raises: tuple[int, ...] = ()
    """When it was raised lately, to tell whether it chatters [ns, UTC]."""
    released_at: int = 0
    """Since when nothing explains it any more, while it is still suppressed [ns, UTC]; 0 otherwise."""

    @property
    def open(self) -> bool:
        """There is something to follow."""
        return self.alarm is not None or self.timers.running or self.unknown is not None

    @property
    def kept(self) -> bool:
        """There is something to remember over a restart."""
        return self.open or bool(self.holds) or bool(self.raises)


@dataclass(frozen=True, slots=True)
class Change:
    """One step of one alarm through the transition table."""

    event: Event
    reason: str
    before: AlarmState
    alarm: Alarm
    """The alarm after the step."""


def raised(
    tracked: Tracked, finding: Finding, priority: Priority, *, number: int, now: int, again: bool
) -> Alarm:
    """The alarm as a finding raises it, anew or once more, or escalates it."""
    old, subject, texts = tracked.alarm, finding.subject, finding.texts or _NO_TEXTS
    held = max(tracked.timers.on_ns, default=0)
    return Alarm(
        id=old.id if old else f"{subject.key.replace('/', '-')}-{number}",
        key=subject.key,
        rule=subject.rule,
        rule_version=subject.version,
        asset=subject.asset,
        area=subject.area,
        title=texts.title,
        priority=priority,
        state=AlarmState.UNACKNOWLEDGED,
        value=known(finding.value),
        limit=known(finding.limit),
        unit=finding.unit,
        quality=finding.quality,
        t_source=finding.t_source,
        t_received=finding.t_received,
        raised_at=old.raised_at if old and not again else now,
        updated_at=now,
        cause=texts.cause,
        consequence=texts.consequence,
        response=texts.response,
        evidence={
            name: value if isinstance(value, str) or isfinite(value) else "not known"
            for name, value in texts.evidence.items()
        },
        occurrences=(old.occurrences if old else 0) + again,
        began_at=old.began_at if old and not again else finding.at - max(held, 0),
        parent=old.parent if old else "",
        chattering=old.chattering if old else False,
        held_reason=old.held_reason if old else "",
        held_by=old.held_by if old else "",
        held_at=old.held_at if old else None,
        held_until=old.held_until if old else None,
    )


def known(value: float, otherwise: float = 0.0) -> float:
    """A number that every format can carry."""
    return value if isfinite(value) else otherwise


def measured(alarm: Alarm, finding: Finding) -> Alarm:
    """The alarm with what was measured now; what is not known stays as it was."""
    value, limit = known(finding.value, alarm.value), known(finding.limit, alarm.limit)
    return replace(alarm, value=value, limit=limit)


def suppresses(explained: Explained, priority: Priority) -> bool:
    """Whether an alarm of a priority is kept from people: what is urgent is not, unless it was planned."""
    return explained.effect is Effect.SUPPRESS and (priority is not Priority.URGENT or not explained.parent)


def held_by_order(alarm: Alarm, order: Hold) -> Alarm:
    """The alarm as somebody's order holds it."""
    return replace(
        alarm,
        state=order.kind,
        held_reason=order.reason,
        held_by=order.who,
        held_at=order.since,
        held_until=order.until,
    )


def held_by_design(alarm: Alarm, explained: Explained, now: int) -> Alarm:
    """The alarm as it is suppressed by design."""
    return replace(
        alarm,
        state=AlarmState.SUPPRESSED,
        updated_at=now,
        parent=explained.parent,
        held_reason=explained.reason,
        held_by="",
        held_at=now,
        held_until=explained.until,
    )


def words(state: AlarmState) -> str:
    """A state for people."""
    return state.value.replace("_", " ")


def unknown_since(before: Indeterminate | None, finding: Finding) -> Indeterminate | None:
    """What a finding says about not knowing; the time when that began stays when the reason changes."""
    if not finding.indeterminate or finding.gathering:
        return None
    subject, since = finding.subject, before.since if before else finding.at
    return Indeterminate(subject.rule, subject.asset, finding.indeterminate, since)
