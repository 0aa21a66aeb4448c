"""The MQTT source against real brokers."""

from __future__ import annotations

import asyncio
import json
import math
import random
import socket
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import aiomqtt
import numpy as np
import pytest

from adapters.mqtt.config import BrokerSettings
from adapters.mqtt.source import MqttSource
from adapters.mqtt_session import SubscriptionRefusedError
from ingest.fakes import FakeIntake
from ingest.ports import DeadLetter, ReinjectionError
from telemetry.clock import SystemClock, settle
from telemetry.errors import StorageError
from telemetry.profiles import DeviceProfile, parse_profile
from telemetry.quality import Quality
from telemetry.site import SitePoint
from tests.adapters.brokers import (
    MOSQUITTO,
    Broker,
    free_port,
    mosquitto_broker,
    nats_broker,
    scripted_broker,
)

Run = Callable[[Awaitable[None]], AbstractAsyncContextManager[asyncio.Task[None]]]
MakePoints = Callable[..., list[SitePoint]]

mosquitto = pytest.mark.system("mosquitto")


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with mosquitto_broker(tmp_path) as made:
        yield made


@pytest.fixture
def profile() -> DeviceProfile:
    text = """
    id = "counter"
    title = "Counts up"
    source = "test"
    [points.N]
    title = "number"
    unit = "1"
    [json]
    time_field = "ts"
    [json.fields]
    N = { field = "n" }
    """
    return parse_profile(text, "counter.toml")


def settings(broker: Broker, **changes: object) -> BrokerSettings:
    values = {
        "id": "main",
        "host": "127.0.0.1",
        "port": broker.port,
        "client_id": "test",
        "backoff_first_s": 0.02,
        "backoff_max_s": 0.1,
    }
    return BrokerSettings.model_validate(values | changes)


def publisher(broker: Broker) -> aiomqtt.Client:
    no_delay = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    client = aiomqtt.Client("127.0.0.1", broker.port, socket_options=no_delay)
    client.pending_calls_threshold = 100
    return client


def payload(n: int) -> bytes:
    return json.dumps({"ts": 1_795_000_000_000 + n, "n": n}).encode()


async def connected(source: MqttSource, times: int = 1) -> None:
    clock = SystemClock()
    async with asyncio.timeout(60):
        while source.state.counts["connects"] < times:
            await clock.sleep(0.005)


async def until(condition: Callable[[], bool]) -> None:
    clock = SystemClock()
    async with asyncio.timeout(60):
        while not condition():
            await clock.sleep(0.005)


def values(intake: FakeIntake) -> list[float]:
    return [v for batch in intake.batches for v in batch.value.tolist() if not math.isnan(v)]


@mosquitto
async def test_aiomqtt_every_message_acknowledged_to_its_publisher_survives_kill_9(
    tmp_path: Path, broker: Broker
) -> None:
    ledger = tmp_path / "ledger"
    child_file = Path(__file__).with_name("mqtt_ledger_child.py")
    acknowledged: set[str] = set()
    done = asyncio.Event()

    async def send(client: aiomqtt.Client, n: int) -> None:
        broken = n % 7 == 3
        await client.publish("site/meter", b"{%d" % n if broken else payload(n), qos=1)
        acknowledged.add(f"x {{{n}" if broken else f"n {n}")

    async def publish() -> None:
        async with publisher(broker) as client:
            sent = 0
            while not done.is_set():
                await asyncio.gather(*(send(client, n) for n in range(sent, sent + 20)))
                sent += 20

    async def spawn() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            str(child_file),
            str(broker.port),
            str(ledger),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def commits(child: asyncio.subprocess.Process, count: int) -> None:
        """Returns after so many messages, in the middle of the next commit."""
        assert child.stdout is not None
        seen, line = 0, b"1"
        while seen < count or int(line) != 0:
            line = await child.stdout.readline()
            assert line, "the subscriber ended by itself"
            seen += int(line)

    chance = random.Random(7)  # noqa: S311
    child = await spawn()
    publishing: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(30):
            async with publisher(broker) as probe:
                while not (ledger.exists() and ledger.read_bytes()):
                    # the first commit is the mark of a subscription that stands
                    await probe.publish("site/meter", payload(10**6), qos=1)
            publishing = asyncio.create_task(publish())
            for _ in range(4):
                await commits(child, chance.randint(30, 120))
                child.kill()
                await child.wait()
                child = await spawn()
            done.set()
            await publishing
            while not acknowledged <= set(ledger.read_text().split("\n")):
                assert child.stdout is not None
                await child.stdout.readline()
    finally:
        done.set()
        if publishing is not None:
            await asyncio.wait([publishing])
        child.kill()
        await child.wait()
    assert len(acknowledged) > 300


@mosquitto
async def test_telegraf_11005_bad_payloads_are_dead_letters_and_neighbours_are_stored(
    broker: Broker, make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    points = make_points(("a", profile, "t/a"), ("b", profile, "t/b"))
    source = MqttSource(settings(broker, max_payload=100), points, intake, SystemClock())
    async with run_source(source.run()), publisher(broker) as client:
        await connected(source)
        for n, body in enumerate((b"\xff", b"[1]", b'{"n": 1}', b'{"ts": "x"}', b"{" + b" " * 200)):
            await client.publish("t/a", body, qos=1)
            await client.publish("t/b", payload(n), qos=1)
        async with asyncio.timeout(60):
            await intake.wait_for(letters=5)
        await until(lambda: len(values(intake)) == 5)
    assert sorted(letter.reason for letter in intake.letters) == [
        "bad_time",
        "no_time",
        "not_json",
        "not_object",
        "oversized",
    ]
    assert {letter.address for letter in intake.letters} == {"t/a"}
    assert values(intake) == [0, 1, 2, 3, 4]


@mosquitto
async def test_telegraf_16293_a_restarted_broker_is_subscribed_to_again(
    broker: Broker, make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    source = MqttSource(settings(broker), make_points(("a", profile, "t/a")), intake, SystemClock())
    async with run_source(source.run()):
        await connected(source)
        await broker.stop()
        async with asyncio.timeout(60):
            await intake.wait_for(batches=1)
        lost = intake.batches[0]
        assert lost.quality.tolist() == [Quality.LINK_LOST]
        assert np.isnan(lost.value).all()
        await until(lambda: source.state.counts["connect_failures"] > 1)
        await broker.start()
        await connected(source, times=2)
        async with publisher(broker) as client:
            await client.publish("t/a", payload(5), qos=1)
        await until(lambda: values(intake) == [5])
    assert len(intake.batches) == 2, "the loss is told once, whatever the number of attempts"
    assert source.state.connected_since is None


@mosquitto
async def test_an_unacknowledged_message_comes_again_and_only_then(
    broker: Broker, make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    points = make_points(("a", profile, "t/a"))
    intake.refusal = StorageError("disk full")
    first = MqttSource(settings(broker), points, intake, SystemClock())
    async with run_source(first.run()) as task, publisher(broker) as client:
        await connected(first)
        await client.publish("t/a", payload(1), qos=1)
        with pytest.raises(StorageError):
            await task
    intake.refusal = None
    for expected in ([1.0], [1.0]):
        again = MqttSource(settings(broker), points, intake, SystemClock())
        async with run_source(again.run()), publisher(broker) as client:
            await connected(again)
            await until(lambda: values(intake)[:1] == [1])
            letters = len(intake.letters)
            await client.publish("t/a", b"end", qos=1)
            async with asyncio.timeout(60):
                await intake.wait_for(letters=letters + 1)
        assert values(intake) == expected


@mosquitto
@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_aiomqtt_a_full_window_is_bounded_and_drops_nothing(
    version: str,
    broker: Broker,
    make_points: MakePoints,
    profile: DeviceProfile,
    intake: FakeIntake,
    run_source: Run,
) -> None:
    source = MqttSource(
        settings(broker, max_unacknowledged=10, version=version),
        make_points(("a", profile, "t/a")),
        intake,
        SystemClock(),
    )
    intake.hold()
    async with run_source(source.run()), publisher(broker) as client:
        await connected(source)
        for n in range(300):
            await client.publish("t/a", payload(n), qos=n % 2)
        await until(lambda: source.unacknowledged >= 10)
        held = source.unacknowledged
        intake.release()
        await until(lambda: len(values(intake)) == 300)
    assert held == 10
    if version == "5":  # the limit holds acknowledged messages back, others may overtake them
        assert sorted(values(intake)) == list(range(300))
    else:
        assert values(intake) == list(range(300))


@mosquitto
async def test_memory_is_flat_while_nothing_can_be_committed(
    broker: Broker, make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    limit = 50
    source = MqttSource(
        settings(broker, max_unacknowledged=limit), make_points(("a", profile, "t/a")), intake, SystemClock()
    )
    intake.hold()
    body = payload(1)[:-1] + b', "x": "' + b"x" * 20_000 + b'"}'
    async with run_source(source.run()), publisher(broker) as client:
        await connected(source)
        await client.publish("t/a", body, qos=1)
        await until(lambda: source.unacknowledged == 1)
        tracemalloc.start()
        try:
            for _ in range(1000):
                await client.publish("t/a", body, qos=1)
                assert source.unacknowledged <= limit
            assert source.unacknowledged == limit
            grown = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        intake.release()
        await until(lambda: len(values(intake)) == 1001)
    assert grown < 3 * limit * len(body), "20 MB were published, at most 1 MB of it may be held"


async def test_aiomqtt_a_refused_topic_is_reported_and_the_others_are_received(
    make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    points = make_points(("a", profile, "t/a"), ("b", profile, "t/b"))
    body = b"\x00\x03t/a\x00\x07" + payload(1)
    acks: list[bytes] = []
    async with scripted_broker(b"\x01\x80", bytes([0x32, len(body)]) + body, acks) as broker:
        source = MqttSource(settings(broker), points, intake, SystemClock())
        async with run_source(source.run()):
            await until(lambda: acks == [b"\x00\x07"])
    assert values(intake) == [1]
    assert "refused 1 of 2 topics, t/b first" in source.state.last_error
    refused = intake.batches[0]
    assert (refused.point.tolist(), refused.quality.tolist()) == ([1], [Quality.DEVICE_REFUSED])


async def test_telegraf_16293_a_backlog_larger_than_the_window_does_not_hold_up_the_subscription(
    make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    def publish(n: int) -> bytes:
        body = b"\x00\x03t/a" + bytes([0, n]) + payload(n)
        return bytes([0x32, len(body)]) + body

    acks: list[bytes] = []
    backlog = b"".join(publish(n) for n in range(1, 8))
    points = make_points(("a", profile, "t/a"))
    async with scripted_broker(b"\x01", publish(8), acks, backlog) as broker:
        source = MqttSource(settings(broker, max_unacknowledged=2), points, intake, SystemClock())
        async with run_source(source.run()):
            await until(lambda: len(acks) == 8)
    assert source.state.counts["connects"] == 1
    assert acks == [bytes([0, n]) for n in range(1, 9)]
    assert values(intake) == [1, 2, 3, 4, 5, 6, 7, 8]


@mosquitto
@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_a_session_is_kept_while_nobody_is_connected(
    version: str,
    broker: Broker,
    make_points: MakePoints,
    profile: DeviceProfile,
    intake: FakeIntake,
    run_source: Run,
) -> None:
    points = make_points(("a", profile, "t/a"))
    first = MqttSource(settings(broker, version=version), points, intake, SystemClock())
    async with run_source(first.run()):
        await connected(first)
    async with publisher(broker) as client:
        for n in range(20):
            await client.publish("t/a", payload(n), qos=1)
    second = MqttSource(settings(broker, version=version), points, intake, SystemClock())
    async with run_source(second.run()):
        await until(lambda: values(intake) == list(range(20)))


@mosquitto
async def test_a_session_ends_when_mqtt_5_says_so(
    broker: Broker, make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    points = make_points(("a", profile, "t/a"))
    short = settings(broker, version="5", session_expiry_s=1)
    first = MqttSource(short, points, intake, SystemClock())
    async with run_source(first.run()):
        await connected(first)
    topic = "$SYS/broker/clients/expired"
    async with publisher(broker) as client:
        await client.subscribe(topic)
        async with asyncio.timeout(60):
            async for message in client.messages:
                if message.payload == b"1":
                    break
        await client.publish("t/a", payload(1), qos=1)
    second = MqttSource(settings(broker, version="5"), points, intake, SystemClock())
    async with run_source(second.run()), publisher(broker) as client:
        await connected(second)
        await client.publish("t/a", payload(2), qos=1)
        await until(lambda: values(intake) == [2])


@mosquitto
@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_members_of_a_group_share_the_messages(
    version: str, broker: Broker, make_points: MakePoints, profile: DeviceProfile, run_source: Run
) -> None:
    points = make_points(("a", profile, "t/a"))
    both = [FakeIntake(), FakeIntake()]
    sources = [
        MqttSource(
            settings(broker, version=version, share="g", client_id=f"m{i}"), points, intake, SystemClock()
        )
        for i, intake in enumerate(both)
    ]
    async with run_source(sources[0].run()), run_source(sources[1].run()), publisher(broker) as client:
        for source in sources:
            await connected(source)
        for n in range(40):
            await client.publish("t/a", payload(n), qos=1)
        await until(lambda: sum(len(values(intake)) for intake in both) == 40)
    got = [values(intake) for intake in both]
    assert sorted(got[0] + got[1]) == list(range(40)), "each message reaches one member"
    assert all(got)


async def test_a_message_that_comes_again_is_counted_and_stored(
    make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    body = b"\x00\x03t/a\x00\x07" + payload(1)
    acks: list[bytes] = []
    async with scripted_broker(b"\x01", bytes([0x3A, len(body)]) + body, acks) as broker:
        source = MqttSource(settings(broker), make_points(("a", profile, "t/a")), intake, SystemClock())
        async with run_source(source.run()):
            await until(lambda: acks == [b"\x00\x07"])
    assert values(intake) == [1], "the stores know duplicates by their key"
    assert source.state.counts["redelivered"] == 1


@mosquitto
async def test_points_and_samples_over_the_wire(
    broker: Broker, make_points: MakePoints, intake: FakeIntake, run_source: Run
) -> None:
    text = 'id = "{id}"\ntitle = "t"\nsource = "test"\n[points.N]\ntitle = "n"\nunit = "1"\n[json]\n{keys}\n'
    text += '[json.fields]\nN = {{ field = "n" }}\n'
    scalar = parse_profile(text.format(id="s", keys='shape = "scalar"'), "s.toml")
    samples = parse_profile(text.format(id="a", keys='shape = "samples"\ntime_field = "ts"'), "a.toml")
    points = make_points(("s", scalar, "t/s/{point}"), ("a", samples, "t/a"))
    source = MqttSource(settings(broker), points, intake, SystemClock())
    async with run_source(source.run()), publisher(broker) as client:
        await connected(source)
        await client.publish("t/s/n", b"4", qos=1)
        await client.publish("t/s/other", b"5", qos=1)
        await client.publish("t/a", b"[%s, 9, %s]" % (payload(1), payload(2)), qos=1)
        await until(lambda: values(intake) == [4, 1, 2])
        await until(lambda: len(intake.letters) == 1)
    assert source.unknown_members == {"s": {"other"}}
    assert [(letter.address, letter.reason) for letter in intake.letters] == [("t/a", "not_object")]


async def test_a_broker_that_refuses_every_topic_is_an_error(
    make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake
) -> None:
    async with scripted_broker(b"\x80", b"", []) as broker, asyncio.timeout(60):
        source = MqttSource(settings(broker), make_points(("b", profile, "t/b")), intake, SystemClock())
        with pytest.raises(SubscriptionRefusedError, match="allow client test to read"):
            await source.run()


async def test_nothing_is_acknowledged_before_the_commit(
    make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    body = b"\x00\x03t/a\x00\x07" + payload(1)
    acks: list[bytes] = []
    intake.hold()
    async with scripted_broker(b"\x01", bytes([0x32, len(body)]) + body, acks) as broker:
        source = MqttSource(settings(broker), make_points(("a", profile, "t/a")), intake, SystemClock())
        async with run_source(source.run()):
            await until(lambda: source.unacknowledged == 1)
            await settle(200)
            assert acks == []
            intake.release()
            await until(lambda: acks == [b"\x00\x07"])
            assert source.unacknowledged == 0


@mosquitto
async def test_a_retained_message_is_never_good_and_a_left_over_subscription_ends(
    broker: Broker, make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    old = MqttSource(settings(broker), make_points(("old", profile, "t/old")), intake, SystemClock())
    async with run_source(old.run()):
        await connected(old)
    source = MqttSource(settings(broker), make_points(("a", profile, "t/a")), intake, SystemClock())
    async with publisher(broker) as client:
        await client.publish("t/a", payload(1), qos=1, retain=True)
        await client.publish("t/old", payload(2), qos=1)
        async with run_source(source.run()):
            await until(lambda: values(intake) == [1])
            await until(lambda: len(intake.letters) == 1)
            await client.publish("t/a", payload(3), qos=1)
            await until(lambda: values(intake) == [1, 3])
            await client.publish("t/old", payload(4), qos=1)
            await client.publish("t/a", payload(5), qos=1)
            await until(lambda: values(intake) == [1, 3, 5])
    qualities = [q for batch in intake.batches for q in batch.quality.tolist()]
    assert qualities == [Quality.RETAINED, Quality.GOOD, Quality.GOOD]
    assert [(letter.reason, letter.address) for letter in intake.letters] == [("unknown_topic", "t/old")]


@pytest.mark.system("mosquitto")
async def test_the_zero_install_broker_keeps_the_session_of_an_absent_client(
    tmp_path: Path, make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    points = make_points(("a", profile, "t/a"))
    async with nats_broker(tmp_path) as broker:
        first = MqttSource(settings(broker), points, intake, SystemClock())
        async with run_source(first.run()), publisher(broker) as client:
            await connected(first)
            await client.publish("t/a", payload(1), qos=1)
            await until(lambda: values(intake) == [1])
        async with publisher(broker) as client:
            for n in range(2, 50):
                await client.publish("t/a", payload(n), qos=1)
        second = MqttSource(settings(broker), points, intake, SystemClock())
        async with run_source(second.run()):
            await until(lambda: set(values(intake)) >= set(range(1, 50)))


@mosquitto
async def test_a_name_and_a_password_from_a_file_or_the_environment_are_shown_to_the_broker(
    tmp_path: Path, make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    users, secret = tmp_path / "users", tmp_path / "secret"
    made = await asyncio.create_subprocess_exec("mosquitto_passwd", "-c", "-b", users, "plant", "s3cret")
    assert await made.wait() == 0
    users.chmod(0o600)
    secret.write_text("s3cret\nnot this line\n")
    closed = MOSQUITTO.replace("allow_anonymous true", f"allow_anonymous false\npassword_file {users}")
    points = make_points(("a", profile, "t/a"))
    async with mosquitto_broker(tmp_path, closed) as broker:
        for change in ({"password_file": str(secret)}, {"password_env": "GB_SECRET"}):
            named = settings(broker, username="plant", **change)
            source = MqttSource(named, points, intake, SystemClock(), environment={"GB_SECRET": "s3cret"})
            async with run_source(source.run()):
                await connected(source)
        refused = MqttSource(settings(broker, username="plant"), points, intake, SystemClock())
        async with run_source(refused.run()):
            await until(lambda: refused.state.counts["connect_failures"] > 0)
    assert refused.state.counts["connects"] == 0
    assert "authori" in refused.state.last_error.lower()


async def test_without_a_broker_the_points_go_bad_once_and_attempts_go_on(
    make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    nobody = BrokerSettings(
        id="main", host="127.0.0.1", port=free_port(), client_id="x", backoff_first_s=0.01, backoff_max_s=0.02
    )
    source = MqttSource(nobody, make_points(("a", profile, "t/a")), intake, SystemClock())
    async with run_source(source.run()):
        await until(lambda: source.state.counts["connect_failures"] >= 3)
    assert [batch.quality.tolist() for batch in intake.batches] == [[Quality.LINK_LOST]]


async def test_a_port_that_speaks_no_mqtt_is_a_lost_link(
    make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake, run_source: Run
) -> None:
    async def banner(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(range(256)))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(banner, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    broker = BrokerSettings(
        id="main",
        host="127.0.0.1",
        port=port,
        client_id="x",
        timeout_s=0.2,
        backoff_first_s=0.01,
        backoff_max_s=0.02,
    )
    source = MqttSource(broker, make_points(("a", profile, "t/a")), intake, SystemClock())
    async with server, run_source(source.run()):
        await until(lambda: source.state.counts["connect_failures"] >= 2)
    assert [batch.quality.tolist() for batch in intake.batches] == [[Quality.LINK_LOST]]


async def test_a_letter_is_decoded_again_as_of_its_receipt(
    make_points: MakePoints, profile: DeviceProfile, intake: FakeIntake
) -> None:
    """After the profile or the payload's producer was put right; no broker has a part in it."""
    broker = BrokerSettings(id="main", host="127.0.0.1", port=1, client_id="c")
    source = MqttSource(broker, make_points(("a", profile, "t/a")), intake, SystemClock())
    body = payload(7)
    letter = DeadLetter(5_000, source.name, "t/a", "not_json", "", body, len(body))
    await source.reinject(letter)
    assert values(intake) == [7]
    await source.reinject(letter)
    first, second = intake.batches
    assert first.t_source.tolist() == second.t_source.tolist(), "twice is once"
    for wrong, reason in (
        (replace(letter, payload=b"{"), "not_json"),
        (replace(letter, address="x"), "unknown_topic"),
    ):
        with pytest.raises(ReinjectionError, match=reason):
            await source.reinject(wrong)
    assert len(intake.batches) == 2
