"""What the estimator says when it cannot know, and that it does not say more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.estimator.baselines import Baselines
from alerts.estimator.diagnosis import Estimator, Kind
from alerts.estimator.least_squares import NotSolvedError
from alerts.estimator.measurements import Array, Meter, Scan
from alerts.rules.line_state import MeterAccuracy
from telemetry.grid import Grid, Line, LineParameters, Node
from tests.alerts.estimator.conftest import CLASS, Corridor

PARAMETERS = LineParameters(
    r_ohm_per_km=0.025, x_ohm_per_km=0.306, b_us_per_km=3.6, corona_kw_per_km=2.4, corona_sigma_kw_per_km=0.0
)


def _line(a: str, b: str) -> Line:
    raw = {
        "id": f"{a}-{b}",
        "from": a,
        "to": b,
        "circuits": 1,
        "limit_mw": 900.0,
        "sections": [{"km": 150.0}],
    }
    return Line.model_validate(raw, strict=False)


class Chain:
    """Three nodes in a row, their true flows, and the meters that a test puts there."""

    def __init__(self, meters: list[tuple[str, str]], sigma_kw_per_km: float = 0.0) -> None:
        nodes = tuple(Node(id=n, name=n, area="X", latitude=0.0, longitude=0.0) for n in "ABC")
        parameters = PARAMETERS.model_copy(update={"corona_sigma_kw_per_km": sigma_kw_per_km})
        self.grid = Grid(
            u_rated_kv=500.0,
            line_parameters=parameters,
            area=(),
            node=nodes,
            line=(_line("A", "B"), _line("B", "C")),
        )
        self.meters = [Meter(f"{branch}@{node}", node, branch, CLASS) for branch, node in meters]
        self.estimator = Estimator(self.grid, self.meters)
        forward = self.estimator.model.branches[0].forward  # type: ignore[union-attr]
        b = forward.of(1).far_end(505.0, 400.0, -30.0)
        c = forward.of(1).far_end(b.v_kv, 250.0, -30.0)
        self.truth = {
            ("A-B", "A"): (400.0, -30.0, 505.0),
            ("A-B", "B"): (b.p_mw, b.q_mvar, b.v_kv),
            ("B-C", "B"): (250.0, -30.0, b.v_kv),
            ("B-C", "C"): (c.p_mw, c.q_mvar, c.v_kv),
            ("", "A"): (400.0, 0.0, 505.0),
            ("", "B"): (b.p_mw + 250.0, 0.0, b.v_kv),
            ("", "C"): (c.p_mw, 0.0, c.v_kv),
        }

    def scan(self) -> Scan:
        p, q, v = np.array([self.truth[meter.branch, meter.node] for meter in self.meters]).T
        return Scan(0, p, q, v, np.hypot(0.002 * p, 0.3))


EVERYTHING = [("A-B", "A"), ("A-B", "B"), ("B-C", "B"), ("B-C", "C"), ("", "A"), ("", "B"), ("", "C")]


def _moved(scan: Scan, by: dict[int, float]) -> Scan:
    p = scan.p_mw.copy()
    for meter, mw in by.items():
        p[meter] += mw
    return Scan(scan.instant, p, scan.q_mvar, scan.v_kv, scan.sigma_mw)


def test_meter_at_the_end_of_a_lone_line_cannot_be_told_from_a_tap() -> None:
    # two meters and nothing else: either lies, or the line takes it
    chain = Chain([("A-B", "A"), ("A-B", "B")])
    diagnosis = chain.estimator.diagnose(_moved(chain.scan(), {1: 20.0}))
    assert not diagnosis.accepted
    assert {(h.kind, h.subject) for h in diagnosis.ambiguous} == {
        (Kind.METER, "A-B@A"),
        (Kind.METER, "A-B@B"),
        (Kind.LINE, "A-B"),
    }
    assert diagnosis.inseparable


def test_one_more_meter_breaks_the_tie() -> None:
    chain = Chain([("A-B", "A"), ("A-B", "B"), ("", "A"), ("", "B"), ("B-C", "B")])
    diagnosis = chain.estimator.diagnose(_moved(chain.scan(), {1: 20.0}))
    assert [(h.kind, h.subject) for h in diagnosis.accepted] == [(Kind.METER, "A-B@B")]
    assert diagnosis.accepted[0].size_mw == pytest.approx(20.0, abs=0.1)


def test_critical_measurement_is_named_and_nothing_is_said_of_it() -> None:
    # nothing else sees the flow between B and C
    chain = Chain([("A-B", "A"), ("A-B", "B"), ("", "A"), ("B-C", "B")])
    diagnosis = chain.estimator.diagnose(_moved(chain.scan(), {3: 200.0}))
    assert diagnosis.critical == ("B-C@B",)
    assert diagnosis.consistent
    assert all(h.subject not in {"B-C@B", "B-C"} for h in diagnosis.ranking)


def test_two_errors_are_found_one_after_the_other(corridor: Corridor) -> None:
    wrong = {corridor.index("TAS-NAV_NAV_main"): 40.0, corridor.index("AKT-ALT_AKT_main"): -25.0}
    diagnosis = corridor.estimator.diagnose(_moved(corridor.truth(), wrong))
    assert [h.subject for h in diagnosis.accepted] == ["TAS-NAV_NAV_main", "AKT-ALT_AKT_main"]
    assert [h.size_mw for h in diagnosis.accepted] == pytest.approx([40.0, -25.0], abs=0.5)
    assert diagnosis.branches["TAS-NAV"].p_to_mw == pytest.approx(
        corridor.truth().p_mw[corridor.index("TAS-NAV_NAV_main")], abs=0.5
    )


def test_explaining_an_error_is_as_leaving_its_meter_out() -> None:
    chain = Chain(EVERYTHING)
    scan = _moved(chain.scan(), {0: 40.0, 3: 1.0, 5: -0.7})
    explained = chain.estimator.diagnose(scan)
    assert [h.subject for h in explained.accepted] == ["A-B@A"]
    without = scan.p_mw.copy()
    without[0] = np.nan
    reference = chain.estimator.diagnose(Scan(0, without, scan.q_mvar, scan.v_kv, scan.sigma_mw))
    for branch in ("A-B", "B-C"):
        assert explained.branches[branch].p_from_mw == pytest.approx(
            reference.branches[branch].p_from_mw, abs=0.05
        )


def test_stale_meters_are_left_out_and_the_rest_goes_on() -> None:
    chain = Chain(EVERYTHING)
    scan = chain.scan()
    scan.p_mw[[0, 1]] = np.nan
    diagnosis = chain.estimator.diagnose(scan)
    assert diagnosis.unusable == ("A-B@A", "A-B@B")
    assert diagnosis.branches["A-B"].p_from_mw == pytest.approx(400.0, abs=1.0)
    assert diagnosis.consistent


def test_line_that_is_switched_off_takes_nothing() -> None:
    chain = Chain(EVERYTHING)
    scan = _moved(chain.scan(), {2: -250.0, 3: -float(chain.scan().p_mw[3]), 5: -250.0})
    scan.q_mvar[[2, 3]] = 0.0
    scan.p_mw[6] = 0.0
    diagnosis = chain.estimator.diagnose(scan)
    assert diagnosis.branches["B-C"].circuits == 0
    assert diagnosis.branches["B-C"].loss_mw == 0.0
    assert diagnosis.j < 1e-6


def test_without_any_measurement_there_is_nothing_to_contradict() -> None:
    chain = Chain(EVERYTHING)
    scan = chain.scan()
    nothing = np.full(7, np.nan)
    diagnosis = chain.estimator.diagnose(Scan(0, nothing, nothing, nothing, scan.sigma_mw))
    assert diagnosis.freedom == 0
    assert not diagnosis.accepted
    assert not diagnosis.ranking


def test_uncertain_corona_makes_an_extra_loss_of_its_size_no_finding() -> None:
    # 150 km at 20 kW/km: 3 MW
    for sigma, consistent in ((0.0, False), (20.0, True)):
        chain = Chain(EVERYTHING, sigma)
        diagnosis = chain.estimator.diagnose(_moved(chain.scan(), {1: 6.0, 5: 6.0}))
        assert diagnosis.consistent is consistent
        assert diagnosis.extra_loss["A-B"].size_mw == pytest.approx(6.0, abs=0.2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1500, 1500), min_size=7, max_size=7),
    st.lists(st.booleans(), min_size=7, max_size=7),
    st.integers(0, 1),
)
def test_any_readings_give_an_answer_or_a_named_error(
    readings: list[float], missing: list[bool], uncertain: int
) -> None:
    chain = Chain(EVERYTHING, 5.0 * uncertain)
    base = chain.scan()
    p = np.where(missing, np.nan, readings)
    try:
        diagnosis = chain.estimator.diagnose(
            Scan(0, p, base.q_mvar, base.v_kv, np.hypot(0.002 * np.nan_to_num(p), 0.3))
        )
    except NotSolvedError:
        return
    assert diagnosis.j >= -1e-6
    assert len(diagnosis.unusable) == sum(missing)
    for hypothesis in (*diagnosis.accepted, *diagnosis.ambiguous, *diagnosis.ranking):
        assert np.isfinite([hypothesis.t, hypothesis.size_mw, hypothesis.sigma_mw]).all()
    assert len(diagnosis.ranking) == len({(h.kind, h.subject) for h in diagnosis.ranking})


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_false_error_on_clean_noise(seed: int) -> None:
    # a test value of 16 is passed by one of 16,000 clean ones; J must fail too
    chain = Chain(EVERYTHING)
    scan = chain.scan()
    noise = np.clip(np.random.default_rng(seed).standard_normal(7), -2.5, 2.5)
    assert not chain.estimator.diagnose(
        Scan(0, scan.p_mw + scan.sigma_mw * noise, scan.q_mvar, scan.v_kv, scan.sigma_mw)
    ).accepted


def test_baselines_learn_what_a_class_allows_and_no_more(corridor: Corridor) -> None:
    scan = corridor.truth()
    baselines = Baselines(corridor.meters, memory_scans=50.0)
    within, beyond = corridor.index("SHY-TAS_TAS_main"), corridor.index("KUN-AKT_KUN_main")
    p: Array = scan.p_mw.copy()
    p[within] *= 1.001
    p[beyond] *= 1.02
    read = Scan(0, p, scan.q_mvar, scan.v_kv, scan.sigma_mw)
    for _ in range(150):
        diagnosis = corridor.estimator.diagnose(read, baselines.offsets(read))
        baselines.learn(read, diagnosis.residuals)
    assert baselines.gains[within] == pytest.approx(0.001, abs=0.0005)
    assert baselines.gains[beyond] == pytest.approx(0.002)
    assert np.abs(baselines.gains).max() <= 0.002 + 1e-12
    # 2 % less the 0.2 % that may be learned away is still seen
    assert corridor.estimator.diagnose(read, baselines.offsets(read)).ranking[0].subject == "KUN-AKT_KUN_main"


def test_baseline_learns_nothing_of_a_meter_left_out_or_at_no_load() -> None:
    meters = [Meter("a", "A", "", MeterAccuracy(0.2, 0.3)), Meter("b", "B", "", MeterAccuracy(0.2, 0.3))]
    baselines = Baselines(meters, memory_scans=5.0)
    scan = Scan(0, np.array([0.5, np.nan]), np.zeros(2), np.zeros(2), np.ones(2))
    for _ in range(100):
        baselines.learn(scan, np.array([0.2, np.nan]))
    assert abs(baselines.gains[0]) < 1e-4
    assert baselines.gains[1] == 0.0
    assert baselines.offsets(scan)[1] == 0.0
