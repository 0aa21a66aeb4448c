"""Losses against a power flow that shares no code with them.

Figures: power-grid-model 1.12 on the reference corridor with exact equivalent-pi sections, agreeing with an
independent Newton power flow to 1e-5 MW; line, V_f [kV], P_f, Q_f, P_t, Q_t [MW, Mvar].
"""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.two_port import LineModel, hvdc_loss_mw
from telemetry.grid import Grid, Line
from telemetry.settings import parse

Flow = tuple[str, float, float, float, float, float]

BASE: list[Flow] = [
    ("EKI-NUR", 507.5002, 931.9693, -360.7017, -921.0010, -370.8998),
    ("NUR-SHU", 502.5177, 669.0221, -648.1268, -647.2084, -442.1871),
    ("SHU-ALM", 512.3591, 913.4291, -252.3813, -900.0000, -172.5771),
    ("SHU-ZHB", 512.3591, 32.0650, -177.0845, -30.6144, -275.0945),
    ("ZHB-SHY", 508.5711, 129.9387, -69.2570, -128.7407, -260.2972),
    ("SHY-TAS", 502.7268, -321.5894, -39.7537, 322.8354, -170.4155),
    ("TAS-NAV", 501.2899, -636.8201, -301.2604, 648.0760, -371.7689),
    ("NAV-BUK", 503.4046, -299.0690, -115.0674, 300.7249, -186.2508),
    ("BUK-KUN", 502.8180, 298.6146, -130.7767, -290.3530, -69.6197),
    ("KUN-AKT", 505.8409, 789.3504, -421.5993, -763.2596, -309.9891),
    ("AKT-KRB", 504.8861, -187.7393, -203.2861, 191.1643, -215.2341),
    ("KRB-ULK", 507.5942, -91.8374, -167.2023, 94.8191, -219.1658),
    ("ULK-EKI", 499.9377, -295.4720, -121.5719, 314.2159, -154.2664),
    ("ALT-ABS", 505.9184, 839.8329, 121.0855, -836.9639, -217.9419),
    ("ALT-MGC", 505.9184, 291.4267, -111.4684, -288.9054, -78.0099),
    ("ABS-MGC", 500.8467, 136.6363, -155.8768, -135.3205, -85.2266),
    ("MGC-SAM", 504.9616, 622.8929, -3.0524, -620.2599, -26.0571),
]

EVENING: list[Flow] = [
    ("EKI-NUR", 507.5002, 1101.0248, -296.8426, -1086.7447, -387.7140),
    ("NUR-SHU", 499.1185, 834.7924, -597.5427, -807.0483, -422.5646),
    ("SHU-ALM", 503.6910, 1119.7986, -209.9044, -1100.0000, -114.7977),
    ("SHU-ZHB", 503.6910, -14.4071, -157.5816, 15.8167, -278.6873),
    ("ZHB-SHY", 499.2518, 83.5322, 2.9564, -82.3000, -317.1616),
    ("SHY-TAS", 489.8513, -368.0134, 25.4568, 369.5333, -219.9454),
    ("TAS-NAV", 486.3474, -1070.4601, -134.2706, 1098.3670, -279.5031),
    ("NAV-BUK", 488.1768, -999.3008, -87.1521, 1009.0002, -98.8810),
    ("BUK-KUN", 492.2378, -209.6331, -141.2279, 215.2672, -88.8465),
    ("KUN-AKT", 511.1081, 683.7092, -445.0052, -662.8045, -339.9765),
    ("AKT-KRB", 511.2853, 11.7802, -225.0546, -9.8146, -221.6117),
    ("KRB-ULK", 511.5505, 109.1310, -190.2832, -105.9991, -202.3618),
    ("ULK-EKI", 505.6723, -94.6689, -180.5087, 102.6193, -192.3302),
    ("ALT-ABS", 506.1515, 714.4024, 118.5298, -712.2029, -223.7593),
    ("ALT-MGC", 506.1515, 124.4502, -110.3286, -123.4553, -98.3941),
    ("ABS-MGC", 501.2659, 11.8747, -150.3338, -11.0490, -97.3820),
    ("MGC-SAM", 505.5758, 333.1704, 25.3575, -332.2862, -75.9654),
]
"""HVDC 500 MW; Almaty -1100, Navoi 100, Kungrad 900, Tashkent -700, Bukhara 800 MW: heavy, some reversed."""


@pytest.fixture(scope="module")
def corridor() -> Grid:
    path = Path(__file__).parents[2] / "greenbridge" / "corridor" / "grid.toml"
    return parse(path.read_text("utf-8"), path.name, Grid)


def _line(grid: Grid, name: str) -> Line:
    return next(line for line in grid.line if line.id == name)


@pytest.mark.parametrize("flow", BASE + EVENING, ids=lambda flow: flow[0])
def test_far_end_is_that_of_the_power_flow(corridor: Grid, flow: Flow) -> None:
    name, v_kv, p_mw, q_mvar, p_far, q_far = flow
    far = LineModel(corridor, _line(corridor, name)).far_end(v_kv, p_mw, q_mvar)
    assert far.p_mw == pytest.approx(p_far, abs=0.002)
    assert far.q_mvar == pytest.approx(q_far, abs=0.01)
    assert far.loss_mw == pytest.approx(p_mw + p_far, abs=0.002)


def test_every_line_of_the_corridor_is_covered(corridor: Grid) -> None:
    assert {line.id for line in corridor.line} == {flow[0] for flow in BASE}


def test_controller_at_a_joint_stops_at_its_limit(corridor: Grid) -> None:
    # the same power flow with the lower limit of the Kungrad-Aktau mid station at -10 Mvar, which it reaches
    line = _line(corridor, "KUN-AKT")
    joint = line.sections[0].joint
    assert joint is not None
    tight = joint.model_copy(update={"control_qmin_mvar": -10.0})
    sections = (line.sections[0].model_copy(update={"joint": tight}), *line.sections[1:])
    far = LineModel(corridor, line.model_copy(update={"sections": sections})).far_end(
        507.4738, 789.9052, -437.5475
    )
    assert far.p_mw == pytest.approx(-763.8282, abs=0.002)
    assert far.q_mvar == pytest.approx(-325.9291, abs=0.01)


def test_resistance_alone_would_be_wrong_by_megawatts(corridor: Grid) -> None:
    # what the exact two-port is for: r (P / U)^2 on Ulke-Ekibastuz misses a good part of the loss
    line = _line(corridor, "ULK-EKI")
    simple = 0.025 * line.km * (295.472 / 500) ** 2
    exact = LineModel(corridor, line).loss_mw(499.9377, -295.472, -121.5719)
    assert exact == pytest.approx(18.744, abs=0.002)
    assert abs(exact - simple) > 4


@pytest.mark.parametrize(
    ("sent_mw", "loss_mw"),
    [(800.0, 18.74), (-800.0, 18.74), (0.0, 0.0)],
)
def test_hvdc_loss(corridor: Grid, sent_mw: float, loss_mw: float) -> None:
    assert hvdc_loss_mw(corridor.hvdc[0], sent_mw) == pytest.approx(loss_mw, abs=0.01)
