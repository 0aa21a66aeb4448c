from __future__ import annotations

import pytest

from adapters.backoff import Backoff
from adapters.modbus.schedule import Schedule


def make(periods: list[float], now: float = 100.0, first_s: float = 1.0) -> Schedule:
    return Schedule(periods, [Backoff(first_s, 16.0, lambda: 1.0) for _ in periods], now)


def run(schedule: Schedule, until: float, cost: float = 0.0) -> list[tuple[float, int]]:
    """Times and units of every poll, each answered after ``cost`` seconds."""
    now = 100.0
    polls: list[tuple[float, int]] = []
    while True:
        unit, wait = schedule.next(now)
        now += wait
        if now >= until:
            return polls
        polls.append((round(now, 6), unit))
        now += cost
        schedule.answered(unit, now)


def upcoming(schedule: Schedule, now: float) -> tuple[int, float]:
    unit, wait = schedule.next(now)
    return unit, round(wait, 6)


def test_polls_are_staggered_over_the_period() -> None:  # thingsboard-gateway#799
    polls = run(make([1.0, 1.0, 1.0, 1.0]), until=102.0)
    assert polls == [(100 + k * 0.25, k % 4) for k in range(8)]


def test_units_keep_their_own_periods() -> None:
    polls = run(make([1.0, 5.0]), until=110.0)
    assert [t for t, unit in polls if unit == 0] == [100.0 + k for k in range(10)]
    assert [t for t, unit in polls if unit == 1] == [102.5, 107.5]


def test_a_slow_poll_never_overlaps_and_missed_slots_are_counted() -> None:
    schedule = make([1.0])
    assert schedule.next(100.0) == (0, 0.0)
    assert schedule.answered(0, 103.2) == 3
    assert upcoming(schedule, 103.2) == (0, 0.8)
    assert schedule.answered(0, 104.1) == 0


def test_phases_survive_a_long_outage() -> None:  # thingsboard-gateway#2132
    schedule = make([1.0, 1.0])
    schedule.resume(90_000.3)
    assert upcoming(schedule, 90_000.3) == (1, 0.2)
    schedule.answered(1, 90_000.5)
    assert upcoming(schedule, 90_000.5) == (0, 0.5)


def test_a_failing_unit_waits_longer_each_time_and_returns_to_its_period() -> None:
    schedule = make([1.0])
    pauses = []
    now = 100.0
    for _ in range(6):
        now += schedule.failed(0, now)
        pauses.append(now)
    assert [b - a for a, b in zip([100.0, *pauses], pauses, strict=False)] == [1, 2, 4, 8, 16, 16]
    schedule.answered(0, now)
    assert upcoming(schedule, now) == (0, 1.0)
    assert schedule.failed(0, now) == pytest.approx(1.0)


def test_healthy_units_go_first_and_a_failing_one_is_not_forgotten() -> None:  # OpenEMS#6
    schedule = make([1.0, 1.0], first_s=0.001)
    schedule.failed(0, 100.0)
    schedule.answered(1, 100.5)
    assert upcoming(schedule, 101.2) == (0, 0)
    assert upcoming(schedule, 101.6) == (1, 0), "due later than unit 0, but healthy"
    schedule.answered(1, 101.6)
    assert upcoming(schedule, 101.6) == (0, 0)


def test_a_failing_unit_has_its_turn_even_when_the_healthy_ones_take_all_the_time() -> None:
    schedule = make([1.0, 1.0], first_s=0.001)
    schedule.failed(0, 100.0)
    turns, now = [], 100.0
    for _ in range(6):
        unit, wait = schedule.next(now)
        now += wait + 1.5
        turns.append(unit)
        if unit == 0:
            schedule.failed(0, now)
        else:
            schedule.answered(1, now)
    assert {0, 1} == set(turns)
