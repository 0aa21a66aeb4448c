"""The in-memory ends of a play: gateway, broker, journal; and polls without a connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pytest

from adapters.modbus._connection import opener
from adapters.modbus.codec import Request
from adapters.modbus.source import ModbusSource
from adapters.mqtt_session import BrokerLostError, Credentials, Session
from greenbridge.scenarios.broker import MemoryBroker
from greenbridge.scenarios.journal import MemoryJournal
from greenbridge.scenarios.polling import CalmPolls
from greenbridge.scenarios.stage import Stage
from greenbridge.scenarios.virtual import VirtualClock, VirtualLoop
from greenbridge.settings import Configuration, load
from ingest.fakes import FakeIntake
from ingest.ports import Position
from simulators.bench import Bench, load_file
from simulators.faults.link import LinkFaults
from simulators.faults.model import FAULT, LinkFault
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from telemetry.errors import GreenbridgeError
from telemetry.profiles import RegisterTable
from telemetry.quality import Quality
from telemetry.registry import PointRegistry
from telemetry.site import Site

T = TypeVar("T")
START_NS = 1_768_298_400 * 10**9
Rows = list[tuple[int, int, float, int]]


@dataclass(frozen=True)
class World:
    configuration: Configuration
    bench: Bench
    site: Site

    def stage(self, clock: VirtualClock) -> Stage:
        return Stage(self.bench, self.site.devices.keys(), (), seed=1, start_ns=START_NS, clock=clock)


@pytest.fixture(scope="module")
def world() -> World:
    configuration = load("corridor", {})
    site = configuration.site(PointRegistry(configuration.keys()))
    return World(configuration, load_file(None, {}), site)


def broken(kind: str, **parameters: float) -> LinkFault:
    fault = FAULT.validate_python({"kind": kind, "target": "ZHB", **parameters})
    assert isinstance(fault, LinkFault)
    return fault


def rows(batches: Sequence[ReadingBatch]) -> Rows:
    columns = [(b.point.tolist(), b.t_source.tolist(), b.value.tolist(), b.quality.tolist()) for b in batches]
    return sorted(row for c in columns for row in zip(*c, strict=True))


def virtually(work: Callable[[VirtualLoop, VirtualClock], Coroutine[None, None, T]]) -> T:
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work(loop, VirtualClock(loop, START_NS)))


def by_source(
    world: World, gateway_id: str, seconds: int, faults: Callable[[int], Sequence[LinkFault]] = lambda _: ()
) -> tuple[list[ReadingBatch], ModbusSource]:
    """What the source makes of a gateway of the corridor, whose link follows some faults second by second."""

    async def work(loop: VirtualLoop, clock: VirtualClock) -> tuple[list[ReadingBatch], ModbusSource]:
        stage = world.stage(clock)
        gateway = next(g for g in world.configuration.settings.modbus.gateway if g.id == gateway_id)
        loop.hosts[gateway.host or "", gateway.tcp_port] = stage.gateways[gateway_id]
        intake = FakeIntake()
        points = [p for d in world.site.links[f"modbus/{gateway_id}"] for p in world.site.points_of(d.id)]
        source = ModbusSource(gateway, points, intake, clock, uniform=random.Random(1))  # noqa: S311
        task = asyncio.create_task(source.run())
        for second in range(seconds):
            stage.links[gateway_id].follow(faults(second))
            stage.gateways[gateway_id].follow()
            await clock.sleep(1.0)
            stage.step(second + 1.0, 1.0)
        task.cancel()
        await asyncio.wait([task])
        return intake.batches, source

    return virtually(work)


def test_polls_without_a_connection_are_those_of_the_source(world: World) -> None:
    async def calmly(loop: VirtualLoop, clock: VirtualClock) -> list[ReadingBatch]:
        stage = world.stage(clock)
        gateway = next(g for g in world.configuration.settings.modbus.gateway if g.id == "AKT")
        points = [p for d in world.site.links["modbus/AKT"] for p in world.site.points_of(d.id)]
        polls = CalmPolls(gateway, points, stage.gateways["AKT"].answer, clock)
        batches = []
        for second in range(6):
            await clock.sleep(1.0)
            polls.advance()
            batch = polls.batch()
            assert batch is not None
            assert START_NS < batch.t_source.max() <= batch.t_received <= clock.now_ns()
            batches.append(batch)
            stage.step(second + 1.0, 1.0)
        assert polls.batch() is None
        return batches

    theirs, source = by_source(world, "AKT", 6)
    ours = rows(virtually(calmly))
    assert ours == rows(theirs)
    assert len(ours) == 6 * 5 * 7
    assert source.state.counts["requests"] == source.state.counts["replies"]


def test_polls_of_a_coarse_step_follow_it_at_once(world: World) -> None:
    async def coarse(loop: VirtualLoop, clock: VirtualClock) -> list[int]:
        stage = world.stage(clock)
        gateway = next(g for g in world.configuration.settings.modbus.gateway if g.id == "AKT")
        points = [p for d in world.site.links["modbus/AKT"] for p in world.site.points_of(d.id)]
        polls = CalmPolls(gateway, points, stage.gateways["AKT"].answer, clock, step_s=4.0)
        heard = []
        for _ in range(5):
            await clock.sleep(1.0)
            polls.advance()
            batch = polls.batch()
            assert batch is not None
            heard += [t - START_NS for t in batch.t_source.tolist()]
            await clock.sleep(3.0)
        return heard

    heard = virtually(coarse)
    assert len(heard) == 5 * 5 * 7
    assert all(t % (4 * 10**9) < 10**9 for t in heard)


def test_polls_without_a_connection_refuse_a_gateway_that_does_not_answer(world: World) -> None:
    async def mute(loop: VirtualLoop, clock: VirtualClock) -> None:
        gateway = next(g for g in world.configuration.settings.modbus.gateway if g.id == "ZHB")
        points = [p for d in world.site.links["modbus/ZHB"] for p in world.site.points_of(d.id)]
        polls = CalmPolls(gateway, points, lambda request: b"", clock)
        await clock.sleep(1.0)
        with pytest.raises(GreenbridgeError, match=r"modbus/ZHB: .* not answered with one frame"):
            polls.advance()

    virtually(mute)


def test_no_two_connections_to_a_gateway_number_their_requests_alike(world: World) -> None:
    async def work(loop: VirtualLoop, clock: VirtualClock) -> list[int]:
        gateway = next(g for g in world.configuration.settings.modbus.gateway if g.id == "ZHB")
        loop.hosts[gateway.host or "", gateway.tcp_port] = world.stage(clock).gateways["ZHB"]
        connect, numbers = opener(gateway), list[int]()
        asked = [Request(0, 1, RegisterTable.HOLDING, address, 1) for address in (0, 1)]
        for _ in range(3):
            async with await connect() as connection:
                numbers += (await connection.exchange(asked, 1.0)).numbers
        return numbers

    assert virtually(work) == [1, 2, 3, 4, 5, 6]


def test_sunspec_devices_are_discovered_and_read(world: World) -> None:
    batches, source = by_source(world, "garadagh-solar", 20)
    points = {p.index for d in world.site.links["modbus/garadagh-solar"] for p in world.site.points_of(d.id)}
    heard = {point for point, _, _, quality in rows(batches) if quality == Quality.GOOD}
    absent = {point for point, _, _, quality in rows(batches) if quality == Quality.NOT_IMPLEMENTED}
    assert heard | absent == points
    assert len(heard) > len(absent)
    assert source.state.counts["rejected"] == 0


@pytest.mark.parametrize(
    ("kind", "parameters", "quality"),
    [
        ("down", {}, Quality.LINK_LOST),
        ("half_open", {}, Quality.DEVICE_TIMEOUT),
        ("late_reply", {"delay_s": 1.5}, Quality.DEVICE_TIMEOUT),
        ("garbage", {}, None),
        ("short_frame", {}, Quality.PROTOCOL_DOUBT),
        ("wrong_transaction", {}, Quality.PROTOCOL_DOUBT),
        ("exception_storm", {"code": 6}, Quality.DEVICE_REFUSED),
        ("exception_storm", {"code": 11}, Quality.DEVICE_TIMEOUT),
    ],
)
def test_a_failing_link_gives_no_reading_and_recovers(
    world: World, kind: str, parameters: dict[str, float], quality: Quality | None
) -> None:
    fault = broken(kind, **parameters)
    batches, _ = by_source(world, "ZHB", 40, lambda second: [fault] if 4 <= second < 14 else [])
    told = rows(batches)
    during = [row for row in told if START_NS + 4 * 10**9 <= row[1] < START_NS + 14 * 10**9]
    assert during
    assert not any(q == Quality.GOOD for _, _, _, q in during)
    if quality is not None:
        assert {q for _, _, _, q in during} == {quality}
    assert any(q == Quality.GOOD and t > START_NS + 14 * 10**9 for _, t, _, q in told)


@pytest.mark.parametrize(("delay_s", "good"), [(0.2, True), (1.5, False)])
def test_a_slow_link_costs_virtual_time(world: World, delay_s: float, good: bool) -> None:
    fault = broken("slow", delay_s=delay_s)
    batches, _ = by_source(world, "ALM", 6, lambda _: [fault])
    assert any(q == Quality.GOOD for _, _, _, q in rows(batches)) is good


async def test_a_broker_delivers_again_what_was_not_acknowledged() -> None:
    clock, faults = ManualClock(START_NS), LinkFaults(1)
    broker = MemoryBroker(faults, clock)
    async with broker.opener("one")(Credentials(), Session(3600)) as first:
        await first.subscribe(["a/+", "b"])
        broker.publish([("a/1", b"1"), ("c", b"x"), ("b", b"2"), ("a/1/2", b"x")])
        taken = await first.take(10)
        assert [(m.topic, m.payload, m.again) for m in taken] == [("a/1", b"1", False), ("b", b"2", False)]
        assert first.held == 2
        first.acknowledge(taken[:1])
        faults.follow([broken("down")])
        broker.follow()
        assert first.ended
        with pytest.raises(BrokerLostError, match="closed"):
            await first.take(10)
        first.acknowledge(taken[1:])
    broker.publish([("b", b"3")])
    with pytest.raises(BrokerLostError, match="refused"):
        async with broker.opener("one")(Credentials(), Session(3600)):
            pass
    faults.follow([])
    async with broker.opener("one")(Credentials(), Session(3600)) as second:
        broker.publish([("b", b"4")])
        again = await second.take(10)
    assert [(m.payload, m.again) for m in again] == [(b"2", True), (b"3", False), (b"4", False)]


async def test_a_broker_duplicates_when_told_to() -> None:
    faults = LinkFaults(1)
    faults.follow([broken("duplicate", every=2)])
    broker = MemoryBroker(faults, ManualClock(START_NS))
    async with broker.opener("one")(Credentials(), Session(3600)) as link:
        await link.subscribe(["b"])
        broker.publish([("b", b"1"), ("b", b"2"), ("b", b"3")])
        assert [m.payload for m in await link.take(10)] == [b"1", b"2", b"2", b"3"]


def batch(seq: int, count: int) -> ReadingBatch:
    point = np.arange(count)
    return ReadingBatch.of(
        "s", 1, seq, START_NS, point=point, t_source=point + seq, value=point * 0.5, quality=point * 0
    )


async def test_a_journal_shows_what_was_committed_and_drops_what_everybody_has() -> None:
    journal = MemoryJournal(ManualClock(START_NS))
    await journal.cursors.save("one", Position())
    for seq in range(1, 5):
        committed = await journal.append(batch(seq, 10))
        assert committed.offset == seq
    assert (journal.head, journal.readings, await journal.read(0)) == (0, 40, [])
    waiter = asyncio.create_task(journal.wait(0))
    journal.show()
    await waiter
    assert journal.head == 4
    assert [r.offset for r in await journal.read(0, 15)] == [1, 2]
    assert [r.offset for r in await journal.read(2, 1)] == [3]
    assert (await journal.read(3))[0].batch.same_as(batch(4, 10))
    assert [await journal.readings_through(offset) for offset in range(5)] == [0, 10, 20, 30, 40]
    await journal.cursors.save("one", Position(3))
    await journal.append(batch(5, 10))
    journal.show()
    assert (journal.first, journal.head) == (4, 5)
    assert [r.offset for r in await journal.read(3)] == [4, 5]
    assert await journal.readings_through(4) == 40
