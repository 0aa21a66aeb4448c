"""R2, R4, R9, R10, R12 and R20 on synthetic series."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from alerts.operation_config import FrequencySettings, LoadingSettings, VoltageSettings
from alerts.rule_config import AreaBalanceSettings, ControlErrorSettings, NetPositionSettings
from alerts.rules.area_balance import AreaBalanceRule, Measured
from alerts.rules.balance import Exchange, NetPositionRule
from alerts.rules.control_error import ControlErrorRule
from alerts.rules.finding import Finding, Rule, Subject
from alerts.rules.frequency import FrequencyRule
from alerts.rules.line_state import MeterAccuracy
from alerts.rules.loading import LoadedBranch, LoadingRule
from alerts.rules.voltage import VoltageRule
from alerts.schedules import Agreed, Step
from tests.alerts.rule_rig import Values, judged

SECOND = 1_000_000_000


def once(rule: Rule, values: Sequence[float | None]) -> Finding:
    return judged(rule, lambda _: dict(enumerate(values)), 1)[0]


FREQUENCY = FrequencyRule("IPS", [("a", 0), ("b", 1), ("c", 2)], FrequencySettings())


@pytest.mark.parametrize(
    ("hz", "level", "held"),
    [(50.0, 0, 0), (49.96, 0, 1), (49.94, 1, 1), (50.06, 1, 1), (49.81, 1, 2), (49.79, 2, 2), (49.59, 3, 3)],
)
def test_frequency_grades(hz: float, level: int, held: int) -> None:
    found = once(FREQUENCY, [hz, hz, hz])
    assert (found.level, found.held_level) == (level, held)
    assert (found.texts is not None) is bool(held)


def test_one_meter_that_lies_does_not_move_the_frequency() -> None:
    assert once(FREQUENCY, [50.0, 47.0, 50.01]).value == pytest.approx(0.0)
    assert once(FREQUENCY, [None, None, 49.7]).level == 2
    assert once(FREQUENCY, [None, None, None]).indeterminate == "leg a is link lost"


def test_frequency_texts() -> None:
    texts = once(FREQUENCY, [49.75] * 3).texts
    assert texts is not None
    assert texts.title == "IPS: frequency 49.750 Hz, 250 mHz low"
    assert "Activate reserve" in texts.response
    high = once(FREQUENCY, [50.25] * 3).texts
    assert high is not None
    assert "Too much is generated" in high.cause


VOLTAGE = VoltageRule("TAS", "UZ", 500.0, [("a", 0), ("b", 1)], VoltageSettings())


@pytest.mark.parametrize(
    ("kv", "level", "held"),
    [(500, 0, 0), (524, 0, 1), (526, 1, 1), (476, 0, 1), (474, 1, 1), (478, 0, 0), (20, 0, 0), (60, 1, 1)],
)
def test_voltage_band(kv: float, level: int, held: int) -> None:
    found = once(VOLTAGE, [kv, kv])
    assert (found.level, found.held_level) == (level, held)


def test_voltage_texts_and_missing_meters() -> None:
    low = once(VOLTAGE, [470.0, None]).texts
    assert low is not None
    assert low.title == "TAS: 470 kV, below 475 kV"
    high = once(VOLTAGE, [530.0, 530.0]).texts
    assert high is not None
    assert (high.title, "reactors near TAS on" in high.response) == ("TAS: 530 kV, above 525 kV", True)
    assert once(VOLTAGE, [None, None]).indeterminate


def loading(circuits: int = 2, thermal: float | None = 1000.0) -> LoadingRule:
    branch = LoadedBranch("L", 2, (400.0, 600.0), thermal, [("A", 0, 2), ("B", 1, 3)])
    return LoadingRule(branch, "KZ", LoadingSettings(), (), lambda _: circuits)


@pytest.mark.parametrize(
    ("circuits", "mw", "amperes", "level", "held", "value"),
    [
        (2, 560, 0, 0, 1, 93.333),
        (2, 575, 0, 1, 1, 95.833),
        (2, 605, 0, 2, 2, 100.833),
        (2, 640, 0, 3, 3, 106.667),
        (2, 725, 0, 4, 4, 120.833),
        (1, 405, 0, 2, 2, 101.25),
        (2, 300, 1700, 1, 1, 85.0),
        (2, 300, 2300, 4, 4, 115.0),
        (1, 300, 1150, 4, 4, 115.0),
        (2, 605, 1700, 2, 2, 100.833),
    ],
)
def test_loading_grades(
    circuits: int, mw: float, amperes: float, level: int, held: int, value: float
) -> None:
    found = once(loading(circuits), [mw, -mw, amperes, amperes])
    assert (found.level, found.held_level) == (level, held)
    assert found.value == pytest.approx(value, abs=0.01)


def test_loading_without_what_is_not_known() -> None:
    assert once(loading(thermal=None), [300, -300, 9999, 9999]).level == 0
    assert 2 not in loading(thermal=None).inputs
    assert once(loading(), [640, None, 0, 0]).level == 3
    assert once(loading(), [None, None, 0, 0]).indeterminate == "leg L at A is link lost"
    assert once(loading(), [3000, -300, 0, 0]).indeterminate == "the two ends of L contradict each other"


def test_loading_texts() -> None:
    texts = once(loading(circuits=1), [500, -495, 0, 0]).texts
    assert texts is not None
    assert texts.title == "L: 500 MW, 125 % of its 400 MW transfer limit, 1 of 2 circuits in service"
    assert texts.evidence["Circuits in service"] == "1 of 2"


def schedule(mw: float) -> Agreed:
    return Agreed([Step(0, mw)])


def net_position(settings: NetPositionSettings | None = None) -> NetPositionRule:
    ties = [
        Exchange("S", "TAS", 1, 0, schedule(323), "KZ"),
        Exchange("K", "KUN", -1, 1, schedule(-789), "KZ"),
    ]
    return NetPositionRule("UZ", ties, settings or NetPositionSettings())


def test_loop_flow_is_no_deviation() -> None:
    found = judged(net_position(), lambda _: {0: 323.0 + 200, 1: -(789.0 - 200)}, 70)
    assert found[10].indeterminate == "the mean of 60 s has too few data yet"
    assert found[-1].value == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("off", "level", "held"),
    [(30, 0, 0), (40, 0, 1), (-51, 1, 1), (140, 1, 2), (151, 2, 2), (251, 3, 3), (-251, 3, 3)],
)
def test_net_position_grades(off: float, level: int, held: int) -> None:
    found = judged(net_position(), lambda _: {0: 323.0, 1: -(789.0 + off)}, 70)[-1]
    assert (found.level, found.held_level) == (level, held)
    assert found.value == pytest.approx(abs(off))


def test_another_schedule_counts_for_the_whole_window_at_once() -> None:
    agreed = schedule(323)
    ties = [Exchange("S", "TAS", 1, 0, agreed, "KZ"), Exchange("K", "KUN", -1, 1, schedule(-789), "KZ")]
    rule = NetPositionRule("UZ", ties, NetPositionSettings())

    def values(second: int) -> Values:
        if second == 69:
            agreed.replace([Step(0, 223)])
        return {0: 323.0, 1: -789.0}

    found = judged(rule, values, 70)
    assert found[-2].value == pytest.approx(0.0)
    assert found[-1].value == pytest.approx(100.0)
    assert found[-1].level == 1


def test_net_position_texts() -> None:
    texts = judged(net_position(), lambda _: {0: 323.0, 1: -500.0}, 70)[-1].texts
    assert texts is not None
    assert texts.title == "UZ: 289 MW less export than agreed (export 823 MW, agreed export 1112 MW)"
    assert texts.evidence["K off its schedule [MW]"] == -289.0
    assert "Activate reserve in UZ" in texts.response


def test_a_stale_leg_makes_the_balance_indeterminate() -> None:
    found = judged(net_position(), lambda second: {0: 323.0, 1: None if second == 69 else -500.0}, 70)
    assert found[-2].level == 3
    assert found[-1].indeterminate == "leg K at KUN is link lost"
    assert found[-1].texts is None


def control_error() -> ControlErrorRule:
    ties = [
        Exchange("S", "TAS", 1, 0, schedule(323), "KZ"),
        Exchange("K", "KUN", -1, 1, schedule(-789), "KZ"),
    ]
    return ControlErrorRule("UZ", ties, [("a", 2), ("b", 3)], 1000.0, ControlErrorSettings())


@pytest.mark.parametrize(
    ("off", "hz", "error", "level"),
    [
        (0, 50.0, 0, 0),
        (30, 50.0, 30, 1),
        (0, 49.95, 50, 1),
        # governors that give what they owe to the frequency are no error
        (100, 49.9, 0, 0),
        (-100, 49.9, 200, 2),
        (260, 50.0, 260, 3),
    ],
)
def test_control_error(off: float, hz: float, error: float, level: int) -> None:
    found = once(control_error(), [323.0 + off, -789.0, hz, hz])
    assert found.value == pytest.approx(error, abs=1e-6)
    assert found.level == level


def test_a_control_error_that_crosses_zero_begins_anew() -> None:
    def values(second: int) -> Values:
        return {0: 323 + (60 if second < 5 else -60), 1: -789, 2: 50, 3: 50}

    assert [finding.level for finding in judged(control_error(), values, 7)] == [1, 1, 1, 1, 1, 0, 1]


def test_control_error_texts_and_missing_inputs() -> None:
    texts = once(control_error(), [123.0, -789.0, 49.98, None]).texts
    assert texts is not None
    assert texts.title == "UZ: control error -220 MW, too little is generated"
    assert (texts.evidence["Off the net position [MW]"], texts.evidence["Frequency [Hz]"]) == (-200.0, 49.98)
    assert once(control_error(), [323.0, None, 50, 50]).indeterminate == "leg K at KUN is link lost"
    assert once(control_error(), [323.0, -789.0, None, None]).indeterminate == "leg a is link lost"


def area_balance() -> AreaBalanceRule:
    exact = MeterAccuracy(0.0, 1.0)
    injections = [Measured("injection at A", 0, exact), Measured("injection at B", 1, exact)]
    border = [Measured("T at A", 2, exact)]
    return AreaBalanceRule(Subject("R4", 1, "KZ", "KZ"), injections, border, [], AreaBalanceSettings())


@pytest.mark.parametrize(
    ("missing", "level", "held"), [(7, 0, 0), (9, 0, 1), (11, 1, 1), (-11, 1, 1), (17, 1, 2), (21, 2, 2)]
)
def test_area_balance_over_five_minutes(missing: float, level: int, held: int) -> None:
    # 1,000 MW flow in: 1 and 2 % of it are the limits, above three and six times sqrt(3) MW
    found = judged(area_balance(), lambda _: {0: 1000.0, 1: -600.0, 2: 400.0 - missing}, 302)
    assert found[200].indeterminate == "the mean of 300 s has too few data yet"
    assert found[200].gathering
    assert (found[-1].level, found[-1].held_level) == (level, held)
    assert found[-1].value == pytest.approx(abs(missing))


def test_area_balance_texts_and_missing_inputs() -> None:
    found = judged(area_balance(), lambda t: {0: 1000.0, 1: None if t == 301 else -600.0, 2: 430.0}, 302)
    assert found[-1].indeterminate == "leg injection at B is link lost"
    texts = found[-3].texts
    assert texts is not None
    assert texts.title == "KZ: 30 MW leave it that never came in"
    assert texts.evidence["Flows in [MW]"] == 1000.0
