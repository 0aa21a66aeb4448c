"""Every scenario that can be judged passes at its CI size; a play is a function of its seed."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import pytest

from greenbridge.scenarios import play
from greenbridge.scenarios.player import Player
from greenbridge.scenarios.report import Report, summary, summary_text
from greenbridge.scenarios.verdict import Result, judge
from greenbridge.settings import load
from simulators.bench import load_file
from telemetry.devices import Role
from telemetry.errors import ConfigError
from telemetry.registry import PointRegistry

NAMES = play.library().names


@pytest.fixture(scope="module")
def reports(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Report]]]:
    """Plays the scenarios of the tests that were selected."""
    selected = {item.name for item in request.session.items}
    names = [name for name in NAMES if f"test_scenario[{name}]" in selected]

    def steps(name: str) -> float:
        duration_s, step_s = play.library().get(name).scenario.world.size(full=False)
        return duration_s / step_s

    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        longest_first = sorted(names, key=steps, reverse=True)
        yield {name: pool.submit(play.in_virtual_time, name) for name in longest_first}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", NAMES)
def test_scenario(name: str, reports: dict[str, Future[Report]]) -> None:
    report = reports[name].result(timeout=1500)
    assert report.verdict.result is not Result.FAILED, report.text()
    document = report.document()
    assert document["result"] == report.verdict.result.value
    assert document["broken"] == []
    counts = document["counts"]
    assert counts["readings"] == counts["stored"] + counts["revised"] + counts["duplicates"] > 0


def test_a_play_is_a_function_of_its_seed() -> None:
    player = Player(load("corridor", {}), load_file(None, {}))
    scenario = play.library().get("wrong-transaction-ids").scenario
    first, second = player.play(scenario), player.play(scenario)
    assert first == second
    assert first.counts is not None
    assert first.counts.wrong_replies > 0
    assert first.counts.dead_letters > 0
    # the titles tell how many MW are missing, which weather, load and the meters' noise decide
    tapped = play.library().get("line-tap-small").scenario
    assert player.play(tapped, seed=7).seen != player.play(tapped).seen


def test_every_point_is_stored_once_in_every_step() -> None:
    configuration = load("corridor", {})
    site = configuration.site(PointRegistry(configuration.keys()))
    points = sum(site.devices[point.key.device].role is not Role.UNIT for point in site.points.values())
    quiet = play.library().get("quiet-week").scenario
    short = quiet.model_copy(update={"world": quiet.world.model_copy(update={"ci_duration_s": 240})})
    counts = Player(configuration, load_file(None, {})).play(short).counts
    assert counts is not None
    assert (counts.readings, counts.stored, counts.dead_letters) == (points * 60, points * 60, 0)


def test_what_the_broker_repeats_is_counted_as_that() -> None:
    counts = play.in_virtual_time("duplicates-and-disorder").play.counts
    assert counts is not None
    assert counts.duplicates > 0
    assert counts.readings == counts.stored + counts.revised + counts.duplicates


def test_sources_with_connections_everywhere_show_the_same_alarms() -> None:
    player = Player(load("corridor", {}), load_file(None, {}))
    scenario = play.library().get("line-tap-small").scenario
    calm, whole = player.play(scenario), player.play(scenario, whole=True)
    assert [(s.rule, s.asset, s.event, s.priority) for s in calm.seen] == [
        (s.rule, s.asset, s.event, s.priority) for s in whole.seen
    ]
    assert all(abs(a.t_s - b.t_s) <= 2 for a, b in zip(calm.seen, whole.seen, strict=True))
    assert calm.seen


def test_a_play_that_broke_a_promise_fails_whatever_its_alarms() -> None:
    named = play.library().get("meter-exchanged")
    report = play.in_virtual_time(named.name)
    assert summary([report]) == {"passed": 1, "failed": 0, "needs rules": 0}
    assert "1 passed, 0 failed, 0 need rules" in summary_text([report])
    assert "notifications delivered" in report.text()
    broken = dataclasses.replace(report.play, broken=("3 notifications were not delivered",), counts=None)
    verdict = judge(named.scenario, broken.seen, set(), broken.broken)
    worse = dataclasses.replace(report, play=broken, verdict=verdict)
    assert worse.verdict.result is Result.FAILED
    assert "broken     3 notifications were not delivered" in worse.text()
    assert "readings   not counted" in worse.text()
    assert worse.document()["counts"] is None


def test_a_gateway_that_is_not_in_memory_is_refused_before_anything_starts() -> None:
    configuration = load("corridor", {})
    modbus = configuration.settings.modbus
    other = modbus.gateway[0].model_copy(update={"transport": "rtu_over_tcp"})
    settings = configuration.settings.model_copy(
        update={"modbus": modbus.model_copy(update={"gateway": (other, *modbus.gateway[1:])})}
    )
    with pytest.raises(ConfigError, match="rtu_over_tcp"):
        Player(dataclasses.replace(configuration, settings=settings), load_file(None, {}))
