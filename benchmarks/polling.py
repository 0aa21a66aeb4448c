"""A site polled: whole Modbus sources at a period, and how evenly, against loops of pymodbus' client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from pymodbus.client import AsyncModbusTcpClient

from adapters.modbus.config import GatewaySettings
from adapters.modbus.source import ModbusSource
from benchmarks.harness import FULL, Benchmark, Contenders, Sample, Size, Watch
from benchmarks.modbus_responder import responder
from benchmarks.modbus_site import REGISTERS, gateway_points, profile
from ingest.ports import Committed, DeadLetter
from telemetry.batch import ReadingBatch
from telemetry.clock import SystemClock
from telemetry.site import SitePoint

JITTER = "p99 jitter [ms]"
_KIND = AsyncModbusTcpClient.DATATYPE.UINT32


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a site is."""

    gateways: int
    units: int
    """Devices behind each gateway, numbered from 1."""
    answering: int
    """Those that answer: the first ones."""
    period_s: float
    settle_s: float
    """Time before the measurement begins [s]."""
    periods: int
    """Length of the measurement."""


WHOLE = Shape(50, 100, 100, 1.0, 2.0, 3)
PARTLY_DEAD = Shape(50, 10, 7, 1.0, 6.0, 4)


def _small(shape: Shape) -> Shape:
    units = min(shape.units, 10)
    return Shape(2, units, min(shape.answering, units), 0.05, 0.5, 8)


class _Arrivals:
    """An intake that keeps nothing but when each device was read."""

    def __init__(self) -> None:
        self.at: dict[int, list[int]] = {}
        self.begun = False

    async def submit(self, batch: ReadingBatch) -> Committed:
        if self.begun and not batch.quality[0]:
            self.at.setdefault(int(batch.point[0]), []).append(int(batch.t_source[0]))
        return Committed(1, 0)

    async def reject(self, letters: Sequence[DeadLetter]) -> None:
        raise RuntimeError(f"a reply was rejected: {letters[0].detail}")


def _jitter(at: Mapping[int, Sequence[int]], shape: Shape) -> dict[str, float]:
    """How far the time between two reads of a device is from the period."""
    found = [np.diff(times) for times in at.values() if len(times) > 1]
    if not found:  # a stalled machine: every device is late by the whole sample at least
        return {JITTER: (shape.periods - 1) * shape.period_s * 1e3}
    gaps = np.concatenate(found)
    return {JITTER: float(np.percentile(np.abs(gaps / 1e9 - shape.period_s), 99)) * 1e3}


async def _sources(port: int, shape: Shape, points: Sequence[Sequence[SitePoint]]) -> Sample:
    clock, intake = SystemClock(), _Arrivals()
    sources = [
        ModbusSource(
            GatewaySettings(id=f"g{i}", host="127.0.0.1", port=port, timeout_s=shape.period_s),
            members,
            intake,
            clock,
        )
        for i, members in enumerate(points)
    ]
    tasks = [asyncio.create_task(source.run()) for source in sources]
    await clock.sleep(shape.settle_s)
    intake.begun = True
    watch = Watch()
    await clock.sleep(shape.periods * shape.period_s)
    polls = sum(map(len, intake.at.values()))
    sample = watch.sample(polls, figures=_jitter(intake.at, shape))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return sample


async def _pymodbus(port: int, shape: Shape) -> Sample:
    clock = SystemClock()
    at: dict[int, list[int]] = {}
    ended = asyncio.Event()
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port) for _ in range(shape.gateways)]
    for client in clients:
        await client.connect()

    async def poll(gateway: int, client: AsyncModbusTcpClient) -> None:
        begin = clock.monotonic() + shape.period_s * gateway / shape.gateways
        turn = 0
        # not cancelled from outside: Python 3.11's wait_for in pymodbus loses that when a reply comes with it
        while not ended.is_set():
            unit = turn % shape.answering + 1
            due = begin + turn * shape.period_s / shape.answering
            await clock.sleep(due - clock.monotonic())
            reply = await client.read_holding_registers(0, count=REGISTERS, device_id=unit)
            if reply.isError():
                raise RuntimeError(f"a refusal: {reply}")
            client.convert_from_registers(reply.registers, _KIND)
            at.setdefault(gateway * shape.units + unit, []).append(clock.now_ns())
            turn += 1

    tasks = [asyncio.create_task(poll(i, client)) for i, client in enumerate(clients)]
    await clock.sleep(2 * shape.period_s)
    at.clear()
    watch = Watch()
    await clock.sleep(shape.periods * shape.period_s)
    sample = watch.sample(sum(map(len, at.values())), figures=_jitter(at, shape))
    ended.set()
    await asyncio.gather(*tasks)
    for client in clients:
        client.close()
    return sample


@contextmanager
def _polled(size: Size, *, shape: Shape) -> Iterator[Contenders]:
    shape = shape if size == FULL else _small(shape)
    kind = profile(1, shape.period_s)
    points = [gateway_points(i, shape.units, kind) for i in range(shape.gateways)]
    with responder(None if shape.answering == shape.units else shape.answering) as port:
        yield {
            "modbus sources": lambda: asyncio.run(_sources(port, shape, points)),
            "pymodbus loops": lambda: asyncio.run(_pymodbus(port, shape)),
        }


SITE = Benchmark(
    "modbus-site",
    "5,000 devices of 100 registers polled once a second behind 50 gateways, scheduled, decoded and batched",
    "poll",
    partial(_polled, shape=WHOLE),
    target_per_s=5000,
    per_core=True,
    limits={JITTER: 50.0},
    note="ends where the journal begins; the loops only ask and convert, in a fixed order",
)
DEAD = Benchmark(
    "modbus-site-dead",
    "500 devices behind 50 gateways, of which 30 % keep silent, polled once a second",
    "poll",
    partial(_polled, shape=PARTLY_DEAD),
    limits={JITTER: 100.0},
    note="counted and measured are the healthy ones; the loops leave the dead ones out",
)
