"""Simulated devices on real sockets, in a loop of their own, for commands that run a loop themselves."""

from __future__ import annotations

import asyncio
import os
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from greenbridge.cli import app
from simulators.bench import load
from simulators.devices.modbus import Gateway, Line, Transport
from simulators.state import BenchState
from tests.adapters.conftest import certificates

__all__ = ["certificates"]
START_NS = 1_795_500_000_000_000_000

BENCH = """
seed = 7
control_port = 0
[[gateway]]
id = "G"
port = 0
[[gateway]]
id = "R"
transport = "rtu-over-tcp"
port = 0
[[device]]
id = "pm"
kind = "pm5xxx"
node = "SHY"
branch = "SHY-TAS"
gateway = "G"
unit = 1
[[device]]
id = "umg"
kind = "umg"
node = "SHY"
branch = "SHY-TAS"
gateway = "G"
unit = 2
word_order = "cdab"
[[device]]
id = "inverter"
kind = "sunspec-inverter"
node = "NUR"
plant = "saran-solar"
gateway = "G"
unit = 3
models = [103, 120, 160]
[[device]]
id = "busy"
kind = "umg"
node = "SHY"
branch = "SHY-TAS"
gateway = "G"
unit = 6
exception = "busy"
[[device]]
id = "turbine"
kind = "turbine"
node = "SHU"
plant = "mirny-wind"
gateway = "R"
unit = 1
"""


def forward(here: int, there: int) -> None:
    os.write(there, os.read(here, 4096))


@contextmanager
def serial_pair(loop: asyncio.AbstractEventLoop) -> Iterator[tuple[str, str]]:
    """Two ends of a serial line: what is written to one is read at the other."""
    with ExitStack() as stack:
        masters, names = [], []
        for _ in range(2):
            master, slave = os.openpty()
            tty.setraw(slave)
            stack.callback(os.close, master)
            stack.callback(os.close, slave)
            masters.append(master)
            names.append(os.ttyname(slave))
        for here, there in (masters, masters[::-1]):
            loop.add_reader(here, forward, here, there)
            stack.callback(loop.remove_reader, here)
        yield names[0], names[1]


@contextmanager
def served(bench: str, folder: Path) -> Iterator[dict[str, str]]:
    """Serves a bench that stands still; yields HOST:PORT of each gateway, the device file of serial ones.

    A gateway "R" has RTU framing, one "L" a serial line.
    """
    ready, told = threading.Event(), threading.Event()
    addresses: dict[str, str] = {}

    async def serve() -> None:
        state = BenchState(load(bench, "bench.toml", {}, folder), START_NS)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        async with AsyncExitStack() as stack:
            for name, units in state.lines.items():
                if name == "L":
                    here, addresses[name] = stack.enter_context(serial_pair(loop))
                    line = Line(Transport.SERIAL, serial_port=here, baudrate=9600, parity="N")
                    await stack.enter_async_context(Gateway(name, line, units))
                    continue
                framing = Transport.RTU_OVER_TCP if name == "R" else Transport.TCP
                gateway = await stack.enter_async_context(Gateway(name, Line(framing), units))
                addresses[name] = f"127.0.0.1:{gateway.port}"
            ready.set()
            await stop.wait()
        told.set()

    stops: list[Callable[[], object]] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="bench")
    thread.start()
    try:
        assert ready.wait(20)
        yield addresses
    finally:
        for stop in stops:
            stop()
        thread.join(20)
    assert told.is_set()


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with served(BENCH, tmp_path_factory.mktemp("bench")) as addresses:
        yield addresses


Probe = Callable[..., Result]


@pytest.fixture
def probe() -> Probe:
    """Runs ``greenbridge probe`` without pauses; its exit code is the first argument after the words."""

    def run(*words: str, code: int = 0, pause: Sequence[str] = ("--pause", "0")) -> Result:
        result = CliRunner().invoke(app, ["probe", *words, *pause])
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run
