"""An InfluxDB that was away is brought up to date while sources go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import Benchmark, Contenders, Sample, Size, Watch
from benchmarks.influx import (
    POINTS,
    SOURCES,
    Database,
    bare_client,
    batch,
    behind,
    forward,
    influxd,
    pipeline,
)
from telemetry.clock import SystemClock

LIVE_PER_S = 50_000
"""What the sources hand over all the time [readings/s]."""
TIMES = 5
"""How many times that rate the store must be written with after its server came back."""
CURRENT = LIVE_PER_S // 2
"""Readings that wait for a store that has caught up: those of half a second."""
SPENT = "catching up, per second of outage [s]"
_ROUND_S = SOURCES * POINTS / LIVE_PER_S


class _Door:
    """The way to the server, which can be shut: then whoever is or comes in is thrown out."""

    def __init__(self, server: str) -> None:
        self._upstream = int(server.rsplit(":", 1)[1])
        self._inside: set[asyncio.StreamWriter] = set()
        self._shut = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._shut:
            writer.transport.abort()
            return
        self._inside.add(writer)
        try:
            await forward(self._upstream, reader, writer)
        finally:
            self._inside.discard(writer)

    def shut(self) -> None:
        """Lets nobody through from now on."""
        self._shut = True
        for writer in self._inside:
            writer.transport.abort()

    def open(self) -> None:
        """Lets everybody through."""
        self._shut = False


async def _caught_up(url: str, door: _Door, database: str, outage_s: float) -> Sample:
    clock = SystemClock()
    async with pipeline(url, database, clock) as product:

        async def live() -> None:
            second, due = 0, clock.monotonic()
            while True:
                second, due = second + 1, due + _ROUND_S
                await asyncio.gather(
                    *(product.journal.append(batch(source, second)) for source in range(SOURCES))
                )
                await clock.sleep(max(0.0, due - clock.monotonic()))

        async def stored() -> int:
            return (await product.store.position()).totals.stored

        await product.warm(clock)
        sources = asyncio.create_task(live())
        door.shut()
        await clock.sleep(outage_s)
        before = await stored()
        door.open()
        while await stored() == before:  # until its next try
            await clock.sleep(0.001)
        watch, begin = Watch(), await stored()
        while await product.pending() > CURRENT:
            await clock.sleep(0.005)
        done = await stored() - begin
        sample = watch.sample(done, figures={SPENT: watch.seconds / outage_s})
        sources.cancel()
        await asyncio.wait([sources])
    return sample


@contextmanager
def _prepare(size: Size) -> Iterator[Contenders]:
    with influxd() as server:
        database, door = Database(server), _Door(server)

        async def ours(name: str) -> Sample:
            async with behind(door) as url:
                return await _caught_up(url, door, name, size.seconds)

        async def bare(name: str) -> Sample:
            async with behind(door) as url:
                return await bare_client(url, name, size.seconds)

        yield {
            "journal and InfluxDB store": lambda: asyncio.run(ours(database.fresh())),
            "bare client, bodies made beforehand": lambda: asyncio.run(bare(database.fresh())),
        }


CAUGHT_UP = Benchmark(
    "influx-caught-up",
    f"Readings written after InfluxDB 1.6.7 was away, while {LIVE_PER_S:,} more come in every second",
    "reading",
    _prepare,
    target_per_s=TIMES * LIVE_PER_S,
    limits={SPENT: 1 / (TIMES - 1)},
    longer=10.0,
    needs="influxd",
    note="counted from the first answer after the outage until what waits is half a second's",
)
