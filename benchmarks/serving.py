"""Modbus requests served: the load responder against servers on pymodbus, one client process for each."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from benchmarks.harness import Benchmark, Contenders, Sample, Size, Watch
from benchmarks.modbus_client import UNITS
from simulators.devices.identification import NOT_IDENTIFIED, Identification, Refusal
from simulators.devices.modbus import Gateway, Line, Transport, Unit
from simulators.devices.registers import Held
from simulators.load.answers import HOLDING, word_at
from simulators.load.config import ModbusLoad
from simulators.load.modbus import LoadResponder

Serve = Callable[[], AbstractAsyncContextManager[int]]

CONNECTIONS = 50
_REGISTERS = 1200


def _words(unit: int) -> list[int]:
    return [word_at(HOLDING, unit, address) for address in range(_REGISTERS)]


@asynccontextmanager
async def _responder() -> AsyncIterator[int]:
    async with LoadResponder(ModbusLoad(port=0)) as responder:
        yield responder.ports[0]


@asynccontextmanager
async def _pymodbus() -> AsyncIterator[int]:
    devices = [
        SimDevice(
            unit,
            [
                SimData(
                    0,
                    values=_words(unit),
                    datatype=DataType.REGISTERS,
                )
            ],
        )
        for unit in range(1, UNITS + 1)
    ]
    server = ModbusTcpServer(devices, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield int(server.transport.sockets[0].getsockname()[1])  # type: ignore[attr-defined]
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


class _Unit:
    """A unit of a simulated gateway that holds what the load responder holds."""

    exception: Refusal | None = None
    identification: Identification = NOT_IDENTIFIED

    def __init__(self, unit: int) -> None:
        self._words = _words(unit)

    def read(self, function: int, address: int, count: int) -> list[int] | Refusal:
        return self._words[address : address + count]

    def registers(self) -> list[Held]:
        return []


@asynccontextmanager
async def _gateway() -> AsyncIterator[int]:
    units: dict[int, Unit] = {unit: _Unit(unit) for unit in range(1, UNITS + 1)}
    async with Gateway("bench", Line(Transport.TCP), units) as gateway:
        yield gateway.port


async def _serve(serve: Serve, depth: int, seconds: float) -> Sample:
    async with serve() as port:
        client = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.modbus_client",
            *map(str, (port, CONNECTIONS, depth, seconds)),
            stdout=asyncio.subprocess.PIPE,
        )
        watch = Watch()
        told, _ = await client.communicate()
        if client.returncode:
            raise RuntimeError(f"the client ended with code {client.returncode}; its message is above")
        answered = json.loads(told)
        return watch.sample(answered["count"], answered["seconds"])


def _sampled(serve: Serve, depth: int, seconds: float) -> Sample:
    return asyncio.run(_serve(serve, depth, seconds))


@contextmanager
def _served(size: Size, *, depth: int) -> Iterator[Contenders]:
    yield {
        "load responder": partial(_sampled, _responder, depth, size.seconds),
        "simulated gateway (on pymodbus)": partial(_sampled, _gateway, 1, size.seconds),
        "plain pymodbus server": partial(_sampled, _pymodbus, 1, size.seconds),
    }


SERVED = Benchmark(
    "modbus-served",
    "Modbus TCP reads of 100 registers answered, 50 connections, one request in flight on each",
    "request",
    partial(_served, depth=1),
    target_per_s=50_000,
    per_core=True,
    note="CPU is the server's; the client is a process of its own and compares every byte",
)
PIPELINED = Benchmark(
    "modbus-served-pipelined",
    "the same with eight requests in flight on each connection",
    "request",
    partial(_served, depth=8),
    target_per_s=50_000,
    per_core=True,
    note="pymodbus loses pipelined requests, so the others are asked one at a time here too",
)
