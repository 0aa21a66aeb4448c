"""Edge nodes and the broker in memory: wills, what is retained, births on request, store and forward."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from adapters.mqtt_session import BrokerLostError, Credentials, Session
from adapters.sparkplug.rejection import Rejection
from adapters.sparkplug.source import SparkplugSource
from greenbridge.scenarios import play
from greenbridge.scenarios.broker import Filters, MemoryBroker
from greenbridge.scenarios.cast import behind_edge_nodes, takes_part
from greenbridge.scenarios.player import Player
from greenbridge.scenarios.stage import Stage
from greenbridge.scenarios.virtual import VirtualClock, VirtualLoop
from greenbridge.settings import Configuration, load
from ingest.fakes import FakeIntake
from simulators.bench import Bench, load_file
from simulators.faults.link import LinkFaults
from simulators.faults.model import FAULT, LinkFault
from simulators.faults.on_truth import PlantTrip
from simulators.scenario import Timed
from telemetry.clock import ManualClock
from telemetry.devices import Role
from telemetry.quality import Quality
from telemetry.registry import PointRegistry
from telemetry.site import Site, SitePoint

SECOND = 10**9
START_NS = 1_768_298_400 * SECOND
MIRNY = "corridor/mirny-wind"
KEPT = Session(3600)


def fault(kind: str, target: str = "mqtt", **parameters: float) -> LinkFault:
    made = FAULT.validate_python({"kind": kind, "target": target, **parameters})
    assert isinstance(made, LinkFault)
    return made


@pytest.mark.parametrize(
    ("filter_", "taken", "left"),
    [
        ("a/b", ["a/b"], ["a", "a/b/c", "b"]),
        ("a/+", ["a/b", "a/"], ["a", "a/b/c"]),
        ("+/b", ["a/b", "/b"], ["b", "a/b/c"]),
        ("a/#", ["a", "a/b", "a/b/c"], ["ab", "b/a"]),
        ("#", ["a", "a/b"], []),
        ("a/+/c/#", ["a/b/c", "a/x/c/d/e"], ["a/b/d", "a/c"]),
    ],
)
def test_a_filter_takes_its_topics_and_no_other(filter_: str, taken: list[str], left: list[str]) -> None:
    filters = Filters([filter_])
    for _ in range(2):
        assert [topic for topic in taken + left if filters.take(topic)] == taken
    filters.discard(filter_)
    assert not any(map(filters.take, taken))


class Guest:
    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []

    def hear(self, topic: str, payload: bytes) -> None:
        self.heard.append((topic, payload))


async def test_a_will_is_published_when_the_connection_breaks_and_only_then() -> None:
    faults = LinkFaults()
    broker, guest, witness = MemoryBroker(faults, ManualClock(START_NS)), Guest(), Guest()
    broker.enter(witness, ("w", b""))
    broker.ask(witness, ["will"])
    for end in (broker.leave, broker.cut, broker.cut):
        if not witness.heard:
            broker.enter(guest, ("will", b"dead"))
        end(guest)
        assert not broker.has(guest)
    assert witness.heard == [("will", b"dead")]
    broker.enter(guest, ("will", b"dead"))
    faults.follow([fault("down")])
    broker.follow()
    assert not broker.has(guest)
    assert not broker.has(witness)
    assert witness.heard == [("will", b"dead")], "nobody is there to publish it"


async def test_what_is_retained_comes_to_whoever_subscribes_later() -> None:
    broker, early, late = MemoryBroker(LinkFaults(), ManualClock(START_NS)), Guest(), Guest()
    broker.enter(early, ("w", b""))
    broker.ask(early, ["s/+"])
    async with broker.opener("host")(Credentials(), Session()) as host:
        await host.publish("s/host", b"online", qos=1, retain=True)
        await host.publish("s/host/x", b"of the moment")
        broker.enter(late, ("w", b""))
        broker.ask(late, ["#"])
        await host.subscribe(["s/#"])
        (taken,) = await host.take(10)
    assert early.heard == late.heard == [("s/host", b"online")]
    assert (taken.payload, taken.retained) == (b"online", True)


async def test_a_clean_session_begins_with_nothing_and_a_kept_one_with_what_was_missed() -> None:
    broker = MemoryBroker(LinkFaults(), ManualClock(START_NS))
    clean, kept = broker.opener("clean"), broker.opener("kept")
    async with clean(Credentials(), Session()) as one, kept(Credentials(), KEPT) as two:
        await one.subscribe(["t"])
        await two.subscribe(["t"])
    broker.route("t", b"kept", 1)
    broker.route("t", b"gone", 0)
    with pytest.raises(BrokerLostError, match="publish: the connection was closed"):
        await one.publish("t", b"")
    async with clean(Credentials(), Session()) as one, kept(Credentials(), KEPT) as two:
        await one.subscribe(["t"])
        broker.route("t", b"new", 0)
        assert [m.payload for m in await one.take(10)] == [b"new"]
        assert [m.payload for m in await two.take(10)] == [b"kept", b"new"]
        assert (one.held, two.held) == (0, 1), "what came at QoS 0 is not acknowledged"


class Heard(NamedTuple):
    point: str
    t_s: float
    quality: int


@dataclasses.dataclass(frozen=True)
class World:
    configuration: Configuration
    bench: Bench
    site: Site


@pytest.fixture(scope="module")
def world() -> World:
    configuration = load("corridor", {})
    site = configuration.site(PointRegistry(configuration.keys()))
    return World(configuration, load_file(None, {}), site)


def by_host(
    world: World,
    seconds: int,
    timeline: Sequence[Timed] = (),
    begins_s: int = 0,
) -> tuple[list[Heard], SparkplugSource]:
    """What the host hears of the edge nodes while links fail; it begins some time later."""

    async def work(loop: VirtualLoop, clock: VirtualClock) -> tuple[list[Heard], SparkplugSource]:
        devices = world.site.links["sparkplug/main"]
        stage = Stage(
            world.bench,
            (),
            timeline,
            behind=behind_edge_nodes(devices),
            seed=1,
            start_ns=START_NS,
            clock=clock,
        )
        intake = FakeIntake()
        points = [p for d in devices for p in world.site.points_of(d.id)]
        (host,) = world.configuration.settings.sparkplug.host
        opener = stage.broker.opener(host.client_id)
        chance = random.Random(1)  # noqa: S311 - jitter, not a secret
        source = SparkplugSource(host, points, intake, clock, uniform=chance, connect=opener)
        task: asyncio.Task[None] | None = None
        for second in range(seconds):
            if second == begins_s:
                task = asyncio.create_task(source.run())
                await clock.sleep(0.0)
            stage.step(second + 1.0, 1.0)
            for portion in (0.0, 0.5):
                await clock.sleep(0.5)
                stage.look(portion, portion + 0.5)
        await clock.sleep(0.1)
        assert task is not None
        task.cancel()
        await asyncio.wait([task])
        # births are not retained: who was not there when they came has no use for data before the next ones
        assert {letter.reason for letter in intake.letters} <= {Rejection.NOT_BORN}
        names = {p.index: _name(p) for p in points}
        heard = []
        for b in intake.batches:
            columns = zip(b.point.tolist(), b.t_source.tolist(), b.quality.tolist(), strict=True)
            heard += [Heard(names[point], (t - START_NS) / SECOND, quality) for point, t, quality in columns]
        return heard, source

    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work(loop, VirtualClock(loop, START_NS)))


def _name(point: SitePoint) -> str:
    return f"{point.key.device}/{point.key.name}"


def test_a_dead_edge_node_is_stale_and_tells_afterwards_what_it_kept(world: World) -> None:
    heard, source = by_host(world, 60, [Timed(at_s=10, for_s=30, fault=fault("down", MIRNY))])
    assert source.state.counts["node_deaths"] == 1
    mirny = [row for row in heard if row.point.startswith("mirny")]
    died = {row.point for row in mirny if row.quality == Quality.STALE and row.t_s > 5}
    assert died == {row.point for row in mirny}
    assert not any(r.quality == Quality.STALE and r.t_s > 5 for r in heard if r.point.startswith("garadagh"))
    meanwhile = {round(row.t_s) for row in mirny if row.quality == Quality.GOOD and 12 < row.t_s < 38}
    assert len(meanwhile) > 20, "nearly every second something changes at nine devices"
    current = {row.point: row.quality for row in sorted(mirny, key=lambda row: row.t_s)}
    assert Quality.STALE not in current.values()


def test_a_host_that_comes_late_asks_for_births(world: World) -> None:
    heard, source = by_host(world, 20, begins_s=8)
    assert source.state.counts["rebirths_requested"] == 2
    assert source.state.counts["births"] == 2 + 14
    devices = world.site.links["sparkplug/main"]
    current = {row.point: row.quality for row in sorted(heard, key=lambda row: row.t_s)}
    assert current.keys() == {_name(point) for device in devices for point in world.site.points_of(device.id)}
    assert set(current.values()) <= {Quality.GOOD, Quality.NOT_A_NUMBER}, "a value of nothing is null"


def test_a_restarted_broker_brings_births_and_disorder_is_put_in_order(world: World) -> None:
    restart = Timed(at_s=10, for_s=4, fault=fault("broker_restart"))
    disorder = Timed(at_s=30, fault=fault("out_of_order", every=7, by=3))
    heard, source = by_host(world, 50, [restart, disorder])
    assert source.state.counts["connections_lost"] == 1
    assert {row.quality for row in heard if 11 < row.t_s < 13} <= {Quality.LINK_LOST, Quality.GOOD}
    assert any(row.quality == Quality.LINK_LOST for row in heard)
    assert source.state.counts["out_of_order"] > 0
    assert source.state.counts["reordered"] > 0


def test_what_is_behind_edge_nodes_takes_part_where_a_fault_strikes(world: World) -> None:
    struck = {"mirny-wind-turbine-1"}
    playing = [d.id for d in world.configuration.devices if d.sparkplug and takes_part(d, struck)]
    assert playing == ["mirny-wind-turbine-1-spb"]
    assert not any(takes_part(d, ()) for d in world.configuration.devices if d.sparkplug)
    for whole in ({MIRNY}, {"mqtt"}):
        assert sum(takes_part(d, whole) for d in world.configuration.devices if d.sparkplug) in {9, 14}


def test_a_trip_that_only_an_edge_node_tells_of_is_seen_by_the_rules(world: World) -> None:
    """Mirny's controller without its JSON, its Sparkplug points in place of it."""
    devices = {device.id: device for device in world.configuration.devices}
    rating = devices.pop("mirny-wind").rated_mw
    told = devices["mirny-wind-spb"].model_copy(update={"role": Role.PLANT, "rated_mw": rating})
    devices[told.id] = told
    configuration = dataclasses.replace(world.configuration, devices=list(devices.values()))
    scenario = play.library().get("plant-trip").scenario
    trip = Timed(at_s=40, fault=PlantTrip(kind="plant_trip", target="mirny-wind"))
    times = scenario.world.model_copy(update={"ci_duration_s": 130})
    scenario = scenario.model_copy(update={"world": times, "event": (trip,)})
    seen = Player(configuration, world.bench).play(scenario).seen
    assert "KZ" in {step.asset for step in seen if step.rule == "R11"}, seen
