"""MQTT messages published to mosquitto: the load publisher against an aiomqtt loop."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import aiomqtt

from benchmarks import machine
from benchmarks.harness import Benchmark, Contenders, Sample, Size, Watch
from simulators.load import packets
from simulators.load.config import MqttLoad
from simulators.load.mqtt import LoadPublisher
from telemetry.clock import SystemClock

VALUES = 50
_STARTS_WITHIN_S = 10.0
_WORKERS = 20
"""Publish calls of the aiomqtt loop at the same time: what its client lets be in flight."""
_CONFIG = """
listener {port} 127.0.0.1
allow_anonymous true
user {user}
set_tcp_nodelay true
max_queued_messages 0
"""


@contextmanager
def mosquitto() -> Iterator[int]:
    """A broker of its own on a free port of loopback; ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    program = machine.find("mosquitto")
    if program is None:
        raise RuntimeError("mosquitto is not installed; on Debian: apt-get install mosquitto")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mosquitto.conf"
        config.write_text(_CONFIG.format(port=port, user=Path.home().owner()))
        quiet = subprocess.DEVNULL
        with subprocess.Popen([program, "-c", config], stdout=quiet, stderr=quiet) as broker:
            try:
                _wait_for(port)
                yield port
            finally:
                broker.terminate()


def _wait_for(port: int) -> None:
    watch = Watch()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if watch.seconds > _STARTS_WITHIN_S:
                raise
            time.sleep(0.02)
        else:
            return


def _load(port: int, qos: int, seconds: float) -> Sample:
    publisher = LoadPublisher(MqttLoad(port=port, qos=1 if qos else 0, values=VALUES), SystemClock())
    watch = Watch()
    asyncio.run(publisher.run(seconds))
    return watch.sample(publisher.confirmed)


async def _aiomqtt_loop(port: int, qos: int, seconds: float) -> Sample:
    template = packets.Template.of("load", 1, VALUES, qos)
    payload = packets.stamp(1_700_000_000_000) + template.tail
    counts = [0] * _WORKERS
    async with aiomqtt.Client("127.0.0.1", port, max_inflight_messages=_WORKERS) as client:
        client.pending_calls_threshold = _WORKERS
        watch = Watch()

        async def publish(worker: int) -> None:
            while not counts[worker] or watch.seconds < seconds:
                await client.publish("load/1", payload, qos=qos)
                counts[worker] += 1

        async with asyncio.TaskGroup() as group:
            for worker in range(_WORKERS):
                group.create_task(publish(worker))
        return watch.sample(sum(counts))


def _aiomqtt(port: int, qos: int, seconds: float) -> Sample:
    return asyncio.run(_aiomqtt_loop(port, qos, seconds))


@contextmanager
def _published(size: Size, *, qos: int) -> Iterator[Contenders]:
    with mosquitto() as port:
        yield {
            "load publisher": partial(_load, port, qos, size.seconds),
            "aiomqtt loop": partial(_aiomqtt, port, qos, size.seconds),
        }


QOS0 = Benchmark(
    "mqtt-published-qos0",
    "MQTT messages of 50 values published to mosquitto at QoS 0",
    "message",
    partial(_published, qos=0),
    target_per_s=20_000,
    needs="mosquitto",
    note="CPU is the publisher's; counted when an answered ping proves that the broker has them",
)
QOS1 = Benchmark(
    "mqtt-published-qos1",
    "the same at QoS 1, counted when acknowledged",
    "message",
    partial(_published, qos=1),
    target_per_s=20_000,
    needs="mosquitto",
    note="at most 1000 messages unacknowledged; aiomqtt: 20 publish calls at a time",
)
