"""Sliding windows against plain computations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.rules.window import RangeWindow

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND

steps = st.lists(st.tuples(st.integers(1, 20), st.floats(-1000, 1000)), min_size=2, max_size=60)


@given(steps, st.integers(5, 60))
def test_a_window_is_what_its_samples_are(samples: list[tuple[int, float]], span: int) -> None:
    window, at, seen = RangeWindow(span), T0, []
    for step, value in samples:
        at += step * SECOND
        seen.append((at, value))
        window.add(at, value)
    inside = [(t, v) for t, v in seen if t >= at - span * SECOND]
    t = np.array([(t - T0) / SECOND for t, _ in inside])
    v = np.array([v for _, v in inside])
    assert window.mean == pytest.approx(v.mean(), abs=1e-6)
    assert (window.least, window.most) == (v.min(), v.max())
    assert window.change == v[-1] - v[0]
    assert window.covered_s == t[-1] - t[0]
    assert window.integral == pytest.approx(np.trapezoid(v, t), abs=1e-6)
    if len(inside) > 1:
        assert window.slope() == pytest.approx(np.polyfit(t, v, 1)[0], abs=1e-6)


def test_a_gap_or_a_step_back_empties_it() -> None:
    window = RangeWindow(60, longest_gap_s=10)
    for at, count in ((0, 1), (5, 2), (16, 1), (17, 2), (17, 1), (3, 1)):
        window.add(T0 + at * SECOND, float(at))
        samples = window.integral, window.covered_s
        assert (samples == (0.0, 0.0)) is (count == 1)
    assert window.least == window.most == 3.0


def test_an_empty_one_knows_nothing() -> None:
    window = RangeWindow(60)
    assert all(
        math.isnan(x) for x in (window.mean, window.least, window.range, window.slope(), window.change)
    )
    assert not window.full
    window.add(T0, 1.0)
    assert not window.full
