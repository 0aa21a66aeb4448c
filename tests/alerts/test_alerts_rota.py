"""Times of the week, turns and hand-overs, against brute force over every minute."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.notify.config import Rotation, Turn
from alerts.notify.rota import local_time, next_hand_over, on_call
from alerts.notify.week import DAYS, WEEK, Window, gaps, shown

SECOND = 1_000_000_000
times = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02d}:{minute % 60:02d}")
windows = st.builds(
    Window,
    days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True).map(tuple),
    begins=times,
    ends=times | st.just("24:00"),
)


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * SECOND


@given(st.lists(windows, max_size=4))
@settings(deadline=None)
def test_every_minute_is_in_a_window_or_in_a_gap(some: list[Window]) -> None:
    missing = gaps(some)
    in_gap = {minute % WEEK for begin, end in missing for minute in range(begin, end)}
    for minute in range(0, WEEK, 7):
        assert any(window.contains(minute) for window in some) != (minute in in_gap)
    assert all(begin < end for begin, end in missing)
    assert all(one[1] < other[0] for one, other in pairwise(missing)), "gaps that touch are one"


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ("{}", ["Mon 00:00", "Sun 23:59"], []),
        ('{"begins": "22:00", "ends": "07:00"}', ["Mon 22:00", "Tue 06:59"], ["Mon 07:00", "Mon 21:59"]),
        ('{"days": ["sun"], "begins": "20:00", "ends": "08:00"}', ["Sun 20:00", "Mon 07:59"], ["Mon 08:00"]),
        ('{"days": ["sat"], "begins": "08:00", "ends": "08:00"}', ["Sat 08:00", "Sun 07:59"], ["Sun 08:00"]),
    ],
)
def test_windows(window: str, inside: list[str], outside: list[str]) -> None:
    found = Window.model_validate_json(window)
    held = {shown(minute) for minute in range(WEEK) if found.contains(minute)}
    assert set(inside) <= held
    assert not held & set(outside)


WEEKLY = Rotation(
    id="duty",
    turn=(Turn(people=("a", "b", "c"), first=datetime.fromisoformat("2026-11-02T08:00"), every_days=7),),
)
DAYS_AND_NIGHTS = Rotation.model_validate_json(
    """{"id": "duty", "time_zone": "Asia/Almaty", "turn": [
    {"people": ["a", "b"], "first": "2026-11-02T08:00:00", "begins": "08:00", "ends": "20:00"},
    {"people": ["n"], "first": "2026-11-02T20:00:00"}],
    "override": [{"person": "x", "start": "2026-11-05T12:00:00+05:00", "end": "2026-11-05T16:00:00+05:00",
                  "reason": "training"}]}"""
)


@pytest.mark.parametrize(
    ("rotation", "when", "person"),
    [
        (WEEKLY, "2026-11-02T07:59:59+00:00", "c"),
        (WEEKLY, "2026-11-02T08:00:00+00:00", "a"),
        (WEEKLY, "2026-11-09T07:59:00+00:00", "a"),
        (WEEKLY, "2026-11-09T08:00:00+00:00", "b"),
        (WEEKLY, "2026-11-23T08:00:00+00:00", "a"),
        (WEEKLY, "2026-10-12T08:00:00+00:00", "a"),  # before the first hand-over too
        (DAYS_AND_NIGHTS, "2026-11-03T02:59:00+00:00", "n"),  # 07:59 in Almaty
        (DAYS_AND_NIGHTS, "2026-11-03T03:00:00+00:00", "a"),
        (DAYS_AND_NIGHTS, "2026-11-10T03:00:00+00:00", "b"),
        (DAYS_AND_NIGHTS, "2026-11-05T07:00:00+00:00", "x"),
        (DAYS_AND_NIGHTS, "2026-11-05T11:00:00+00:00", "a"),
    ],
)
def test_who_is_on_call(rotation: Rotation, when: str, person: str) -> None:
    found = on_call(rotation, "UTC", at(when))
    assert found is not None
    assert found.person == person
    assert found.reason == ("training" if person == "x" else "turn")


def test_a_hand_over_stays_at_its_hour_when_clocks_change() -> None:
    """Berlin leaves summer time on 2026-10-25: 08:00 is 06:00 UTC before and 07:00 UTC after."""
    rotation = Rotation(
        id="duty",
        time_zone="Europe/Berlin",
        turn=(Turn(people=("a", "b"), first=datetime.fromisoformat("2026-10-24T08:00"), every_days=1),),
    )
    seen = [on_call(rotation, "UTC", at(f"2026-10-{day}T{hour}:30:00+00:00")) for day, hour in
            [(24, "05"), (24, "06"), (25, "06"), (25, "07")]]  # fmt: skip
    assert [found.person for found in seen if found] == ["b", "a", "a", "b"]


@pytest.mark.parametrize("rotation", [WEEKLY, DAYS_AND_NIGHTS])
@given(minutes=st.integers(0, 60 * 24 * 40))
@settings(deadline=None)
def test_the_next_hand_over_is_the_first_minute_at_which_it_is_somebody_else(
    rotation: Rotation, minutes: int
) -> None:
    now = at("2026-10-20T00:00:30+00:00") + minutes * 60 * SECOND
    here, then = on_call(rotation, "UTC", now), next_hand_over(rotation, "UTC", now)
    assert here is not None
    assert then is not None
    before, after = on_call(rotation, "UTC", then - SECOND), on_call(rotation, "UTC", then)
    assert before is not None
    assert after is not None
    assert before.person == here.person != after.person


def test_one_person_is_never_handed_over() -> None:
    alone = Rotation(id="duty", turn=(Turn(people=("a",), first=datetime.fromisoformat("2026-01-01T00:00")),))
    assert next_hand_over(alone, "UTC", at("2026-11-02T00:00:00+00:00")) is None


def test_local_time_is_of_the_zone() -> None:
    now = at("2026-11-02T00:00:00+00:00")
    assert local_time(now, "Asia/Almaty") == datetime.fromisoformat("2026-11-02T05:00")
