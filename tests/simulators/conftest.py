from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from simulators.bench import Bench, load_file
from simulators.world.corridor import Corridor, reference
from simulators.world.plants import reference_plants
from simulators.world.world import World, WorldPlan

START_NS = 1_795_500_000_000_000_000

MakeWorld = Callable[..., World]
StartBroker = Callable[[], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture(scope="session")
def corridor() -> Corridor:
    return reference()


@pytest.fixture
def make_world(corridor: Corridor) -> MakeWorld:
    def make(seed: int = 1, scale: float = 1.0, start_ns: int = START_NS) -> World:
        return World(WorldPlan(corridor, reference_plants(), injection_scale=scale), seed, start_ns)

    return make


def port_variable(gateway: str) -> str:
    return f"GB_MODBUS_PORT_{gateway.upper().replace('-', '_')}"


@pytest.fixture
def bench() -> Bench:
    """The shipped bench on free ports, with nobody at the broker's port."""
    free = {port_variable(gateway.id): "0" for gateway in load_file(None, {}).gateway}
    return load_file(None, {**free, "GB_SIM_CONTROL_PORT": "0", "GB_BROKER_PORT": "1"})


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
    return number


@pytest.fixture
async def start_broker(port: int, tmp_path: Path) -> AsyncIterator[StartBroker]:
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    started: list[asyncio.subprocess.Process] = []
    drains: list[asyncio.Task[bytes]] = []

    async def start() -> asyncio.subprocess.Process:
        broker = await asyncio.create_subprocess_exec(
            "mosquitto", "-c", config, "-v", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        started.append(broker)
        assert broker.stderr is not None
        async with asyncio.timeout(10):
            while b"running" not in (line := await broker.stderr.readline()):
                assert line, "mosquitto ended"
        # a full pipe would stop the broker
        drains.append(asyncio.create_task(broker.stderr.read()))
        return broker

    yield start
    for broker in started:
        if broker.returncode is None:
            broker.kill()
        await broker.wait()
    await asyncio.gather(*drains)
