"""A site's own rules: what they find, and which of them are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from alerts.alignment import Alignment, Snapshot
from alerts.book import AlarmBook
from alerts.config import AlertsSettings
from alerts.custom_config import problems
from alerts.evaluation import Evaluation
from alerts.rules.catalogue import rules_of
from alerts.rules.custom import custom_rules
from alerts.rules.finding import Finding
from ingest.ports import JournalRecord
from telemetry.batch import ReadingBatch
from telemetry.devices import Device
from telemetry.errors import ConfigError
from telemetry.grid import Grid
from telemetry.profiles import parse_profile
from telemetry.quality import Quality
from telemetry.registry import PointRegistry
from telemetry.settings import Settings, parse
from telemetry.site import Site, point_keys

SECOND = 1_000_000_000
T0 = 1_700_000_100 * SECOND

PROFILE = """
id = "transformer"
title = "Transformer"
source = "test"

[points]
TotW = { title = "Active power", unit = "MW", low = -1000.0, high = 1000.0 }
TmpOil = { title = "Oil temperature", unit = "degC", low = -40.0, high = 150.0 }
St = { title = "State", unit = "1", kind = "state", states = { 1 = "OFF", 4 = "RUN", 7 = "FAULT" } }

[json.fields]
TotW = { field = "p" }
TmpOil = { field = "t" }
St = { field = "s" }
"""
MW, OIL, STATE = 0, 1, 2


class File(Settings):
    alerts: AlertsSettings = AlertsSettings()


def load(text: str) -> AlertsSettings:
    return parse(f"[[alerts.rule]]\nid = 'a'\ntitle = 'Oil'\n{text}", "greenbridge.toml", File).alerts


@pytest.fixture
def own(grid: Grid) -> Site:
    device = {"id": "T", "profile": "transformer", "node": "SHY", "role": "unit"}
    devices = [Device.model_validate(device | {"mqtt": {"broker": "b", "topic": "t"}}, strict=False)]
    profiles = {"transformer": parse_profile(PROFILE, "transformer.toml")}
    return Site.of("own", grid, devices, profiles, PointRegistry(point_keys(devices, profiles)))


def batch(second: int, values: Mapping[int, float | None]) -> ReadingBatch:
    now = T0 + second * SECOND
    return ReadingBatch.of(
        "test",
        1,
        second,
        now,
        point=list(values),
        t_source=[now] * len(values),
        value=[float("nan") if value is None else value for value in values.values()],
        quality=[int(Quality.LINK_LOST) if value is None else 0 for value in values.values()],
    )


def judged(
    site: Site, text: str, values: Callable[[int], Mapping[int, float | None]], seconds: int = 1
) -> list[Finding]:
    (rule,) = custom_rules(site, load(text).rule)
    alignment, found = Alignment(dict.fromkeys(rule.inputs, 1.0), 3.0, stepped=[STATE]), []
    for second in range(seconds):
        alignment.push(batch(second, values(second)))
        found.append(rule.evaluate(Snapshot(T0 + second * SECOND, alignment)))
    return found


HOT = """
kind = "threshold"
point = "T/TmpOil"
unit = "degF"
limits = [{ priority = "low", above = 185, on_s = 60 }, { priority = "high", above = 203 }]
deadband = 9
"""


@pytest.mark.parametrize(
    ("oil", "level", "held"), [(79, 0, 0), (81, 0, 1), (86, 1, 1), (91, 1, 2), (96, 2, 2)]
)
def test_a_threshold_in_another_unit(own: Site, oil: float, level: int, held: int) -> None:
    (found,) = judged(own, HOT, lambda _: {OIL: oil})
    assert (found.level, found.held_level, found.unit) == (level, held, "degC")
    assert found.value == oil


def test_a_lower_limit(own: Site) -> None:
    text = "kind = 'threshold'\npoint = 'T/TotW'\nunit = 'kW'\ndeadband = 1000\n"
    text += "limits = [{ priority = 'low', below = 5000 }, { priority = 'high', below = 2000 }]"
    found = judged(own, text, lambda t: {MW: (7.0, 5.5, 4.0, 1.0)[t]}, 4)
    assert [(f.level, f.held_level) for f in found] == [(0, 0), (0, 1), (1, 1), (2, 2)]
    assert (found[-1].value, found[-1].limit) == (1.0, 2.0)
    assert found[-1].texts is not None
    assert found[-1].texts.title == "Oil: 1 MW, limit 2"
    assert judged(own, text, lambda _: {MW: None})[0].indeterminate == "leg T/TotW is link lost"


def test_a_rate_of_change(own: Site) -> None:
    text = "kind = 'rate'\npoint = 'T/TotW'\nunit = 'MW'\nwindow_s = 10\n"
    text += "limits = [{ priority = 'low', above = 30, on_s = 0 }]"
    found = judged(own, text, lambda t: {MW: 100 - 0.6 * t}, 12)
    assert (found[3].gathering, found[-1].level) == (True, 1)
    assert found[-1].value == pytest.approx(36)
    assert judged(own, text, lambda t: {MW: 100 - 0.45 * t}, 12)[-1].level == 0


def test_a_flat_line(own: Site) -> None:
    text = "kind = 'flatline'\npoint = 'T/TotW'\nunit = 'MW'\nwindow_s = 10\nleast = 0.5"
    assert judged(own, text, lambda _: {MW: 100.0}, 12)[-1].level == 1
    assert judged(own, text, lambda t: {MW: 100.0 + t}, 12)[-1].level == 0


def test_a_state_by_name_or_code_and_nothing_between_two(own: Site) -> None:
    text = "kind = 'state'\npoint = 'T/St'\nstates = ['FAULT', '4']"
    found = judged(own, text, lambda t: {STATE: (1, 7, 7, 1)[t]}, 4)
    assert [finding.level for finding in found] == [0, 1, 1, 0]
    assert found[1].texts is not None
    assert found[1].texts.title == "Oil: T/St is FAULT"
    alignment = Alignment({STATE: 1.0}, 3.0, stepped=[STATE])
    for second, state in enumerate((1.0, 7.0)):
        alignment.push(batch(second, {STATE: state}))
    assert alignment.at(STATE, T0 + SECOND // 2).value == 1.0


def test_a_condition_over_points(own: Site) -> None:
    text = "kind = 'expression'\ncondition = '{T/TotW} > 5 MW and {T/TmpOil} > 90 degC'"
    assert judged(own, text, lambda _: {MW: 6, OIL: 95})[0].level == 1
    assert judged(own, text, lambda _: {MW: 6, OIL: 85})[0].level == 0
    assert judged(own, text, lambda _: {MW: 6, OIL: None})[0].indeterminate == "leg T/TmpOil is link lost"
    # what could not have mattered may be missing
    assert judged(own, text, lambda _: {MW: 4, OIL: None})[0].indeterminate == ""


@pytest.mark.parametrize("heard_s", [0, 20])
def test_a_point_that_falls_silent_or_was_never_heard_is_stale(own: Site, heard_s: int) -> None:
    settings = load("kind = 'stale'\npoint = 'T/TotW'\nafter_s = 20\n[alerts.R13]\nenabled = false")
    evaluation = Evaluation(own, settings, AlarmBook())
    evaluation.begin(T0)
    raised = []
    for second in range(60):
        now = T0 + second * SECOND
        if second < heard_s:
            evaluation.take([JournalRecord(second + 1, now, 0, batch(second, {MW: 1.0}))], now)
        raised += [(second, change.alarm) for change in evaluation.tick(now, at_head=True)]
    ((second, alarm),) = raised
    # stale after 5 s at the earliest, judged 3 s later and again every 5 s
    assert heard_s + 20 < second < heard_s + 40
    assert alarm.key == "CUSTOM/a"
    assert alarm.title.startswith("Oil: leg T/TotW is ")


BAD: Sequence[tuple[str, str, str, str]] = [
    ("kind = 'stale'\npoint = 'T/TotWW'", "point", "no such point", "T/TotW"),
    (HOT.replace("degF", "MW"), "unit", "cannot be converted into degC", "degF"),
    (HOT.replace("203", "400"), "limits[1].above", "can never be passed", "inside"),
    (
        "kind = 'expression'\ncondition = '{T/TotW} > 5 degC'",
        "condition",
        "cannot be put together",
        "the same unit",
    ),
    ("kind = 'expression'\ncondition = '{T/TotW} + 1 MW'", "condition", "is a value", "compare"),
    ("kind = 'expression'\ncondition = '1 MW > 2 MW'", "condition", "reads no point", "braces"),
    ("kind = 'state'\npoint = 'T/St'\nstates = ['FALT']", "states[0]", "no such state", "FAULT"),
    (
        "kind = 'flatline'\npoint = 'T/TotW'\nunit = 'GW'\nleast = 3",
        "least",
        "more than the point can move: 2000 MW",
        "smaller",
    ),
]


@pytest.mark.parametrize(("text", "key", "reason", "fix"), BAD, ids=[entry[1] + entry[2] for entry in BAD])
def test_what_a_rule_may_not_be(own: Site, text: str, key: str, reason: str, fix: str) -> None:
    specs = {point.path: point.spec for point in own.points.values()}
    (problem,) = problems("greenbridge.toml", load(text).rule, specs)
    assert (problem.file, problem.key) == ("greenbridge.toml", f"alerts.rule[0].{key}")
    assert reason in problem.reason
    assert fix in problem.fix


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HOT.replace("203", "185"), "limit 2 is not above limit 1: it could never make a difference"),
        (HOT.replace("above = 203", "below = 203"), "limits above and below belong into two rules"),
        (HOT.replace(", above = 203", ""), "give either above or below"),
        ("kind = 'treshold'", "threshold"),
        (HOT + "colour = 'red'", "colour"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(text)


def test_an_id_may_be_used_once_and_a_rule_switched_off(own: Site) -> None:
    twice = [*load(HOT).rule, *load(HOT + "enabled = false").rule]
    (problem,) = problems("f", twice, {point.path: point.spec for point in own.points.values()})
    assert (problem.key, problem.reason) == ("alerts.rule[1].id", "used twice")
    settings = AlertsSettings(rule=tuple(twice))
    assert [r.subject.key for r in rules_of(own, settings)[0] if r.subject.rule == "CUSTOM"] == ["CUSTOM/a"]
