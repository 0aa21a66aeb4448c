from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alignment import Alignment, first_fault, stale_after_s
from telemetry.batch import ReadingBatch
from telemetry.quality import Quality

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND

Reading = tuple[float, float, int]
"""Seconds after T0, value, quality."""


def at(seconds: float) -> int:
    return T0 + round(seconds * SECOND)


def batch(readings: list[Reading], point: int = 7, received: float = 0.0) -> ReadingBatch:
    return ReadingBatch.of(
        "test",
        1,
        1,
        at(received),
        point=[point] * len(readings),
        t_source=[at(t) for t, _, _ in readings],
        value=[v for _, v, _ in readings],
        quality=[q for _, _, q in readings],
    )


def aligned(readings: list[Reading], period_s: float = 1.0) -> Alignment:
    alignment = Alignment({7: period_s}, 3.0)
    alignment.push(batch(readings, received=max((t for t, _, _ in readings), default=0)))
    return alignment


@pytest.mark.parametrize(
    ("readings", "instant", "value", "slope", "age_s"),
    [
        pytest.param([(0, 10, 0), (1, 20, 0)], 0.25, 12.5, 10.0, 0.0, id="between"),
        pytest.param([(0, 10, 0), (1, 20, 0)], 1.0, 20.0, 10.0, 0.0, id="on the last"),
        pytest.param([(1, 20, 0), (0, 10, 0)], 0.5, 15.0, 10.0, 0.0, id="out of order"),
        pytest.param([(0, 10, 0), (1, 20, 0), (1, 30, 0)], 0.5, 20.0, 20.0, 0.0, id="revision wins"),
        pytest.param([(0, 10, 0), (1, 20, 0)], 4.0, 20.0, 10.0, 3.0, id="held while fresh"),
        pytest.param([(0, 10, 0), (1, 20, 133), (2, 30, 0)], 0.0, 10.0, 0.0, 0.0, id="on a good one"),
    ],
)
def test_usable(readings: list[Reading], instant: float, value: float, slope: float, age_s: float) -> None:
    leg = aligned(readings).at(7, at(instant))
    assert leg.usable
    assert (leg.value, leg.slope, leg.age_s) == pytest.approx((value, slope, age_s))


@pytest.mark.parametrize(
    ("readings", "instant", "fault"),
    [
        pytest.param([], 0.0, "missing", id="never"),
        pytest.param([(5, 1, 0)], 4.0, "missing", id="only later"),
        pytest.param([(0, 1, 0)], 5.1, "stale", id="too old"),
        pytest.param([(0, 1, 0), (6, 1, 0)], 3.0, "gap", id="hole"),
        pytest.param([(0, 1, 0), (1, 1, int(Quality.LINK_LOST))], 1.5, "link_lost", id="bad before"),
        pytest.param([(0, 1, 0), (1, 1, int(Quality.DEVICE_TIMEOUT))], 0.5, "device_timeout", id="bad after"),
    ],
)
def test_not_usable(readings: list[Reading], instant: float, fault: str) -> None:
    leg = aligned(readings).at(7, at(instant))
    assert not leg.usable
    assert leg.fault == fault
    assert np.isnan(leg.value)


def test_a_slow_point_may_be_older() -> None:
    assert stale_after_s(1.0) == 5.0
    assert stale_after_s(10.0) == 30.0
    assert aligned([(0, 1, 0)], period_s=10.0).at(7, at(29)).usable


def test_uncertain_quality_is_used_and_told() -> None:
    leg = aligned([(0, 1, 0), (1, 1, int(Quality.RECEIPT_STAMPED))]).at(7, at(0.5))
    assert leg.usable
    assert leg.label == "receipt_stamped"


def test_the_first_fault_is_named() -> None:
    alignment = aligned([(0, 1, 0)])
    legs = [("A at B", alignment.at(7, at(0))), ("A at C", alignment.at(7, at(9)))]
    assert first_fault(legs) == "leg A at C is stale"
    assert first_fault(legs[:1]) == ""


def test_points_that_no_rule_uses_are_passed_over() -> None:
    alignment = Alignment({7: 1.0}, 3.0)
    assert alignment.push(batch([(0, 1, 0)], point=3)).tolist() == []
    assert alignment.push(batch([(0, 1, 0)], point=900)).tolist() == []
    assert alignment.push(batch([(0, 1, 0)])).tolist() == [7]


def test_a_clock_that_was_ahead_hides_nothing_once_it_is_right() -> None:
    alignment = Alignment({7: 1.0}, 3.0)
    for k in range(40):
        alignment.push(batch([(18_000 + k, 7.0, 0)], received=k))
    assert not alignment.at(7, at(39)).usable
    for k in range(40, 44):
        alignment.push(batch([(k, 1.0, 0)], received=k))
    assert alignment.at(7, at(43)).value == 1.0


def test_late_readings_are_counted() -> None:
    alignment = aligned([(0, 1, 0)])
    alignment.settled = at(2)
    alignment.push(batch([(1, 1, 0), (2, 1, 0), (3, 1, 0)]))
    assert alignment.late_readings == 2


times = st.lists(st.integers(0, 200), min_size=2, max_size=60, unique=True)


@given(times=times, seed=st.randoms(use_true_random=False), instant=st.integers(0, 200))
def test_order_of_arrival_does_not_matter(times: list[int], seed: object, instant: int) -> None:
    readings: list[Reading] = [(t / 10, float(t * t), 0) for t in sorted(times)]
    in_order = Alignment({7: 1.0}, 30.0)
    shuffled = Alignment({7: 1.0}, 30.0)
    for reading in readings:
        in_order.push(batch([reading]))
    mixed = list(readings)
    seed.shuffle(mixed)  # type: ignore[attr-defined]
    shuffled.push(batch(mixed))
    expected, found = in_order.at(7, at(instant / 10)), shuffled.at(7, at(instant / 10))
    assert (found.fault, found.value, found.slope) == pytest.approx(
        (expected.fault, expected.value, expected.slope), nan_ok=True
    )


@given(times=times, instant=st.floats(0, 20))
def test_between_readings_a_straight_line_is_met(times: list[int], instant: float) -> None:
    alignment = Alignment({7: 1.0}, 30.0)
    alignment.push(batch([(t / 10, 3.0 + 2.0 * t / 10, 0) for t in times]))
    leg = alignment.at(7, at(instant))
    if leg.usable and not leg.age_s:
        assert leg.value == pytest.approx(3.0 + 2.0 * instant, abs=1e-6)
