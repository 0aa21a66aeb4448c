"""What faulty meters show."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.faults.meter import MeterFaults
from simulators.faults.model import FAULT, MeterFault
from simulators.world.meters import Reading, class_errors

SECOND = 10**9
SOUND = Reading(300.0, 40.0, 500.0, 350.0, 50.0, 10_000_000_000, 7_000_000_000)
OTHER = Reading(-10.0, 3.0, 501.0, 20.0, 50.0, 5_000_000, 6_000_000)


def fault(kind: str, **parameters: Any) -> MeterFault:
    made = FAULT.validate_python({"kind": kind, "target": "a", **parameters})
    assert isinstance(made, MeterFault)
    return made


def shown(broken: MeterFault, *measured: Reading, step_s: int = 1) -> list[Reading]:
    faults = MeterFaults({"a": 0, "b": 1})
    out = []
    for k, reading in enumerate(measured):
        a, b = faults.shown({"x": broken}, [reading, OTHER], k * step_s * SECOND)
        assert b == OTHER, "the neighbour is not touched"
        out.append(a)
    return out


def test_gain_offset_polarity_and_scale() -> None:
    (gain,) = shown(fault("gain", pct=2.0), SOUND)
    assert (gain.p_mw, gain.q_mvar, gain.i_a) == pytest.approx((306.0, 40.8, 357.0))
    assert (gain.v_kv, gain.export_wh) == (SOUND.v_kv, SOUND.export_wh)
    (offset,) = shown(fault("offset", mw=-15.0), SOUND)
    assert offset == SOUND._replace(p_mw=285.0)
    moved = SOUND._replace(export_wh=SOUND.export_wh + 500)
    reversed_ = shown(fault("polarity"), SOUND, moved)[-1]
    assert (reversed_.p_mw, reversed_.q_mvar) == (-300.0, -40.0)
    assert (reversed_.export_wh, reversed_.import_wh) == (SOUND.export_wh, SOUND.import_wh + 500)
    (scaled,) = shown(fault("wrong_scale", factor=10.0), SOUND)
    assert (scaled.p_mw, scaled.export_wh, scaled.i_a) == (3000.0, 100_000_000_000, 350.0)


def test_drift_grows_with_time() -> None:
    values = [r.p_mw for r in shown(fault("drift", pct_per_h=10.0), SOUND, SOUND, SOUND, step_s=1800)]
    assert values == pytest.approx([300.0, 315.0, 330.0])


def test_stuck_power_stands_and_its_counter_goes_on_with_it() -> None:
    later = SOUND._replace(p_mw=100.0, v_kv=490.0, export_wh=SOUND.export_wh + 1)
    stuck = shown(fault("stuck"), SOUND, later, step_s=3600)[-1]
    assert (stuck.p_mw, stuck.q_mvar, stuck.i_a, stuck.v_kv) == (300.0, 40.0, 350.0, 490.0)
    assert stuck.export_wh == SOUND.export_wh + 300_000_000
    assert stuck.import_wh == SOUND.import_wh


def test_a_late_meter_shows_the_past_and_its_clock_offset() -> None:
    measured = [SOUND._replace(p_mw=float(k)) for k in range(8)]
    assert [r.p_mw for r in shown(fault("skew", seconds=-3.0), *measured)] == [0, 0, 0, 0, 1, 2, 3, 4]
    faults = MeterFaults({"a": 0})
    faults.shown({"x": fault("skew", seconds=-3.0), "y": fault("skew", seconds=10.0)}, [SOUND], 0)
    assert faults.clock_offset_s == {0: 7.0}


def test_counters_begin_again_and_a_new_meter_has_its_own_error() -> None:
    later = SOUND._replace(export_wh=SOUND.export_wh + 700)
    reset = shown(fault("counter_reset"), SOUND, later)[-1]
    assert (reset.export_wh, reset.import_wh, reset.p_mw) == (700, 0, 300.0)
    new = shown(fault("exchanged", serial="spare"), SOUND, later)[-1]
    (old_v, old_i), (new_v, new_i) = class_errors("a"), class_errors("spare")
    assert new.p_mw == pytest.approx(300 * (1 + new_v) * (1 + new_i) / (1 + old_v) / (1 + old_i))
    assert new.p_mw != 300.0
    assert new.export_wh == 700


@given(st.lists(st.sampled_from(["gain", "stuck", "skew", "counter_reset", "polarity"]), unique=True))
def test_after_the_faults_a_meter_shows_what_it_measures(kinds: list[str]) -> None:
    parameters: dict[str, dict[str, float]] = {"gain": {"pct": 5.0}, "skew": {"seconds": -2.0}}
    faults = MeterFaults({"a": 0})
    active = {kind: fault(kind, **parameters.get(kind, {})) for kind in kinds}
    for k in range(5):
        faults.shown(active, [SOUND._replace(p_mw=300.0 + k)], k * SECOND)
    assert list(faults.shown({}, [SOUND], 6 * SECOND)) == [SOUND]
    assert not faults.swapped
    assert not faults.clock_offset_s


def test_a_counter_that_is_scaled_wrongly_begins_again_at_zero() -> None:
    faults = MeterFaults({"a": 0})
    scaled = {"s": fault("wrong_scale", factor=0.001)}
    faults.shown(scaled, [SOUND], 0)
    both = scaled | {"r": fault("counter_reset")}
    counted = [
        faults.shown(both, [SOUND._replace(export_wh=SOUND.export_wh + k * 5000)], (k + 1) * SECOND)[0]
        for k in range(3)
    ]
    assert [reading.export_wh for reading in counted] == [0, 5, 10]


PILED = [
    fault("wrong_scale", factor=1e6),
    fault("wrong_scale", factor=0.001),
    fault("gain", pct=1000),
    fault("offset", mw=1e300),
    fault("polarity"),
    fault("counter_reset"),
    fault("stuck"),
]


@given(st.lists(st.sampled_from(PILED), max_size=12))
def test_what_piled_up_faults_show_fits_in_a_register(piled: list[MeterFault]) -> None:
    faults = MeterFaults({"a": 0})
    for k in range(3):
        active = {str(n): broken for n, broken in enumerate(piled)}
        (reading,) = faults.shown(active, [SOUND._replace(export_wh=SOUND.export_wh + k)], k * SECOND)
        assert 0 <= reading.export_wh < 2**64
        assert 0 <= reading.import_wh < 2**64
        # in microwatts a float32 still holds it
        assert max(abs(reading.p_mw), abs(reading.q_mvar), abs(reading.i_a)) * 1e12 < 3.4e38


def test_a_meter_that_sends_its_own_time_shows_the_present_with_a_wrong_stamp() -> None:
    faults = MeterFaults({"a": 0, "b": 1}, stamped=["a"])
    for k in range(5):
        now = SOUND._replace(p_mw=float(k))
        a, _ = faults.shown({"x": fault("skew", seconds=-3.0)}, [now, OTHER], k * SECOND)
        assert a == now
    assert faults.clock_offset_s == {0: -3.0}


def test_word_swap_is_told_by_position() -> None:
    faults = MeterFaults({"a": 0, "b": 1})
    assert list(faults.shown({"x": fault("word_swap")}, [SOUND, OTHER], 0)) == [SOUND, OTHER]
    assert faults.swapped == {0}


def test_a_drifting_clock_moves_ever_further() -> None:
    drift = fault("clock_drift", s_per_h=-120.0)
    faults = MeterFaults({"a": 0, "b": 1}, stamped=["a"])
    for minute in range(31):
        now = SOUND._replace(p_mw=float(minute))
        a, _ = faults.shown({"x": drift}, [now, OTHER], minute * 60 * SECOND)
        assert a == now
        assert faults.clock_offset_s == {0: pytest.approx(-2.0 * minute)}
    measured = [SOUND._replace(p_mw=float(second)) for second in range(121)]
    polled = shown(fault("clock_drift", s_per_h=-360.0), *measured)
    assert polled[60].p_mw == 54.0, "six seconds late after a minute"
    assert polled[120].p_mw == 108.0


def test_a_clock_that_is_right_again_leaves_no_offset() -> None:
    faults = MeterFaults({"a": 0}, stamped=["a"])
    faults.shown({"x": fault("skew", seconds=5.0)}, [SOUND], 0)
    faults.shown({}, [SOUND], SECOND)
    assert not faults.clock_offset_s
