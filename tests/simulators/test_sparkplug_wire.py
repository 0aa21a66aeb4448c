"""Edge nodes against a real broker and a small host of their own (Sparkplug 3.0, 5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import pytest

from simulators.bench import Broker
from simulators.devices.sparkplug.births import BirthMemory
from simulators.devices.sparkplug.history import Sample
from simulators.devices.sparkplug.payloads import DataType
from simulators.devices.sparkplug.plan import DevicePlan, MetricPlan, NodePlan
from simulators.devices.sparkplug.runner import EdgeNodeRunner, Moment
from telemetry.clock import SystemClock
from tests.simulators.sparkplug_reader import HostView, Message, read

pytestmark = pytest.mark.system("mosquitto")
StartBroker = Callable[[], Awaitable[asyncio.subprocess.Process]]

PLAN = NodePlan("corridor", "site", (DevicePlan("t1", (MetricPlan("W", DataType.INT32),)),))
HOSTED = NodePlan("corridor", "site", PLAN.devices, primary_host="scada")
REBIRTH = b"\x08\x01\x12\x18\x0a\x14Node Control/Rebirth\x70\x01"


class Counting:
    """A device whose power falls by one at each look, so that every look is a change."""

    def __init__(self) -> None:
        self.looks = 0
        self.reachable = True

    def __call__(self, moment: Moment) -> dict[str, dict[str, Sample] | None]:
        if not self.reachable:
            return {"t1": None}
        self.looks += 1
        return {"t1": {"W": Sample(-self.looks, moment.own_ms)}}


class Host:
    """A host application that watches one edge node."""

    def __init__(self, client: aiomqtt.Client, *, late: bool = False) -> None:
        self._client = client
        self._late = late
        self.view = HostView()

    async def until(self, verb: str) -> Message:
        """The next message of that type; every message on the way is judged."""
        async with asyncio.timeout(15):
            async for heard in self._client.messages:
                if "/STATE/" in heard.topic.value or "/NCMD/" in heard.topic.value:
                    continue
                assert isinstance(heard.payload, bytes)
                assert not heard.retain
                message = read(heard.topic.value, heard.payload)
                self._late = self._late and message.verb != "NBIRTH"
                if self._late:
                    continue
                self.view.hear(message)
                if message.verb == verb:
                    return message
        raise AssertionError("the broker is gone")

    async def say(self, *, online: bool, timestamp: int) -> None:
        payload = f'{{"online": {str(online).lower()}, "timestamp": {timestamp}}}'
        await self._client.publish("spBv1.0/STATE/scada", payload, qos=1, retain=True)

    async def request_rebirth(self) -> None:
        await self._client.publish("spBv1.0/corridor/NCMD/site", REBIRTH)

    async def silence(self, probe: str = "spBv1.0/corridor/probe/site") -> None:
        """Makes sure that nothing came before a message of its own."""
        await self._client.publish(probe, b"", qos=1)
        async with asyncio.timeout(15):
            async for heard in self._client.messages:
                if heard.topic.value == probe:
                    return
                assert heard.topic.value.startswith("spBv1.0/STATE"), heard.topic


@asynccontextmanager
async def watching(port: int, *, late: bool = False) -> AsyncIterator[Host]:
    """A host; one that comes late has missed births and takes nothing before the next."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("spBv1.0/#", qos=1)
        yield Host(client, late=late)


@asynccontextmanager
async def running(
    port: int, plan: NodePlan = PLAN, memory: BirthMemory | None = None, broker: Broker | None = None
) -> AsyncIterator[Counting]:
    device = Counting()
    runner = EdgeNodeRunner(
        plan, broker or Broker(port=port), SystemClock(), device, memory=memory, period_s=0.02
    )
    task = asyncio.create_task(runner.run())
    try:
        yield device
    finally:
        task.cancel()
        async with asyncio.timeout(10):
            with suppress(asyncio.CancelledError):
                await task


class Cable:
    """A relay to the broker that can be cut: neither end is told goodbye."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: set[asyncio.StreamWriter] = set()
        self._flows: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._flows)

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends |= {writer, far_writer}
        for source, target in ((reader, far_writer), (far_reader, writer)):
            flow = asyncio.create_task(self._flow(source, target))
            self._flows.add(flow)

    async def _flow(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.transport.abort()


async def test_a_session_from_birth_to_goodbye(port: int, start_broker: StartBroker) -> None:
    await start_broker()
    async with watching(port) as host:
        async with running(port) as device:
            birth = await host.until("DBIRTH")
            assert birth.device == "t1"
            for _ in range(5):
                await host.until("DDATA")
            assert host.view.values["t1", "W"] == -len({e for e in host.view.heard if e[1] == "W"})
            device.reachable = False
            await host.until("DDEATH")
            device.reachable = True
            await host.until("DBIRTH")
            await host.request_rebirth()
            await host.until("NBIRTH")
            await host.until("DBIRTH")
            await host.until("DDATA")
            assert (host.view.births, host.view.bd_seq) == (2, 0)
        await host.until("NDEATH")
        assert not host.view.online
        await host.silence()


async def test_a_cut_session_dies_by_its_will_and_comes_back_with_what_was_kept(
    port: int, start_broker: StartBroker, tmp_path: Path
) -> None:
    await start_broker()
    memory = BirthMemory(tmp_path / "site.bdseq")
    memory.remember(254)
    cable = Cable(port)
    async with cable as inlet, watching(port) as host:
        async with running(inlet, memory=memory) as device:
            for expected in (255, 0):
                await host.until("DBIRTH")
                assert (host.view.bd_seq, memory.last()) == (expected, expected)
                await host.until("DDATA")
                cable.cut()
                await host.until("NDEATH")
                assert not host.view.online
            await host.until("DBIRTH")
            while len(seen := {e[3] for e in host.view.heard if e[1] == "W"}) < 100:
                await host.until("DDATA")
        assert host.view.bd_seq == 1
        assert device.looks >= 100
        assert host.view.historical
        assert seen >= {-look for look in range(1, 100)}, "a look of the device reached nobody"


async def test_the_primary_host_decides(port: int, start_broker: StartBroker) -> None:
    await start_broker()
    async with watching(port) as host, running(port, HOSTED) as device:
        await host.say(online=False, timestamp=1000)
        while device.looks < 20:
            await SystemClock().sleep(0)
        await host.silence()
        await host.say(online=True, timestamp=1000)
        await host.until("DBIRTH")
        await host.until("DDATA")
        await host.say(online=False, timestamp=999)
        await host.until("DDATA")
        await host.say(online=False, timestamp=1000)
        await host.until("NDEATH")
        looks = device.looks
        while device.looks < looks + 50:
            await SystemClock().sleep(0)
        await host.silence()
        await host.say(online=True, timestamp=2000)
        await host.until("DBIRTH")
        while len(seen := {e[3] for e in host.view.heard if e[1] == "W"}) < looks + 50:
            await host.until("DDATA")
        assert seen >= {-look for look in range(1, looks + 50)}
        assert host.view.bd_seq is not None
        assert host.view.bd_seq >= 1


async def test_a_host_that_comes_late_asks_for_births(port: int, start_broker: StartBroker) -> None:
    broker = await start_broker()
    async with running(port) as device:
        async with watching(port, late=True) as host:
            await host.request_rebirth()
            await host.until("DDATA")
            broker.kill()
            await broker.wait()
            with suppress(aiomqtt.MqttError):
                await host.until("NDEATH")
        looks = device.looks
        await start_broker()
        async with watching(port, late=True) as host:
            while not host.view.historical:
                await host.request_rebirth()
                await host.until("DDATA")
            assert host.view.bd_seq == 1
            assert max(at for *_, at, _ in host.view.heard) > min(at for *_, at, _ in host.view.historical)
            assert device.looks > looks


async def test_attempts_without_a_broker_are_not_counted(port: int, start_broker: StartBroker) -> None:
    async with running(port) as device:
        # attempts at 0, 0.5 and 1.5 s at the latest; a look takes 0.02 s
        while device.looks < 100:
            await SystemClock().sleep(0)
        await start_broker()
        async with watching(port, late=True) as host:
            while not host.view.births:
                await host.request_rebirth()
                await host.until("DDATA")
            assert host.view.bd_seq == 0
