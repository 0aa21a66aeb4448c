"""What the estimator finds on alternating-current truth, with the noise that its meters may have.

Figures of ``docs/estimator.md``, at a part of their size; the truth is the simulators' power flow.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import chdtri  # type: ignore[import-untyped]

from alerts.estimator.diagnosis import Diagnosis, Hypothesis, Kind
from tests.alerts.estimator.conftest import Corridor


def _first(diagnosis: Diagnosis) -> tuple[Kind, str]:
    best = diagnosis.ranking[0]
    return best.kind, best.subject


def _accepted(diagnosis: Diagnosis) -> list[str]:
    return [hypothesis.subject for hypothesis in diagnosis.accepted]


def test_truth_without_noise_leaves_no_residual(corridor: Corridor) -> None:
    diagnosis = corridor.diagnose(corridor.truth().p_mw)
    assert len(corridor.meters) == 53
    assert diagnosis.freedom == 35
    assert diagnosis.j < 1e-6
    assert diagnosis.consistent
    assert diagnosis.limit == pytest.approx(66.6, abs=0.1)


def test_heavy_flow_with_a_circuit_out_leaves_no_residual(corridor: Corridor) -> None:
    # the estimator reads from the reactive power how many circuits are in service
    corridor.world.set_circuits("NUR-SHU", 2)
    corridor.world.set_hvdc_order(500.0)
    corridor.world.set_load_scale("ALM", 1.2)
    for _ in range(30):
        corridor.world.step(1.0)
    diagnosis = corridor.diagnose(corridor.truth().p_mw)
    assert diagnosis.branches["NUR-SHU"].circuits == 2
    assert diagnosis.j < 1e-3


def test_estimates_are_the_flows(corridor: Corridor) -> None:
    truth = corridor.truth()
    estimate = corridor.diagnose(truth.p_mw).branches["KUN-AKT"]
    assert estimate.p_from_mw == pytest.approx(truth.p_mw[corridor.index("KUN-AKT_KUN_main")], abs=1e-3)
    assert estimate.p_to_mw == pytest.approx(truth.p_mw[corridor.index("KUN-AKT_AKT_main")], abs=1e-3)
    assert estimate.loss_mw == pytest.approx(estimate.p_from_mw + estimate.p_to_mw, abs=1e-9)


def test_clean_noise_is_no_error(corridor: Corridor) -> None:
    found = list(corridor.noisy(corridor.truth(), 300, seed=11))
    j = np.array([diagnosis.j for diagnosis in found])
    # chi-square with 35 degrees of freedom: mean 35, standard deviation of this mean 0.5
    assert j.mean() == pytest.approx(35.2, abs=1.5)
    assert np.count_nonzero(j > found[0].limit) <= 3
    assert sum(bool(diagnosis.accepted) for diagnosis in found) == 0


def test_gain_of_two_percent_is_found_and_named(corridor: Corridor) -> None:
    scan, meter = corridor.truth(), corridor.index("SHY-TAS_TAS_main")
    bias = np.zeros(53)
    bias[meter] = 0.02 * scan.p_mw[meter]
    found = list(corridor.noisy(scan, 150, seed=12, bias=bias))
    j = np.array([diagnosis.j for diagnosis in found])
    assert np.mean(j > chdtri(35, 0.01)) > 0.94  # 98 % of many
    assert np.mean(j > found[0].limit) > 0.85  # 92 %
    assert sum(_first(d) == (Kind.METER, "SHY-TAS_TAS_main") for d in found) >= 148  # 399 of 400
    assert sum(_accepted(d)[:1] == ["SHY-TAS_TAS_main"] for d in found) > 110  # 349 of 400
    assert np.mean([d.ranking[0].size_mw for d in found]) == pytest.approx(bias[meter], abs=0.3)
    # whatever is accepted is the truth
    assert {subject for d in found for subject in _accepted(d)[:1]} <= {"SHY-TAS_TAS_main"}


def test_gain_of_one_percent_mostly_stays_below_the_limit(corridor: Corridor) -> None:
    # 20 % and 4 % of scans: one scan does not show it, an hour does
    scan, meter = corridor.truth(), corridor.index("SHY-TAS_TAS_main")
    bias = np.zeros(53)
    bias[meter] = 0.01 * scan.p_mw[meter]
    j = np.array([d.j for d in corridor.noisy(scan, 150, seed=13, bias=bias)])
    assert 0.08 < np.mean(j > chdtri(35, 0.01)) < 0.35
    assert np.mean(j > chdtri(35, 0.001)) < 0.14


def test_tap_of_ten_megawatts_is_located_on_its_line(corridor: Corridor) -> None:
    corridor.world.set_tap("SHY-TAS", 10.0)
    corridor.world.step(1.0)
    scan = corridor.truth()
    found = list(corridor.noisy(scan, 150, seed=14))
    assert all(not diagnosis.consistent for diagnosis in found)
    assert sum(_first(d) == (Kind.LINE, "SHY-TAS") for d in found) == 150
    assert sum(_accepted(d)[:1] == ["SHY-TAS"] for d in found) > 130  # 192 of 200
    assert np.mean([d.ranking[0].size_mw for d in found]) == pytest.approx(10.0, abs=0.3)


def test_the_largest_normalised_residual_alone_would_blame_a_meter(corridor: Corridor) -> None:
    corridor.world.set_tap("SHY-TAS", 10.0)
    corridor.world.step(1.0)
    ranking = corridor.diagnose(corridor.truth().p_mw).ranking
    best_meter = next(h for h in ranking if h.kind is Kind.METER)
    assert best_meter.t > 16
    assert best_meter.subject in {"SHY-TAS_SHY_main", "SHY-TAS_TAS_main"}


def test_where_a_tap_stands_on_its_line_cannot_be_seen_and_does_not_matter(corridor: Corridor) -> None:
    # next to either end: the flow at that end differs, everything else is as with the tap in the middle
    scan = corridor.truth()
    for node, far in (("SHY", "TAS"), ("TAS", "SHY")):
        p = scan.p_mw.copy()
        p[corridor.index(f"SHY-TAS_{node}_main")] += 10.0
        p[corridor.index(f"{node}_injection")] += 10.0
        best = corridor.diagnose(p, scan).ranking[0]
        assert (best.kind, best.subject) == (Kind.LINE, "SHY-TAS"), far
        assert best.size_mw == pytest.approx(10.0, abs=0.05)


def test_take_off_at_a_bus_names_the_bus_and_no_meter_of_a_line(corridor: Corridor) -> None:
    scan = corridor.truth()
    p = scan.p_mw.copy()
    p[corridor.index("SHY_injection")] += 15.0
    best: Hypothesis = corridor.diagnose(p, scan).accepted[0]
    assert (best.kind, best.subject) == (Kind.BUS, "SHY")
    assert best.size_mw == pytest.approx(15.0, abs=0.05)


def test_lost_plant_contradicts_nothing(corridor: Corridor) -> None:
    corridor.world.trip_plant("mirny-wind")
    corridor.world.step(1.0)
    assert corridor.diagnose(corridor.truth().p_mw).j < 1e-6


def test_hoarfrost_looks_like_a_tap_unless_the_weather_is_uncertain(
    corridor: Corridor, unknown_weather: Corridor
) -> None:
    for site in (corridor, unknown_weather):
        site.world.set_weather("SHY-TAS", "dry_snow")
        for _ in range(30):
            site.world.step(60.0)
    strict = corridor.diagnose(corridor.truth().p_mw)
    lenient = unknown_weather.diagnose(unknown_weather.truth().p_mw)
    assert strict.extra_loss["SHY-TAS"].size_mw == pytest.approx(1.58, abs=0.3)
    assert lenient.j < strict.j / 2


def test_weakest_redundancy_is_at_the_injections_that_need_check_meters(corridor: Corridor) -> None:
    diagnosis = corridor.diagnose(corridor.truth().p_mw)
    assert set(diagnosis.weak) == {f"{node}_injection" for node in ("AKT", "NUR", "SHU", "MGC", "ALT")}
    assert diagnosis.critical == ()
