"""A real influxd 1.6.7 behind a proxy that answers as InfluxDB 2.7 does, for the tests of every package.

Use it in a ``conftest.py``: ``from tests.support.influx import influx, influxd``; tests that ask for
``influx`` are marked ``@pytest.mark.system("influxd")``.
"""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

ORG = "greenbridge"
TOKEN = "test-token"

_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{directory}/meta"
[data]
dir = "{directory}/data"
wal-dir = "{directory}/wal"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{http}"
log-enabled = false
"""


@dataclass(frozen=True)
class Influxd:
    """A running influxd."""

    url: str
    pid: int

    def create(self, database: str) -> None:
        """Creates a database."""
        data = urllib.parse.urlencode({"q": f'CREATE DATABASE "{database}"'}).encode()
        with urllib.request.urlopen(f"{self.url}/query", data) as response:
            assert b"error" not in response.read()


@pytest.fixture(scope="session")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    """Debian's influxd on loopback with a directory of its own, for the whole session."""
    directory = tmp_path_factory.mktemp("influxd")
    http, rpc = _free_ports(2)
    config = directory / "influxdb.conf"
    config.write_text(_CONFIG.format(directory=directory, http=http, rpc=rpc))
    log = (directory / "influxd.log").open("wb")
    process = subprocess.Popen(["influxd", "-config", str(config)], stdout=log, stderr=log)
    try:
        server = Influxd(f"http://127.0.0.1:{http}", process.pid)
        _wait_until_up(server, process, directory / "influxd.log")
        yield server
    finally:
        process.terminate()
        process.wait(10)
        log.close()


@dataclass
class Fault:
    """An answer that the proxy gives instead of, or after, passing a write on."""

    status: int
    body: str = '{"code": "unavailable", "message": "injected"}'
    headers: dict[str, str] = field(default_factory=dict)
    pass_on: bool = False
    """Store the body first: an answer that got lost or lies."""


@dataclass
class InfluxBench:
    """The proxy in front of an influxd, with one fresh bucket."""

    url: str
    bucket: str
    server: Influxd
    org: str = ORG
    token: str = TOKEN
    faults: list[Fault] = field(default_factory=list)
    """Each is the answer to one write request, in order."""
    max_body: int | None = None
    """Bodies above this size [B] are answered with 413."""
    refuse: Callable[[bytes], bool] | None = None
    """Lines for which a write is answered with 400, after the others were stored (a partial write)."""
    writes: list[int] = field(default_factory=list)
    """Number of lines of each write request."""

    async def ask(self, query: str) -> list[dict[str, Any]]:
        """Results of InfluxQL statements, asked behind the proxy."""
        parameters = {"db": self.bucket, "epoch": "ns", "q": query}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.server.url}/query", params=parameters) as response,
        ):
            results: list[dict[str, Any]] = json.loads(await response.read())["results"]
            return results


_numbers = itertools.count(1)


@pytest.fixture
async def influx(influxd: Influxd) -> AsyncIterator[InfluxBench]:
    """A proxy with a fresh bucket."""
    async with bench_on(influxd) as bench:
        yield bench


@asynccontextmanager
async def bench_on(influxd: Influxd) -> AsyncIterator[InfluxBench]:
    """A proxy with a fresh bucket."""
    bucket = f"bucket{next(_numbers)}"
    influxd.create(bucket)
    bench = InfluxBench("", bucket, influxd)
    async with aiohttp.ClientSession() as session:
        app = web.Application(client_max_size=64 << 20)
        proxy = _Proxy(bench, session)
        app.router.add_post("/api/v2/write", proxy.write)
        app.router.add_route("*", "/query", proxy.query)
        app.router.add_get("/ping", proxy.ping)
        app.router.add_get("/health", proxy.health)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            bench.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield bench
        finally:
            await runner.cleanup()


class _Proxy:
    """Maps the v2 paths to those of 1.x and enforces token, organisation and bucket."""

    def __init__(self, bench: InfluxBench, session: aiohttp.ClientSession) -> None:
        self._bench = bench
        self._session = session

    async def write(self, request: web.Request) -> web.Response:
        bench = self._bench
        body = await request.read()  # aiohttp has undone the compression
        refusal = self._unauthorized(request) or self._unknown(request)
        if refusal is not None:
            return refusal
        lines = body.split(b"\n")
        bench.writes.append(len(lines))
        if bench.faults:
            fault = bench.faults.pop(0)
            if fault.pass_on:
                await self._store(body, request)
            return web.Response(status=fault.status, text=fault.body, headers=fault.headers)
        if bench.max_body is not None and len(body) > bench.max_body:
            return _error(413, "request too large", "payload exceeds the limit")
        if bench.refuse is not None:
            bad = [line for line in lines if bench.refuse(line)]
            if bad:
                await self._store(b"\n".join(line for line in lines if not bench.refuse(line)), request)
                return _error(400, "invalid", f"partial write: {len(bad)} lines refused")
        return await self._store(body, request)

    async def query(self, request: web.Request) -> web.Response:
        refusal = self._unauthorized(request)
        if refusal is not None:
            return refusal
        parameters = {**request.query, **{k: str(v) for k, v in (await request.post()).items()}}
        if parameters.get("db") != self._bench.bucket:
            return _error(404, "not found", "no dbrp mapping found")
        async with self._session.get(f"{self._bench.server.url}/query", params=parameters) as answer:
            return _passed_on(answer, await answer.read())

    async def ping(self, _: web.Request) -> web.Response:
        return web.Response(status=204, headers={"X-Influxdb-Version": "v2.7.0"})

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"name": "influxdb", "status": "pass", "version": "v2.7.0"})

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") == f"Token {self._bench.token}":
            return None
        return _error(401, "unauthorized", "unauthorized access")

    def _unknown(self, request: web.Request) -> web.Response | None:
        for name, known in (("org", self._bench.org), ("bucket", self._bench.bucket)):
            if request.query.get(name) != known:
                what = "organization name" if name == "org" else name
                return _error(404, "not found", f'{what} "{request.query.get(name)}" not found')
        return None

    async def _store(self, body: bytes, request: web.Request) -> web.Response:
        parameters = {"db": self._bench.bucket, "precision": request.query.get("precision", "ns")}
        url = f"{self._bench.server.url}/write"
        async with self._session.post(url, params=parameters, data=body) as answer:
            return _passed_on(answer, await answer.read())


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)


def _passed_on(answer: aiohttp.ClientResponse, body: bytes) -> web.Response:
    if answer.status == 204:
        return web.Response(status=204)
    return web.Response(status=answer.status, body=body, content_type="application/json")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _wait_until_up(server: Influxd, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(f"influxd ended: {log.read_text()[-2000:]}")
        try:
            urllib.request.urlopen(f"{server.url}/ping", timeout=1).close()
        except (urllib.error.URLError, OSError):
            # its ports open late; a wait on the process is a pause that ends early if it dies
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        else:
            return
    raise RuntimeError(f"influxd does not answer: {log.read_text()[-2000:]}")
