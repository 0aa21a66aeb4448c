"""Devices come, go and change on a broker while the others of it are heard on, over the same connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest

from adapters.mqtt.config import BrokerSettings
from adapters.mqtt.source import MqttSource
from adapters.sparkplug.source import SparkplugSource
from ingest.fakes import FakeIntake
from simulators.devices.sparkplug.history import Sample
from simulators.devices.sparkplug.payloads import DataType, decode_state
from simulators.devices.sparkplug.plan import DevicePlan, MetricPlan, NodePlan
from simulators.devices.sparkplug.runner import Moment
from telemetry.clock import ManualClock, SystemClock
from telemetry.devices import SparkplugAddress
from telemetry.points import PointKey
from telemetry.profiles import DeviceProfile, parse_profile
from telemetry.quality import Quality
from telemetry.site import SitePoint
from tests.adapters.brokers import Broker, mosquitto_broker
from tests.adapters.sparkplug_host_child import points as sparkplug_points
from tests.adapters.test_sparkplug_host import Counting, edge_node, good, listening, source, until
from tests.adapters.test_sparkplug_host import payload as payload_of
from tests.adapters.test_sparkplug_host import settings as host_settings

pytestmark = pytest.mark.system("mosquitto")
Run = Callable[[Awaitable[None]], AbstractAsyncContextManager[asyncio.Task[None]]]
MakePoints = Callable[..., list[SitePoint]]

PROFILE = """
id = "counter"
title = "Counts up"
source = "test"
[points.N]
title = "number"
unit = "1"
[json]
time_field = "ts"
[json.fields]
N = { field = "n"%s }
"""
PLAIN = parse_profile(PROFILE % "", "counter.toml")
TENFOLD = parse_profile(PROFILE.replace('"counter"', '"tenfold"') % ", scale = 10.0", "tenfold.toml")


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with mosquitto_broker(tmp_path) as made:
        yield made


def settings(broker: Broker, **changes: object) -> BrokerSettings:
    values = {"id": "main", "host": "127.0.0.1", "port": broker.port, "client_id": "replan"}
    return BrokerSettings.model_validate(values | changes)


def message(n: int) -> bytes:
    return json.dumps({"ts": 1_795_000_000_000 + n, "n": n}).encode()


@pytest.mark.parametrize("share", [None, "group"])
async def test_mqtt_devices_come_and_go_and_the_others_lose_no_message(
    share: str | None, broker: Broker, make_points: MakePoints, intake: FakeIntake, run_source: Run
) -> None:
    def plan(b: DeviceProfile, *more: tuple[str, DeviceProfile, str]) -> list[SitePoint]:
        return make_points(("a", PLAIN, "t/a"), ("b", b, "t/b"), *more)

    def heard(index: int) -> list[float]:
        return [
            value
            for batch in intake.batches
            for point, value in zip(batch.point.tolist(), batch.value.tolist(), strict=True)
            if point == index
        ]

    stop = asyncio.Event()

    async def publish(topic: str) -> int:
        n = 0
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            while not stop.is_set():
                n += 1
                await client.publish(topic, message(n), qos=1)
        return n

    points = plan(PLAIN, ("gone", PLAIN, "t/gone"))
    version = "3.1.1" if share is None else "5"
    taken = MqttSource(settings(broker, share=share, version=version), points, intake, SystemClock())
    async with run_source(taken.run()), asyncio.TaskGroup() as group:
        await until(lambda: taken.state.counts["connects"] == 1)
        tasks = {topic: group.create_task(publish(topic)) for topic in ("t/a", "t/b", "t/gone")}
        try:
            await until(lambda: len(heard(0)) > 20 and len(heard(1)) > 20 and len(heard(2)) > 20)
            # "b" is understood otherwise, "gone" is gone, "c" is new and has the index of that in this test
            wanted = plan(TENFOLD, ("c", PLAIN, "t/c"))
            taken.prepared(wanted, {"b", "c", "gone"})()
            async with aiomqtt.Client("127.0.0.1", broker.port) as client:
                while not heard(2) or heard(2)[-1] != 4711.0:
                    await client.publish("t/c", message(4711), qos=1)
            before = len(heard(0))
            await until(lambda: len(heard(0)) > before + 20)
        finally:
            stop.set()
        sent = {topic: await task for topic, task in tasks.items()}
        await until(lambda: len(heard(0)) == sent["t/a"] and len(heard(1)) == sent["t/b"])
    assert heard(0) == [float(n) for n in range(1, sent["t/a"] + 1)]
    at = next(i for i, value in enumerate(heard(1)) if value != i + 1)
    assert heard(1)[at:] == [10.0 * n for n in range(at + 1, sent["t/b"] + 1)]
    assert taken.state.counts["connects"] == 1
    assert taken.state.counts["redelivered"] == 0
    assert not intake.letters


async def test_what_the_broker_retains_of_a_changed_device_is_asked_for_again(
    broker: Broker, make_points: MakePoints, intake: FakeIntake, run_source: Run
) -> None:
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.publish("t/a", message(7), qos=1, retain=True)
    taken = MqttSource(settings(broker), make_points(("a", PLAIN, "t/a")), intake, SystemClock())

    def values() -> list[float]:
        return [value for batch in intake.batches for value in batch.value.tolist()]

    async with run_source(taken.run()):
        await until(lambda: values() == [7.0])
        taken.prepared(make_points(("a", TENFOLD, "t/a")), {"a"})()
        await until(lambda: values() == [7.0, 70.0])
    assert taken.state.counts["connects"] == 1


async def test_a_device_of_an_edge_node_is_added_and_its_neighbour_misses_nothing(
    broker: Broker, intake: FakeIntake, run_source: Run
) -> None:
    host = source(broker.port, intake)
    (first,) = sparkplug_points()
    address = SparkplugAddress(host="main", group="corridor", edge="site", device="t2")
    device = replace_device(first, address)
    plan = NodePlan(
        "corridor",
        "site",
        tuple(DevicePlan(name, (MetricPlan("W", DataType.INT32),)) for name in ("t1", "t2")),
    )
    looks = Twice()

    def of(index: int) -> list[tuple[int, float, int]]:
        return [
            (t, value, quality)
            for batch in intake.batches
            for point, t, value, quality in zip(
                batch.point.tolist(),
                batch.t_source.tolist(),
                batch.value.tolist(),
                batch.quality.tolist(),
                strict=True,
            )
            if point == index
        ]

    async with run_source(host.run()):
        await until(lambda: host.state.counts["connects"] == 1)
        async with edge_node(broker.port, looks, plan):
            await until(lambda: len(good(intake)) > 10)
            host.prepared([first, device], {"t2"})()
            await until(lambda: len([row for row in of(1) if row[2] == 0]) > 10)
    # what was measured before the new device was marked as not known yet comes behind that mark, in doubt
    assert {quality for _, _, quality in of(1)} <= {0, Quality.STALE, Quality.CLOCK_SUSPECT}
    seen = {-value for _, value, quality in of(0) if quality == 0}
    assert seen >= set(range(int(min(seen)), int(max(seen)) + 1)), "no look of the neighbour is missing"
    assert host.state.counts["connects"] == 1
    assert host.state.counts["rebirths_requested"] >= 1
    assert not intake.letters


class Twice(Counting):
    """Two devices that say the same."""

    def __call__(self, moment: Moment) -> dict[str, dict[str, Sample] | None]:
        told = super().__call__(moment)["t1"]
        return {"t1": told, "t2": told}


def replace_device(point: SitePoint, address: SparkplugAddress) -> SitePoint:
    device = point.device.model_copy(update={"id": "t2", "sparkplug": address})
    return replace(point, index=1, key=PointKey("t2", "W", "1"), device=device)


async def test_a_host_whose_clock_was_set_back_certifies_itself_with_later_times_all_the_same(
    broker: Broker, intake: FakeIntake, run_source: Run
) -> None:
    """Edge nodes pass over a STATE that is older than the last: tck-id-message-flow-edge-node-birth-publish-
    phid-wait-timestamp."""
    ahead = SystemClock().now_ns() + 3600 * 10**9
    first = SparkplugSource(host_settings(broker.port), sparkplug_points(), intake, ManualClock(ahead))
    async with run_source(first.run()):
        await until(lambda: first.state.counts["connects"] == 1)
    async with listening(broker.port) as listener:
        last = decode_state(payload_of(await listener.state(False)))
        second = source(broker.port, intake)
        async with run_source(second.run()):
            while True:
                birth = decode_state(payload_of(await listener.state(True)))
                if birth.timestamp > last.timestamp:
                    break
        death = decode_state(payload_of(await listener.state(False)))
        while death.timestamp < birth.timestamp:
            death = decode_state(payload_of(await listener.state(False)))
    assert last.timestamp >= ahead // 10**6
