"""Every kind of fault on a running bench, injected and cleared by the command, and seen on the wire."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import aiomqtt
import pytest
from pymodbus.framer.rtu import FramerRTU
from typer.testing import CliRunner

from greenbridge.cli import app
from simulators.bench import load
from simulators.faults.model import parameters
from simulators.runtime import Running, simulate
from telemetry.clock import ManualClock, SystemClock, settle

StartBroker = Callable[[], Awaitable[asyncio.subprocess.Process]]

NOON_NS = round(datetime(2026, 6, 21, 8, 0, tzinfo=UTC).timestamp()) * 10**9
BENCH = """
seed = 5
control_port = 0
[broker]
port = {port}
[[gateway]]
id = "T"
[[gateway]]
id = "R"
transport = "rtu-over-tcp"
[[device]]
id = "shy"
kind = "pm5xxx"
node = "SHY"
branch = "SHY-TAS"
gateway = "T"
unit = 1
[[device]]
id = "akt"
kind = "pm5xxx"
node = "AKT"
branch = "AKT-ALT"
gateway = "T"
unit = 2
[[device]]
id = "tas"
kind = "pm5xxx"
node = "TAS"
branch = "SHY-TAS"
gateway = "R"
unit = 1
[[device]]
id = "bus"
kind = "bus-meter"
node = "TAS"
topic = "bus"
[[device]]
id = "wind"
kind = "wind-plant"
node = "SHU"
plant = "mirny-wind"
topic = "wind"
[[device]]
id = "sun"
kind = "solar-plant"
node = "ALT"
plant = "garadagh-solar"
topic = "sun"
"""
UNITS = {"shy": ("T", 1), "akt": ("T", 2), "tas": ("R", 1)}
SLOW_TO_GO = {
    "curtailment",
    "hvdc_order",
    "hvdc_poles",
    "cloud_front",
    "storm",
    "schedule",
    "frequency_event",
}
"""What the world needs some time to recover from."""
REAL = SystemClock()
Look = Mapping[str, float]
Effect = Callable[[Look, Look], bool]


class Rig:
    """A running bench, a client of its registers and a listener of its messages."""

    def __init__(self, running: Running, clock: ManualClock) -> None:
        self.running = running
        self.clock = clock
        self.heard: dict[str, list[dict[str, float]]] = {"bus": [], "wind": [], "sun": []}

    def connected(self) -> bool:
        """Whether the bench reaches the broker."""
        return self.running.publisher.connected

    async def command(self, *words: str) -> Any:
        url = f"http://127.0.0.1:{self.running.control_port}"
        call = [*words, "--control", url, "--json"]
        result = await asyncio.to_thread(CliRunner().invoke, app, ["faults", *call])
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    async def seconds(self, count: int) -> None:
        """Time goes on; what was published has arrived."""
        for _ in range(count):
            await self.clock.advance(1.0)
            for _ in range(50):
                if not self.connected() or not self.running.publisher.pending:
                    break
                await REAL.sleep(0.005)
        await REAL.sleep(0.02)

    async def exchange(self, device: str, address: int, count: int) -> tuple[bytes, float]:
        """An answer, and how long it took [s]; whatever came of it in two seconds, b"" for nothing."""
        gateway, unit = UNITS[device]
        request = struct.pack(">BBHH", unit, 3, address, count)
        if gateway == "T":
            request = struct.pack(">HHH", 7, 0, 6) + request
        else:
            request += FramerRTU.compute_CRC(request).to_bytes(2, "big")
        size = 2 * count + (9 if gateway == "T" else 5)
        begun, answer = self.clock.monotonic(), b""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.running.gateway_ports[gateway])
        except OSError:
            return b"", 0.0
        writer.write(request)
        while len(answer) < size and self.clock.monotonic() < begun + 2:
            try:
                async with asyncio.timeout(0.03):
                    data = await reader.read(256)
            except TimeoutError:
                await self.clock.advance(0.05)
                continue
            if not data:
                break
            answer += data
        writer.transport.abort()
        await settle()
        return answer, self.clock.monotonic() - begun

    async def number(self, device: str, address: int, form: str) -> float:
        answer, _ = await self.exchange(device, address, struct.calcsize(f">{form}") // 2)
        body = answer[9:] if UNITS[device][0] == "T" else answer[3:-2]
        value: float = struct.unpack(f">{form}", body)[0]
        return value

    async def look(self) -> dict[str, float]:
        """What the wire tells."""
        earlier = await self.number("shy", 3059, "f") / 1e3
        await self.seconds(1)
        shown = {f"{name}.p": await self.number(name, 3059, "f") / 1e3 for name in UNITS}
        shown["shy.p before"] = earlier
        shown["loss"] = shown["shy.p"] + shown["tas.p"]
        shown["ratio"] = -shown["shy.p"] / shown["tas.p"] if shown["tas.p"] else 0.0
        shown["hz"] = await self.number("shy", 3109, "f")
        shown["wh"] = await self.number("shy", 3203, "q")
        for topic, messages in self.heard.items():
            shown |= {f"{topic}.{key}": value for key, value in messages[-1].items()}
            shown[f"{topic}.late"] = self.clock.now_ns() / 1e9 - messages[-1]["ts"] / 1e3
        return shown


@asynccontextmanager
async def rig(port: int) -> AsyncIterator[Rig]:
    clock = ManualClock(NOON_NS)
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    bench = load(BENCH.replace("{port}", str(port)), "b.toml", {})
    task = asyncio.create_task(simulate(bench, clock, ready.set_result))
    try:
        async with aiomqtt.Client("127.0.0.1", port) as client, asyncio.timeout(90):
            await client.subscribe("#", qos=1)
            made = Rig(await ready, clock)

            async def listen() -> None:
                with suppress(aiomqtt.MqttError):
                    async for message in client.messages:
                        assert isinstance(message.payload, bytes)
                        made.heard[message.topic.value].append(json.loads(message.payload))

            listening = asyncio.create_task(listen())
            while not made.connected():
                await REAL.sleep(0.01)
            await made.seconds(3)
            yield made
            listening.cancel()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def moved(key: str, by: float) -> Effect:
    """The value differs by at least so much."""
    return lambda before, now: abs(now[key] - before[key]) > by


def grew(key: str, by: float) -> Effect:
    return lambda before, now: now[key] - before[key] > by


VALUES: Mapping[str, tuple[list[str], int, Effect]] = {
    "tap": (["SHY-TAS", "mw=40"], 1, grew("loss", 30)),
    "theft": (["TAS", "mw=300"], 1, moved("shy.p", 30)),
    "circuits": (["SHY-TAS", "in_service=0"], 1, lambda _, now: abs(now["shy.p"]) < 1),
    "plant_trip": (["mirny-wind"], 1, lambda _, now: now["wind.p_mw"] == 0),
    "curtailment": (["mirny-wind", "mw=5"], 20, lambda _, now: now["wind.p_mw"] < 6),
    "hvdc_order": (["AKT-ALT", "mw=500"], 8, lambda before, now: now["akt.p"] < before["akt.p"] - 100),
    "hvdc_poles": (["AKT-ALT", "in_service=1"], 1, lambda before, now: now["akt.p"] < 510 < before["akt.p"]),
    "weather": (["all", "weather=hoarfrost"], 1, grew("loss", 10)),
    "cloud_front": (["ALT", "duration_s=120"], 60, lambda b, now: now["sun.p_mw"] < 0.8 * b["sun.p_mw"]),
    "storm": (["SHU", "wind_ms=32", "duration_s=120"], 30, grew("wind.wind_ms", 5)),
    "schedule": (["UZ-AZ-wheel", "mw=200"], 8, lambda before, now: now["akt.p"] < before["akt.p"] - 50),
    "frequency_event": (["IPS/UPS", "mw=4000"], 10, lambda before, now: now["hz"] < before["hz"] - 0.01),
    "load_scale": (["TAS", "factor=1.3"], 1, moved("bus.p_mw", 50)),
    "gain": (["shy", "pct=10"], 1, grew("ratio", 0.08)),
    "offset": (["tas", "mw=50"], 1, grew("tas.p", 45)),
    "drift": (["shy", "pct_per_h=1000"], 60, grew("ratio", 0.1)),
    "stuck": (["shy"], 3, lambda _, now: now["shy.p"] == now["shy.p before"]),
    "skew": (["bus", "seconds=-30"], 1, grew("bus.late", 29)),
    "clock_drift": (
        ["wind", "s_per_h=3600"],
        5,
        lambda before, now: now["wind.late"] < before["wind.late"] - 3,
    ),
    "polarity": (["shy"], 1, lambda before, now: before["shy.p"] * now["shy.p"] < 0),
    "word_swap": (["tas"], 1, lambda before, now: abs(now["tas.p"] - before["tas.p"]) > 50),
    "wrong_scale": (["shy", "factor=1000"], 1, lambda b, now: abs(now["shy.p"]) > 900 * abs(b["shy.p"])),
    "counter_reset": (["shy"], 1, lambda _, now: now["wh"] < 1e6),
    "exchanged": (["shy", "serial=spare"], 1, lambda _, now: now["wh"] < 1e6),
}

SPOILT: Mapping[str, tuple[list[str], Callable[[bytes, bytes, float], bool]]] = {
    "down": ([], lambda _, answer, __: answer == b""),
    "half_open": ([], lambda _, answer, __: answer == b""),
    "slow": (["delay_s=0.4"], lambda usual, answer, s: len(answer) == len(usual) and s >= 0.35),
    "trickle": (["bytes_per_s=40"], lambda usual, answer, s: len(answer) == len(usual) and s >= 0.2),
    "garbage": ([], lambda usual, answer, _: len(answer) == len(usual) and answer[:3] != usual[:3]),
    "short_frame": ([], lambda usual, answer, _: 0 < len(answer) == len(usual) - 2),
    "late_reply": (["delay_s=0.8"], lambda usual, answer, s: len(answer) == len(usual) and s >= 0.75),
    "exception_storm": (["code=6"], lambda usual, answer, _: 0 < len(answer) < len(usual) and 0x83 in answer),
}


@pytest.mark.system("mosquitto")
async def test_every_kind_is_seen_on_the_wire_and_gone_again(port: int, start_broker: StartBroker) -> None:
    await start_broker()
    async with rig(port) as bench:
        for kind, (words, wait_s, effect) in VALUES.items():
            before = await bench.look()
            fault = await bench.command("inject", kind, *words)
            await bench.seconds(wait_s)
            now = await bench.look()
            assert effect(before, now), (kind, before, now)
            assert not (await bench.command("clear", fault["id"]))["active"]
            await bench.seconds(2)
            if kind not in SLOW_TO_GO:
                assert not effect(before, await bench.look()), kind


@pytest.mark.system("mosquitto")
@pytest.mark.parametrize("device", ["shy", "tas"])
async def test_every_kind_on_a_link_and_gone_again(port: int, start_broker: StartBroker, device: str) -> None:
    await start_broker()
    async with rig(port) as bench:
        usual, _ = await bench.exchange(device, 3059, 4)
        for kind, (words, effect) in SPOILT.items():
            fault = await bench.command("inject", kind, UNITS[device][0], *words)
            await bench.seconds(1)
            assert effect(usual, *await bench.exchange(device, 3059, 4)), kind
            await bench.command("clear", fault["id"])
            await bench.seconds(1)
            assert not effect(usual, *await bench.exchange(device, 3059, 4)), kind
        fault = await bench.command("inject", "wrong_transaction", UNITS[device][0])
        await bench.seconds(1)
        power, energy = [(await bench.exchange(device, a, 4))[0] for a in (3059, 3059, 3203)][1:]
        assert power == energy != b"", "the answer to the question before"


@pytest.mark.system("mosquitto")
async def test_every_kind_on_the_way_to_the_broker(port: int, start_broker: StartBroker) -> None:
    await start_broker()
    async with rig(port) as bench:
        for kind in ("down", "broker_restart"):
            fault = await bench.command("inject", kind, "mqtt")
            await bench.seconds(1)
            async with asyncio.timeout(5):
                while bench.connected():
                    await REAL.sleep(0.01)
            heard = len(bench.heard["bus"])
            await bench.seconds(5)
            assert len(bench.heard["bus"]) == heard, kind
            await bench.command("clear", fault["id"])
            while not bench.connected():
                await bench.seconds(1)
            await bench.seconds(2)
            stamps = [message["ts"] for message in bench.heard["bus"]]
            assert len(stamps) > heard + 5, "what was kept came late"
            assert list(dict.fromkeys(stamps)) == sorted(set(stamps)), "each in its place"
        for kind, words in (("duplicate", ["every=4"]), ("out_of_order", ["every=5", "by=7"])):
            fault = await bench.command("inject", kind, "mqtt", *words)
            heard = len(bench.heard["wind"])
            await bench.seconds(20)
            await bench.command("clear", fault["id"])
            await bench.seconds(2)
            stamps = [message["ts"] for message in bench.heard["wind"][heard:]]
            doubled, late = len(stamps) - len(set(stamps)), stamps != sorted(stamps)
            assert (doubled > 3, late) == (kind == "duplicate", kind == "out_of_order"), kind
            assert len(set(stamps)) >= 21, "none is lost"


def test_no_kind_is_left_out() -> None:
    walked = {*VALUES, *SPOILT, "wrong_transaction", "broker_restart", "duplicate", "out_of_order"}
    # without generation control nothing happens before an area lacks something
    assert {*walked, "control_off"} == set(parameters())
