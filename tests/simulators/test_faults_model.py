"""Kinds of faults: their checks, their words and their documentation."""

from __future__ import annotations

from importlib import resources

import pytest
from pydantic import ValidationError

from simulators.bench import Bench
from simulators.faults.model import FAULT, Assets, parameters


def test_the_readme_lists_every_kind_with_its_parameters() -> None:
    text = resources.files("simulators.faults").joinpath("README.md").read_text("utf-8")
    for kind, entry in parameters().items():
        shown = ", ".join(f"`{name}`" for name in entry.parameters) or "-"
        assert f"| `{kind}` | {entry.target} | {shown} | {entry.what} |" in text


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "tap", "target": "SHY-TAS", "mw": 30}, ""),
        ({"kind": "tap", "target": "AKT-ALT", "mw": 30}, "no such line"),
        ({"kind": "theft", "target": "TAZ", "mw": 30}, '"TAS"'),
        ({"kind": "plant_trip", "target": "mirny-wnd"}, '"mirny-wind"'),
        ({"kind": "weather", "target": "all", "weather": "rain"}, ""),
        ({"kind": "schedule", "target": "UZ-AZ-whel", "mw": 1}, '"UZ-AZ-wheel"'),
        ({"kind": "gain", "target": "SHY-TAS_SHY_mian", "pct": 1}, '"SHY-TAS_SHY_main"'),
        ({"kind": "skew", "target": "SHY-TAS_SHY_main", "seconds": 2}, "old values"),
        ({"kind": "skew", "target": "TAS_injection", "seconds": 2}, ""),
        ({"kind": "word_swap", "target": "TAS_injection"}, "no registers"),
        ({"kind": "hvdc_order", "target": "AKT-ALT", "mw": 1000}, ""),
        ({"kind": "hvdc_order", "target": "AKT-ALT", "mw": 1001}, "cannot send so much (0 to 1000)"),
        ({"kind": "circuits", "target": "SHY-TAS", "in_service": 1}, ""),
        ({"kind": "circuits", "target": "SHY-TAS", "in_service": 2}, "none is lost (0 to 1)"),
        ({"kind": "circuits", "target": "SHY-TAZ", "in_service": 2}, "no such line"),
        ({"kind": "down", "target": "mqtt"}, ""),
        ({"kind": "half_open", "target": "mqtt"}, "no such gateway"),
    ],
)
def test_a_target_that_cannot_be_struck_is_named(bench: Bench, fault: dict[str, object], words: str) -> None:
    made = FAULT.validate_python(fault)
    assert made.title
    found = [str(problem) for problem in made.problems("x.toml", "fault", Assets.of(bench))]
    if not words:
        assert found == []
    else:
        assert len(found) == 1
        assert words in found[0]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "tap", "target": "SHY-TAS", "mw": 0},
        {"kind": "tap", "target": "SHY-TAS", "mw": float("nan")},
        {"kind": "circuits", "target": "SHY-TAS", "in_service": -1},
        {"kind": "weather", "target": "all", "weather": "fog"},
        {"kind": "exception_storm", "target": "SHY", "code": 256},
        {"kind": "tap", "target": "SHY-TAS", "mw": 1, "extra": 1},
        {"kind": "nothing", "target": "SHY-TAS"},
    ],
)
def test_an_impossible_size_is_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FAULT.validate_python(fault)
