"""The host application against a real broker and the simulators' edge nodes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import pytest

from adapters.mqtt_session import SubscriptionRefusedError
from adapters.sparkplug.config import HostSettings
from adapters.sparkplug.source import SparkplugSource
from ingest.fakes import FakeIntake
from simulators.bench import Broker as BrokerSettings
from simulators.devices.sparkplug.history import Sample
from simulators.devices.sparkplug.payloads import DataType, decode_commands, decode_state, encode
from simulators.devices.sparkplug.plan import DevicePlan, MetricPlan, NodePlan
from simulators.devices.sparkplug.runner import EdgeNodeRunner, Moment
from telemetry.clock import SystemClock
from telemetry.quality import Quality
from tests.adapters.brokers import Broker, free_port, mosquitto_broker, nats_broker, scripted_broker
from tests.adapters.sparkplug_host_child import points
from tests.adapters.sparkplug_messages import T0, bd, metric

pytestmark = pytest.mark.system("mosquitto")
Run = Callable[[Awaitable[None]], AbstractAsyncContextManager[asyncio.Task[None]]]

PLAN = NodePlan("corridor", "site", (DevicePlan("t1", (MetricPlan("W", DataType.INT32),)),))
WAITING = NodePlan("corridor", "site", PLAN.devices, primary_host="scada")
STATE = "spBv1.0/STATE/scada"


class Counting:
    """A device whose power falls by one at each look, so that every look is a change."""

    def __init__(self, *, still: bool = False) -> None:
        self.looks = 0
        self.reachable = True
        self.still = still

    def __call__(self, moment: Moment) -> dict[str, dict[str, Sample] | None]:
        if not self.reachable:
            return {"t1": None}
        self.looks += not (self.still and self.looks)
        return {"t1": {"W": Sample(-self.looks, moment.own_ms)}}


@asynccontextmanager
async def edge_node(port: int, device: Counting, plan: NodePlan = PLAN) -> AsyncIterator[EdgeNodeRunner]:
    runner = EdgeNodeRunner(plan, BrokerSettings(port=port), SystemClock(), device, period_s=0.02)
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with mosquitto_broker(tmp_path) as made:
        yield made


def settings(port: int, **changes: object) -> HostSettings:
    values = {"id": "main", "host": "127.0.0.1", "port": port, "client_id": "host", "host_id": "scada"}
    values |= {"backoff_first_s": 0.02, "backoff_max_s": 0.1, "birth_wait_s": 0.2, "rebirth_pause_s": 0.2}
    return HostSettings.model_validate(values | changes)


def source(port: int, intake: FakeIntake, **changes: object) -> SparkplugSource:
    return SparkplugSource(settings(port, **changes), points(), intake, SystemClock())


async def until(condition: Callable[[], bool], guard_s: float = 60) -> None:
    async with asyncio.timeout(guard_s):
        while not condition():
            await SystemClock().sleep(0.005)


def good(intake: FakeIntake) -> list[float]:
    return [
        v
        for batch in intake.batches
        for v, q in zip(batch.value.tolist(), batch.quality.tolist(), strict=True)
        if q == 0
    ]


def latest_quality(intake: FakeIntake) -> int:
    rows: list[tuple[int, int, int]] = [
        (t, n, q)
        for n, batch in enumerate(intake.batches)
        for t, q in zip(batch.t_source.tolist(), batch.quality.tolist(), strict=True)
    ]
    return max(rows)[2]


class Listener:
    """Hears everything that is published, in order."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.heard: list[aiomqtt.Message] = []

    async def until(self, wanted: Callable[[aiomqtt.Message], bool]) -> aiomqtt.Message:
        async with asyncio.timeout(60):
            async for message in self.client.messages:
                self.heard.append(message)
                if wanted(message):
                    return message
        raise AssertionError("the broker is gone")

    async def state(self, online: bool) -> aiomqtt.Message:
        def wanted(message: aiomqtt.Message) -> bool:
            return message.topic.value == STATE and decode_state(payload(message)).online is online

        return await self.until(wanted)


def payload(message: aiomqtt.Message) -> bytes:
    assert isinstance(message.payload, bytes)
    return message.payload


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[Listener]:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("spBv1.0/#", qos=1)
        yield Listener(client)


async def test_readings_of_an_edge_node_from_birth_to_death(
    broker: Broker, intake: FakeIntake, run_source: Run
) -> None:
    host = source(broker.port, intake)
    device = Counting()
    async with run_source(host.run()):
        await until(lambda: host.state.counts["connects"] == 1)
        async with edge_node(broker.port, device):
            await until(lambda: len(good(intake)) > 10)
            device.reachable = False
            await until(lambda: latest_quality(intake) == Quality.STALE)
            device.reachable = True
            await until(lambda: latest_quality(intake) == 0)
        await until(lambda: latest_quality(intake) == Quality.STALE)
        assert host.online == 0
    assert host.state.counts["device_deaths"] == 1
    assert host.state.counts["node_deaths"] == 1
    values = good(intake)
    assert set(values) >= {float(-n) for n in range(1, 11)}
    assert not intake.letters
    assert "out_of_order" not in host.state.counts


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_the_certificates_of_the_host(
    version: str, broker: Broker, intake: FakeIntake, run_source: Run
) -> None:
    """Birth and death of the host, on the wire.

    tck-id-host-topic-phid-birth-message, tck-id-host-topic-phid-birth-qos,
    tck-id-host-topic-phid-birth-retain, tck-id-host-topic-phid-birth-required,
    tck-id-host-topic-phid-birth-sub-required, tck-id-host-topic-phid-birth-payload-timestamp,
    tck-id-message-flow-phid-sparkplug-subscription, tck-id-message-flow-phid-sparkplug-state-publish,
    tck-id-message-flow-phid-sparkplug-state-publish-payload-timestamp,
    tck-id-message-flow-hid-sparkplug-state-message-delivered,
    tck-id-operational-behavior-host-application-connect-birth,
    tck-id-operational-behavior-host-application-connect-birth-topic,
    tck-id-operational-behavior-host-application-connect-birth-payload,
    tck-id-operational-behavior-host-application-connect-birth-qos,
    tck-id-operational-behavior-host-application-connect-birth-retained,
    tck-id-operational-behavior-host-application-termination,
    tck-id-operational-behavior-host-application-death-topic,
    tck-id-operational-behavior-host-application-death-payload,
    tck-id-operational-behavior-host-application-death-qos,
    tck-id-operational-behavior-host-application-death-retained,
    tck-id-operational-behavior-host-application-disconnect-intentional,
    tck-id-host-topic-phid-death-qos, tck-id-host-topic-phid-death-retain,
    tck-id-host-topic-phid-death-payload-timestamp-disconnect-clean,
    tck-id-host-topic-phid-death-payload-timestamp-disconnect-with-no-disconnect-packet,
    tck-id-payloads-state-subscribe, tck-id-payloads-state-birth, tck-id-conformance-primary-host,
    tck-id-components-ph-state, tck-id-intro-sparkplug-host-state,
    tck-id-operational-behavior-primary-application-state-with-multiple-servers-state.
    """
    host = source(broker.port, intake, version=version, request_rebirths=False)
    async with listening(broker.port) as listener:
        async with run_source(host.run()):
            birth = await listener.state(True)
            assert birth.qos == 1
            first_ms = decode_state(payload(birth)).timestamp
            await until(lambda: host.state.connected)
            await listener.client.publish(STATE, b'{"online":false,"timestamp":1}', qos=1, retain=True)
            again = await listener.state(True)
            assert decode_state(payload(again)).timestamp == first_ms, "that of the CONNECT's will"
            # with MQTT 5 it comes once for each of the two subscriptions that it fits
            await until(lambda: host.state.counts["state_repeated"] >= 1)
        death = await listener.state(False)
        assert death.qos == 1
        assert decode_state(payload(death)).timestamp > first_ms
        assert {m.topic.value for m in listener.heard} == {STATE}, "nothing else was published"
    async with listening(broker.port) as late:
        kept = await late.state(False)
        assert kept.retain


async def test_an_edge_node_that_missed_the_hosts_state_hears_it_again(
    broker: Broker, intake: FakeIntake, run_source: Run
) -> None:
    """A broker may lose a retained message, or keep it a moment too late for a subscription (nats-server)."""
    host = source(broker.port, intake)
    async with run_source(host.run()), listening(broker.port) as listener:
        await listener.state(True)
        await listener.client.publish(STATE, b"", qos=1, retain=True)  # nothing is retained any more
        await until(lambda: host.state.counts["rejected_bad_state"] >= 1)
        async with edge_node(broker.port, Counting(), WAITING):
            await until(lambda: len(good(intake)) > 5)
    assert host.state.counts["state_repeated"] >= 1


async def test_the_will_of_the_host(broker: Broker, intake: FakeIntake, run_source: Run) -> None:
    """What the broker publishes when the host is gone without a word.

    tck-id-operational-behavior-host-application-connect-will,
    tck-id-operational-behavior-host-application-connect-will-topic,
    tck-id-operational-behavior-host-application-connect-will-payload,
    tck-id-operational-behavior-host-application-connect-will-qos,
    tck-id-operational-behavior-host-application-connect-will-retained,
    tck-id-host-topic-phid-death-required, tck-id-host-topic-phid-death-payload-timestamp-connect,
    tck-id-payloads-state-will-message, tck-id-payloads-state-will-message-qos,
    tck-id-payloads-state-will-message-retain, tck-id-operational-behavior-host-application-host-id,
    tck-id-operational-behavior-host-application-multi-server-timestamp.
    """
    host = source(broker.port, intake)
    async with listening(broker.port) as listener, run_source(host.run()):
        first_ms = decode_state(payload(await listener.state(True))).timestamp
        # another client of the same name throws it out, as a broken connection would
        async with aiomqtt.Client("127.0.0.1", broker.port, identifier="host"):
            will = await listener.state(False)
            assert decode_state(payload(will)).timestamp == first_ms
            assert will.qos == 1
        again = await listener.state(True)
        assert decode_state(payload(again)).timestamp > first_ms, "a new CONNECT, a new time"
        await until(lambda: host.state.counts["connects"] >= 2)


async def connect_packet(port_taken: Callable[[int], None]) -> bytes:
    """The CONNECT of the client that connects first."""
    caught: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(1024)
        if not caught.done():
            caught.set_result(data)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port_taken(server.sockets[0].getsockname()[1])
        async with asyncio.timeout(60):
            return await caught


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_the_session_is_a_clean_one(version: str, intake: FakeIntake) -> None:
    """tck-id-message-flow-phid-sparkplug-clean-session-311,
    tck-id-message-flow-phid-sparkplug-clean-session-50."""
    tasks: list[asyncio.Task[None]] = []

    def start(port: int) -> None:
        tasks.append(asyncio.create_task(source(port, intake, version=version).run()))

    packet = await connect_packet(start)
    tasks[0].cancel()
    await asyncio.wait(tasks)
    flags = packet[packet.index(b"MQTT") + 5]
    assert flags == 0b0010_1110, "clean; will at QoS 1, retained"
    if version == "5":
        assert b"\x11\x00\x00\x00\x00" in packet, "a session expiry interval of 0"


async def test_a_host_that_comes_late_asks_for_births(
    broker: Broker, intake: FakeIntake, run_source: Run
) -> None:
    """tck-id-topics-ncmd-mqtt, tck-id-payloads-ncmd-qos, tck-id-payloads-ncmd-retain."""
    device = Counting()
    async with edge_node(broker.port, device), listening(broker.port) as listener:
        await until(lambda: device.looks > 5)
        host = source(broker.port, intake)
        async with run_source(host.run()):
            command = await listener.until(lambda m: "/NCMD/" in m.topic.value)
            assert (command.topic.value, command.qos, command.retain) == (
                "spBv1.0/corridor/NCMD/site",
                0,
                False,
            )
            assert decode_commands(payload(command))[0].value is True
            await until(lambda: len(good(intake)) > 5)
            assert host.online == 1


async def test_a_quiet_edge_node_is_asked_too(broker: Broker, intake: FakeIntake, run_source: Run) -> None:
    """It reports by exception: nothing but its births would ever come."""
    device = Counting(still=True)
    async with edge_node(broker.port, device):
        await until(lambda: device.looks > 0)
        host = source(broker.port, intake)
        async with run_source(host.run()):
            await until(lambda: good(intake)[-1:] == [-1])


async def test_a_host_beside_another_asks_for_nothing(
    broker: Broker, intake: FakeIntake, run_source: Run
) -> None:
    async with listening(broker.port) as listener:
        host = source(broker.port, intake, request_rebirths=False, reorder_timeout_s=0.05)
        async with run_source(host.run()):
            await listener.state(True)
            await listener.client.publish(
                "spBv1.0/corridor/DDATA/site/t1", encode([metric(1, alias=1)], T0, 4), qos=0
            )
            await until(lambda: host.state.counts["reorder_timeouts"] == 1)
            await until(lambda: len(intake.letters) == 1)
            await listener.client.publish(STATE, b'{"online":false,"timestamp":1}', qos=1)
            await listener.state(True)
        await listener.state(False)
    assert {m.topic.value for m in listener.heard} == {STATE, "spBv1.0/corridor/DDATA/site/t1"}


async def test_telegraf_16293_without_the_broker_everything_is_stale_until_the_births(
    broker: Broker, intake: FakeIntake, run_source: Run
) -> None:
    host = source(broker.port, intake)
    device = Counting()
    async with run_source(host.run()), AsyncExitStack() as nodes:
        # what was sent before the host had subscribed is not to be had again
        await until(lambda: host.state.counts["connects"] == 1)
        await nodes.enter_async_context(edge_node(broker.port, device))
        await until(lambda: len(good(intake)) > 3)
        await broker.stop()
        await until(lambda: latest_quality(intake) == Quality.LINK_LOST)
        assert host.online == 0
        lost = sum(q == Quality.LINK_LOST for batch in intake.batches for q in batch.quality.tolist())
        await until(lambda: host.state.counts["connect_failures"] > 1)
        await broker.start()
        await until(lambda: host.online == 1)
        await until(lambda: latest_quality(intake) == 0)
        # what a node sent again before the host had subscribed again is not to be had either
        looks = device.looks
        await until(lambda: set(good(intake)) >= {float(-n) for n in range(looks + 1, looks + 10)})
    assert lost == 1, "told once, whatever the number of attempts"


async def test_telegraf_11005_bad_messages_are_dead_letters_and_neighbours_are_stored(
    broker: Broker, intake: FakeIntake, run_source: Run
) -> None:
    host = source(broker.port, intake, max_payload=200, max_nodes=1)
    prefix = "spBv1.0/corridor"
    data = f"{prefix}/DDATA/site/t1"
    async with run_source(host.run()), aiomqtt.Client("127.0.0.1", broker.port) as client:
        await until(lambda: host.state.counts["connects"] == 1)
        now_ms = SystemClock().now_ns() // 10**6
        await client.publish(f"{prefix}/NBIRTH/site", encode([bd(0)], now_ms, 0))
        birth = encode([metric(1, name="W", alias=1, t=now_ms)], now_ms, 1)
        await client.publish(f"{prefix}/DBIRTH/site/t1", birth)
        await client.publish(f"{prefix}/NOPE/site", b"")
        await client.publish(data, b"\xff\xff\xff")
        await client.publish(data, b"x" * 300)
        await client.publish(f"{prefix}/NBIRTH/other", encode([bd(0)], now_ms, 0))
        await client.publish(STATE, b"OFFLINE", qos=1)
        await client.publish(data, encode([metric(2, alias=1, t=now_ms + 1)], now_ms, 2), retain=True)
        async with asyncio.timeout(60):
            await intake.wait_for(letters=5)
        await until(lambda: good(intake) == [1, 2])
    found = sorted(letter.reason for letter in intake.letters)
    assert found == ["bad_state", "bad_topic", "not_payload", "oversized", "too_many_nodes"]
    assert {letter.source for letter in intake.letters} == {"sparkplug/main"}


async def test_a_retained_message_is_of_an_unknown_age(
    broker: Broker, intake: FakeIntake, run_source: Run
) -> None:
    """tck-id-topics-nbirth-mqtt, tck-id-topics-ddata-mqtt: they must not be retained."""
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.publish("spBv1.0/corridor/NBIRTH/site", encode([bd(0)], T0, 0), retain=True)
    host = source(broker.port, intake)
    async with run_source(host.run()):
        await until(lambda: len(intake.letters) == 1)
    assert intake.letters[0].reason == "retained"
    assert host.online == 0


async def test_a_broker_that_refuses_the_namespace_is_an_error(intake: FakeIntake) -> None:
    async with scripted_broker(b"\x01\x80", b"", []) as broker, asyncio.timeout(60):
        with pytest.raises(SubscriptionRefusedError, match=r"spBv1.0/# first; allow client host to read"):
            await source(broker.port, intake).run()


async def test_what_is_born_is_written_for_people(
    broker: Broker, intake: FakeIntake, run_source: Run, tmp_path: Path
) -> None:
    file = tmp_path / "sparkplug-main.json"
    plan = NodePlan(
        "corridor", "site", (*PLAN.devices, DevicePlan("t2", (MetricPlan("Hz", DataType.DOUBLE, "Hz"),)))
    )

    class Two(Counting):
        def __call__(self, moment: Moment) -> dict[str, dict[str, Sample] | None]:
            return super().__call__(moment) | {"t2": {"Hz": Sample(50.0, moment.own_ms)}}

    host = SparkplugSource(settings(broker.port), points(), intake, SystemClock(), directory_file=file)
    async with run_source(host.run()), edge_node(broker.port, Two(), plan):
        await until(lambda: file.exists() and '"t2"' in file.read_text())
    devices = {device["device"]: device for device in json.loads(file.read_text())["devices"]}
    assert devices["t1"]["metrics"][0]["state"] == "mapped"
    assert devices["t2"]["metrics"][0] | {"value": 0} == {
        "name": "Hz",
        "datatype": "DOUBLE",
        "unit": "Hz",
        "value": 0,
        "state": "proposed",
        "refused": "",
    }


async def test_the_zero_install_broker_carries_an_edge_node(
    intake: FakeIntake, run_source: Run, tmp_path: Path
) -> None:
    """Its topics are subjects, in which the dot of the namespace has a meaning of its own."""
    device = Counting()
    async with nats_broker(tmp_path) as nats:
        host = source(nats.port, intake)
        async with run_source(host.run()), edge_node(nats.port, device, WAITING):
            await until(lambda: len(good(intake)) > 5)
            device.reachable = False
            await until(lambda: latest_quality(intake) == Quality.STALE)
    assert not intake.letters


class SteppedClock(SystemClock):
    """A wall clock that somebody sets."""

    ahead_ns = 60_000_000_000

    def now_ns(self) -> int:
        return super().now_ns() + self.ahead_ns


async def test_when_the_wall_clock_is_set_back_what_is_current_is_asked_for_again(
    broker: Broker, intake: FakeIntake, run_source: Run
) -> None:
    """Consumers forget what lies in the future; marks made there must not hold readings off either."""
    clock, device = SteppedClock(), Counting()
    host = SparkplugSource(settings(broker.port), points(), intake, clock)
    async with run_source(host.run()), edge_node(broker.port, device):
        await until(lambda: host.online == 1)
        asked = host.state.counts["rebirths_requested"]
        clock.ahead_ns = 0
        await until(lambda: host.state.counts["rebirths_requested"] > asked)
        before = len(good(intake))
        await until(lambda: len(good(intake)) > before + 5)


async def test_without_a_broker_attempts_go_on(intake: FakeIntake, run_source: Run) -> None:
    host = source(free_port(), intake)
    async with run_source(host.run()):
        await until(lambda: host.state.counts["connect_failures"] >= 3)
    assert [batch.quality.tolist() for batch in intake.batches] == [[Quality.STALE], [Quality.LINK_LOST]]


async def test_what_an_earlier_run_stored_last_does_not_hold_before_the_births(
    broker: Broker, intake: FakeIntake, run_source: Run
) -> None:
    """Reported by exception: without a word nobody would know that it is not known any more."""
    async with run_source(source(broker.port, intake).run()), edge_node(broker.port, Counting()):
        await until(lambda: len(good(intake)) > 3)
    before = len(intake.batches)
    again = source(broker.port, intake, request_rebirths=False)
    async with run_source(again.run()):
        await until(lambda: again.state.counts["connects"] == 1)
    marks = intake.batches[before:]
    assert [batch.quality.tolist() for batch in marks] == [[Quality.STALE]]
    assert latest_quality(intake) == Quality.STALE


async def test_every_value_of_an_edge_node_survives_kills_of_its_primary_host(
    broker: Broker, tmp_path: Path
) -> None:
    """An edge node that waits for its host keeps what the host did not take, and sends it as historical.

    It learns of the host's end from the broker. Until then it goes on with its session, of which a host that
    is back by then has seen no birth: such data are dead letters, and come again as history.
    """
    ledger = tmp_path / "ledger"
    child_file = Path(__file__).with_name("sparkplug_host_child.py")

    async def spawn() -> asyncio.subprocess.Process:
        quiet = asyncio.subprocess.DEVNULL
        return await asyncio.create_subprocess_exec(
            sys.executable, str(child_file), str(broker.port), str(ledger), stdout=quiet, stderr=quiet
        )

    def lines() -> list[list[str]]:
        return [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []

    def committed() -> set[str]:
        return {line[0] for line in lines()}

    device = Counting()
    child = await spawn()
    try:
        async with edge_node(broker.port, device, WAITING):
            for _ in range(3):
                before = len(committed())
                await until(lambda before=before: len(committed()) > before + 20, 60)  # type: ignore[misc]
                child.kill()
                await child.wait()
                looks = device.looks
                await until(lambda looks=looks: device.looks > looks + 10, 60)  # type: ignore[misc]
                child = await spawn()
            looks = device.looks
            await until(lambda: committed() >= {str(-n) for n in range(1, looks)}, 60)
    finally:
        child.kill()
        await child.wait()
    assert looks > 60
    assert {line[1] for line in lines() if line[0] == "letter"} <= {"not_born"}
