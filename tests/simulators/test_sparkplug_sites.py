from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import aiomqtt
import pytest

from simulators.bench import Bench, SimulatedDevice, load
from simulators.devices.connection import KEEPALIVE_S
from simulators.devices.sparkplug.births import BirthMemory
from simulators.devices.sparkplug.observation import METRICS
from simulators.devices.sparkplug.runner import Moment
from simulators.devices.sparkplug.sites import node_plan, readings
from simulators.kinds import Kind
from simulators.runtime import simulate
from simulators.state import BenchState
from simulators.world.clocks import clock_of
from telemetry.clock import SystemClock
from telemetry.errors import ConfigError, StorageError
from tests.simulators.sparkplug_reader import HostView, read

StartBroker = Callable[[], Awaitable[asyncio.subprocess.Process]]
NOW_NS = 1_795_500_000_000_000_000
MOMENT = Moment(NOW_NS, 5)
BENCH = """
seed = 1
control_port = 0
[[gateway]]
id = "g"
[[device]]
id = "mast"
kind = "met-mast"
node = "SHU"
plant = "mirny-wind"
gateway = "g"
unit = 9
[[device]]
id = "wtg"
kind = "turbine"
node = "SHU"
plant = "mirny-wind"
gateway = "g"
unit = 1
count = 3
"""
NODE = '[[edge_node]]\nid = "site"\ndevices = ["mast", "wtg"]\n'


def names(bench: Bench) -> list[str]:
    return [device.id for device in bench.edge_node[0].members(bench)]


def test_a_numbered_line_stands_for_its_devices() -> None:
    assert names(load(BENCH + NODE, "x.toml", {})) == ["mast", "wtg-1", "wtg-2", "wtg-3"]
    assert names(load(BENCH + NODE.replace('"wtg"', '"wtg-2"'), "x.toml", {})) == ["mast", "wtg-2"]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (NODE.replace('"mast"', '"mats"'), r'edge_node\[0\].devices\[0\] = "mats": no such device .*"mast"'),
        (NODE.replace('"mast"', '"wtg-1"'), r'edge_node\[0\].devices = "wtg-1": named twice'),
        (NODE + NODE.replace("site", "SITE"), r'edge_node\[1\].id = "SITE": used twice in group corridor'),
        (NODE.replace("site", "a/b"), r"edge_node\[0\].id"),
        (
            NODE + 'memory = "m"\n' + NODE.replace("site", "b") + 'memory = "m"',
            r'memory = "m": is the file of',
        ),
        (NODE + "perod_s = 1.0", r"edge_node\[0\].perod_s = 1.0: unknown key .*period_s"),
    ],
)
def test_faults_are_named(written: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(BENCH + written, "x.toml", {})
    assert re.search(reason, str(caught.value)), caught.value


def test_every_kind_but_a_recording_can_be_shown() -> None:
    assert set(Kind) - METRICS.keys() == {Kind.RECORDING}


def test_every_metric_of_every_kind_has_a_value_of_its_type(bench: Bench) -> None:
    """The whole shipped bench as one edge node; whatever a device shows can be encoded."""
    everything = bench.edge_node[0].model_copy(update={"devices": tuple(d.id for d in bench.device)})
    state = BenchState(bench, NOW_NS)
    state.step(1.0, 1_795_500_001_000_000_000)
    plan = node_plan(everything, bench)
    shown = readings(everything, state)(MOMENT)
    assert len(shown) == len(state.devices) == len(plan.devices)
    for device in plan.devices:
        samples = shown[device.id]
        assert samples is not None
        assert list(samples) == [metric.name for metric in device.metrics]
        filled = [name for name, sample in samples.items() if sample.value is not None]
        assert len(filled) >= 3, device.id
        assert len({metric.name.casefold() for metric in device.metrics}) == len(device.metrics)
    assert len(set(plan.aliases().values())) == len(plan.aliases())


def test_values_are_those_of_the_world(bench: Bench) -> None:
    state = BenchState(bench, NOW_NS)
    state.step(1.0, 1_795_500_001_000_000_000)
    settings = bench.edge_node[0]
    shown = readings(settings, state)(MOMENT)
    controller, farm, turbine = shown["mirny-wind"], shown["mirny-wind-farm"], shown["mirny-wind-turbine-1"]
    assert controller is not None
    assert farm is not None
    assert turbine is not None
    plant = state.world.fleet.index["mirny-wind"]
    truth = float(state.world.snapshot.plants.p_mw[plant])
    assert farm["W"].value == pytest.approx(truth)
    assert controller["W"].value == pytest.approx(truth, rel=0.005, abs=0.01)
    seen = next(held.value for held in state.registers("mirny-wind-turbine-1") if held.name == "WTUR.W")
    assert isinstance(seen, float)
    assert turbine["W"].value == pytest.approx(seen, abs=0.6)
    assert turbine["W"].timestamp_ms == farm["W"].timestamp_ms == 5, "polled: the edge node's time"
    assert controller["W"].timestamp_ms == clock_of("mirny-wind").at(NOW_NS) // 10**6, "its own"


def test_devices_are_found_without_comparing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def compared(_self: SimulatedDevice, _other: object) -> bool:
        raise AssertionError("a search through all devices for each makes hundreds of them take minutes")

    state = BenchState(load(BENCH + NODE, "x.toml", {}), NOW_NS)
    monkeypatch.setattr(SimulatedDevice, "__eq__", compared)
    again = BenchState(state.bench, NOW_NS)
    assert readings(again.bench.edge_node[0], again)(MOMENT).keys() == {"mast", "wtg-1", "wtg-2", "wtg-3"}


def test_what_is_sent_until_a_silent_loss_is_noticed_is_sent_again() -> None:
    bench = load(BENCH + NODE, "x.toml", {})
    # paho asks after one keep-alive and gives up after another; it looks each second
    noticed_s = 2 * KEEPALIVE_S + 1
    assert bench.edge_node[0].replay_s > noticed_s
    assert node_plan(bench.edge_node[0], bench).replay_ms > 1000 * noticed_s


def test_a_device_that_only_answers_with_exceptions_is_lost() -> None:
    bench = load(BENCH.replace("unit = 9", 'unit = 9\nexception = "busy"') + NODE, "x.toml", {})
    shown = readings(bench.edge_node[0], BenchState(bench, NOW_NS))(MOMENT)
    assert [name for name, samples in shown.items() if samples is None] == ["mast"]


def test_births_are_counted_through_restarts(tmp_path: Path) -> None:
    path = tmp_path / "site.bdseq"
    assert BirthMemory(path).last() is None
    BirthMemory(path).remember(255)
    assert BirthMemory(path).last() == 255
    assert [entry.name for entry in tmp_path.iterdir()] == ["site.bdseq"]


@pytest.mark.parametrize("text", ["", "256", "-1", "seven", "1.0"])
def test_a_damaged_memory_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.bdseq"
    path.write_text(text)
    with pytest.raises(StorageError, match=r"site\.bdseq.*remove it to begin at 0"):
        BirthMemory(path).last()
    with pytest.raises(StorageError, match="choose another file"):
        BirthMemory(tmp_path / "missing" / "x").remember(1)


@pytest.mark.system("mosquitto")
async def test_the_shipped_bench_brings_two_sites_to_life(
    bench: Bench, port: int, start_broker: StartBroker
) -> None:
    await start_broker()
    bench = bench.model_copy(update={"broker": bench.broker.model_copy(update={"port": port})})
    views = {"mirny-wind": HostView(), "garadagh-solar": HostView()}
    async with aiomqtt.Client("127.0.0.1", port) as host:
        await host.subscribe("spBv1.0/corridor/#", qos=1)
        task = asyncio.create_task(simulate(bench, SystemClock()))
        try:
            async with asyncio.timeout(30):
                async for message in host.messages:
                    assert isinstance(message.payload, bytes)
                    name = message.topic.value.split("/")[3]
                    views[name].hear(read(message.topic.value, message.payload))
                    if all(len(view.heard) > len(view.aliases) + 20 for view in views.values()):
                        break
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    assert {device for device in views["mirny-wind"].born if device} == {
        "mirny-wind",
        "mirny-wind-farm",
        "mirny-wind-mast",
        *(f"mirny-wind-turbine-{k}" for k in range(1, 7)),
    }
    assert len(views["garadagh-solar"].born) == 1 + 5
