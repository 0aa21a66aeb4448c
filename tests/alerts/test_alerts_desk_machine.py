"""Whatever is found, ordered and forgotten by the process, in whatever order: the desk stays sound."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from alerts.alarms import HELD, AlarmError, AlarmState, Priority
from alerts.book import AlarmBook
from alerts.desk_config import DeskSettings, Outage
from alerts.holds import Design, Hold
from alerts.kinship import RELATIONS, Kinship, Topology
from alerts.lifecycle import Event, next_state
from alerts.occurrence import Change, Tracked
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing
from tests.alerts.conftest import small_site

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
TIMING = Timing((Grade(Priority.MEDIUM, 2), Grade(Priority.URGENT, 0)), 3)
KEYS = (
    "R13/telemetry",
    "R13/mqtt/east",
    "R13/SHY-TAS_SHY_main",
    "R15/SHY-TAS_SHY_main",
    "R6/SHY-TAS",
    "R18/SHY-TAS",
    "R8/AKT-ALT",
    "R1/AKT-ALT",
)
SETTINGS = DeskSettings(latch=("R8",), release_s=20, chatter_s=30)
SITE = small_site()
KINSHIP = Kinship(RELATIONS, Topology(SITE.grid, SITE.devices.values()))
OUTAGE = Outage(
    asset="SHY-TAS",
    start=datetime.fromtimestamp(T0 / SECOND + 60, UTC),
    end=datetime.fromtimestamp(T0 / SECOND + 120, UTC),
    reason="order 118",
)

keys = st.sampled_from(KEYS)
kinds = st.sampled_from(sorted(HELD))


class DeskMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.levels: dict[str, int] = {}
        self.unknown: set[str] = set()
        self.kept: dict[str, bytes] = {}
        self.last: dict[str, AlarmState] = {}
        """State of each occurrence, by replay of the changes."""
        self.raised: set[str] = set()
        self.book = self._book([])

    def _book(self, tracked: Sequence[Tracked], number: int = 0) -> AlarmBook:
        return AlarmBook(tracked, number, SETTINGS, Design(KINSHIP, [OUTAGE]))

    def _take(self, changes: Sequence[Change]) -> None:
        for change in changes:
            alarm = change.alarm
            assert next_state(change.before, change.event) is alarm.state, change
            before = self.last.get(alarm.id)
            if before is None:
                assert change.event is Event.RAISE, "an occurrence begins with a raise"
                assert change.before in {AlarmState.NORMAL, *HELD}
            else:
                assert before is change.before, "no step is forgotten or taken twice"
            self.last[alarm.id] = alarm.state
        self._commit()

    def _commit(self) -> None:
        """What one transaction of the alarm journal makes durable."""
        for entry in self.book.take_dirty():
            self.kept[entry.key] = msgspec.json.encode(entry)
            if not entry.kept:
                del self.kept[entry.key]

    def _judge(self, key: str) -> None:
        asset_rule, _, asset = key.partition("/")
        subject, level = Subject(asset_rule, 1, asset, "KZ"), self.levels.get(key, 0)
        found = Finding(
            subject, self.now, level, level, 1.0, 0.0, "MW", texts=Texts(key, "", "", "", {"x": 1.0})
        )
        if key in self.unknown:
            found = subject.unknown(self.now, "stale")
        change = self.book.judge(found, TIMING, self.now)
        self._take([change] if change else [])

    @rule(key=keys, level=st.sampled_from([0, 0, 1, 1, 1, 2]), unknown=st.sampled_from([False] * 5 + [True]))
    def find(self, key: str, level: int, unknown: bool) -> None:
        self.levels[key] = level
        self.unknown.discard(key)
        if unknown:
            self.unknown.add(key)

    @rule(seconds=st.sampled_from([1, 1, 3, 8, 40]))
    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += SECOND
            for key in sorted(self.levels, key=lambda key: (self.book.rank(key.partition("/")[0]), key)):
                self._judge(key)
            self._take(self.book.settle(self.now))

    @rule(key=keys)
    def acknowledge(self, key: str) -> None:
        tracked = self.book.tracked(key)
        if tracked is not None and tracked.alarm is not None:
            change = self.book.acknowledge(tracked.alarm.id, "anna", "seen", self.now)
            self._take([change] if change else [])

    @rule(key=keys)
    def reset(self, key: str) -> None:
        tracked = self.book.tracked(key)
        if tracked is not None and tracked.alarm is not None:
            try:
                self._take([self.book.reset(tracked.alarm.id, self.now)])
            except AlarmError:
                assert tracked.alarm.state is not AlarmState.LATCHED_ACKNOWLEDGED

    @rule(key=keys, kind=kinds, seconds=st.sampled_from([5, 30, 3600]))
    def hold(self, key: str, kind: AlarmState, seconds: int) -> None:
        tracked = self.book.tracked(key)
        until = None if kind is AlarmState.OUT_OF_SERVICE else self.now + seconds * SECOND
        try:
            self._take(self.book.hold(key, Hold(kind, "anna", "why", self.now, until)))
        except AlarmError:
            refused = tracked is None or kind is AlarmState.SHELVED
            assert refused, "only shelving can be refused"

    @rule(key=keys, kind=kinds)
    def unhold(self, key: str, kind: AlarmState) -> None:
        tracked = self.book.tracked(key)
        held = tracked is not None and any(hold.kind is kind for hold in tracked.holds)
        try:
            self._take(self.book.unhold(key, kind, self.now))
        except AlarmError:
            assert not held

    @rule()
    def restart(self) -> None:
        before = (self.book.active(), self.book.held(), self.book.orders(), self.book.indeterminate())
        tracked = [msgspec.json.decode(body, type=Tracked) for body in self.kept.values()]
        self.book = self._book(tracked, self.book.number)
        after = (self.book.active(), self.book.held(), self.book.orders(), self.book.indeterminate())
        assert after == before, "a restart forgets nothing"
        self._take(self.book.settle(self.now))

    @invariant()
    def the_alarms_follow_from_the_history(self) -> None:
        there = {alarm.id: alarm.state for alarm in [*self.book.active(), *self.book.held()]}
        replayed = {i: state for i, state in self.last.items() if state is not AlarmState.NORMAL}
        assert there == replayed

    @invariant()
    def what_holds_is_an_alarm(self) -> None:
        for key in KEYS:
            tracked = self.book.tracked(key)
            if tracked is not None and tracked.level:
                assert tracked.alarm is not None, "an active condition is never forgotten"

    @invariant()
    def what_is_held_says_why(self) -> None:
        for alarm in self.book.held():
            assert alarm.held_reason
            tracked = self.book.tracked(alarm.key)
            assert tracked is not None
            if alarm.state is not AlarmState.SUPPRESSED:
                assert any(hold.kind is alarm.state for hold in tracked.holds)
                assert alarm.held_by == "anna"
        for alarm in self.book.active():
            assert (alarm.held_reason, alarm.held_by, alarm.held_until) == ("", "", None)


TestDesk = DeskMachine.TestCase
TestDesk.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
