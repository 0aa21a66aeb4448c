"""Modbus asked: the adapter's connection, verification and decoding against pymodbus' asynchronous client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial

from pymodbus.client import AsyncModbusTcpClient

from adapters.modbus._connection import Link, opener
from adapters.modbus.codec import Request
from adapters.modbus.config import GatewaySettings
from adapters.modbus.decoding import BlockDecoder, Slot
from benchmarks.harness import Benchmark, Contenders, Sample, Size, Watch
from benchmarks.modbus_responder import responder
from benchmarks.modbus_site import REGISTERS, VALUES
from telemetry.profiles import RegisterTable, RegisterType, WordOrder

CONNECTIONS = 50
_UNITS = 10
_ADDRESSES = 100
_TIMEOUT_S = 5.0
_KIND = AsyncModbusTcpClient.DATATYPE.UINT32


class _Asker:
    """Asks over one connection and counts what was verified and decoded."""

    def __init__(self, decoder: BlockDecoder, watch: Watch, seconds: float) -> None:
        self._decoder = decoder
        self._watch = watch
        self._seconds = seconds
        self._soon: Callable[[Callable[[], object]], object] = asyncio.get_running_loop().call_soon
        self.count = 0

    async def ask(self, link: Link, unit: int) -> None:
        address = 0
        while self._watch.seconds < self._seconds:
            request = Request(link.next_transaction(), unit, RegisterTable.HOLDING, address, REGISTERS)
            reply = self._decoder.later(await link.ask(request, _TIMEOUT_S))
            self._soon(reply.decoded)
            self.count += 1
            address = (address + 1) % _ADDRESSES


async def _ours(port: int, window: int, seconds: float) -> Sample:
    slots = [Slot(2 * i, RegisterType.UINT32, low=0.0, high=5e9) for i in range(VALUES)]
    decoder = BlockDecoder(slots, WordOrder.BIG)
    connect = opener(GatewaySettings(id="bench", host="127.0.0.1", port=port, window=window))
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(await connect()) for _ in range(CONNECTIONS)]
        watch = Watch()
        asker = _Asker(decoder, watch, seconds)
        lanes = [(link, i % _UNITS + 1) for i, link in enumerate(links) for _ in range(window)]
        await asyncio.gather(*(asker.ask(link, unit) for link, unit in lanes))
        return watch.sample(asker.count)


async def _pymodbus(port: int, seconds: float) -> Sample:
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port) for _ in range(CONNECTIONS)]
    for client in clients:
        await client.connect()
    watch, count = Watch(), 0

    async def ask(client: AsyncModbusTcpClient, unit: int) -> None:
        nonlocal count
        address = 0
        while watch.seconds < seconds:
            reply = await client.read_holding_registers(address, count=REGISTERS, device_id=unit)
            if reply.isError():
                raise RuntimeError(f"a refusal: {reply}")
            client.convert_from_registers(reply.registers, _KIND)
            count += 1
            address = (address + 1) % _ADDRESSES

    await asyncio.gather(*(ask(client, i % _UNITS + 1) for i, client in enumerate(clients)))
    sample = watch.sample(count)
    for client in clients:
        client.close()
    return sample


def _run_ours(port: int, window: int, seconds: float) -> Sample:
    return asyncio.run(_ours(port, window, seconds))


def _run_pymodbus(port: int, seconds: float) -> Sample:
    return asyncio.run(_pymodbus(port, seconds))


@contextmanager
def _asked(size: Size, *, window: int) -> Iterator[Contenders]:
    with responder() as port:
        yield {
            "modbus connection": partial(_run_ours, port, window, size.seconds),
            "pymodbus async client": partial(_run_pymodbus, port, size.seconds),
        }


ASKED = Benchmark(
    "modbus-asked",
    "Modbus TCP reads of 100 registers verified and decoded, 50 connections, one request in flight on each",
    "request",
    partial(_asked, window=1),
    cpu_ratio=5,
)
WINDOW = Benchmark(
    "modbus-asked-window",
    "the same with eight requests in flight on each connection",
    "request",
    partial(_asked, window=8),
    cpu_ratio=15,
    note="pymodbus' client has one request in flight",
)
