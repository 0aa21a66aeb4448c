"""Every alarm condition and where it stands; findings and people's orders in, changes out. Keeps no file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from alerts.alarms import (
    HELD,
    OPEN,
    Alarm,
    AlarmError,
    AlarmState,
    Indeterminate,
    NotAllowedError,
    Priority,
)
from alerts.desk_config import DeskSettings
from alerts.holds import Design, Explained, Hold, Standing
from alerts.lifecycle import (
    HOLDING,
    LEAVING,
    Decision,
    Event,
    Reason,
    Timers,
    decide,
    next_state,
    strongest,
)
from alerts.occurrence import (
    Change,
    Tracked,
    held_by_design,
    held_by_order,
    measured,
    raised,
    suppresses,
    unknown_since,
    words,
)
from alerts.rules.finding import Finding, Timing

SECOND = 1_000_000_000

NOT_CONFIGURED = "no_longer_configured"
"""Reason of the return to normal of a condition that no rule watches any more."""
BY_PERSON = "by_person"
"""Reason of what a person did."""
TIME_OVER = "time_over"
"""Reason of the end of a hold whose time is over."""
NOW_URGENT = "now_urgent"
"""Reason of the end of a shelving whose alarm has become urgent."""
EXPLAINED = "explained"
"""Reason of a suppression by design."""
NO_LONGER_EXPLAINED = "no_longer_explained"
"""Reason of a release."""
STILL_HOLDS = "still_holds"
"""Reason of the raise that follows the end of a hold, and of a hold that another one gives way to."""

LONGEST_OUTAGE_H = 24.0 * 31
"""Longest time that a person can suppress a condition for [h]; longer outages belong in the configuration."""

_RANK = {priority: rank for rank, priority in enumerate(reversed(Priority))}
_TURN = {
    state: turn
    for turn, state in enumerate(
        (
            AlarmState.UNACKNOWLEDGED,
            AlarmState.LATCHED_UNACKNOWLEDGED,
            AlarmState.RETURNED,
            AlarmState.ACKNOWLEDGED,
            AlarmState.LATCHED_ACKNOWLEDGED,
        )
    )
}
_LATCHED = {AlarmState.LATCHED_UNACKNOWLEDGED, AlarmState.LATCHED_ACKNOWLEDGED}


class AlarmBook:
    """The alarms of a site in memory.

    Parameters
    ----------
    tracked
        Conditions as the latest commit left them.
    number
        Of the newest occurrence.
    settings
        What the desk does of itself.
    design
        What explains alarms by design.

    """

    def __init__(
        self,
        tracked: Iterable[Tracked] = (),
        number: int = 0,
        settings: DeskSettings | None = None,
        design: Design | None = None,
    ) -> None:
        self.number = number
        """Number of the newest occurrence; never used twice."""
        self._settings = settings or DeskSettings()
        self._design = design or Design()
        self._tracked: dict[str, Tracked] = {}
        self._ids: dict[str, str] = {}
        self._calm: set[str] = set()
        """Conditions of which there is nothing to follow or to remember."""
        self._open: set[str] = set()
        self._held: set[str] = set()
        self._recent: set[str] = set()
        self._dirty: set[str] = set()
        self._standing: dict[str, dict[str, Standing]] = {}
        self._pending: dict[str, set[str]] = {}
        self._waiting: dict[str, tuple[Finding, Timing]] = {}
        self._stirred = True
        self._outages = -1
        for entry in tracked:
            self._index(entry)

    def rank(self, rule: str) -> int:
        """Order in which findings of one instant are to be judged: causes before consequences."""
        return self._design.rank(rule)

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
        self._waiting.pop(key, None)
        if key in self._calm and finding.says_nothing:
            return None
        before = self._tracked.get(key) or Tracked(key, Timers.idle(timing))
        if len(before.timers.on_ns) != len(timing.grades):
            # the number of grades was changed in the configuration: the delays begin again
            level = min(before.level, len(timing.grades))
            before = replace(before, timers=Timers.idle(timing), level=level)
        if before.alarm is not None and before.alarm.chattering:
            timing = replace(timing, off_s=max(timing.off_s, self._settings.chatter_s))
        decision = decide(timing, before.timers, before.level, finding)
        after = replace(before, timers=decision.timers, unknown=unknown_since(before.unknown, finding))
        change = None
        if decision.event is None:
            if before.level and decision.reason is not Reason.INDETERMINATE and before.alarm:
                alarm = replace(measured(before.alarm, finding), quality=finding.quality)
                after = replace(after, alarm=alarm)
        elif decision.event is Event.RAISE and self._waits(before, finding):
            self._waiting[key] = (finding, timing)
        else:
            after, change = self._stepped(after, decision, finding, timing, now)
        self._keep(after, before.kept)
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
        self._keep(self._with_alarm(tracked, acknowledged), was_kept=True)
        return Change(Event.ACKNOWLEDGE, BY_PERSON, alarm.state, acknowledged)

    def reset(self, alarm_id: str, now: int) -> Change:
        """Resets a latched alarm.

        Raises
        ------
        AlarmError
            No alarm of this id is open.
        NotAllowedError
            It is not latched, or not acknowledged.

        """
        tracked, alarm = self.holding(alarm_id)
        if alarm.state not in _LATCHED:
            raise NotAllowedError(f"{alarm_id} is not latched: it is {words(alarm.state)}")
        state = next_state(alarm.state, Event.RESET)
        if state is None:
            raise NotAllowedError(f"{alarm_id} is not acknowledged; acknowledge it before you reset it")
        reset = replace(alarm, state=state, updated_at=now)
        self._keep(self._with_alarm(tracked, reset), was_kept=True)
        return Change(Event.RESET, BY_PERSON, alarm.state, reset)

    def hold(self, name: str, hold: Hold) -> list[Change]:
        """Holds a condition back: shelves it, suppresses it or takes it out of service.

        Parameters
        ----------
        name
            Id of an open alarm, or key of a condition: ``R6/SHY-TAS``.
        hold
            The order; it takes the place of an earlier one of its kind.

        Raises
        ------
        AlarmError
            There is no such condition.
        NotAllowedError
            The time or the reason is missing, or it is urgent or latched and was to be shelved.

        """
        tracked = self.named(name)
        alarm = tracked.alarm
        self._check_hold(name, hold)
        if hold.kind is AlarmState.SHELVED:
            self._check_shelving(name, alarm)
        others = tuple(other for other in tracked.holds if other.kind is not hold.kind)
        after = replace(tracked, holds=(*others, hold))
        changes = []
        if alarm is not None:
            state = next_state(alarm.state, HOLDING[hold.kind])
            if state is not None:
                held = replace(held_by_order(alarm, hold), updated_at=hold.since)
                after = replace(after, alarm=held)
                changes.append(Change(HOLDING[hold.kind], BY_PERSON, alarm.state, held))
        self._keep(after, was_kept=True)
        return changes

    def unhold(self, name: str, kind: AlarmState, now: int, reason: str = BY_PERSON) -> list[Change]:
        """Ends an order; what the condition is then is judged anew.

        Raises
        ------
        AlarmError
            There is no such condition.
        NotAllowedError
            It is not held in this way.

        """
        tracked = self.named(name)
        rest = tuple(hold for hold in tracked.holds if hold.kind is not kind)
        if len(rest) == len(tracked.holds):
            raise NotAllowedError(f"{name} is not {words(kind)}")
        return self._left(replace(tracked, holds=rest), kind, reason, now)

    def settle(self, now: int) -> list[Change]:
        """Does what follows from time and from other alarms: holds end, causes explain, children wait or go.

        Parameters
        ----------
        now
            Wall time [ns, UTC].

        """
        changes: list[Change] = []
        for key in sorted(self._held):
            alarm = self._tracked[key].alarm
            for hold in self._tracked[key].holds:
                if hold.until is not None and hold.until <= now:
                    changes += self.unhold(key, hold.kind, now, TIME_OVER)
                elif hold.kind is AlarmState.SHELVED and alarm and alarm.priority is Priority.URGENT:
                    changes += self.unhold(key, hold.kind, now, NOW_URGENT)
        outages = self._design.begun(now)
        if self._stirred or outages != self._outages:
            self._outages, self._stirred = outages, False
            keys = sorted(self._open, key=lambda key: (self.rank(key.partition("/")[0]), key))
            for key in keys:
                changes += self._explained(self._tracked[key], now)
        else:
            for key in sorted(key for key in self._open if self._tracked[key].released_at):
                changes += self._explained(self._tracked[key], now)
        for finding, timing in list(self._waiting.values()):
            change = self.judge(finding, timing, now)
            changes += [change] if change is not None else []
        self._forget_raises(now)
        return changes

    def retire(self, keys: Iterable[str], now: int) -> list[Change]:
        """Returns conditions to normal that are no longer watched."""
        changes = []
        for key in keys:
            tracked = self._tracked[key]
            alarm = tracked.alarm
            if alarm is not None:
                event = LEAVING.get(alarm.state, Event.CLEAR)
                state = next_state(alarm.state, event)
                if state is not None:
                    cleared = replace(alarm, state=state, updated_at=now, cleared_at=now)
                    changes.append(Change(event, NOT_CONFIGURED, alarm.state, cleared))
                    tracked = self._with_alarm(tracked, cleared)
            idle = Timers((-1,) * len(tracked.timers.on_ns))
            self._waiting.pop(key, None)
            self._keep(
                replace(tracked, timers=idle, level=0, unknown=None, holds=(), raises=(), released_at=0), True
            )
        return changes

    def tracked(self, key: str) -> Tracked | None:
        """A condition, if there is anything to know about it."""
        return self._tracked.get(key)

    def named(self, name: str) -> Tracked:
        """A condition by its key, or by the id of its open alarm.

        Raises
        ------
        AlarmError
            There is none.

        """
        tracked = self._tracked.get(self._ids.get(name, name))
        if tracked is None:
            raise AlarmError(f"there is no open alarm or condition {name}; see greenbridge alarms list")
        return tracked

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

    def kept_keys(self) -> set[str]:
        """Conditions that there is something to remember of."""
        return self._open | self._held | self._recent

    def restore(self, tracked: Tracked) -> None:
        """Puts a condition back as it was, because the change could not be made durable."""
        self._keep(tracked, was_kept=True)

    def active(self) -> list[Alarm]:
        """Alarms that people are told of: unacknowledged ones first, those that are acknowledged last.

        Within each state the most urgent come first, then the newest.
        """
        alarms = [alarm for alarm in self._alarms() if alarm.state in OPEN]
        return sorted(
            alarms,
            key=lambda alarm: (_TURN[alarm.state], _RANK[alarm.priority], -alarm.raised_at, alarm.id),
        )

    def held(self) -> list[Alarm]:
        """Alarms that are shelved, suppressed or out of service, in the order in which they began."""
        alarms = [alarm for alarm in self._alarms() if alarm.state in HELD]
        return sorted(alarms, key=lambda alarm: (alarm.began_at, alarm.id))

    def orders(self) -> list[tuple[str, Hold]]:
        """Every order of a person that holds a condition back, oldest first, also while it has no alarm."""
        orders = [(key, hold) for key in self._held for hold in self._tracked[key].holds]
        return sorted(orders, key=lambda order: (order[1].since, order[0], order[1].kind))

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

    def _alarms(self) -> list[Alarm]:
        return [entry.alarm for key in self._open if (entry := self._tracked[key]).alarm is not None]

    def _check_hold(self, name: str, hold: Hold) -> None:
        what = "taken out of service" if hold.kind is AlarmState.OUT_OF_SERVICE else words(hold.kind)
        if not hold.reason:
            raise NotAllowedError(f"{name} cannot be {what} without a reason; say why")
        longest = {AlarmState.SHELVED: self._settings.max_shelve_h, AlarmState.SUPPRESSED: LONGEST_OUTAGE_H}
        hours = longest.get(hold.kind)
        lasts = 0 if hold.until is None else hold.until - hold.since
        if hours is not None and not 0 < lasts <= hours * 3600 * SECOND:
            raise NotAllowedError(f"{name} can be {what} for at most {hours:g} h; give a time within that")

    def _check_shelving(self, name: str, alarm: Alarm | None) -> None:
        if alarm is not None and alarm.priority is Priority.URGENT:
            raise NotAllowedError(
                f"{name} is urgent: urgent alarms cannot be shelved; acknowledge it and act"
            )
        if alarm is not None and alarm.state in _LATCHED:
            raise NotAllowedError(
                f"{name} is latched: acknowledge and reset it, there is nothing to be shelved"
            )

    def _waits(self, tracked: Tracked, finding: Finding) -> bool:
        """Whether a cause that is about to show explains what would be raised."""
        if tracked.alarm is not None and tracked.alarm.state in HELD:
            return False
        return self._design.waits(finding.subject.rule, finding.subject.asset, self._pending)

    def _left(self, tracked: Tracked, kind: AlarmState, reason: str, now: int) -> list[Change]:
        """The steps out of a held state: through normal to what holds it still, or to a raise."""
        alarm = tracked.alarm
        state = None if alarm is None else next_state(alarm.state, LEAVING[kind])
        if alarm is None or state is None:
            self._keep(tracked, was_kept=True)
            return []
        free = replace(
            alarm, state=state, updated_at=now, held_reason="", held_by="", held_at=None, held_until=None
        )
        changes = [Change(LEAVING[kind], reason, alarm.state, free)]
        explained = self._design.explain(alarm.rule, alarm.asset, now, self._standing)
        free = replace(free, parent=explained.parent if explained else "")
        explained = explained if explained and tracked.level else None
        still = self._state(tracked, explained, alarm.priority)
        order = next((hold for hold in tracked.holds if hold.kind is still), None)
        if order is not None:
            free = held_by_order(free, order)
            changes.append(Change(HOLDING[order.kind], STILL_HOLDS, AlarmState.NORMAL, free))
        elif explained is not None and still is AlarmState.SUPPRESSED:
            free = held_by_design(free, explained, now)
            changes.append(Change(Event.SUPPRESS, EXPLAINED, AlarmState.NORMAL, free))
        elif tracked.level or self._settings.latches(alarm.rule, alarm.key):
            free = replace(free, state=AlarmState.UNACKNOWLEDGED, raised_at=now, acknowledged_at=None)
            free = replace(free, acknowledged_by="", comment="")
            changes.append(Change(Event.RAISE, STILL_HOLDS, AlarmState.NORMAL, free))
            if not tracked.level:
                # it was over before anybody could hear of it: that is what latching is for
                free = replace(free, state=AlarmState.LATCHED_UNACKNOWLEDGED)
                changes.append(Change(Event.LATCH, STILL_HOLDS, AlarmState.UNACKNOWLEDGED, free))
        self._keep(self._with_alarm(replace(tracked, released_at=0), free), was_kept=True)
        return changes

    def _explained(self, tracked: Tracked, now: int) -> list[Change]:
        """Suppresses an alarm that is explained now, and releases one that is so no longer."""
        alarm = tracked.alarm
        if alarm is None or (not tracked.level and alarm.state is not AlarmState.SUPPRESSED):
            return []
        ordered = any(hold.kind is AlarmState.SUPPRESSED for hold in tracked.holds)
        explained = self._design.explain(alarm.rule, alarm.asset, now, self._standing)
        parent = explained.parent if explained else ""
        suppressed = explained is not None and suppresses(explained, alarm.priority)
        if alarm.state is AlarmState.SUPPRESSED and not ordered:
            if suppressed:
                after = replace(tracked, released_at=0, alarm=replace(alarm, parent=parent))
            elif tracked.released_at == 0:
                after = replace(tracked, released_at=now)
            else:
                after = tracked
            waits = alarm.priority is not Priority.URGENT and (
                after.unknown is not None or now - after.released_at < self._settings.release_s * SECOND
            )
            if suppressed or (tracked.level and waits):
                if after != tracked:
                    self._keep(after, was_kept=True)
                return []
            return self._left(after, AlarmState.SUPPRESSED, NO_LONGER_EXPLAINED, now)
        state = next_state(alarm.state, Event.SUPPRESS)
        if explained is not None and suppressed and state is not None and alarm.state is not state:
            held = held_by_design(alarm, explained, now)
            self._keep(replace(tracked, alarm=held, released_at=0), was_kept=True)
            return [Change(Event.SUPPRESS, EXPLAINED, alarm.state, held)]
        if alarm.parent != parent:
            self._keep(replace(tracked, alarm=replace(alarm, parent=parent)), was_kept=True)
        return []

    def _stepped(
        self, tracked: Tracked, decision: Decision, finding: Finding, timing: Timing, now: int
    ) -> tuple[Tracked, Change]:
        subject, event = finding.subject, decision.event
        explained: Explained | None = None
        if tracked.alarm is not None:
            state = tracked.alarm.state
        else:
            explained = self._design.explain(subject.rule, subject.asset, now, self._standing)
            state = self._state(tracked, explained, timing.grades[max(decision.level, 1) - 1].priority)
        if event is Event.CLEAR and state not in HELD and self._settings.latches(subject.rule, tracked.key):
            event = Event.LATCH
        after = next_state(state, event) if event is not None else None
        if event is None or after is None:
            raise AlarmError(f"{tracked.key}: {event} has no meaning for an alarm that is {state}")
        if event in {Event.CLEAR, Event.LATCH}:
            if tracked.alarm is None:
                raise AlarmError(f"{tracked.key}: cleared without an alarm")
            alarm = measured(tracked.alarm, finding)
            alarm = replace(alarm, state=after, updated_at=now, cleared_at=now, chattering=False)
            tracked = replace(tracked, level=0)
        else:
            priority = timing.grades[decision.level - 1].priority
            if tracked.alarm is None:
                self.number += 1
            again = event is Event.RAISE
            alarm = raised(tracked, finding, priority, number=self.number, now=now, again=again)
            tracked = replace(tracked, level=decision.level)
            if event is Event.RAISE:
                tracked, alarm = self._counted(tracked, alarm, now)
            if explained is not None:
                alarm = replace(alarm, parent=explained.parent)
            alarm = self._placed(replace(alarm, state=after), tracked, explained, now)
        self._stirred = True
        return self._with_alarm(tracked, alarm), Change(event, decision.reason, state, alarm)

    def _state(self, tracked: Tracked, explained: Explained | None, priority: Priority) -> AlarmState:
        """State of a condition that has no alarm: normal, or held before anything happened."""
        kinds = [hold.kind for hold in tracked.holds]
        if explained is not None and suppresses(explained, priority):
            kinds.append(AlarmState.SUPPRESSED)
        found = strongest(kinds)
        if found is AlarmState.SHELVED and priority is Priority.URGENT:
            return AlarmState.NORMAL
        return found or AlarmState.NORMAL

    def _placed(self, alarm: Alarm, tracked: Tracked, explained: Explained | None, now: int) -> Alarm:
        """The alarm with the reason of its held state, if it is in one."""
        if alarm.state not in HELD or alarm.held_reason:
            return alarm
        order = next((hold for hold in tracked.holds if hold.kind is alarm.state), None)
        if order is not None:
            return held_by_order(alarm, order)
        return held_by_design(alarm, explained, now) if explained is not None else alarm

    def _counted(self, tracked: Tracked, alarm: Alarm, now: int) -> tuple[Tracked, Alarm]:
        """Notes a raise; the one that makes it too many within a short time begins the chatter."""
        raises = (*(t for t in tracked.raises if self._is_recent(t, now)), now)
        raises = raises[-self._settings.chatter_count :]
        chattering = len(raises) >= self._settings.chatter_count
        if chattering and not alarm.chattering:
            alarm = replace(alarm, title=f"{alarm.title} (chattering)", chattering=True)
        return replace(tracked, raises=raises), alarm

    def _is_recent(self, at: int, now: int) -> bool:
        return 0 <= now - at < self._settings.chatter_s * SECOND

    def _forget_raises(self, now: int) -> None:
        for key in sorted(self._recent):
            tracked = self._tracked[key]
            raises = tuple(t for t in tracked.raises if self._is_recent(t, now))
            if raises != tracked.raises:
                self._keep(replace(tracked, raises=raises), was_kept=True)

    def _with_alarm(self, tracked: Tracked, alarm: Alarm) -> Tracked:
        return replace(tracked, alarm=alarm if alarm.state is not AlarmState.NORMAL else None)

    def _keep(self, tracked: Tracked, was_kept: bool) -> None:
        self._index(tracked)
        if was_kept or tracked.kept:
            self._dirty.add(tracked.key)

    def _index(self, tracked: Tracked) -> None:
        """Takes a condition in, and into every list that it belongs to."""
        key, alarm = tracked.key, tracked.alarm
        before = self._tracked.get(key)
        if before is not None and before.alarm is not None:
            self._ids.pop(before.alarm.id, None)
        if alarm is not None:
            self._ids[alarm.id] = key
        self._tracked[key] = tracked
        for members, belongs in (
            (self._calm, not tracked.kept and not tracked.level),
            (self._open, tracked.open),
            (self._held, bool(tracked.holds)),
            (self._recent, bool(tracked.raises)),
        ):
            if belongs:
                members.add(key)
            else:
                members.discard(key)
        rule, _, asset = key.partition("/")
        pending = self._pending.setdefault(rule, set())
        if not tracked.level and tracked.unknown is None and any(held >= 0 for held in tracked.timers.on_ns):
            pending.add(asset)
        else:
            pending.discard(asset)
        standing = self._standing.setdefault(rule, {})
        was = standing.get(asset)
        if tracked.level and alarm is not None and alarm.state is not AlarmState.OUT_OF_SERVICE:
            found = Standing(alarm.parent or alarm.id, alarm.title, alarm.began_at)
            if was is None or was.id != found.id:
                self._stirred = True
            standing[asset] = found
        elif was is not None:
            del standing[asset]
            self._stirred = True
