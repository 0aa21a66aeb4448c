from __future__ import annotations

import numpy as np
import pytest

from alerts.estimator.measurements import Array, Scan
from alerts.estimator.trend import History, Trend, expected, meter_trend, trend
from tests.alerts.estimator.conftest import Corridor

HOUR = 3600
SECOND = 1_000_000_000


def _windy(seed: int, sigma_mw: float = 30.0) -> Array:
    """An hour and a margin of a flow that gusts and drifts as wind power does [MW]."""
    rng = np.random.default_rng(seed)
    gusts, drift, level = np.zeros(HOUR + 40), 0.0, 0.0
    keep = np.exp(-1 / 34)
    for i in range(len(gusts)):
        level = keep * level + np.sqrt(1 - keep**2) * rng.standard_normal()
        drift += rng.standard_normal()
        gusts[i] = 0.3 * level + drift / 30
    return 600.0 + sigma_mw * gusts


def _compared(
    gain_pct: float, offset_mw: float, skew_s: int, seed: int = 1, flow: Array | None = None
) -> Trend:
    power = _windy(seed) if flow is None else flow
    noise = np.random.default_rng(seed + 1000).standard_normal((2, HOUR)) * 0.3
    read = power[20 - skew_s : 20 - skew_s + HOUR] * (1 + gain_pct / 100) + offset_mw + noise[0]
    found = trend(read, power[20 : 20 + HOUR] + noise[1])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("gain_pct", "offset_mw", "skew_s"),
    [(-0.5, 3.0, -3), (1.0, 0.0, 0), (0.0, -4.0, 0), (0.0, 0.0, 5), (0.3, -2.0, 8), (0.0, 0.0, 0)],
)
def test_gain_offset_and_skew_are_told_apart(gain_pct: float, offset_mw: float, skew_s: int) -> None:
    found = _compared(gain_pct, offset_mw, skew_s)
    assert found.gain_pct == pytest.approx(gain_pct, abs=0.15)
    assert found.offset_mw == pytest.approx(offset_mw, abs=1.0)
    if abs(skew_s) < 8:
        assert found.skew_s == pytest.approx(skew_s, abs=0.1)
    assert abs(found.gain_pct - gain_pct) < 5 * found.gain_sigma_pct
    assert abs(found.offset_mw - offset_mw) < 5 * found.offset_sigma_mw


def test_at_constant_flow_it_does_not_pretend_to_tell() -> None:
    found = _compared(1.0, 0.0, 4, flow=np.full(HOUR + 40, 600.0))
    assert np.isnan([found.gain_pct, found.skew_s]).all()
    assert found.offset_mw == pytest.approx(6.0, abs=0.2)


def test_too_few_readings_say_nothing() -> None:
    flow = _windy(1)[:HOUR]
    holes = np.where(np.arange(HOUR) < HOUR - 200, np.nan, flow)
    assert trend(holes, flow) is None
    assert trend(flow, holes) is None


def test_history_forgets_after_its_length_and_leaves_gaps_open() -> None:
    history = History(1, rows=10)
    for second in [*range(100, 105), *range(107, 112)]:
        value = np.array([float(second)])
        history.push(Scan(second * SECOND, value, value, value, value))
    p, _, _ = history.series(0, 111 * SECOND)
    expected_p = [102, 103, 104, np.nan, np.nan, 107, 108, 109, 110, 111]
    np.testing.assert_array_equal(p, expected_p)


def test_expected_reading_follows_from_the_other_end(corridor: Corridor) -> None:
    model, truth = corridor.estimator.model, corridor.truth()
    for branch, near, far in (
        ("KUN-AKT", "KUN", "AKT"),
        ("KUN-AKT", "AKT", "KUN"),
        ("AKT-ALT", "ALT", "AKT"),
    ):
        at, other = corridor.index(f"{branch}_{near}_main"), corridor.index(f"{branch}_{far}_main")
        p, q, v = (np.full(400, column[at]) for column in (truth.p_mw, truth.q_mvar, truth.v_kv))
        found = expected(
            next(b for b in model.branches if b.id == branch), near == branch.split("-")[0], p, q, v
        )
        assert found[0] == pytest.approx(truth.p_mw[other], abs=0.02)


def test_skewed_clock_of_a_meter_on_the_corridor(corridor: Corridor) -> None:
    model, scans = corridor.estimator.model, []
    for _ in range(420):
        corridor.world.step(1.0)
        scans.append(corridor.truth())
    history = History(len(corridor.meters), rows=400)
    doubted, other = corridor.index("BUK-KUN_KUN_main"), corridor.index("BUK-KUN_BUK_main")
    for late, scan in zip(scans[3:], scans, strict=False):
        p = scan.p_mw.copy()
        # its clock is 3 s behind: what it stamps with this second happened 3 s later
        p[doubted] = late.p_mw[doubted]
        history.push(Scan(scan.instant, p, scan.q_mvar, scan.v_kv, scan.sigma_mw))
    found = meter_trend(model, history, doubted, other, scans[416].instant)
    assert found is not None
    assert found.skew_s == pytest.approx(-3.0, abs=0.2)
