"""The smallest size of a fault that is found, over many seeds."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from alerts.alarms import Priority
from alerts.lifecycle import Event
from greenbridge.cli import EXIT_USAGE, app
from greenbridge.scenarios.player import Play
from greenbridge.scenarios.smallest import (
    LEAD_S,
    ON_DELAY_S,
    SIZES,
    STAIR_S,
    SWEEPS,
    Found,
    judged,
    scenario_of,
    summary,
)
from greenbridge.scenarios.verdict import Seen
from greenbridge.settings import load
from simulators.bench import load_file
from simulators.faults.model import Assets

BEGUN = LEAD_S + ON_DELAY_S


def seen(t_s: float, rule: str, asset: str, event: Event = Event.RAISE) -> Seen:
    return Seen(t_s, event, rule, asset, Priority.HIGH, "title")


def found(*steps: Seen) -> Found:
    return judged(SWEEPS, Play(steps, 0.0, 4.0, None, ""))


def test_an_alarm_belongs_to_the_size_at_which_it_began() -> None:
    sizes = SWEEPS["tap"].sizes
    assert found(seen(BEGUN + 1, "R6", "SHY-TAS")).sizes == {"tap": sizes[0]}
    # raised a little after the third stair has begun: the second has caused it
    assert found(seen(BEGUN + 2 * STAIR_S - 1, "R6", "SHY-TAS")).sizes == {"tap": sizes[1]}
    assert found(seen(BEGUN + 2 * STAIR_S, "R6", "SHY-TAS")).sizes == {"tap": sizes[2]}
    assert found(seen(BEGUN + 99 * STAIR_S, "R18", "SHY-TAS")).sizes == {"tap": sizes[-1]}
    twice = found(seen(BEGUN, "R17", "TAS_injection"), seen(BEGUN + STAIR_S, "R17", "TAS_injection"))
    assert twice.sizes == {"skew": SWEEPS["skew"].sizes[0]}
    assert not found(seen(BEGUN, "R6", "SHY-TAS", Event.CLEAR)).sizes


def test_what_is_raised_before_or_elsewhere_is_false() -> None:
    early, elsewhere = seen(LEAD_S - 1, "R6", "SHY-TAS"), seen(BEGUN, "R6", "MGC-SAM")
    assert found(early, elsewhere) == Found({}, ("R6/SHY-TAS", "R6/MGC-SAM"))


def test_the_smallest_size_is_that_which_nine_of_ten_seeds_find() -> None:
    site = load("corridor", {}), load_file(None, {})
    sizes = SWEEPS["gain"].sizes
    plays = {seed: Found({"gain": sizes[1]}, ()) for seed in range(8)}
    plays |= {8: Found({"gain": sizes[3]}, ()), 9: Found({}, ("R6/MGC-SAM",))}
    whole = summary(["gain", "skew"], plays, *site)
    gain, skew = whole.sizes
    assert (gain.smallest, gain.share_at(sizes[1])) == (sizes[3], 0.8)
    assert gain.theory is not None
    assert 1.0 < gain.theory < 3.0, "two class 0.2S meters at some hundred MW"
    assert (skew.smallest, skew.theory) == (None, None)
    assert "1 false alarms in 2.3 h" in whole.text()
    assert f"above {SWEEPS['skew'].sizes[-1]:g} s is found" in whole.text()
    document = whole.document()
    assert document["false_alarms"] == {"R6/MGC-SAM": 1}
    assert document["smallest"][0]["share"][f"{sizes[3]:g}"] == 0.9


def test_the_stairs_can_be_played_together() -> None:
    scenario = scenario_of(SWEEPS.values())
    assert not list(scenario.problems("smallest", Assets.of(load_file(None, {}))))
    assert {len(sweep.sizes) for sweep in SWEEPS.values()} == {SIZES}


def test_the_command_plays_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def played(sweeps: object, play: Play) -> Found:
        return Found({"skew": SWEEPS["skew"].sizes[0]}, ())

    monkeypatch.setattr("greenbridge.scenarios.smallest.judged", played)
    monkeypatch.setattr("greenbridge.scenarios.smallest.Player.play", lambda *_, **__: None)
    result = CliRunner().invoke(app, ["scenario", "smallest", "skew", "--seeds", "2"])
    assert result.exit_code == 0, result.output
    assert "0.7 s is found in 90% of 2 seeds" in result.stdout
    result = CliRunner().invoke(app, ["scenario", "smallest", "skwe"])
    assert result.exit_code == EXIT_USAGE
    assert "skew" in result.stderr
