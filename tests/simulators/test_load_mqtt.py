"""The MQTT publisher for load: packets, bounded flight, confirmation, faults of the broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest

from simulators.load import packets
from simulators.load.config import MqttLoad
from simulators.load.mqtt import LoadPublisher
from telemetry.clock import ManualClock, SystemClock, settle
from telemetry.errors import UnavailableError

GUARD_S = 20
ACCEPT = b"\x20\x02\x00\x00"

StartBroker = Callable[[], Awaitable[asyncio.subprocess.Process]]


@pytest.mark.parametrize(
    ("size", "field"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (2_097_152, "80808001"),
        (268_435_455, "ffffff7f"),
    ],
)
def test_the_remaining_length_is_that_of_table_2_4(size: int, field: str) -> None:
    assert packets.remaining_length(size).hex() == field


def test_a_length_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(ValueError, match="268435456 bytes"):
        packets.remaining_length(268_435_456)


def test_a_connect_packet_is_what_the_standard_says() -> None:
    assert (
        packets.connect("ab", "u", "pw").hex() == "101500044d51545404c20000" + "00026162000175" + "00027077"
    )
    assert packets.connect("ab").hex() == "100e00044d515454040200000002" + "6162"


class Broker:
    """Takes a publisher's packets and acknowledges its messages."""

    def __init__(self, accept: bytes = ACCEPT) -> None:
        self.accept = accept
        self.port = 0
        self.published: list[tuple[int, str, dict[str, Any]]] = []
        self.unacknowledged: list[int] = []
        self.disconnected = False
        self._writer: asyncio.StreamWriter | None = None
        self.hold_at = 0
        """Acknowledges only when so many messages wait."""
        self.leave_at = -1
        """Closes the connection after so many messages."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield
        await settle()

    def acknowledge(self) -> None:
        assert self._writer is not None
        for number in self.unacknowledged:
            self._writer.write(b"\x40\x02" + number.to_bytes(2, "big"))
        self.unacknowledged.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        while not self.disconnected and len(self.published) != self.leave_at:
            try:
                kind = (await reader.readexactly(1))[0]
            except asyncio.IncompleteReadError:
                break
            size = shift = 0
            while True:
                digit = (await reader.readexactly(1))[0]
                size |= (digit & 0x7F) << shift
                shift += 7
                if digit < 0x80:
                    break
            self._take(kind, await reader.readexactly(size), writer)
        writer.close()

    def _take(self, kind: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        if kind == 0x10:
            writer.write(self.accept)
        elif kind & 0xF0 == 0x30:
            end = 2 + int.from_bytes(body[:2], "big")
            topic, at = body[2:end].decode(), end
            number = 0
            if kind & 0x06:
                number, at = int.from_bytes(body[end : end + 2], "big"), end + 2
                self.unacknowledged.append(number)
            self.published.append((number, topic, json.loads(body[at:])))
            if len(self.unacknowledged) >= self.hold_at:
                self.acknowledge()
        elif kind == 0xC0:
            writer.write(b"\xd0\x00")
        else:
            assert kind == 0xE0
            self.disconnected = True


async def publish(broker: Broker, **settings: Any) -> LoadPublisher:
    async with broker.running():
        publisher = LoadPublisher(MqttLoad(port=broker.port, **settings), ManualClock())
        async with asyncio.timeout(GUARD_S):
            await publisher.run()
    return publisher


@pytest.mark.parametrize("qos", [0, 1])
async def test_each_message_carries_its_device_values_and_a_time_of_its_own(qos: int) -> None:
    broker = Broker()

    publisher = await publish(broker, devices=3, values=50, qos=qos, messages=250)

    assert (publisher.sent, publisher.confirmed, publisher.acknowledged) == (250, 250, 250 * qos)
    assert broker.disconnected
    assert len({(topic, payload["ts"]) for _, topic, payload in broker.published}) == 250
    _, topic, payload = broker.published[4]
    assert topic == "load/2"
    assert payload.pop("ts") == 1_700_000_000_001
    assert payload == {f"v{i}": pytest.approx(2 + i / 1000) for i in range(1, 51)}


async def test_no_more_is_in_flight_than_allowed() -> None:
    broker = Broker()
    broker.hold_at = 1000
    async with broker.running(), asyncio.timeout(GUARD_S):
        publisher = LoadPublisher(MqttLoad(port=broker.port, in_flight=20, messages=50), ManualClock())
        task = asyncio.create_task(publisher.run())
        while len(broker.published) < 20:
            await settle()
        await settle(200)
        assert (publisher.sent, publisher.acknowledged) == (20, 0)
        broker.hold_at = 0
        broker.acknowledge()
        await task
    assert publisher.confirmed == len(broker.published) == 50


async def test_identifiers_begin_anew_after_the_last() -> None:
    broker = Broker()

    publisher = await publish(broker, devices=10, values=1, messages=65_540)

    assert [number for number, _, _ in broker.published[65_533:65_537]] == [65_534, 65_535, 1, 2]
    assert publisher.confirmed == 65_540


async def test_a_rate_is_kept() -> None:
    broker, clock = Broker(), ManualClock()
    async with broker.running(), asyncio.timeout(GUARD_S):
        publisher = LoadPublisher(MqttLoad(port=broker.port, rate_per_s=10), clock)
        task = asyncio.create_task(publisher.run(for_s=3.0))
        while not publisher.sent:
            await settle()
        await clock.advance(1.0)
        assert publisher.sent == 11
        await clock.advance(2.0)
        await task
    assert publisher.confirmed == len(broker.published) == 30


@pytest.mark.parametrize(
    ("accept", "reason"),
    [
        (b"\x20\x02\x00\x05", "refused: not authorized"),
        (b"\x20\x02\x00\x09", "refused: return code 9"),
        (b"HTTP/1.1 400", "unexpected packet of type 0x48"),
        (ACCEPT + b"\x40\x02\x00\x07", "acknowledgement of message 7 where 1 is due"),
        (b"", "no answer"),
    ],
)
async def test_what_a_broker_does_wrong_ends_the_load_and_is_named(accept: bytes, reason: str) -> None:
    broker = Broker(accept)
    with pytest.raises(UnavailableError, match=reason):
        await publish(broker, messages=5, timeout_s=0.5)


async def test_a_broker_that_goes_away_ends_the_load() -> None:
    broker = Broker()
    broker.leave_at = 30
    with pytest.raises(UnavailableError, match=r"connection (lost|closed)"):
        await publish(broker, messages=10_000, qos=0)


async def test_a_broker_that_does_not_acknowledge_ends_the_load() -> None:
    broker = Broker()
    broker.hold_at = 1000
    with pytest.raises(UnavailableError, match="no answer"):
        await publish(broker, messages=5, timeout_s=0.2)


async def test_nobody_at_the_port_is_an_error_with_the_address(port: int) -> None:
    with pytest.raises(UnavailableError, match=f"broker 127.0.0.1:{port}: "):
        await LoadPublisher(MqttLoad(port=port), ManualClock()).run()


@pytest.mark.system("mosquitto")
async def test_a_subscriber_of_a_real_broker_gets_every_message_whole(
    start_broker: StartBroker, port: int
) -> None:
    await start_broker()
    async with asyncio.timeout(GUARD_S), aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("load/+", qos=1)
        publisher = LoadPublisher(MqttLoad(port=port, devices=7, messages=500, in_flight=20), SystemClock())
        publishing = asyncio.create_task(publisher.run())
        times: dict[str, list[int]] = {}
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            payload = json.loads(message.payload)
            times.setdefault(str(message.topic), []).append(payload["ts"])
            device = int(str(message.topic).removeprefix("load/"))
            assert payload["v50"] == pytest.approx(packets.value_at(device, 50))
            if sum(map(len, times.values())) == 500:
                break
        await publishing
    assert publisher.confirmed == 500
    assert len(times) == 7
    assert all(each == sorted(set(each)) for each in times.values())
