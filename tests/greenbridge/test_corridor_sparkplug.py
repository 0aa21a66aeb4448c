"""The two Sparkplug sites of the corridor as they are configured against the edge nodes of the bench."""

from __future__ import annotations

from functools import cache

import pytest

from adapters.sparkplug.allowance import Allowance
from adapters.sparkplug.codec import parse
from adapters.sparkplug.node import EdgeNode
from adapters.sparkplug.outcome import Outcome
from adapters.sparkplug.plan import plan_host
from adapters.sparkplug.readings import Readings
from adapters.sparkplug.topics import parse_topic
from greenbridge.settings import Configuration, load
from simulators.bench import Bench, load_file
from simulators.devices.sparkplug.edge_node import EdgeNode as Simulated
from simulators.devices.sparkplug.edge_node import Publish
from simulators.devices.sparkplug.runner import Moment
from simulators.devices.sparkplug.sites import node_plan, readings
from simulators.state import BenchState
from telemetry.devices import Device
from telemetry.quality import Quality
from telemetry.registry import PointRegistry
from telemetry.site import Site
from telemetry.units import conversion

START = 1_790_064_000 * 1_000_000_000
NOW_MS = START // 1_000_000 + 5_000


@cache
def configured() -> tuple[Configuration, Site]:
    configuration = load("corridor", {})
    return configuration, configuration.site(PointRegistry(configuration.keys()))


@cache
def bench() -> tuple[Bench, BenchState]:
    made = load_file(None, {})
    state = BenchState(made, START)
    for second in range(1, 6):
        state.step(float(second), START + second * 1_000_000_000)
    return made, state


def ours() -> list[Device]:
    return [device for device in configured()[0].devices if device.sparkplug is not None]


def test_every_device_of_every_edge_node_is_configured_where_it_is_born() -> None:
    made, _ = bench()
    born = {
        (settings.group, settings.id, device.id): device.node
        for settings in made.edge_node
        for device in settings.members(made)
    }
    found = {}
    for device in ours():
        address = device.sparkplug
        assert address is not None
        assert address.device is not None
        found[address.group, address.edge, address.device] = device.node
    assert found == born


@cache
def births() -> tuple[dict[str, tuple[float, int]], int]:
    """Value and quality of every point after the births, by path; how many mapped metrics were refused."""
    _, site = configured()
    made, state = bench()
    points = [point for device in ours() for point in site.points_of(device.id)]
    plan = plan_host(points)
    columns = Readings(plan.rows)
    outcome = Outcome()
    for settings in made.edge_node:
        simulated = Simulated(node_plan(settings, made))
        for device, samples in readings(settings, state)(Moment(NOW_MS * 1_000_000, NOW_MS)).items():
            assert samples is not None
            simulated.measured(device, samples, NOW_MS)
        simulated.connect(NOW_MS)
        simulated.connected()
        key = (settings.group, settings.id)
        allowance = Allowance(100_000)
        node = EdgeNode(key, plan.nodes[key], columns, reorder_s=2.0, birth_wait_s=3.0, allowance=allowance)
        for action in simulated.subscribed(NOW_MS):
            assert isinstance(action, Publish)
            topic = parse_topic(action.topic)
            assert topic is not None
            node.receive(parse(topic, action.payload, NOW_MS * 1_000_000), 0.0, outcome)
    assert not outcome.rejected
    done = columns.columns(NOW_MS * 1_000_000)
    values = zip(done.point.tolist(), done.value.tolist(), done.quality.tolist(), strict=True)
    return {
        site.points[point].path: (value, quality) for point, value, quality in values
    }, outcome.counts.get("mapped_but_refused", 0)


@pytest.mark.parametrize("device", ours(), ids=lambda device: device.id)
def test_every_metric_becomes_a_good_reading_in_the_unit_of_its_point(device: Device) -> None:
    _, site = configured()
    made, state = bench()
    found, refused = births()
    assert refused == 0
    address = device.sparkplug
    assert address is not None
    (settings,) = [settings for settings in made.edge_node if settings.id == address.edge]
    shown = readings(settings, state)(Moment(NOW_MS * 1_000_000, NOW_MS))[address.device or ""]
    assert shown is not None
    (plan,) = [plan for plan in node_plan(settings, made).devices if plan.id == address.device]
    units = {metric.name: metric.unit or "1" for metric in plan.metrics}
    for point in site.points_of(device.id):
        assert point.profile.sparkplug is not None
        metric = point.profile.sparkplug.metrics[point.key.name].metric
        sample = shown[metric].value
        assert isinstance(sample, float | int)
        value, quality = found[point.path]
        assert quality == Quality.GOOD, point.path
        factor, shift = conversion(units[metric], point.spec.unit)
        assert value == pytest.approx(sample * factor + shift, rel=1e-6), point.path


def test_every_metric_that_has_a_value_is_read() -> None:
    """What is left out is what has no value at all: wind at a solar plant, sun at a mast."""
    made, state = bench()
    _, site = configured()
    read = {}
    for device in ours():
        assert device.sparkplug is not None
        maps = [p.profile.sparkplug for p in site.points_of(device.id)]
        read[device.sparkplug.device] = {m.metric for each in maps if each for m in each.metrics.values()}
    for settings in made.edge_node:
        for device_id, samples in readings(settings, state)(Moment(NOW_MS * 1_000_000, NOW_MS)).items():
            assert samples is not None
            assert {name for name, sample in samples.items() if sample.value is not None} == read[device_id]
