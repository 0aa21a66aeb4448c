"""Readings written to InfluxDB: journal and store against a bare HTTP client with bodies made beforehand."""

from __future__ import annotations

import asyncio
import gzip
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import aiohttp
import numpy as np

from benchmarks import machine
from benchmarks.harness import Benchmark, Contenders, Sample, Size, Watch
from ingest.config import DeadLetterSettings, InfluxSettings, JournalSettings
from ingest.deadletters import DeadLetters
from ingest.journal.journal import Journal
from ingest.pump import StorePump
from ingest.stores.influx.encoding import Encoder
from ingest.stores.influx.schema import Schema
from ingest.stores.influx.store import InfluxStore
from telemetry.batch import POINT_DTYPE, QUALITY_DTYPE, TIME_DTYPE, Columns, ReadingBatch
from telemetry.clock import Clock, SystemClock
from telemetry.grid import Area, Grid, LineParameters
from telemetry.points import PointKey
from telemetry.registry import PointRegistry
from telemetry.site import Site

POINTS = 700
"""Readings in a batch: 100 devices of 7 points."""
SOURCES = 20
"""Sources with as many points each; every one hands over a batch when the one before is durable."""
BODY_BATCHES = 71
"""Batches in one body of the bare client: as many readings as the pump gives the store at once."""
_BODIES = 64
_PENDING = 400_000
"""Readings that may wait for the store; with more, the sources wait."""
_START_NS = 1_700_000_000_000_000_000
_POINTS = [np.arange(i * POINTS, (i + 1) * POINTS, dtype=POINT_DTYPE) for i in range(SOURCES)]
_VALUE = np.round(np.linspace(-500.0, 500.0, POINTS), 3)
_GOOD = np.zeros(POINTS, QUALITY_DTYPE)
_STARTS_WITHIN_S = 20.0
_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{http}"
log-enabled = false
"""


def _registry() -> PointRegistry:
    return PointRegistry([PointKey(f"meter{i // 7}", f"P{i % 7}", "MW") for i in range(SOURCES * POINTS)])


def _site(registry: PointRegistry) -> Site:
    """A site without devices: the registry alone names the points."""
    grid = Grid(
        u_rated_kv=500,
        line_parameters=LineParameters(
            r_ohm_per_km=0.03, x_ohm_per_km=0.3, b_us_per_km=3, corona_kw_per_km=0
        ),
        area=(Area(id="KZ", name="Kazakhstan", utc_offset_h=5, sync_area="UPS"),),
        node=(),
    )
    return Site.of("bench", grid, [], {}, registry)


def batch(source: int, second: int) -> ReadingBatch:
    """What a source reads in a second."""
    times = np.full(POINTS, _START_NS + second * 1_000_000_000, TIME_DTYPE)
    return ReadingBatch(f"bench/{source}", 1, second, int(times[0]), _POINTS[source], times, _VALUE, _GOOD)


class Pipeline(NamedTuple):
    """Journal and InfluxDB store with the pump between them."""

    journal: Journal
    store: InfluxStore

    async def pending(self) -> int:
        """Readings in the journal that the store has not confirmed."""
        return self.journal.readings - (await self.store.position()).totals.accounted

    async def warm(self, clock: Clock) -> None:
        """Looks names up and makes connections: one batch of each source, until it is written."""
        await asyncio.gather(*(self.journal.append(batch(source, 0)) for source in range(SOURCES)))
        while await self.pending():
            await clock.sleep(0.005)


@asynccontextmanager
async def pipeline(url: str, database: str, clock: Clock) -> AsyncIterator[Pipeline]:
    """The product's way from a batch to an InfluxDB server, in a directory of its own."""
    registry = _registry()
    settings = InfluxSettings(url=url, org="bench", bucket=database, token_env="TOKEN")
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Journal(Path(folder) / "journal", JournalSettings(), clock) as journal,
            DeadLetters(Path(folder) / "letters.sqlite", DeadLetterSettings()) as letters,
            InfluxStore(
                settings,
                _site(registry),
                registry,
                cursors=journal.cursors,
                letters=letters,
                clock=clock,
                environment={"TOKEN": "x"},
            ) as store,
        ):
            pump = asyncio.create_task(StorePump(journal, store, clock).run())
            try:
                yield Pipeline(journal, store)
            finally:
                pump.cancel()
                await asyncio.wait([pump])


async def _pipeline(url: str, database: str, seconds: float) -> Sample:
    clock = SystemClock()
    async with pipeline(url, database, clock) as product:
        room = asyncio.Event()
        room.set()

        async def hand_over(source: int) -> None:
            second = 0
            while watch.seconds < seconds or not second:
                second += 1
                await room.wait()
                await product.journal.append(batch(source, second))

        async def make_room() -> None:
            while watch.seconds < seconds:
                (room.set if await product.pending() < _PENDING else room.clear)()
                await clock.sleep(0.01)
            room.set()

        await product.warm(clock)
        watch, before = Watch(), product.journal.readings
        async with asyncio.TaskGroup() as group:
            group.create_task(make_room())
            for source in range(SOURCES):
                group.create_task(hand_over(source))
        while await product.pending():
            await clock.sleep(0.005)
        sample = watch.sample(product.journal.readings - before)
        assert (await product.store.position()).totals.stored == product.journal.readings
    return sample


@cache
def _bodies() -> list[bytes]:
    """Bodies for the bare client: no reading twice, as in the journal."""
    registry = _registry()
    encoder = Encoder(Schema(_site(registry), registry))
    bodies = []
    for first in range(0, _BODIES * BODY_BATCHES, BODY_BATCHES):
        batches = [batch(i % SOURCES, i // SOURCES) for i in range(first, first + BODY_BATCHES)]
        lines = encoder.encode(Columns.joined(batches))
        bodies.append(gzip.compress(lines.body(0, len(lines)), 1))
    return bodies


async def bare_client(url: str, database: str, seconds: float) -> Sample:
    """Sends bodies that were encoded beforehand, one after the other."""
    bodies = _bodies()
    parameters = {"org": "bench", "bucket": database, "precision": "ns"}
    async with aiohttp.ClientSession(headers={"Content-Encoding": "gzip"}) as session:
        watch, sent = Watch(), -1  # the first body makes the connection
        while sent < 1 or watch.seconds < seconds:
            body = bodies[sent % len(bodies)]
            async with session.post(f"{url}/api/v2/write", params=parameters, data=body) as response:
                assert response.status == 204, await response.text()
            sent += 1
            if not sent:
                watch = Watch()
        return watch.sample(sent * BODY_BATCHES * POINTS)


class Database:
    """Makes a fresh database for every sample."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._number = 0

    def fresh(self) -> str:
        """Its name."""
        self._number += 1
        name = f"bench{self._number}"
        for statement in (f'DROP DATABASE "bench{self._number - 1}"', f'CREATE DATABASE "{name}"'):
            query = urllib.parse.urlencode({"q": statement})
            with urllib.request.urlopen(f"{self._server}/query", query.encode()) as response:
                assert b"error" not in response.read()
        return name


async def forward(server_port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Lets a server of version 1 answer the write path of version 2: only the request line changes."""
    upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", server_port)

    async def answers() -> None:
        while data := await upstream_reader.read(1 << 16):
            writer.write(data)

    answering = asyncio.create_task(answers())
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            line, rest = head.split(b"\r\n", 1)
            line = line.replace(b"/api/v2/write", b"/write").replace(b"bucket=", b"db=")
            upstream.write(line + b"\r\n" + rest)
            length = next(
                (
                    int(h.split(b":")[1])
                    for h in rest.split(b"\r\n")
                    if h.lower().startswith(b"content-length:")
                ),
                0,
            )
            upstream.write(await reader.readexactly(length))
            await upstream.drain()
    answering.cancel()
    upstream.close()
    writer.close()


@contextmanager
def influxd() -> Iterator[str]:
    """A server of version 1, with its address."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    program = machine.find("influxd")
    if program is None:
        raise RuntimeError("influxd is not installed; on Debian: apt-get install influxdb")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "influxdb.conf"
        config.write_text(_CONFIG.format(folder=folder, http=ports[0], rpc=ports[1]))
        quiet = subprocess.DEVNULL
        with subprocess.Popen([program, "-config", config], stdout=quiet, stderr=quiet) as server:
            try:
                _wait_for(f"http://127.0.0.1:{ports[0]}/ping")
                yield f"http://127.0.0.1:{ports[0]}"
            finally:
                server.terminate()


def _wait_for(url: str) -> None:
    watch = Watch()
    while True:
        try:
            urllib.request.urlopen(url).close()
        except urllib.error.URLError:
            if watch.seconds > _STARTS_WITHIN_S:
                raise
            time.sleep(0.05)
        else:
            return


@asynccontextmanager
async def behind(
    proxy: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A port at which a proxy answers, with its address."""
    served = await asyncio.start_server(proxy, "127.0.0.1", 0, limit=1 << 20)
    async with served:
        yield f"http://127.0.0.1:{served.sockets[0].getsockname()[1]}"


@contextmanager
def _prepare(size: Size) -> Iterator[Contenders]:
    with influxd() as server:
        database = Database(server)

        proxy = partial(forward, int(server.rsplit(":", 1)[1]))

        async def ours(name: str) -> Sample:
            async with behind(proxy) as url:
                return await _pipeline(url, name, size.seconds)

        async def bare(name: str) -> Sample:
            async with behind(proxy) as url:
                return await bare_client(url, name, size.seconds)

        yield {
            "journal and InfluxDB store": lambda: asyncio.run(ours(database.fresh())),
            "bare client, bodies made beforehand": lambda: asyncio.run(bare(database.fresh())),
        }


WRITTEN = Benchmark(
    "influx-written",
    "Readings committed to the journal, deduplicated, encoded and written to InfluxDB 1.6.7",
    "reading",
    _prepare,
    rate_ratio=0.8,
    needs="influxd",
    note="the bare client sends gzipped bodies of 7,100 lines that were encoded before the clock ran",
)
