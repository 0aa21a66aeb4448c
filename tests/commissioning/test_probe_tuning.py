"""Tuning against devices whose round trip and limit are known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.codec import Request
from commissioning.modbus.target import Span
from commissioning.modbus.tuning import Tuning, fitted, tune, widest
from commissioning.modbus.walk import Reply
from telemetry.profiles import RegisterTable


def tuned(
    span: Span, takes: int, fixed_ms: float = 8.0, register_ms: float = 0.1, code: int = 3, most: int = 125
) -> tuple[Tuning, int]:
    walk = tune(1, RegisterTable.HOLDING, span, most)
    asked = 0
    try:
        query = next(walk)
        while True:
            assert isinstance(query, Request)
            assert span.start <= query.address
            assert query.address + query.count <= span.end
            asked += 1
            took_s = (fixed_ms + register_ms * query.count) / 1e3
            ok = query.count <= takes
            query = walk.send(
                Reply(bytes(2 * query.count), took_s=took_s) if ok else Reply(code=code, took_s=took_s)
            )
    except StopIteration as end:
        result: Tuning = end.value
        return result, asked


@given(takes=st.integers(1, 140), count=st.integers(1, 300), code=st.sampled_from([2, 3, 4]))
def test_the_largest_read_is_found_exactly(takes: int, count: int, code: int) -> None:
    tuning, asked = tuned(Span(100, count), takes, code=code)
    assert tuning.max_registers == min(takes, count, 125)
    assert tuning.limited == (takes < min(count, 125))
    assert tuning.refused_code == (code if tuning.limited else None)
    assert asked <= 48
    assert 0 <= tuning.max_gap <= 124


@given(fixed_ms=st.floats(0.5, 50), register_ms=st.floats(0.01, 2))
def test_the_cost_of_a_request_is_that_of_the_device(fixed_ms: float, register_ms: float) -> None:
    tuning, _ = tuned(Span(0, 125), 125, fixed_ms, register_ms)
    assert tuning.fixed_ms == pytest.approx(fixed_ms, rel=1e-6)
    assert tuning.register_ms == pytest.approx(register_ms, rel=1e-6)
    assert tuning.request_cost == pytest.approx(min(1000, fixed_ms / register_ms), abs=0.051)
    assert tuning.max_gap == max(0, min(123, int(tuning.request_cost)))


def test_where_registers_cost_nothing_a_gap_may_be_as_wide_as_a_read() -> None:
    tuning, _ = tuned(Span(0, 200), 60, register_ms=0.0)
    assert (tuning.max_registers, tuning.max_gap) == (60, 58)
    assert "nothing measurable" in tuning.text()
    assert "more is exception 3" in tuning.text()


def test_a_time_out_has_room() -> None:
    assert tuned(Span(0, 10), 10, fixed_ms=1)[0].timeout_s == 0.5
    assert tuned(Span(0, 10), 10, fixed_ms=300)[0].timeout_s == 2.0


def test_what_cannot_be_read_is_not_tuned() -> None:
    tuning, _ = tuned(Span(0, 10), 0)
    assert not tuning.sound
    assert "cannot be read" in tuning.text()


def test_the_fit_is_never_negative() -> None:
    assert fitted({1: 5.0, 100: 4.0}) == (4.5, 0.0)
    assert fitted({10: 3.0}) == (3.0, 0.0)
    assert fitted({}) == (0.0, 0.0)


def test_the_widest_range_is_taken() -> None:
    assert widest([Span(0, 3), Span(10, 9), Span(30, 9)]) == Span(10, 9)
    assert widest([]) is None
