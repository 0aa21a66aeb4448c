"""What users of other MQTT and Sparkplug software report of it, a test for each; the READMEs list them.

Where another file holds the subject, its test is named in the README's table instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapters.mqtt.config import BrokerSettings
from adapters.mqtt.source import MqttSource
from adapters.sparkplug.source import SparkplugSource
from ingest.fakes import FakeIntake
from telemetry.devices import MqttAddress
from telemetry.quality import Quality
from telemetry.site import SitePoint
from tests.adapters.brokers import Broker, mosquitto_broker, packet
from tests.adapters.test_sparkplug_host import Counting, edge_node, good, latest_quality, source, until
from tests.adapters.test_subscriber import mqtt_source, publish, qualities, scripted, values

Run = Callable[[Awaitable[None]], AbstractAsyncContextManager[asyncio.Task[None]]]
MakePoints = Callable[..., list[SitePoint]]

OUTAGE = 200
"""Attempts in vain."""


async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts the subscription, sends one value, and stays."""
    _, body = await packet(reader)
    writer.write(bytes([0x90, 3]) + body[:2] + b"\x01" + publish(5))
    await reader.read()


async def test_thingsboard_2065_values_are_not_sent_again_after_the_link_is_lost(
    make_points: MakePoints, intake: FakeIntake, run_source: Run
) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await packet(reader)
        writer.write(bytes([0x90, 3]) + body[:2] + b"\x01" + publish(5))
        await writer.drain()
        await until(lambda: values(intake) == [5])

    async with scripted(hang_up) as port:
        mqtt: MqttSource = mqtt_source(port, make_points, intake)
        async with run_source(mqtt.run()):
            await until(lambda: mqtt.state.counts["connections_lost"] >= 1)
            await until(lambda: Quality.LINK_LOST in qualities(intake))
    readings = [
        (t, v) for b in intake.batches for t, v in zip(b.t_source.tolist(), b.value.tolist(), strict=True)
    ]
    times = [t for t, v in readings if v == 5]
    assert set(times) == {1_795_000_000_005_000_000}, "the value has its own time, however often it comes"


async def test_thingsboard_2132_readings_come_back_after_a_long_outage(
    make_points: MakePoints, intake: FakeIntake, run_source: Run
) -> None:
    attempts = 0

    async def down_for_long(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        if attempts > OUTAGE:
            await serve_one(reader, writer)

    async with scripted(down_for_long) as port:
        mqtt = mqtt_source(port, make_points, intake, backoff_first_s=0.001, backoff_max_s=0.002)
        async with run_source(mqtt.run()):
            await until(lambda: values(intake) == [5], 60)
            assert mqtt.state.connected
    assert qualities(intake).count(Quality.LINK_LOST) == 1, "told once"


@pytest.mark.system("mosquitto")
async def test_thingsboard_2065_a_dead_edge_node_says_nothing_and_nothing_is_said_for_it(
    tmp_path: Path, intake: FakeIntake, run_source: Run
) -> None:
    """Deaths, losses and returns of the broker: no value of before comes again but by a birth."""
    async with mosquitto_broker(tmp_path) as broker:
        host: SparkplugSource = source(broker.port, intake)
        async with run_source(host.run()):
            await until(lambda: host.state.connected)
            async with edge_node(broker.port, Counting(still=True)):
                await until(lambda: good(intake)[-1:] == [-1])
            await until(lambda: latest_quality(intake) == Quality.STALE)
            known = len(good(intake))
            await stopped_and_started(broker, host)
            await until(lambda: host.state.counts["rebirths_requested"] > 0)
        assert latest_quality(intake) in {Quality.STALE, Quality.LINK_LOST}
        assert len(good(intake)) == known


async def stopped_and_started(broker: Broker, host: SparkplugSource) -> None:
    await broker.stop()
    await until(lambda: host.state.counts["connections_lost"] == 1)
    await broker.start()
    await until(lambda: host.state.counts["connects"] == 2)


def test_nats_a_topic_with_a_blank_disconnects_the_client_so_none_is_accepted() -> None:
    with pytest.raises(ValidationError, match="topic"):
        MqttAddress(broker="main", topic="site one/meter")
    with pytest.raises(ValidationError, match="topic"):
        BrokerSettings(id="main", host="x", client_id="x", topic="site one/{device}")


async def test_a_publisher_that_never_says_anything_sound_costs_a_bounded_number_of_words(
    make_points: MakePoints, intake: FakeIntake, run_source: Run
) -> None:
    """Every message is a dead letter and counted; the log has each topic and reason once."""
    junk = bytes([0x30, 8]) + b"\x00\x03t/a{{{"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await packet(reader)
        writer.write(bytes([0x90, 3]) + body[:2] + b"\x01" + junk * 1500 + publish(1))
        await reader.read()

    async with scripted(talk) as port:
        mqtt = mqtt_source(port, make_points, intake)
        async with run_source(mqtt.run()):
            await until(lambda: values(intake) == [1])
    assert len(intake.letters) == mqtt.state.counts["rejected_not_json"] == 1500
    assert len(mqtt._complained) == 1
