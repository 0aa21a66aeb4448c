"""Every scenario that can be judged passes at its CI size; a play is a function of its seed."""

from __future__ import annotations

import multiprocessing
import random
import struct
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import pytest

from adapters.modbus.config import GatewaySettings
from greenbridge.scenarios import play
from greenbridge.scenarios.memory import MemoryGateway, MemoryMeter
from greenbridge.scenarios.player import Player
from greenbridge.scenarios.polling import JointDecoder, PolledLink
from greenbridge.scenarios.report import Report, summary, summary_text
from greenbridge.scenarios.verdict import Result
from greenbridge.settings import load
from simulators.bench import load_file
from simulators.devices.meter_maps import PM5XXX, UMG
from simulators.devices.registers import RegisterMap, WordOrder
from simulators.faults.link import LinkFaults
from simulators.faults.model import FAULT, LinkFault
from simulators.world.meters import Reading
from telemetry.quality import Quality
from telemetry.registry import PointRegistry
from telemetry.site import Site

NAMES = play.library().names
READING = Reading(321.5, -40.25, 503.75, 371.5, 50.01, 12_345_678_901, 9_876_543_210)
START_NS = 1_768_298_400 * 10**9


@pytest.fixture(scope="module")
def reports() -> Iterator[dict[str, Future[Report]]]:
    def steps(name: str) -> float:
        duration_s, step_s = play.library().get(name).scenario.world.size(full=False)
        return duration_s / step_s

    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        longest_first = sorted(NAMES, key=steps, reverse=True)
        yield {name: pool.submit(play.in_virtual_time, name) for name in longest_first}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", NAMES)
def test_scenario(name: str, reports: dict[str, Future[Report]]) -> None:
    report = reports[name].result(timeout=600)
    assert report.verdict.result is not Result.FAILED, report.text()
    assert report.document()["result"] == report.verdict.result.value


def test_a_play_is_a_function_of_its_seed() -> None:
    player = Player(load("corridor", {}), load_file(None, {}))
    scenario = play.library().get("wrong-transaction-ids").scenario
    first, second = player.play(scenario), player.play(scenario)
    assert first == second
    assert first.wrong_replies > 0


def test_results_are_counted_apart() -> None:
    report = play.in_virtual_time("meter-exchanged")
    assert summary([report]) == {"passed": 1, "failed": 0, "needs rules": 0}
    assert "1 passed, 0 failed, 0 need rules" in summary_text([report])


@pytest.mark.parametrize("block", [PM5XXX, UMG], ids=lambda block: block.kind)
def test_windows_of_registers_are_what_the_whole_block_holds(block: RegisterMap[Reading]) -> None:
    meter = MemoryMeter(block)
    meter.reading = READING
    whole = block.encode(READING)
    edges = sorted({r.address for r in block.registers} | {r.address + r.words for r in block.registers})
    chosen = random.Random(5)  # noqa: S311
    for _ in range(50):
        first, last = sorted(chosen.sample(edges, 2))
        expected = struct.pack(f">{last - first}H", *whole[first - block.start : last - block.start])
        assert meter.registers(first, last - first) == expected
    swapped = block.encode(READING, WordOrder.CDAB)
    meter.swapped = True
    for register in block.registers:
        at = register.address - block.start
        expected = struct.pack(f">{register.words}H", *swapped[at : at + register.words])
        assert meter.registers(register.address, register.words) == expected
    assert meter.registers(block.start - 1, 4) is None
    assert meter.registers(block.start, block.length + 1) is None


@pytest.fixture(scope="module")
def site() -> Site:
    configuration = load("corridor", {})
    return configuration.site(PointRegistry(configuration.keys()))


def polled(site: Site, faults: LinkFaults) -> PolledLink:
    """The gateway of Zhambyl, whose meters all show one reading."""
    devices = [device for device in site.devices.values() if device.link == "modbus/ZHB"]
    meters = {}
    for device in devices:
        assert device.modbus is not None
        meters[device.modbus.unit] = meter = MemoryMeter(PM5XXX if device.profile == "pm5xxx" else UMG)
        meter.reading = READING
    points = [point for device in devices for point in site.points_of(device.id)]
    gateway = GatewaySettings(id="ZHB", host="memory")
    return PolledLink(gateway, points, MemoryGateway(meters), faults, START_NS)


def test_a_polled_link_reads_what_the_meters_show(site: Site) -> None:
    link = polled(site, LinkFaults())
    harvest = link.advance(1.0)
    assert harvest is not None
    assert not harvest.failed
    columns = JointDecoder().decode(harvest.replies)
    power = {p.index for p in site.points.values() if p.key.name == "TotW"}
    values = {float(v) for i, v in zip(columns.point, columns.value, strict=True) if int(i) in power}
    assert values == {321.5}
    assert (columns.quality == Quality.GOOD).all()
    assert all(START_NS <= t < START_NS + 10**9 for t in columns.t_source.tolist())


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
def test_a_failing_link_says_bad_once_and_recovers(
    site: Site, kind: str, parameters: dict[str, float], quality: Quality | None
) -> None:
    faults = LinkFaults(1)
    link = polled(site, faults)
    assert link.advance(1.0) is not None
    broken = FAULT.validate_python({"kind": kind, "target": "ZHB", **parameters})
    assert isinstance(broken, LinkFault)
    faults.follow([broken])
    told = [h for second in range(2, 12) if (h := link.advance(float(second))) is not None]
    assert not any(h.replies for h in told)
    bad = [int(q) for h in told for part in h.failed for q in part.quality]
    points = sum(len(site.points_of(device.id)) for device in site.links["modbus/ZHB"])
    if quality is not None:
        assert set(bad) == {quality}
        assert len(bad) == points, "each point is told bad once"
    assert set(bad) <= {
        Quality.DEVICE_TIMEOUT,
        Quality.PROTOCOL_DOUBT,
        Quality.LINK_LOST,
        Quality.DEVICE_REFUSED,
    }
    faults.follow([])
    good = [h for second in range(12, 40) if (h := link.advance(float(second))) is not None and h.replies]
    assert good
