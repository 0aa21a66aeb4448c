"""Holds, causes and chatter, on a book that is told findings by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from alerts.alarms import Alarm, AlarmError, AlarmState, Priority
from alerts.book import AlarmBook
from alerts.desk_config import DeskSettings, Outage
from alerts.holds import Design, Hold
from alerts.kinship import Effect, Kin, Kinship, Relation, Topology, cycle
from alerts.lifecycle import Event
from alerts.occurrence import Change, Tracked
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing
from telemetry.grid import Grid
from telemetry.site import Site

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
HOUR = 3600 * SECOND
AT_ONCE = Timing((Grade(Priority.MEDIUM, 0), Grade(Priority.URGENT, 0)), 0)
RELATIONS = (
    Relation("R13", "R13", Kin.BEHIND),
    Relation("R6", "R18", Kin.ANY, waits=True),
    Relation("R8", "R1", Kin.SAME, Effect.GROUP),
)


class Desk:
    """A book, a clock, and what changed."""

    def __init__(
        self,
        site: Site | None = None,
        relations: Sequence[Relation] = RELATIONS,
        settings: DeskSettings | None = None,
        outages: Sequence[Outage] = (),
    ) -> None:
        topology = Topology(site.grid, site.devices.values()) if site else None
        self.design = Design(Kinship(relations, topology), outages)
        self.settings = settings or DeskSettings()
        self.book = AlarmBook((), 0, self.settings, self.design)
        self.kept: dict[str, Tracked] = {}
        self.now = T0
        self.changes: list[Change] = []

    def tell(self, key: str, level: int, timing: Timing = AT_ONCE, unknown: str = "") -> None:
        rule, _, asset = key.partition("/")
        subject = Subject(rule, 1, asset, "KZ")
        texts = Texts(f"{asset} is wrong", "", "", "", {})
        found = Finding(subject, self.now, level, level, 1.0, 0.0, "MW", texts=texts, t_received=self.now)
        change = self.book.judge(subject.unknown(self.now, unknown) if unknown else found, timing, self.now)
        self.changes += [change] if change else []

    def pass_time(self, seconds: float = 1.0) -> None:
        self.now += round(seconds * SECOND)
        self.changes += self.book.settle(self.now)

    def restart(self) -> None:
        """What was made durable comes back; nothing else does."""
        for entry in self.book.take_dirty():
            self.kept[entry.key] = entry
            if not entry.kept:
                del self.kept[entry.key]
        self.book = AlarmBook(self.kept.values(), self.book.number, self.settings, self.design)

    def alarm(self, key: str) -> Alarm | None:
        tracked = self.book.tracked(key)
        return tracked.alarm if tracked else None

    def state(self, key: str) -> AlarmState:
        alarm = self.alarm(key)
        return alarm.state if alarm else AlarmState.NORMAL

    def events(self, key: str) -> list[Event]:
        return [change.event for change in self.changes if change.alarm.key == key]

    def shelve(self, name: str, hours: float = 1.0, reason: str = "works on it") -> None:
        until = self.now + round(hours * HOUR)
        self.changes += self.book.hold(name, Hold(AlarmState.SHELVED, "anna", reason, self.now, until))


def test_shelved_until_its_time_is_over_also_over_a_restart() -> None:
    desk = Desk()
    desk.tell("R6/A-B", 1)
    desk.shelve("R6-A-B-1")
    desk.restart()
    desk.tell("R6/A-B", 1)
    desk.pass_time(3599)
    assert desk.state("R6/A-B") is AlarmState.SHELVED
    assert not desk.book.active()
    assert [alarm.held_by for alarm in desk.book.held()] == ["anna"]
    desk.pass_time(1)
    assert desk.state("R6/A-B") is AlarmState.UNACKNOWLEDGED
    assert desk.events("R6/A-B") == [Event.RAISE, Event.SHELVE, Event.UNSHELVE, Event.RAISE]
    assert not desk.book.orders()
    alarm = desk.alarm("R6/A-B")
    assert alarm is not None
    assert (alarm.held_by, alarm.held_reason, alarm.held_until) == ("", "", None)


def test_what_is_over_when_shelving_ends_is_normal() -> None:
    desk = Desk()
    desk.tell("R6/A-B", 1)
    desk.shelve("R6/A-B")
    desk.tell("R6/A-B", 0)
    assert desk.state("R6/A-B") is AlarmState.SHELVED
    desk.changes += desk.book.unhold("R6/A-B", AlarmState.SHELVED, desk.now)
    assert desk.state("R6/A-B") is AlarmState.NORMAL
    desk.tell("R6/A-B", 1)
    assert desk.state("R6/A-B") is AlarmState.UNACKNOWLEDGED


def test_a_shelved_condition_without_alarm_stays_shelved_when_it_is_raised() -> None:
    desk = Desk()
    desk.tell("R6/A-B", 0)
    desk.shelve("R6/A-B")
    desk.restart()
    assert [key for key, _ in desk.book.orders()] == ["R6/A-B"]
    desk.tell("R6/A-B", 1)
    assert desk.state("R6/A-B") is AlarmState.SHELVED


@pytest.mark.parametrize(
    ("hours", "reason", "level", "said"),
    [
        (9, "x", 1, "at most 8 h"),
        (0, "x", 1, "at most 8 h"),
        (1, "", 1, "without a reason"),
        (1, "x", 2, "urgent"),
    ],
)
def test_shelving_is_refused(hours: float, reason: str, level: int, said: str) -> None:
    desk = Desk()
    desk.tell("R6/A-B", level)
    with pytest.raises(AlarmError, match=said):
        desk.shelve("R6-A-B-1", hours, reason)
    assert desk.state("R6/A-B") is AlarmState.UNACKNOWLEDGED


def test_a_shelved_alarm_that_becomes_urgent_comes_back() -> None:
    desk = Desk()
    desk.tell("R6/A-B", 1)
    desk.shelve("R6/A-B")
    desk.tell("R6/A-B", 2)
    desk.pass_time()
    assert desk.state("R6/A-B") is AlarmState.UNACKNOWLEDGED
    assert desk.changes[-2].reason == "now_urgent"


def test_a_link_hides_its_devices_and_lets_them_go_later(site: Site) -> None:
    desk = Desk(site)
    desk.tell("R13/SHY-TAS_SHY_main", 1)
    desk.tell("R13/MGC-SAM_MGC_main", 1)
    desk.tell("R13/mqtt/east", 1)
    desk.pass_time()
    assert {alarm.key for alarm in desk.book.active()} == {"R13/mqtt/east", "R13/MGC-SAM_MGC_main"}
    (child,) = desk.book.held()
    assert (child.state, child.parent) == (AlarmState.SUPPRESSED, "R13-mqtt-east-3")
    assert "mqtt/east is wrong" in child.held_reason
    desk.tell("R13/mqtt/east", 0)
    desk.restart()
    desk.pass_time(1)
    desk.pass_time(59)
    assert desk.state(child.key) is AlarmState.SUPPRESSED, "consequences last longer than their cause"
    desk.pass_time(2)
    assert desk.state(child.key) is AlarmState.UNACKNOWLEDGED
    assert desk.events(child.key) == [Event.RAISE, Event.SUPPRESS, Event.RELEASE, Event.RAISE]


def test_a_child_that_is_over_with_its_parent_is_never_heard_of(site: Site) -> None:
    desk = Desk(site)
    desk.tell("R13/mqtt/east", 1)
    desk.tell("R13/SHY-TAS_SHY_main", 1)
    assert desk.state("R13/SHY-TAS_SHY_main") is AlarmState.SUPPRESSED
    desk.tell("R13/mqtt/east", 0)
    desk.pass_time()
    desk.tell("R13/SHY-TAS_SHY_main", 0)
    desk.pass_time()
    assert desk.state("R13/SHY-TAS_SHY_main") is AlarmState.NORMAL
    assert desk.events("R13/SHY-TAS_SHY_main") == [Event.RAISE, Event.CLEAR, Event.RELEASE]


def test_an_urgent_child_is_heard_under_its_parent(site: Site) -> None:
    desk = Desk(site)
    desk.tell("R13/mqtt/east", 1)
    desk.tell("R13/SHY-TAS_SHY_main", 1)
    desk.tell("R13/SHY-TAS_SHY_main", 2)
    desk.pass_time()
    alarm = desk.alarm("R13/SHY-TAS_SHY_main")
    assert alarm is not None
    assert (alarm.state, alarm.parent) == (AlarmState.UNACKNOWLEDGED, "R13-mqtt-east-1")


def test_a_grouped_child_is_an_alarm_of_its_own(site: Site) -> None:
    desk = Desk(site)
    desk.tell("R1/AKT-ALT", 1)
    desk.tell("R8/AKT-ALT", 1)
    desk.pass_time()
    alarm = desk.alarm("R1/AKT-ALT")
    assert alarm is not None
    assert (alarm.state, alarm.parent) == (AlarmState.UNACKNOWLEDGED, "R8-AKT-ALT-2")
    desk.tell("R8/AKT-ALT", 0)
    desk.pass_time()
    alarm = desk.alarm("R1/AKT-ALT")
    assert alarm is not None
    assert alarm.parent == ""


def test_a_child_waits_for_a_parent_that_is_about_to_show(site: Site) -> None:
    slow = Timing((Grade(Priority.HIGH, 3),), 0)
    for shows in (True, False):
        desk = Desk(site)
        desk.tell("R6/SHY-TAS", 1, slow)
        desk.tell("R18/KZ", 1)
        assert desk.state("R18/KZ") is AlarmState.NORMAL
        for _ in range(3):
            desk.pass_time()
            desk.tell("R6/SHY-TAS", int(shows), slow)
        desk.pass_time()
        assert desk.state("R6/SHY-TAS") is (AlarmState.UNACKNOWLEDGED if shows else AlarmState.NORMAL)
        assert desk.state("R18/KZ") is (AlarmState.SUPPRESSED if shows else AlarmState.UNACKNOWLEDGED)


def test_a_parent_that_cannot_be_judged_makes_nobody_wait(site: Site) -> None:
    desk = Desk(site)
    slow = Timing((Grade(Priority.HIGH, 60),), 0)
    desk.tell("R6/SHY-TAS", 1, slow)
    desk.tell("R18/KZ", 1)
    desk.tell("R6/SHY-TAS", 0, slow, unknown="stale")
    desk.pass_time()
    assert desk.state("R18/KZ") is AlarmState.UNACKNOWLEDGED


def test_a_planned_outage(site: Site) -> None:
    def at(second: int) -> datetime:
        return datetime.fromtimestamp(T0 / SECOND + second, UTC)

    outage = Outage(asset="SHY-TAS", start=at(10), end=at(100), reason="order 118")
    desk = Desk(site, outages=[outage])
    desk.tell("R6/SHY-TAS", 1)
    desk.pass_time(10)
    desk.tell("R13/SHY-TAS_SHY_main", 2)
    desk.tell("R6/MGC-SAM", 1)
    assert [alarm.key for alarm in desk.book.active()] == ["R6/MGC-SAM"]
    assert {alarm.held_reason for alarm in desk.book.held()} == {"planned outage of SHY-TAS: order 118"}
    desk.pass_time(90)
    desk.pass_time(61)
    assert len(desk.book.active()) == 3


def test_latched_until_acknowledged_and_reset() -> None:
    desk = Desk(settings=DeskSettings(latch=("R8",)))
    desk.tell("R8/A-B", 1)
    desk.tell("R8/A-B", 0)
    assert desk.state("R8/A-B") is AlarmState.LATCHED_UNACKNOWLEDGED
    with pytest.raises(AlarmError, match="acknowledge it before"):
        desk.book.reset("R8-A-B-1", desk.now)
    desk.book.acknowledge("R8-A-B-1", "anna", "", desk.now)
    with pytest.raises(AlarmError, match="latched"):
        desk.shelve("R8-A-B-1")
    desk.restart()
    desk.book.reset("R8-A-B-1", desk.now)
    assert desk.state("R8/A-B") is AlarmState.NORMAL


def test_what_latched_while_it_was_shelved_is_heard_of_afterwards() -> None:
    desk = Desk(settings=DeskSettings(latch=("R8/A-B",)))
    desk.tell("R8/A-B", 1)
    desk.shelve("R8/A-B")
    desk.tell("R8/A-B", 0)
    desk.pass_time(3600)
    assert desk.state("R8/A-B") is AlarmState.LATCHED_UNACKNOWLEDGED
    desk.tell("R6/A-B", 1)
    with pytest.raises(AlarmError, match="not latched"):
        desk.book.reset("R6-A-B-2", desk.now)


def test_chatter_is_one_alarm_until_it_was_calm() -> None:
    desk = Desk()
    for second in range(30):
        desk.tell("R6/A-B", second % 2)
        desk.pass_time(1)
        if second == 8:
            desk.restart()
    assert desk.events("R6/A-B") == [Event.RAISE, Event.CLEAR, Event.RAISE, Event.CLEAR, Event.RAISE]
    alarm = desk.alarm("R6/A-B")
    assert alarm is not None
    assert alarm.chattering
    assert alarm.title == "A-B is wrong (chattering)"
    for _ in range(62):
        desk.tell("R6/A-B", 0)
        desk.pass_time(1)
    assert desk.state("R6/A-B") is AlarmState.RETURNED


def test_out_of_service_outweighs_and_what_is_left_holds() -> None:
    desk = Desk()
    desk.tell("R6/A-B", 1)
    desk.shelve("R6/A-B")
    out = Hold(AlarmState.OUT_OF_SERVICE, "anna", "meter is exchanged", desk.now)
    desk.changes += desk.book.hold("R6/A-B", out)
    assert desk.state("R6/A-B") is AlarmState.OUT_OF_SERVICE
    desk.changes += desk.book.unhold("R6/A-B", AlarmState.OUT_OF_SERVICE, desk.now)
    alarm = desk.alarm("R6/A-B")
    assert alarm is not None
    assert (alarm.state, alarm.held_reason) == (AlarmState.SHELVED, "works on it")
    with pytest.raises(AlarmError, match="not out of service"):
        desk.book.unhold("R6/A-B", AlarmState.OUT_OF_SERVICE, desk.now)


def test_the_cause_is_the_first_of_a_chain(site: Site) -> None:
    desk = Desk(site, [*RELATIONS, Relation("R13", "R6", Kin.ANY)])
    desk.tell("R18/KZ", 1)
    desk.tell("R6/SHY-TAS", 1)
    desk.tell("R13/mqtt/east", 1)
    desk.pass_time()
    desk.pass_time()
    assert {alarm.parent for alarm in desk.book.held()} == {"R13-mqtt-east-3"}


def test_a_device_that_names_its_kin(grid: Grid, site: Site) -> None:
    topology = Topology(grid, site.devices.values())
    found = {
        (kin, parent, child): topology.related(kin, parent, child)
        for kin, parent, child in [
            (Kin.BEHIND, "mqtt/east", "SHY-TAS_SHY_main"),
            (Kin.BEHIND, "telemetry", "mqtt/east"),
            (Kin.BEHIND, "SHY-TAS_SHY_main", "SHY-TAS_SHY_main"),
            (Kin.AT, "AKT-ALT", "KZ"),
            (Kin.AT, "SHY-TAS", "SHY"),
            (Kin.AREA, "MGC-SAM", "AKT-ALT"),
            (Kin.BEHIND, "SHY-TAS_SHY_main", "mqtt/east"),
            (Kin.BEHIND, "mqtt/MGC", "SHY-TAS_SHY_main"),
            (Kin.AT, "SHY-TAS", "AKT-ALT"),
            (Kin.AT, "SHY-TAS", "AZ"),
            (Kin.AREA, "SHY-TAS", "MGC-SAM"),
            (Kin.SAME, "SHY-TAS", "SHY"),
        ]
    }
    assert list(found.values()) == [True] * 6 + [False] * 6


def test_what_is_not_known_can_be_stored(site: Site) -> None:
    desk = Desk()
    nan = float("nan")
    texts = Texts("", "", "", "", {"P [MW]": nan, "Q [Mvar]": 1.0})
    found = Finding(Subject("R6", 1, "A-B", "KZ"), T0, 1, 1, nan, nan, "MW", texts=texts)
    change = desk.book.judge(found, AT_ONCE, T0)
    assert change is not None
    assert (change.alarm.value, change.alarm.limit) == (0.0, 0.0)
    assert change.alarm.evidence == {"P [MW]": "not known", "Q [Mvar]": 1.0}


def test_rules_that_explain_each_other_are_found() -> None:
    assert cycle([Relation("R1", "R2", Kin.ANY), Relation("R2", "R1", Kin.ANY)])
    assert not cycle(RELATIONS)
