"""The shipped scenarios, and what is said of faulty ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from greenbridge.scenarios.library import Library
from greenbridge.scenarios.play import checked, library
from greenbridge.scenarios.player import built_rules
from greenbridge.scenarios.verdict import missing_rules
from simulators.faults.model import parameters
from telemetry.errors import ConfigError

NEEDED = {
    "historical": {
        "north-east-south-2022",
        "winter-evening-peak",
        "eleven-gwh-day",
        "three-disturbances-2011",
    },
    "not N-1 secure": {
        "buk-kun-trip",
        "ulk-eki-trip",
        "kun-akt-double-circuit",
        "hvdc-block",
        "mgc-sam-trip",
    },
    "fault list": {
        "gain-drift",
        "stuck-ct",
        "clock-skew",
        "line-tap",
        "bus-theft",
        "plant-trip",
        "hvdc-pole",
        "counter-reset",
        "link-loss",
    },
    "whole days": {"quiet-week", "bad-day"},
}
GOOD = """
title = "x"
story = "x"
[world]
start = 2026-01-13T10:00:00Z
duration_s = 300
[[event]]
at_s = 60
for_s = 100
fault = { kind = "tap", target = "SHY-TAS", mw = 30 }
[[expect]]
rule = "R6"
asset = "SHY-TAS"
within = [100, 200]
"""


@pytest.fixture(scope="module")
def scenarios() -> Library:
    return library()


def problems(scenarios: Library, tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    try:
        scenarios.get(str(file))
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_every_shipped_scenario_is_sound_and_the_needed_ones_are_there(scenarios: Library) -> None:
    shipped = {named.name: named.scenario for named in scenarios.all()}
    assert len(shipped) >= 24
    for what, names in NEEDED.items():
        assert names <= shipped.keys(), what
    for name, scenario in shipped.items():
        assert "illustrative" in scenario.story, f"{name} does not say what is illustrative"
    judged = [name for name, scenario in shipped.items() if not missing_rules(scenario, built_rules())]
    assert len(judged) >= 24


def test_quiet_scenarios_expect_and_forgive_nothing(scenarios: Library) -> None:
    scenario = scenarios.get("quiet-week").scenario
    assert (scenario.event, scenario.expect) == ((), ())
    assert [(f.rule, f.asset) for f in scenario.forbid] == [("*", "*")]
    assert scenario.world.size(full=False) == (86400, 4)
    assert scenario.world.size(full=True) == (7 * 86400, 4)


def test_rules_that_are_built_are_those_with_settings() -> None:
    assert {"R1", "R6", "R13"} <= built_rules()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", "", ""),
        (
            'target = "SHY-TAS"',
            'target = "SHY-TAZ"',
            'fault.target = "SHY-TAZ": no such line (did you mean "SHY-TAS"',
        ),
        (
            'asset = "SHY-TAS"',
            'asset = "SHY-TSA"',
            'expect[0].asset = "SHY-TSA": no such asset',
        ),
        ("[100, 200]", "[100, 301]", "ends after the scenario at 300 s"),
        ("[100, 200]", "[200, 100]", "is empty"),
        ("at_s = 60", "at_s = 300", "not before the end at 300 s"),
        ("duration_s = 300", "duration_s = 300\nci_duration_s = 150", "ends after the scenario at 150 s"),
        ('kind = "tap"', 'kind = "tab"', "tab"),
        ("mw = 30", "mw = 30, x = 1", "unknown key"),
        ("mw = 30", "mw = -1", "greater than 0"),
        ('rule = "R6"', 'rule = "six"', "expect[0].rule"),
        (
            "within = [100, 200]",
            'within = [100, 200]\n[[forbid]]\nasset = "SHY-TAX*"',
            'forbid[0].asset = "SHY-TAX*": fits no asset',
        ),
        ('rule = "R6"', 'rule = "R6"\npriority = "hihg"', 'did you mean "high"'),
        ("start = 2026-01-13T10:00:00Z", "start = 2026-01-13T10:00:00", "timezone"),
    ],
)
def test_a_faulty_scenario_is_told_what_is_wrong(
    scenarios: Library, tmp_path: Path, old: str, new: str, words: str
) -> None:
    found = problems(scenarios, tmp_path, GOOD.replace(old, new, 1) if old else GOOD)
    if not words:
        assert found == []
    else:
        assert any(words in problem for problem in found), found


def test_faults_of_one_kind_and_target_must_not_overlap(scenarios: Library, tmp_path: Path) -> None:
    again = '[[event]]\nat_s = {}\nfault = {{ kind = "tap", target = "{}", mw = 1 }}\n'
    overlap = problems(scenarios, tmp_path, GOOD + again.format(150, "SHY-TAS"))
    assert overlap == [
        "mine.toml: event[1]: overlaps the tap of SHY-TAS from 60 s (let one end before the other begins)"
    ]
    assert problems(scenarios, tmp_path, GOOD + again.format(160, "SHY-TAS")) == []
    assert problems(scenarios, tmp_path, GOOD + again.format(150, "KUN-AKT")) == []


def test_every_kind_of_fault_has_its_scenario(scenarios: Library) -> None:
    played = {event.fault.kind for named in scenarios.all() for event in named.scenario.event}
    assert played == parameters().keys()


def test_all_scenarios_are_checked_before_one_is_played(tmp_path: Path) -> None:
    faulty = tmp_path / "faulty.toml"
    faulty.write_text(GOOD.replace('target = "SHY-TAS"', 'target = "SHY-TAZ"'))
    with pytest.raises(ConfigError) as refused:
        checked(["line-tap", str(faulty), "line-tab"])
    told = [str(problem) for problem in refused.value.problems]
    assert len(told) == 2
    assert "SHY-TAZ" in told[0]
    assert "line-tab" in told[1]
    assert checked(["line-tap"]) == ["line-tap"]
    assert set(checked(None)) == set(library().names)


def test_an_unknown_name_is_answered_with_the_nearest(scenarios: Library) -> None:
    with pytest.raises(ConfigError, match='did you mean "line-tap"'):
        scenarios.get("line-tab")
    assert Counter(scenarios.names).most_common(1)[0][1] == 1
