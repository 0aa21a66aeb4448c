"""MQTT messages received, decoded and acknowledged by hand: the source against bare receive loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from adapters.mqtt.config import BrokerSettings
from adapters.mqtt.source import MqttSource
from benchmarks.decoding import VALUES, json_points
from benchmarks.harness import Benchmark, Contenders, Sample, Size, Watch
from benchmarks.publishing import mosquitto
from ingest.ports import Committed, DeadLetter
from simulators.load.config import MqttLoad
from simulators.load.mqtt import LoadPublisher
from telemetry.batch import ReadingBatch
from telemetry.clock import SystemClock

DEVICES = 100
_PER_SECOND = 5000
"""Messages that wait at the broker for each second of a sample."""
_CLIENT = "bench"
_TOPICS = [(f"load/{device}", 1) for device in range(1, DEVICES + 1)]

Drain = Callable[[int, int], Sample]
"""Receives a number of messages from the broker at a port."""


class _Intake:
    """Keeps nothing: what is measured ends where the journal begins."""

    def __init__(self, messages: int) -> None:
        self._left = messages * VALUES
        self.done = asyncio.Event()

    async def submit(self, batch: ReadingBatch) -> Committed:
        self._left -= len(batch)
        if self._left <= 0:
            self.done.set()
        return Committed(1, 0)

    async def reject(self, letters: Sequence[DeadLetter]) -> None:
        raise RuntimeError(f"a message was rejected: {letters[0].detail}")


def _source(port: int, messages: int) -> Sample:
    async def drain() -> Sample:
        settings = BrokerSettings(id="bench", host="127.0.0.1", port=port, client_id=_CLIENT)
        points = [
            point
            for device in range(1, DEVICES + 1)
            for point in json_points(f"load-{device}", f"load/{device}")
        ]
        intake = _Intake(messages)
        source = MqttSource(settings, points, intake, SystemClock())
        watch = Watch()
        task = asyncio.create_task(source.run())
        await intake.done.wait()
        sample = watch.sample(messages)
        task.cancel()
        await asyncio.wait([task])
        return sample

    return asyncio.run(drain())


def _aiomqtt(port: int, messages: int) -> Sample:
    async def drain() -> Sample:
        watch, count = Watch(), 0
        async with aiomqtt.Client("127.0.0.1", port, identifier=_CLIENT, clean_session=False) as client:
            client._client.manual_ack_set(True)
            async for message in client.messages:
                client._client.ack(message.mid, message.qos)
                count += 1
                if count == messages:
                    break
            return watch.sample(count)

    return asyncio.run(drain())


def _paho(port: int, messages: int) -> Sample:
    count = 0

    def receive(client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        nonlocal count
        client.ack(message.mid, message.qos)
        count += 1

    client = _session(manual_ack=True)
    client.on_message = receive
    watch = Watch()
    client.connect("127.0.0.1", port)
    while count < messages:
        client.loop()
    sample = watch.sample(count)
    client.disconnect()
    client.loop()
    return sample


def _session(*, manual_ack: bool = False) -> paho.Client:
    return paho.Client(CallbackAPIVersion.VERSION2, _CLIENT, clean_session=False, manual_ack=manual_ack)


def _subscribed(port: int) -> None:
    """Begins the session and subscribes, so that the broker keeps what is published."""
    client, answers = _session(), 0

    def answered(*_: object) -> None:
        nonlocal answers
        answers += 1

    def subscribe(*_: object) -> None:
        client.subscribe(_TOPICS)

    client.on_subscribe = answered
    client.on_connect = subscribe
    client.connect("127.0.0.1", port)
    while not answers:
        client.loop()
    client.disconnect()
    client.loop()


def _after_publishing(drain: Drain, port: int, messages: int) -> Sample:
    _subscribed(port)
    load = MqttLoad(port=port, qos=1, values=VALUES, devices=DEVICES, messages=messages)
    asyncio.run(LoadPublisher(load, SystemClock()).run())
    return drain(port, messages)


@contextmanager
def _received(size: Size) -> Iterator[Contenders]:
    messages = max(200, round(size.seconds * _PER_SECOND))
    drains: dict[str, Drain] = {"mqtt source": _source, "aiomqtt loop": _aiomqtt, "paho loop": _paho}
    with mosquitto() as port:
        yield {name: partial(_after_publishing, drain, port, messages) for name, drain in drains.items()}


RECEIVED = Benchmark(
    "mqtt-received",
    "MQTT messages of 50 values taken from mosquitto at QoS 1, decoded and acknowledged by hand",
    "message",
    _received,
    needs="mosquitto",
    note="the loops acknowledge and decode nothing",
)
