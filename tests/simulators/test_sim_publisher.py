from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import pytest
from structlog.testing import capture_logs

from simulators.bench import Broker
from simulators.devices.payloads import Message
from simulators.devices.publisher import Ledger, Publisher
from telemetry.clock import ManualClock, SystemClock, settle
from telemetry.errors import StorageError

mosquitto_only = pytest.mark.system("mosquitto")
StartBroker = Callable[[], Awaitable[asyncio.subprocess.Process]]


class Counting:
    """A witness that tells when enough was acknowledged."""

    def __init__(self, wanted: int, ledger: Ledger | None = None) -> None:
        self.numbers: list[int] = []
        self.done = asyncio.Event()
        self._wanted = wanted
        self._ledger = ledger

    def acknowledged(self, message: Message) -> None:
        self.numbers.append(int(message.rows[0]["ts"]))
        if self._ledger is not None:
            self._ledger.acknowledged(message)
        if len(set(self.numbers)) >= self._wanted:
            self.done.set()


@asynccontextmanager
async def running(publisher: Publisher) -> AsyncIterator[None]:
    task = asyncio.create_task(publisher.run())
    try:
        async with asyncio.timeout(20):
            yield
    finally:
        task.cancel()
        async with asyncio.timeout(10):
            with suppress(asyncio.CancelledError):
                await task


def message(number: int) -> Message:
    return Message("site/m", {"ts": number, "p_mw": 1.5})


def test_full_buffer_drops_the_oldest_and_counts_it(clock: ManualClock) -> None:
    publisher = Publisher(Broker(buffer=10), clock)
    for number in range(25):
        publisher.offer(message(number))
    assert (publisher.pending, publisher.dropped, publisher.acknowledged) == (10, 15, 0)


def test_a_ledger_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "acks.jsonl"
    with pytest.raises(StorageError, match=r"acks\.jsonl.*choose another file"), Ledger(path):
        pass


@mosquitto_only
async def test_ledger_holds_what_the_broker_took_over(
    port: int, start_broker: StartBroker, tmp_path: Path
) -> None:
    await start_broker()
    path = tmp_path / "acks.jsonl"
    with Ledger(path) as ledger:
        witness = Counting(200, ledger)
        publisher = Publisher(Broker(port=port), SystemClock(), witness)
        async with aiomqtt.Client("127.0.0.1", port) as subscriber, running(publisher):
            await subscriber.subscribe("site/#", qos=1)
            for number in range(200):
                publisher.offer(message(number))
            await witness.done.wait()
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            received = []
            async for heard in subscriber.messages:
                assert (heard.topic.value, heard.qos) == ("site/m", 1)
                assert isinstance(heard.payload, bytes)
                received.append(json.loads(heard.payload))
                if len(received) == 200:
                    break
    assert sorted(lines, key=lambda line: line["ts"]) == [{"topic": "site/m", **r} for r in received]
    assert publisher.pending == 0


@mosquitto_only
async def test_a_killed_broker_costs_no_message(port: int, start_broker: StartBroker) -> None:
    broker = await start_broker()
    witness = Counting(400)
    publisher = Publisher(Broker(port=port, in_flight=4, ack_timeout_s=60), SystemClock(), witness)
    with capture_logs() as logs:
        async with running(publisher):
            for number in range(400):
                publisher.offer(message(number))
                if number == 200:
                    while not witness.numbers:
                        await SystemClock().sleep(0)
                    broker.kill()
                    await broker.wait()
            assert not witness.done.is_set()
            await start_broker()
            await witness.done.wait()
            assert publisher.connected
    assert sorted(witness.numbers) == list(range(400)), "each acknowledged once"
    assert (publisher.pending, publisher.dropped) == (0, 0)
    assert any(entry["event"] == "broker_lost" for entry in logs)


@mosquitto_only
async def test_messages_wait_for_a_late_broker(port: int, start_broker: StartBroker) -> None:
    witness = Counting(10)
    publisher = Publisher(Broker(port=port, buffer=10), SystemClock(), witness)
    async with running(publisher):
        for number in range(30):
            publisher.offer(message(number))
        await start_broker()
        await witness.done.wait()
    assert sorted(witness.numbers) == list(range(20, 30))
    assert (publisher.dropped, publisher.connected) == (20, False)


@mosquitto_only
async def test_a_broker_that_stops_answering_is_left_and_found_again(
    port: int, start_broker: StartBroker
) -> None:
    broker = await start_broker()
    witness = Counting(2)
    publisher = Publisher(Broker(port=port, in_flight=2, ack_timeout_s=0.5), SystemClock(), witness)
    with capture_logs() as logs:
        async with running(publisher):
            publisher.offer(message(0))
            while not witness.numbers:
                await SystemClock().sleep(0)
            broker.send_signal(signal.SIGSTOP)
            publisher.offer(message(1))
            while publisher.connected:
                await SystemClock().sleep(0)
            broker.send_signal(signal.SIGCONT)
            await witness.done.wait()
    assert witness.numbers == [0, 1]
    assert [entry["up"] for entry in logs if entry["event"] == "broker_connection"] == [
        True,
        False,
        True,
        False,
    ]


@mosquitto_only
async def test_a_cancellation_at_any_moment_ends_it(port: int, start_broker: StartBroker) -> None:
    """Even together with an acknowledgement, where ``asyncio.wait_for`` loses it before Python 3.12."""
    await start_broker()
    for turns in range(60):
        witness = Counting(1)
        publisher = Publisher(Broker(port=port), SystemClock(), witness)
        for number in range(400):
            publisher.offer(message(number))
        async with running(publisher):
            await witness.done.wait()
            await settle(turns)
