"""Modbus asked: the adapter's connection, verification and decoding against pymodbus' asynchronous client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial

from pymodbus.client import AsyncModbusTcpClient

from adapters.modbus._connection import Link, opener
from adapters.modbus.burst import Burst
from adapters.modbus.codec import Request
from adapters.modbus.config import GatewaySettings
from adapters.modbus.decoding import BlockDecoder, Slot
from benchmarks.harness import Benchmark, Contenders, Sample, Size, Watch
from benchmarks.modbus_responder import responder
from benchmarks.modbus_site import REGISTERS, VALUES
from telemetry.profiles import RegisterTable, RegisterType, WordOrder

CONNECTIONS = 50
READS = 8
"""Reads of a device."""
_UNIT = 1
_TIMEOUT_S = 5.0
_KIND = AsyncModbusTcpClient.DATATYPE.UINT32


class _Asker:
    """Reads a device over and over, so many reads in flight, and counts what was verified and decoded."""

    def __init__(self, watch: Watch, seconds: float, window: int) -> None:
        slots = [Slot(2 * i, RegisterType.UINT32, low=0.0, high=5e9) for i in range(VALUES)]
        self._decoder = BlockDecoder(slots, WordOrder.BIG)
        self._watch = watch
        self._seconds = seconds
        reads = [Request(0, _UNIT, RegisterTable.HOLDING, REGISTERS * i, REGISTERS) for i in range(READS)]
        self._window = window
        size = READS if window == 1 else window
        self._bursts = [reads[at : at + size] for at in range(0, READS, size)]
        self._soon: Callable[[Callable[[], object]], object] = asyncio.get_running_loop().call_soon
        self.count = 0

    async def ask(self, link: Link) -> None:
        while self._watch.seconds < self._seconds:
            for queries in self._bursts:
                if self._window > 1:
                    burst = await link.exchange(queries, _TIMEOUT_S)
                else:
                    burst = Burst(queries, in_turn=True)
                    await link.exchange_in_turn(burst, _TIMEOUT_S)
                if burst.fault is not None or burst.refusals:
                    raise RuntimeError(f"not answered: {burst.fault}")
                replies = self._decoder.later(b"".join(burst.data()), len(queries))
                self._soon(replies.decoded)
                self.count += len(queries)


async def _ours(port: int, window: int, seconds: float) -> Sample:
    connect = opener(GatewaySettings(id="bench", host="127.0.0.1", port=port, window=window))
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(await connect()) for _ in range(CONNECTIONS)]
        watch = Watch()
        asker = _Asker(watch, seconds, window)
        await asyncio.gather(*map(asker.ask, links))
        return watch.sample(asker.count)


async def _pymodbus(port: int, window: int, seconds: float) -> Sample:
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port) for _ in range(CONNECTIONS)]
    for client in clients:
        await client.connect()
    watch, count = Watch(), 0

    async def read(client: AsyncModbusTcpClient, address: int) -> None:
        nonlocal count
        reply = await client.read_holding_registers(address, count=REGISTERS, device_id=_UNIT)
        if reply.isError():
            raise RuntimeError(f"a refusal: {reply}")
        client.convert_from_registers(reply.registers, _KIND)
        count += 1

    async def poll(client: AsyncModbusTcpClient) -> None:
        addresses = range(0, READS * REGISTERS, REGISTERS)
        while watch.seconds < seconds:
            if window > 1:
                await asyncio.gather(*(read(client, address) for address in addresses))
            else:
                for address in addresses:
                    await read(client, address)

    await asyncio.gather(*map(poll, clients))
    sample = watch.sample(count)
    for client in clients:
        client.close()
    return sample


def _run_ours(port: int, window: int, seconds: float) -> Sample:
    return asyncio.run(_ours(port, window, seconds))


def _run_pymodbus(port: int, window: int, seconds: float) -> Sample:
    return asyncio.run(_pymodbus(port, window, seconds))


@contextmanager
def _asked(size: Size, *, window: int) -> Iterator[Contenders]:
    with responder() as port:
        yield {
            "modbus connection": partial(_run_ours, port, window, size.seconds),
            "pymodbus async client": partial(_run_pymodbus, port, window, size.seconds),
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
    "the same with the eight reads of a device in flight together on each connection",
    "request",
    partial(_asked, window=READS),
    cpu_ratio=15,
    note="the baseline awaits its eight together; its client has one request in flight all the same",
)
