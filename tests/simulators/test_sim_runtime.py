from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import aiomqtt
import pytest
from pymodbus.client import AsyncModbusTcpClient
from structlog.testing import capture_logs

from simulators.bench import Bench
from simulators.devices.payloads import PAYLOADS
from simulators.faults.on_truth import Tap
from simulators.kinds import Kind
from simulators.runtime import Running, simulate
from simulators.state import BenchState
from simulators.world.clocks import clock_of
from telemetry.clock import ManualClock, settle
from telemetry.errors import ConfigError

StartBroker = Callable[[], Awaitable[asyncio.subprocess.Process]]
METERS = (Kind.PM5XXX, Kind.UMG)
START_NS = 1_795_500_000_000_000_000


@pytest.fixture
def wired(bench: Bench) -> Bench:
    """The shipped bench without the devices that need a broker."""
    return bench.model_copy(update={"device": tuple(d for d in bench.device if d.kind in METERS)})


@asynccontextmanager
async def up(bench: Bench, clock: ManualClock) -> AsyncIterator[Running]:
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(simulate(bench, clock, ready.set_result))
    try:
        async with asyncio.timeout(10):
            yield await ready
    finally:
        task.cancel()
        async with asyncio.timeout(5):
            with suppress(asyncio.CancelledError):
                await task


async def read_all(bench: Bench, running: Running) -> dict[str, tuple[float, float, float, int, int]]:
    """P [MW], V [kV], f [Hz] and both counters of every meter, through an independent client."""
    shown: dict[str, tuple[float, float, float, int, int]] = {}
    for gateway, port in running.gateway_ports.items():
        client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=2, retries=0)
        assert await client.connect()

        async def number(unit: int, address: int, kind: AsyncModbusTcpClient.DATATYPE) -> float:
            answer = await client.read_holding_registers(address, count=kind.value[1], device_id=unit)  # noqa: B023
            assert not answer.isError(), answer
            value = client.convert_from_registers(answer.registers, kind)  # noqa: B023
            assert isinstance(value, int | float)
            return value

        f32, i64 = client.DATATYPE.FLOAT32, client.DATATYPE.INT64
        for device in running.state.metered:
            if device.gateway != gateway or device.unit is None:
                continue
            unit = device.unit
            if device.kind is Kind.PM5XXX:
                p, v = await number(unit, 3059, f32) / 1e3, await number(unit, 3025, f32) / 1e3
                f, out, into = (
                    await number(unit, 3109, f32),
                    await number(unit, 3203, i64),
                    await number(unit, 3207, i64),
                )
            else:
                p, v = await number(unit, 19026, f32) / 1e6, await number(unit, 19006, f32) / 1e3
                f, out, into = (
                    await number(unit, 19050, f32),
                    await number(unit, 19068, f32),
                    await number(unit, 19076, f32),
                )
            shown[device.id] = (p, v, f, int(out), int(into))
        client.close()
    return shown


async def test_every_modbus_device_shows_the_world(wired: Bench, clock: ManualClock) -> None:
    async with up(wired, clock) as running:
        await clock.advance(3)
        world = running.state.world
        assert world.snapshot.step == 3
        shown = await read_all(wired, running)
        assert len(shown) == 44
        for device, reading in zip(wired.device, running.state.readings, strict=True):
            p, v, f, out, into = shown[device.id]
            end = world.end(device.branch or "", device.node or "")
            assert p == pytest.approx(world.snapshot.end_p_mw[end], rel=0.005), device.id
            assert v == pytest.approx(world.snapshot.end_v_kv[end], rel=0.005), device.id
            assert f == pytest.approx(50, abs=0.05)
            resolution = 0 if device.kind is Kind.PM5XXX else 1e-7
            assert out == pytest.approx(reading.export_wh, rel=resolution, abs=0)
            assert into == pytest.approx(reading.import_wh, rel=resolution, abs=0)


async def test_scripted_tap_is_announced_and_seen_at_the_meters(wired: Bench, clock: ManualClock) -> None:
    script = wired.tap[0].model_copy(update={"at_s": 2.0, "for_s": 3.0})
    wired = wired.model_copy(update={"tap": (script,)})

    async def loss(running: Running) -> float:
        shown = await read_all(wired, running)
        return shown["SHY-TAS_SHY_main"][0] + shown["SHY-TAS_TAS_main"][0]

    with capture_logs() as logs:
        async with up(wired, clock) as running:
            await clock.advance(1)
            assert abs(await loss(running)) < 5
            await clock.advance(1)
            assert await loss(running) == pytest.approx(31, abs=5)
            await clock.advance(3)
            assert abs(await loss(running)) < 5
    said = [entry["text"] for entry in logs if entry["event"] == "announcement"]
    assert len(said) == 2
    assert "begins" in said[0]
    assert "is removed" in said[1]


async def test_injected_tap_reaches_the_world(wired: Bench, clock: ManualClock) -> None:
    async with up(wired, clock) as running, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{running.control_port}/api/v1"
        body = {"kind": "tap", "target": "KUN-AKT", "mw": 25}
        async with http.post(f"{url}/faults", json=body) as response:
            fault = await response.json()
        await clock.advance(1)
        assert list(running.state.world.network.taps) == ["KUN-AKT"]
        async with http.delete(f"{url}/faults/{fault['id']}") as response:
            assert response.status == 200
        await clock.advance(1)
        assert list(running.state.world.network.taps) == []
        async with http.get(f"{url}/status") as response:
            status = await response.json()
        assert (status["steps"], status["collapse"], len(status["announcements"])) == (2, None, 2)


async def test_one_process_serves_five_hundred_devices_of_one_line(wired: Bench, clock: ManualClock) -> None:
    (line,) = (d for d in wired.device if d.id == "SHY-TAS_SHY_main")
    numbered = line.model_copy(update={"id": "meter", "count": 500, "unit": 1})
    shy = tuple(g for g in wired.gateway if g.id == line.gateway)
    bench = wired.model_copy(update={"device": (numbered,), "gateway": shy})
    async with up(bench, clock) as running:
        await clock.advance(2)
        assert list(running.gateway_ports) == ["SHY", "SHY-2", "SHY-3"]
        seen = []
        for gateway, port in running.gateway_ports.items():
            client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=2, retries=0)
            assert await client.connect()
            for unit in running.state.lines[gateway]:
                answer = await client.read_holding_registers(3059, count=2, device_id=unit)
                seen.append(client.convert_from_registers(answer.registers, client.DATATYPE.FLOAT32))
            client.close()
        measured = [reading.p_mw * 1e3 for reading in running.state.readings]
    assert len(seen) == 500
    assert seen == pytest.approx(measured, rel=1e-6)
    assert len(set(seen)) > 490, "each has its own class error"


async def test_a_taken_port_is_named_before_anything_starts(wired: Bench, clock: ManualClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        gateways = tuple(
            g.model_copy(update={"port": port}) if g.id in {"NUR", "TAS"} else g for g in wired.gateway
        )
        with pytest.raises(ConfigError) as caught:
            await simulate(wired.model_copy(update={"gateway": gateways}), clock, file="x.toml")
    found = [(problem.file, problem.key, problem.value) for problem in caught.value.problems]
    assert found == [("x.toml", "gateway[1].port", str(port)), ("x.toml", "gateway[6].port", str(port))]


async def test_a_stall_is_made_up_for_in_long_steps(wired: Bench, clock: ManualClock) -> None:
    class Stalling(ManualClock):
        late = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.late

    stalling = Stalling()
    with capture_logs() as logs:
        async with up(wired, stalling) as running:
            await stalling.advance(2)
            before = running.state.readings[0]
            stalling.late = 120.0
            await stalling.advance(1)
            await settle()
            world = running.state.world
            assert world.snapshot.step <= 5 + 3, "not second by second"
            assert (world.t_ns - running.state.started_ns) / 1e9 == pytest.approx(123, abs=2)
            now = running.state.readings[0]
            counted = now.export_wh + now.import_wh - before.export_wh - before.import_wh
            assert counted == pytest.approx(abs(now.p_mw) * 1e6 * 121 / 3600, rel=0.2), "energy has no hole"
    assert [entry["seconds"] for entry in logs if entry["event"] == "steps_skipped"] == [120]


def test_published_objects_have_the_members_of_their_kind(bench: Bench) -> None:
    state = BenchState(bench, START_NS)
    state.step(1.0, START_NS + 10**9)
    plant = {"ts", "p_mw", "q_mvar", "online", "energy_mwh"}
    members = {
        "bus-meter": {"ts", "p_mw", "q_mvar", "v_kv", "f_hz"},
        "power-plant": plant,
        "wind-plant": plant | {"avail_mw", "wind_ms", "wind_dir_deg", "temp_c"},
        "solar-plant": plant | {"avail_mw", "ghi_w_m2", "temp_c", "cell_temp_c"},
    }
    assert set(PAYLOADS) == set(members)
    assert len(state.publishing) == 37
    for position in state.publishing:
        device = state.metered[position]
        (message,) = state.messages(position, START_NS + 1_234_567_890)
        assert isinstance(message.payload, dict)
        assert message.topic == device.topic
        assert set(message.payload) == members[device.kind.value]
        assert message.payload["ts"] == clock_of(device.id).at(START_NS + 1_234_567_890) // 10**6
        assert all(math.isfinite(value) for value in message.payload.values()), message
    world, now = state.world, state.world.snapshot
    by_id: dict[str, Callable[[str], float]] = {
        state.metered[i].id: state.messages(i, 0)[0].rows[0].__getitem__ for i in state.publishing
    }
    alm = now.node_p_mw[world.nodes.index("ALM")]
    assert by_id["ALM_injection"]("p_mw") == pytest.approx(alm, rel=0.005)
    mirny = world.fleet.index["mirny-wind"]
    assert by_id["mirny-wind"]("p_mw") == pytest.approx(now.plants.p_mw[mirny], rel=0.005)
    assert by_id["mirny-wind"]("wind_ms") == pytest.approx(now.plants.wind_m_s[mirny], abs=1e-3)


def test_collapse_is_announced_once_and_reported(bench: Bench) -> None:
    state = BenchState(bench, START_NS)
    for _ in range(7):
        state.exercise.inject(Tap(kind="tap", target="SHY-TAS", mw=1000.0), 0)
    with capture_logs() as logs:
        state.step(1.0, 0)
        state.step(2.0, 0)
    said = [entry["text"] for entry in logs if entry["event"] == "announcement"]
    assert sum("has collapsed" in text for text in said) == 1
    assert "does not converge" in (state.status().collapse or "")
    dead = state.world.snapshot.dead_nodes
    assert len(dead) == 13, "Azerbaijan lives on behind the HVDC link"
    shown = {d.id: r for d, r in zip(state.metered, state.readings, strict=True) if d.node in dead}
    assert all(reading.p_mw == reading.v_kv == 0 for reading in shown.values())


@pytest.mark.system("mosquitto")
async def test_whole_bench_speaks_on_every_wire(
    bench: Bench, clock: ManualClock, port: int, start_broker: StartBroker, tmp_path: Path
) -> None:
    await start_broker()
    ledger = tmp_path / "acks.jsonl"
    broker = bench.broker.model_copy(update={"port": port})
    bench = bench.model_copy(update={"broker": broker, "ledger": str(ledger)})
    wanted = {device.topic: device for device in bench.device if device.topic}
    heard: dict[str, dict[str, float]] = {}
    async with aiomqtt.Client("127.0.0.1", port) as subscriber:
        await subscriber.subscribe("corridor/#", qos=1)
        async with up(bench, clock) as running:
            await clock.advance(1.1)
            async for received in subscriber.messages:
                assert isinstance(received.payload, bytes)
                heard[received.topic.value] = json.loads(received.payload)
                if len(heard) == len(wanted):
                    break
            assert len(await read_all(bench, running)) == 44
            while running.publisher.pending:
                await settle()
            nodes, now = running.state.world.nodes, running.state.world.snapshot
    assert heard.keys() == wanted.keys()
    for topic, members in heard.items():
        assert abs(members["ts"] - clock.now_ns() / 1e6) < 1200
        if wanted[topic].kind is Kind.BUS_METER:
            true_mw = now.node_p_mw[nodes.index(wanted[topic].node)]
            assert members["p_mw"] == pytest.approx(true_mw, rel=0.01, abs=25)  # seconds differ
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert {line["topic"] for line in lines} == set(wanted)
    assert len(lines) == running.publisher.acknowledged
