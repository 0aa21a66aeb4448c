"""That the audit of the killed desk can fail, and that its story passes what there is to pass."""

from __future__ import annotations

import random
from collections import Counter

from alerts.alarms import AlarmState
from alerts.lifecycle import TRANSITIONS, Event
from prove.desk import Promises, Strikes
from prove.desk_story import CYCLE_S, EDGES, STEP_S, STORY, UNREACHABLE, outage_s, step_at

SHELVED = AlarmState.SHELVED.value
KEY = ("CUSTOM/a", SHELVED)


def test_a_hold_that_is_gone_is_forgotten_unless_its_time_is_over() -> None:
    promises = Promises()
    promises.take(["held", *KEY, 100])
    assert promises.forgotten(99, []) == ["CUSTOM/a is no longer shelved"]
    promises.take(["held", *KEY, 100])
    assert promises.forgotten(100, []) == []
    promises.take(["held", *KEY, None])
    assert promises.forgotten(10**12, []) == ["CUSTOM/a is no longer shelved"]
    promises.take(["held", *KEY, None])
    assert promises.forgotten(0, [(*KEY, None)]) == []
    # what a new process still has is promised from then on
    assert promises.forgotten(0, []) == ["CUSTOM/a is no longer shelved"]


def test_an_order_that_was_under_way_may_have_happened_or_not() -> None:
    promises = Promises()
    promises.take(["held", *KEY, None])
    promises.take(["ordering", "CUSTOM/a"])
    assert promises.forgotten(0, []) == []
    promises.take(["held", *KEY, None])
    promises.take(["ordering", "CUSTOM/a"])
    promises.take(["ended", *KEY])
    assert promises.forgotten(0, []) == []
    promises.take(["ordering", "CUSTOM/a"])
    promises.take(["acknowledged", "CUSTOM-a-1"])
    assert promises.steps == [(Event.ACKNOWLEDGE, "CUSTOM-a-1")]
    assert promises.ordering == ""


def test_kills_are_spread_over_the_edges() -> None:
    strikes, edges = Strikes(random.Random(1)), sorted(EDGES)  # noqa: S311 - moments
    for _ in range(200):
        for state, event in edges:
            strikes.due(["about", [(state.value, event.value)]])
            strikes.due(["done", [(state.value, event.value)]])
    assert set(strikes.at) == EDGES
    assert max(strikes.at.values()) - min(strikes.at.values()) <= 2


def test_the_story_ends_calm_and_orders_everything_that_can_be_ordered() -> None:
    assert set(TRANSITIONS) == EDGES | UNREACHABLE
    for name, steps in STORY.items():
        assert step_at(name, CYCLE_S - 1).value == 0.0
        assert step_at(name, CYCLE_S - 1).order is None
        assert step_at(name, CYCLE_S + STEP_S) == steps[1]
    orders = Counter(step.order.action for steps in STORY.values() for step in steps if step.order)
    assert set(orders) == {"ack", "reset", "hold", "end"}
    begin, end = outage_s()
    assert 0 < begin < end < CYCLE_S
