"""Who is told of what and when: tables of stories on a virtual clock, and properties over any story."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.config import Occasion
from alerts.lifecycle import Event, next_state
from alerts.notify.config import NotifySettings
from alerts.notify.paging import Outgoing, Paging
from alerts.notify.routing import Routing
from telemetry.settings import Settings, parse

SECOND = 1_000_000_000
MINUTE = 60 * SECOND

TEXT = """
time_zone = "Asia/Almaty"
recipient = [
  { id = "ann", address = [{ id = "hook", url = "http://127.0.0.1/" }] },
  { id = "bob", address = [{ id = "hook", url = "http://127.0.0.1/" }] },
  { id = "chief", address = [{ id = "hook", url = "http://127.0.0.1/" }] },
]
rotation = [{ id = "duty", turn = [{ people = ["ann", "bob"], first = 2026-11-02T08:00:00 }] }]
route = [
  { id = "ties", rules = ["R1"], to = [] },
  { id = "grave", priorities = ["high", "urgent"], to = ["duty"], escalate = [
    { after_min = 10, to = ["chief"] }, { after_min = 20, to = ["duty", "chief"] } ] },
  { id = "rest", to = ["duty"] },
]
quiet = {}
flood = { group_s = 5, messages = 3, per_min = 10, urgent_every_s = 60 }
"""


class Tables(NotifySettings, Settings):
    """The tables as a file of their own."""


SETTINGS = parse(TEXT, "notify.toml", Tables)


class Desk:
    """Alarms that move through the transition table, and the people who hear of it."""

    def __init__(self, start: str = "2026-11-03T12:00:00+05:00", told: NotifySettings = SETTINGS) -> None:
        self.routing = Routing(told)
        self.paging = Paging(self.routing)
        self.now = round(datetime.fromisoformat(start).timestamp()) * SECOND
        self.alarms: dict[str, Alarm] = {}
        self.rows: dict[str, bytes] = {}
        self.sent: list[Outgoing] = []

    def alarm(self, name: str, priority: Priority = Priority.HIGH, rule: str = "R6") -> Alarm:
        return self.alarms.get(name) or Alarm(
            name, f"{rule}/{name}", rule, 1, name, "KZ", f"{name} is off", priority, AlarmState.NORMAL,
            1.0, 0.0, "MW", "good", self.now, self.now, self.now, self.now,
        )  # fmt: skip

    def do(
        self, name: str, event: Event, priority: Priority | None = None, by: str = "", rule: str = "R6"
    ) -> bool:
        alarm = self.alarm(name, priority or Priority.HIGH, rule)
        state = next_state(alarm.state, event)
        if state is None:
            return False
        alarm = replace(
            alarm, state=state, updated_at=self.now, priority=priority or alarm.priority, acknowledged_by=by
        )
        self.alarms[name] = alarm
        if state is AlarmState.NORMAL:
            del self.alarms[name]
        self.paging.take(event, alarm, self.now)
        return True

    def passes(self, seconds: int, step: int = 1) -> list[str]:
        """Lets time pass in steps [s]; returns what was told: ``ann: raised A +2``."""
        told = []
        for _ in range(0, seconds, step):
            self.now += step * SECOND
            for message in self.paging.settle(self.now):
                self.sent.append(message)
                found = message.notification
                more = f" +{found.total - 1}" if found.total > 1 else ""
                told.append(f"{message.recipient}: {found.occasion} {found.alarm.id}{more}")
            for key, body in self.paging.take_dirty().items():
                if body is None:
                    self.rows.pop(key, None)
                else:
                    self.rows[key] = body
        return told

    def restart(self) -> None:
        self.paging = Paging(self.routing, dict(self.rows))


def test_who_is_on_call_is_told_once_and_then_that_it_is_over() -> None:
    desk = Desk()
    desk.do("A", Event.RAISE)
    assert desk.passes(60) == ["ann: raised A"]
    desk.do("A", Event.ACKNOWLEDGE, by="ann (link)")
    assert desk.passes(3600, 5) == [], "she knows, and nothing escalates any more"
    desk.do("A", Event.CLEAR)
    assert desk.passes(3600, 5) == ["ann: returned A"]
    assert [key for key in desk.rows if not key.startswith("inbox/")] == [], "nothing is left to remember"


def test_grafana_13364_silence_goes_up_step_by_step_until_somebody_acknowledges() -> None:
    desk = Desk()
    desk.do("A", Event.RAISE)
    assert desk.passes(599) == ["ann: raised A"]
    assert desk.passes(10) == ["chief: unanswered A"]
    assert desk.passes(590) == []
    assert desk.passes(10) == ["ann: unanswered A", "chief: unanswered A"]
    assert desk.passes(7200, 5) == []
    desk.do("A", Event.ACKNOWLEDGE, by="ann (link)")
    assert desk.passes(60) == ["chief: acknowledged A"], "the others can go back to sleep"


@pytest.mark.parametrize("end", [Event.ACKNOWLEDGE, Event.CLEAR, Event.SHELVE, Event.SUPPRESS, Event.REMOVE])
def test_nobody_further_is_woken_for_what_is_over(end: Event) -> None:
    desk = Desk()
    desk.do("A", Event.RAISE)
    desk.passes(60)
    desk.do("A", end, by="operator")
    assert not any("chief" in told or "unanswered" in told for told in desk.passes(7200, 5))


def test_an_order_before_the_message_left_needs_no_message() -> None:
    desk = Desk()
    desk.do("A", Event.RAISE)
    desk.do("A", Event.SUPPRESS)
    desk.do("B", Event.RAISE)
    desk.do("B", Event.ACKNOWLEDGE, by="operator")
    assert desk.passes(3600, 5) == []


def test_what_came_and_went_is_told_once() -> None:
    desk = Desk()
    desk.do("A", Event.RAISE)
    desk.do("A", Event.CLEAR)
    assert desk.passes(60) == ["ann: raised A"]
    assert desk.sent[0].notification.alarm.state is AlarmState.RETURNED


def test_a_higher_grade_is_told_and_starts_the_route_anew() -> None:
    desk = Desk()
    desk.do("A", Event.RAISE, Priority.MEDIUM)
    assert desk.passes(1800, 5) == ["ann: raised A"], "the route of medium alarms has one step"
    desk.do("A", Event.ESCALATE, Priority.HIGH)
    assert desk.passes(599) == ["ann: escalated A"]
    assert desk.passes(20) == ["chief: unanswered A"]


def test_a_flood_is_one_message_with_a_count() -> None:
    desk = Desk()
    for number in range(200):
        desk.do(f"A{number}", Event.RAISE, Priority.HIGH if number % 10 else Priority.URGENT)
    assert desk.passes(5) == ["ann: raised A0 +199"]
    (message,) = desk.sent
    assert message.notification.tally == {"urgent": 20, "high": 180}
    assert len(message.notification.also) == 20
    assert {also.alarm.priority for also in message.notification.also[:19]} == {Priority.URGENT}


def test_the_rate_is_limited_and_the_rest_is_joined() -> None:
    desk = Desk()
    told = []
    for number in range(60):
        desk.do(f"A{number}", Event.RAISE)
        told += desk.passes(8)
        desk.do(f"A{number}", Event.ACKNOWLEDGE, by="ann (link)")
    assert told == ["ann: raised A0", "ann: raised A1", "ann: raised A2"]
    desk = Desk()
    for number in range(60):
        desk.do(f"A{number}", Event.RAISE, Priority.MEDIUM)
        desk.passes(8)
    desk.passes(600)
    assert [message.notification.total for message in desk.sent] == [1, 1, 1, 57]


def test_urgent_alarms_pass_the_limit_once_a_minute() -> None:
    desk = Desk()
    for number in range(6):
        desk.do(f"A{number}", Event.RAISE, Priority.MEDIUM)
        desk.passes(8)
    assert len(desk.sent) == 3
    desk.do("U", Event.RAISE, Priority.URGENT)
    assert desk.passes(70) == ["ann: raised U +3"], "what waited goes along"
    desk.do("V", Event.RAISE, Priority.URGENT)
    assert desk.passes(70) == ["ann: raised V"]
    *_, u, v = (message.notification.at for message in desk.sent)
    assert v - u == 60 * SECOND


def test_quiet_hours() -> None:
    desk = Desk("2026-11-03T23:00:00+05:00")
    desk.do("LOW", Event.RAISE, Priority.LOW)
    desk.do("OVER", Event.RAISE, Priority.LOW)
    desk.do("HIGH", Event.RAISE, Priority.HIGH)
    desk.do("GROWS", Event.RAISE, Priority.MEDIUM)
    assert desk.passes(10) == ["ann: raised HIGH"]
    desk.do("HIGH", Event.ACKNOWLEDGE, by="ann (link)")
    desk.do("OVER", Event.CLEAR)
    desk.do("GROWS", Event.ESCALATE, Priority.HIGH)
    assert desk.passes(10) == ["ann: raised GROWS"], "what has grown does not wait for the morning"
    desk.do("GROWS", Event.ACKNOWLEDGE, by="ann (link)")
    assert desk.passes(8 * 3600 - 30, 10) == []
    assert desk.passes(20) == ["ann: raised LOW"]


def test_whoever_takes_over_hears_of_what_nobody_has_acknowledged() -> None:
    desk = Desk("2026-11-09T07:59:00+05:00")
    desk.do("A", Event.RAISE)
    desk.do("B", Event.RAISE)
    assert desk.passes(30) == ["ann: raised A +1"]
    desk.do("B", Event.ACKNOWLEDGE, by="ann (link)")
    assert desk.passes(60) == ["bob: handed_over A"]
    assert desk.passes(300) == []
    desk.do("A", Event.ACKNOWLEDGE, by="bob (link)")
    assert desk.passes(60) == ["ann: acknowledged A"]


def test_a_route_to_nobody() -> None:
    desk = Desk()
    desk.do("A", Event.RAISE, rule="R1")
    assert desk.passes(3600, 5) == []


def test_a_route_that_is_gone_is_followed_by_the_one_of_now() -> None:
    desk = Desk()
    desk.do("A", Event.RAISE)
    desk.passes(60)
    routes = tuple(route for route in SETTINGS.route if route.id != "grave")
    desk.routing = Routing(SETTINGS.model_copy(update={"route": routes}))
    desk.restart()
    assert desk.passes(3600, 5) == ["ann: raised A"]


def test_a_recipient_who_is_gone_is_sent_nothing() -> None:
    desk = Desk()
    desk.do("A", Event.RAISE)
    desk.passes(2)
    people = tuple(recipient for recipient in SETTINGS.recipient if recipient.id != "ann")
    desk.routing = Routing(SETTINGS.model_copy(update={"recipient": people}))
    desk.restart()
    assert all(not told.startswith("ann") for told in desk.passes(3600, 5))
    assert not any(key.startswith("item/ann/") for key in desk.rows)


def test_alarms_from_before_there_was_anybody_to_tell() -> None:
    desk = Desk()
    waiting = replace(desk.alarm("A"), state=AlarmState.UNACKNOWLEDGED)
    known = replace(desk.alarm("B"), state=AlarmState.ACKNOWLEDGED)
    desk.paging.adopt([waiting, known], desk.now)
    assert desk.passes(60) == ["ann: raised A"]


def test_a_clock_that_steps_back_does_not_silence() -> None:
    desk = Desk()
    for number in range(3):
        desk.do(f"A{number}", Event.RAISE)
        desk.passes(6)
    desk.now -= 3600 * SECOND
    desk.do("B", Event.RAISE)
    assert desk.passes(10) == ["ann: raised B"]


def said(message: Outgoing) -> list[tuple[Occasion, str]]:
    """Everything that a message names."""
    found = message.notification
    return [(found.occasion, found.alarm.id), *((also.occasion, also.alarm.id) for also in found.also)]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from("ABCD"),
        st.sampled_from([Event.RAISE, Event.CLEAR, Event.ACKNOWLEDGE, Event.SHELVE, Event.UNSHELVE]),
        st.integers(0, 900),
    ),
    max_size=25,
)


@given(ACTIONS)
@settings(max_examples=40, deadline=None)
def test_any_story(actions: list[tuple[str, Event, int]]) -> None:
    """A restart at every step changes nothing, and what nobody acknowledges reaches the chief."""
    plain, restarted = Desk(), Desk()
    raised_at: dict[str, int] = {}
    for name, event, seconds in actions:
        for desk in (plain, restarted):
            if desk.do(name, event) and desk is plain:
                waits = event is Event.RAISE and plain.alarms[name].state is AlarmState.UNACKNOWLEDGED
                raised_at.pop(name, None)
                if waits:
                    raised_at[name] = plain.now
            desk.passes(1)
        restarted.restart()
        assert plain.passes(seconds, 30) == restarted.passes(seconds, 30)
    assert plain.sent == restarted.sent
    assert len({message.notification.key for message in plain.sent}) == len(plain.sent), "each key once"
    plain.passes(1800, 30)
    heard = {
        alarm
        for message in plain.sent
        if message.recipient == "chief"
        for occasion, alarm in said(message)
        if occasion is Occasion.UNANSWERED
    }
    assert raised_at.keys() <= heard


@given(st.lists(st.integers(0, 40), min_size=1, max_size=120))
@settings(max_examples=30, deadline=None)
def test_the_limit_holds_whatever_comes(pauses: list[int]) -> None:
    desk = Desk(told=SETTINGS.model_copy(update={"route": SETTINGS.route[2:]}))
    times: list[int] = []
    for number, pause in enumerate(pauses):
        desk.do(f"A{number}", Event.RAISE, Priority.MEDIUM)
        for _ in range(pause):
            times += [desk.now for _ in desk.passes(1)]
    desk.passes(1300, 10)
    assert all(later - first >= 10 * MINUTE for first, later in zip(times, times[3:], strict=False))
    told = Counter(alarm for message in desk.sent for _, alarm in said(message))
    assert sum(message.notification.total for message in desk.sent) == len(pauses), "each is counted once"
    assert max(told.values()) == 1
