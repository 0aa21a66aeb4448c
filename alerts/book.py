"""Every alarm condition and where it stands; findings and acknowledgements in, changes out. Keeps no file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from alerts.alarms import Alarm, AlarmError, AlarmState, Indeterminate, Priority
from alerts.lifecycle import Decision, Event, Reason, Timers, decide, next_state
from alerts.rules.finding import Finding, Texts, Timing

NOT_CONFIGURED = "no_longer_configured"
"""Reason of the return to normal of a condition that no rule watches any more."""

BY_PERSON = "by_person"
"""Reason of an acknowledgement."""

_RANK = {priority: rank for rank, priority in enumerate(reversed(Priority))}
_TURN = {
    state: turn
    for turn, state in enumerate((AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED, AlarmState.ACKNOWLEDGED))
}
_NO_TEXTS = Texts("", "", "", "", {})


@dataclass(frozen=True, slots=True)
class Tracked:
    """One condition: its delays and its alarm, if there is one."""

    key: str
    timers: Timers
    level: int = 0
    """Grade at which it is active, counted from 1; 0 when it is not."""
    alarm: Alarm | None = None
    """The occurrence that is not normal."""
    unknown: Indeterminate | None = None
    """Why nothing can be said of it now, and since when."""

    @property
    def open(self) -> bool:
        """There is something to remember."""
        return self.alarm is not None or self.timers.running or self.unknown is not None


@dataclass(frozen=True, slots=True)
class Change:
    """One step of one alarm through the transition table."""

    event: Event
    reason: str
    before: AlarmState
    alarm: Alarm
    """The alarm after the step."""


class AlarmBook:
    """The alarms of a site in memory."""

    def __init__(self, tracked: Iterable[Tracked] = (), number: int = 0) -> None:
        self._tracked = {entry.key: entry for entry in tracked}
        self._ids = {entry.alarm.id: entry.key for entry in self._tracked.values() if entry.alarm}
        self._open = {entry.key for entry in self._tracked.values() if entry.open}
        self._dirty: set[str] = set()
        self.number = number
        """Number of the newest occurrence; never used twice."""

    def judge(self, finding: Finding, timing: Timing, now: int) -> Change | None:
        """Takes a finding; returns the step that follows from it, if any.

        Parameters
        ----------
        finding
            The newest judgement of a condition.
        timing
            Grades and delays of the condition.
        now
            Wall time, for labels [ns, UTC].

        """
        key = finding.subject.key
        before = self._tracked.get(key) or Tracked(key, Timers.idle(timing))
        if len(before.timers.on_ns) != len(timing.grades):
            # the number of grades was changed in the configuration: the delays begin again
            level = min(before.level, len(timing.grades))
            before = replace(before, timers=Timers.idle(timing), level=level)
        decision = decide(timing, before.timers, before.level, finding)
        after = replace(before, timers=decision.timers, unknown=_unknown(before.unknown, finding))
        change = None
        if decision.event is None:
            if before.level and decision.reason is not Reason.INDETERMINATE and before.alarm:
                alarm = replace(
                    before.alarm, value=finding.value, limit=finding.limit, quality=finding.quality
                )
                after = replace(after, alarm=alarm)
        else:
            after, change = self._stepped(after, decision, finding, timing, now)
        self._keep(after, before.open)
        return change

    def acknowledge(self, alarm_id: str, who: str, comment: str, now: int) -> Change | None:
        """Acknowledges an alarm; None when that changes nothing.

        Raises
        ------
        AlarmError
            No alarm of this id is open.

        """
        tracked, alarm = self.holding(alarm_id)
        state = next_state(alarm.state, Event.ACKNOWLEDGE)
        if state is None:
            return None
        acknowledged = replace(
            alarm, state=state, updated_at=now, acknowledged_at=now, acknowledged_by=who, comment=comment
        )
        self._keep(self._with_alarm(tracked, acknowledged), was_open=True)
        return Change(Event.ACKNOWLEDGE, BY_PERSON, alarm.state, acknowledged)

    def retire(self, keys: Iterable[str], now: int) -> list[Change]:
        """Returns conditions to normal that are no longer watched."""
        changes = []
        for key in keys:
            tracked = self._tracked[key]
            alarm = tracked.alarm
            if alarm is not None and (state := next_state(alarm.state, Event.CLEAR)) is not None:
                cleared = replace(alarm, state=state, updated_at=now, cleared_at=now)
                changes.append(Change(Event.CLEAR, NOT_CONFIGURED, alarm.state, cleared))
                tracked = self._with_alarm(tracked, cleared)
            idle = Timers((-1,) * len(tracked.timers.on_ns))
            self._keep(replace(tracked, timers=idle, level=0, unknown=None), was_open=True)
        return changes

    def tracked(self, key: str) -> Tracked | None:
        """A condition, if there is anything to know about it."""
        return self._tracked.get(key)

    def holding(self, alarm_id: str) -> tuple[Tracked, Alarm]:
        """The condition that has an open alarm of this id, and the alarm.

        Raises
        ------
        AlarmError
            No alarm of this id is open.

        """
        key = self._ids.get(alarm_id)
        tracked = self._tracked[key] if key is not None else None
        if tracked is None or tracked.alarm is None:
            raise AlarmError(f"there is no open alarm {alarm_id}; see the history for those that are over")
        return tracked, tracked.alarm

    def open_keys(self) -> set[str]:
        """Conditions that a delay runs for, that have an alarm, or that are indeterminate."""
        return set(self._open)

    def restore(self, tracked: Tracked) -> None:
        """Puts a condition back as it was, because the change could not be made durable."""
        self._keep(tracked, was_open=True)

    def active(self) -> list[Alarm]:
        """Alarms that are not normal: unacknowledged, then returned unacknowledged, then acknowledged ones.

        Within each the most urgent come first, then the newest.
        """
        alarms = [entry.alarm for entry in self._tracked.values() if entry.alarm is not None]
        return sorted(
            alarms,
            key=lambda alarm: (_TURN[alarm.state], _RANK[alarm.priority], -alarm.raised_at, alarm.id),
        )

    def indeterminate(self) -> list[Indeterminate]:
        """Rules that cannot be judged now, in the order in which that began."""
        unknown = [self._tracked[key].unknown for key in self._open]
        known = [entry for entry in unknown if entry is not None]
        return sorted(known, key=lambda entry: (entry.since, entry.rule, entry.asset))

    def take_dirty(self) -> Sequence[Tracked]:
        """Conditions that changed since the last call and must be made durable."""
        dirty = [self._tracked[key] for key in self._dirty]
        self._dirty.clear()
        return dirty

    def mark_dirty(self, tracked: Iterable[Tracked]) -> None:
        """Gives conditions back that could not be made durable."""
        self._dirty |= {entry.key for entry in tracked}

    def _stepped(
        self, tracked: Tracked, decision: Decision, finding: Finding, timing: Timing, now: int
    ) -> tuple[Tracked, Change]:
        state = tracked.alarm.state if tracked.alarm else AlarmState.NORMAL
        event = decision.event
        after = next_state(state, event) if event is not None else None
        if event is None or after is None:
            raise AlarmError(f"{tracked.key}: {event} has no meaning for an alarm that is {state}")
        if event is Event.CLEAR:
            if tracked.alarm is None:
                raise AlarmError(f"{tracked.key}: cleared without an alarm")
            alarm = replace(
                tracked.alarm,
                state=after,
                updated_at=now,
                cleared_at=now,
                value=finding.value,
                limit=finding.limit,
            )
            tracked = replace(tracked, level=0)
        else:
            priority = timing.grades[decision.level - 1].priority
            alarm = self._raised(tracked.alarm, finding, priority, now, again=event is Event.RAISE)
            tracked = replace(tracked, level=decision.level)
        return self._with_alarm(tracked, alarm), Change(event, decision.reason, state, alarm)

    def _raised(
        self, old: Alarm | None, finding: Finding, priority: Priority, now: int, *, again: bool
    ) -> Alarm:
        """The alarm as a finding raises it, anew or once more, or escalates it."""
        subject, texts = finding.subject, finding.texts or _NO_TEXTS
        if old is None:
            self.number += 1
        return Alarm(
            id=old.id if old else f"{subject.key.replace('/', '-')}-{self.number}",
            key=subject.key,
            rule=subject.rule,
            rule_version=subject.version,
            asset=subject.asset,
            area=subject.area,
            title=texts.title,
            priority=priority,
            state=AlarmState.UNACKNOWLEDGED,
            value=finding.value,
            limit=finding.limit,
            unit=finding.unit,
            quality=finding.quality,
            t_source=finding.t_source,
            t_received=finding.t_received,
            raised_at=old.raised_at if old and not again else now,
            updated_at=now,
            cause=texts.cause,
            consequence=texts.consequence,
            response=texts.response,
            evidence=texts.evidence,
            occurrences=(old.occurrences if old else 0) + again,
        )

    def _with_alarm(self, tracked: Tracked, alarm: Alarm) -> Tracked:
        return replace(tracked, alarm=alarm if alarm.state is not AlarmState.NORMAL else None)

    def _keep(self, tracked: Tracked, was_open: bool) -> None:
        before = self._tracked.get(tracked.key)
        if before is not None and before.alarm is not None:
            self._ids.pop(before.alarm.id, None)
        if tracked.alarm is not None:
            self._ids[tracked.alarm.id] = tracked.key
        self._tracked[tracked.key] = tracked
        if tracked.open:
            self._open.add(tracked.key)
        else:
            self._open.discard(tracked.key)
        if was_open or tracked.open:
            self._dirty.add(tracked.key)


def _unknown(before: Indeterminate | None, finding: Finding) -> Indeterminate | None:
    """What a finding says about not knowing; the time when that began stays when the reason changes."""
    if not finding.indeterminate:
        return None
    subject, since = finding.subject, before.since if before else finding.at
    return Indeterminate(subject.rule, subject.asset, finding.indeterminate, since)
