"""What every source on a broker has in common: losses, commits that fail, connections that are given up."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest

from adapters.broker import BrokerConnection
from adapters.mqtt.config import BrokerSettings
from adapters.mqtt.source import MqttSource
from adapters.mqtt_client import ManualAckClient
from adapters.mqtt_session import BrokerLostError, Credentials, Session
from adapters.sparkplug.config import HostSettings
from adapters.sparkplug.source import SparkplugSource
from adapters.tls import TlsSettings
from ingest.fakes import FakeIntake
from telemetry.clock import SystemClock, settle
from telemetry.errors import StorageError
from telemetry.profiles import parse_profile
from telemetry.quality import Quality
from telemetry.site import SitePoint
from tests.adapters.brokers import free_port, packet
from tests.adapters.sparkplug_host_child import points as sparkplug_points

Run = Callable[[Awaitable[None]], AbstractAsyncContextManager[asyncio.Task[None]]]
MakePoints = Callable[..., list[SitePoint]]

PROFILE = """
id = "number"
title = "A number"
source = "test"
[points.N]
title = "number"
unit = "1"
[json]
time_field = "ts"
[json.fields]
N = { field = "n" }
"""
FAST = {"id": "main", "host": "127.0.0.1", "client_id": "x", "backoff_first_s": 0.01, "backoff_max_s": 0.02}


def publish(n: int, qos: int = 0, topic: bytes = b"t/a") -> bytes:
    body = bytes([0, len(topic)]) + topic + (bytes([0, n]) if qos else b"")
    body += b'{"ts": %d, "n": %d}' % (1_795_000_000_000 + n, n)
    return bytes([0x30 | qos << 1, len(body)]) + body


@asynccontextmanager
async def scripted(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A broker that talks as it is told, once it has accepted a connection; gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await packet(reader)
            writer.write(b"\x20\x02\x00\x00")
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def mqtt_source(port: int, make_points: MakePoints, intake: FakeIntake, **more: object) -> MqttSource:
    broker = BrokerSettings.model_validate(FAST | {"port": port} | more)
    points = make_points(("a", parse_profile(PROFILE, "number.toml"), "t/a"))
    return MqttSource(broker, points, intake, SystemClock())


def sparkplug_source(port: int, intake: FakeIntake) -> SparkplugSource:
    host = HostSettings.model_validate(FAST | {"port": port, "host_id": "scada"})
    return SparkplugSource(host, sparkplug_points(), intake, SystemClock())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await SystemClock().sleep(0.005)


def qualities(intake: FakeIntake) -> list[int]:
    return [code for batch in intake.batches for code in batch.quality.tolist()]


def values(intake: FakeIntake) -> list[float]:
    return [value for batch in intake.batches for value in batch.value.tolist() if not math.isnan(value)]


async def test_of_an_attempt_that_is_not_answered_nothing_is_left() -> None:
    """It once left a socket to the garbage collector, which then spoke to a loop that was closed."""
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        broker = BrokerSettings.model_validate(FAST | {"port": port, "timeout_s": 0.05})
        client = ManualAckClient(broker, SystemClock(), Credentials(None, None), Session())
        with pytest.raises(BrokerLostError, match="timed out"):
            async with client:
                pass
        await settle()
        assert client._client._client.socket() is None
    assert told == []


async def test_of_a_broker_that_hangs_up_while_it_is_written_to_nothing_is_left() -> None:
    """The loop once watched a socket that was closed by then, and whose number might be another's."""
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    leave = asyncio.Event()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await leave.wait()

    async with scripted(hang_up) as port:
        broker = BrokerSettings.model_validate(FAST | {"port": port, "timeout_s": 0.2})
        for turns in range(8):  # in one of them the end is read right after the write is wanted
            leave.clear()
            with suppress(BrokerLostError):
                async with ManualAckClient(broker, SystemClock(), Credentials(), Session()) as client:
                    leave.set()
                    await settle(turns)
                    with suppress(BrokerLostError):
                        await client.publish("t", b"x")
                    await until(lambda wire=client: wire.ended)  # type: ignore[misc]
        await settle()
    assert told == []


async def test_thingsboard_2124_what_waits_when_a_connection_ends_is_committed(
    make_points: MakePoints, intake: FakeIntake, run_source: Run
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await packet(reader)
        burst = publish(0, topic=b"old") + b"".join(publish(n) for n in range(1, 1200))
        writer.write(bytes([0x90, 3]) + body[:2] + b"\x01" + burst)
        await writer.drain()
        kind, _ = await packet(reader)
        assert kind == 10, "an UNSUBSCRIBE, which is not answered any more"

    intake.hold()
    async with scripted(talk) as port:
        source = mqtt_source(port, make_points, intake, timeout_s=0.5, backoff_first_s=600, backoff_max_s=600)
        async with run_source(source.run()):
            await until(lambda: source.unacknowledged == 1200)
            (ending,) = [task for task in asyncio.all_tasks() if task.get_name() == "mqtt/main unsubscribe"]
            await asyncio.wait([ending])
            await settle(50)
            intake.release()
            await until(lambda: source.state.counts["connections_lost"] > 0)
    assert values(intake)[:1199] == [*range(1, 1200)], "at QoS 0 the broker sends nothing twice"


@pytest.mark.parametrize("protocol", ["mqtt", "sparkplug"])
async def test_a_lost_link_whose_mark_could_not_be_stored_is_told_again(
    protocol: str, make_points: MakePoints, intake: FakeIntake, run_source: Run
) -> None:
    port = free_port()
    source: MqttSource | SparkplugSource = (
        mqtt_source(port, make_points, intake) if protocol == "mqtt" else sparkplug_source(port, intake)
    )
    intake.refusal = StorageError("disk full")
    async with asyncio.timeout(30):
        with pytest.raises(StorageError):
            await source.run()
    assert source.state.counts["batches_given_up"] == 1
    intake.refusal = None
    async with run_source(source.run()):
        await until(lambda: source.state.counts["connect_failures"] >= 2)
    assert qualities(intake).count(Quality.LINK_LOST) == 1


async def test_a_source_that_is_run_again_tells_of_its_link_anew(
    make_points: MakePoints, intake: FakeIntake, run_source: Run
) -> None:
    """Nobody knows what became of the marks of the run before."""
    source = mqtt_source(free_port(), make_points, intake)
    async with run_source(source.run()):
        await until(lambda: source.state.counts["connect_failures"] >= 1)
    async with run_source(source.run()):
        await until(lambda: source.state.counts["connections_lost"] >= 2)
        await until(lambda: len(qualities(intake)) == 2)
    assert qualities(intake) == [Quality.LINK_LOST] * 2


async def test_a_subscription_that_could_not_be_ended_is_ended_on_the_next_connection(
    make_points: MakePoints, intake: FakeIntake, run_source: Run
) -> None:
    ended: list[bytes] = []
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        first = connections == 1
        while True:
            kind, body = await packet(reader)
            if kind == 8:
                writer.write(
                    bytes([0x90, 3]) + body[:2] + b"\x01" + (publish(1, topic=b"old") if first else b"")
                )
            elif kind == 10:
                if first:
                    return
                ended.append(body[4:])
                writer.write(bytes([0xB0, 2]) + body[:2])

    async with scripted(talk) as port:
        source = mqtt_source(port, make_points, intake)
        async with run_source(source.run()):
            await until(lambda: b"old" in ended)
    assert ended == [b"old", b"+"]


async def test_a_rejected_payload_is_handed_on_whole(
    make_points: MakePoints, intake: FakeIntake, run_source: Run
) -> None:
    """How much of it is kept is for dead_letters.max_payload_bytes to say."""
    junk = b"{" + b"x" * 5000
    body = b"\x00\x03t/a" + junk

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, asked = await packet(reader)
        length = bytes([len(body) % 128 | 0x80, len(body) // 128])
        writer.write(bytes([0x90, 3]) + asked[:2] + b"\x01" + b"\x30" + length + body)
        await packet(reader)

    async with scripted(talk) as port:
        source = mqtt_source(port, make_points, intake)
        async with run_source(source.run()):
            await until(lambda: len(intake.letters) == 1)
    assert intake.letters[0].payload == junk


@asynccontextmanager
async def unanswering() -> AsyncIterator[int]:
    """A port whose queue is full: attempts to connect are neither accepted nor refused."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    queued = [socket.socket() for _ in range(2)]
    for client in queued:
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
    try:
        yield listener.getsockname()[1]
    finally:
        for each in (*queued, listener):
            each.close()


async def given_up(port: int, tls: TlsSettings | None, at: Awaitable[object]) -> None:
    """Cancels an attempt at some moment; it must not wait for its timeout."""
    settings = BrokerConnection(id="main", host="127.0.0.1", port=port, client_id="x", timeout_s=600, tls=tls)
    context = None if tls is None else tls.context("test")
    client = ManualAckClient(settings, SystemClock(), Credentials(None, context), Session())
    attempt = asyncio.create_task(client.__aenter__())
    async with asyncio.timeout(30):
        await at
        attempt.cancel()
        await asyncio.wait([attempt])
    assert attempt.cancelled()


async def test_an_attempt_that_nobody_answers_can_be_given_up() -> None:
    async with unanswering() as port:
        await given_up(port, None, settle(500))


@pytest.mark.parametrize("tls", [None, TlsSettings()])
async def test_an_attempt_that_waits_for_the_brokers_word_can_be_given_up(tls: TlsSettings | None) -> None:
    """After the CONNECT, and in the middle of the handshake."""
    asked = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        await given_up(server.sockets[0].getsockname()[1], tls, asked.wait())


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("127.0.0.1", "cannot be reached: Connection refused"),
        ("no-such-host.invalid", "no-such-host.invalid cannot be found"),
        ("x" * 70, "is no name of a host"),
    ],
)
async def test_a_broker_that_cannot_be_reached_is_named(host: str, told: str) -> None:
    settings = BrokerConnection(id="main", host=host, port=free_port(), client_id="x")
    with pytest.raises(BrokerLostError, match=told):
        async with ManualAckClient(settings, SystemClock(), Credentials(), Session()):
            pass
