from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.kpi import DAY, AlarmKpis
from alerts.lifecycle import Event

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
N, U, A = AlarmState.NORMAL, AlarmState.UNACKNOWLEDGED, AlarmState.ACKNOWLEDGED


def alarm(at: int, key: str = "R6/A-B", state: AlarmState = U, **more: object) -> Alarm:
    values: dict[str, object] = {
        "id": f"{key}-{at}", "key": key, "rule": "R6", "rule_version": 1, "asset": "A-B", "area": "KZ",
        "title": "", "priority": Priority.LOW, "state": state, "value": 1.0,
        "limit": 0.0, "unit": "MW", "quality": "good",
        "t_source": at, "t_received": at, "raised_at": at, "updated_at": at,
    }  # fmt: skip
    return Alarm(**(values | more))  # type: ignore[arg-type]


def test_rates_and_the_worst() -> None:
    kpis = AlarmKpis()
    for ago, key in [(10, "a"), (20, "a"), (700, "b"), (5000, "a"), (90_000, "old")]:
        kpis.take(Event.RAISE, N, alarm(NOW - ago * SECOND, key))
    kpis.take(Event.RAISE, AlarmState.SHELVED, alarm(NOW, "shelved", AlarmState.SHELVED))
    found = kpis.indicators(NOW, [], [])
    assert (found.last_10_min, found.last_hour, found.last_day, found.peak_10_min) == (2, 3, 4, 2)
    assert [(t.key, t.count, t.share_pct) for t in found.top] == [("a", 3, 75.0), ("b", 1, 25.0)]
    assert found.priority_pct["low"] == 100.0
    assert kpis.indicators(NOW, [], [], "UZ").last_day == 0


def test_a_flood_begins_above_ten_and_ends_below_five() -> None:
    kpis = AlarmKpis()
    for interval, count in [(5, 11), (4, 5), (3, 10), (2, 4), (1, 10)]:
        for n in range(count):
            kpis.take(Event.RAISE, N, alarm(NOW - interval * 600 * SECOND + n * SECOND))
    found = kpis.indicators(NOW, [], [])
    assert found.flood_pct == round(100 * 3 / 144, 2)
    assert not found.in_flood
    assert found.peak_10_min == 11


def test_times_to_acknowledge_fleeting_chattering_and_stale() -> None:
    kpis = AlarmKpis(fleeting_s=10)
    raised = NOW - 100 * SECOND
    for waited in (10, 20, 30):
        seen = alarm(raised, state=A, acknowledged_at=raised + waited * SECOND)
        kpis.take(Event.ACKNOWLEDGE, U, seen)
    for lasted in (9, 10):
        kpis.take(Event.CLEAR, A, replace(alarm(raised), updated_at=raised + lasted * SECOND))
    kpis.take(Event.CLEAR, AlarmState.SHELVED, alarm(raised))
    kpis.take(Event.RAISE, N, alarm(raised, chattering=True))
    standing = [alarm(NOW - DAY - 1), alarm(NOW - DAY, acknowledged_at=NOW)]
    found = kpis.indicators(NOW, standing, [alarm(NOW, state=AlarmState.SHELVED)])
    assert (found.acknowledge_median_s, found.fleeting, found.chattering) == (20.0, 1, 1)
    assert (found.standing, found.unacknowledged, found.stale, found.held) == (2, 1, 1, 1)
    record = found.record()
    assert record.key == f"all-{NOW}"
    assert record.fields["acknowledge_median_s"] == 20.0


@given(st.lists(st.integers(0, 2 * DAY), max_size=60))
def test_every_raise_of_the_day_is_counted_once(ages: list[int]) -> None:
    kpis = AlarmKpis()
    for age in sorted(ages, reverse=True):
        kpis.take(Event.RAISE, N, alarm(NOW - age))
    found = kpis.indicators(NOW, [], [])
    assert found.last_day == sum(age < DAY for age in ages)
    assert found.last_10_min == sum(age < 600 * SECOND for age in ages)
    assert found.top_share_pct == (100.0 if found.last_day else 0.0)


@pytest.mark.parametrize("missing", ["acknowledge_median_s", "low_pct"])
def test_what_is_not_known_is_not_recorded(missing: str) -> None:
    assert missing not in AlarmKpis().indicators(NOW, [], []).record().fields
