"""A real influxd behind a proxy that answers as InfluxDB 2.x does, and as it is told to.

Debian's influxd 1.6.7 knows the data, not the paths of version 2: the proxy maps them, and can answer, cut or
hold back what the server would have answered at once.
"""

from __future__ import annotations

import asyncio
import math
import re
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path

import aiohttp
from aiohttp import web

from benchmarks import machine
from telemetry.clock import SystemClock
from telemetry.errors import UnavailableError

BUCKET = "prove"
TIMEOUT_S = 1.0
"""How long a subject waits for an answer [s]."""
_CLOCK = SystemClock()
LARGEST_BODY = 1500
"""With the answer ``413``, the largest body that is taken [B]: one line fits, two do not."""
_STARTS_WITHIN_S = 20.0
_LINE = re.compile(rb"device=source(\d+),.* (\d+)$")
_STATUS = {"401": 401, "429": 429, "503": 503}
ANSWERS = ("stopped", "401", "429", "503", "400", "413", "reset", "slow", "silent")
"""How the server can be. ``400`` refuses some lines and stores the others; ``reset`` and ``slow`` store every
other request although the client does not hear of it; ``silent`` is a peer that is gone without a word."""
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

Line = tuple[int, int]
"""What tells a line: number of its source, and its time [ns, UTC]."""


def line_key(line: bytes) -> Line | None:
    """Source and time of a line of readings; None for any other."""
    found = _LINE.search(line)
    return (int(found[1]), int(found[2])) if found else None


def doomed(line: bytes) -> bool:
    """True for the lines that the answer ``400`` is about: every fifth of source 1."""
    key = line_key(line)
    return key is not None and key[0] == 1 and key[1] // 1000 % 5 == 0


class InfluxServer:
    """influxd and its proxy, in a directory of their own."""

    def __init__(self, folder: Path) -> None:
        program = machine.find("influxd")
        if program is None:
            raise UnavailableError("influxd is not there; on Debian: apt-get install influxdb")
        folder.mkdir()
        self._port, rpc = free_ports()
        config = folder / "influxdb.conf"
        config.write_text(_CONFIG.format(folder=folder, http=self._port, rpc=rpc))
        self._command = [program, "-config", str(config)]
        self._log = (folder / "influxd.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None
        self.answer = ""
        """One of ``ANSWERS``; empty when the server is well."""
        self.struck = 0
        """Requests that met the answer."""
        self.refused: set[Line] = set()
        """Lines that were refused on their own: the client knows that they are bad."""

    @property
    def server(self) -> str:
        """Address of influxd itself."""
        return f"http://127.0.0.1:{self._port}"

    def be(self, answer: str) -> None:
        """Lets the server answer so from now on; empty: as it should."""
        if answer == "stopped":
            self.kill()
        elif self._process is None:
            self.start()
        self.answer = answer

    def start(self) -> None:
        """Starts influxd and waits until it answers."""
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)
        started = _CLOCK.monotonic()
        while True:
            try:
                self._get("ping").close()
            except (urllib.error.URLError, OSError):
                if _CLOCK.monotonic() - started > _STARTS_WITHIN_S or self._process.poll() is not None:
                    raise UnavailableError(f"influxd does not start; see {self._log.name}") from None
                try:
                    self._process.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
            else:
                return

    def kill(self) -> None:
        """kill -9, as power or the kernel would end it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, query: str) -> bytes:
        """Answer to a statement, asked behind the proxy."""
        data = urllib.parse.urlencode({"db": BUCKET, "epoch": "ns", "q": query}).encode()
        with self._get("query", data) as response:
            return response.read()

    def write(self, lines: str) -> None:
        """Writes line protocol behind the proxy."""
        self._get(f"write?db={BUCKET}", lines.encode()).close()

    def holds(self, source: int, time: int) -> bool:
        """Whether a line of a source at or after a time [ns, UTC] is stored."""
        what = 'SELECT last("P0") FROM unconfigured WHERE'
        return b'"values"' in self.ask(f"{what} device = 'source{source}' AND time >= {time}")

    def _get(self, path: str, data: bytes | None = None) -> HTTPResponse:
        answer: HTTPResponse = urllib.request.urlopen(f"{self.server}/{path}", data, timeout=10)  # noqa: S310  loopback
        return answer

    def close(self) -> None:
        """Ends it."""
        self.kill()
        self._log.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers a request of the subject."""
        body = await request.read()  # aiohttp has undone the compression
        answer = self.answer
        write = request.path == "/api/v2/write"
        if answer:
            self.struck += answer not in {"400", "413"}
        if answer in _STATUS:
            headers = {"Retry-After": "1"} if answer == "429" else {}
            return _error(_STATUS[answer], "as it was told", headers)
        if write and answer == "413" and len(body) > LARGEST_BODY:
            self.struck += 1
            return _error(413, "request too large")
        lines = body.split(b"\n")
        if write and answer == "400" and (bad := [line for line in lines if doomed(line)]):
            self.struck += 1
            if len(lines) == 1:
                self.refused.update(filter(None, map(line_key, bad)))
            else:
                await self._pass_on(request, b"\n".join(line for line in lines if not doomed(line)))
            return _error(400, f"partial write: {len(bad)} lines refused dropped={len(bad)}")
        if answer in {"reset", "slow"} and self.struck % 2:
            await self._pass_on(request, body)
        if answer in {"slow", "silent"}:
            until = _CLOCK.monotonic() + (3 * TIMEOUT_S if answer == "slow" else math.inf)
            while self.answer == answer and _CLOCK.monotonic() < until:
                await _CLOCK.sleep(0.05)
        if answer in {"reset", "slow", "silent"}:
            return _cut(request)
        try:
            return await self._pass_on(request, body)
        except aiohttp.ClientError:
            return _cut(request)

    async def _pass_on(self, request: web.Request, body: bytes) -> web.StreamResponse:
        query = dict(request.query)
        path = request.path
        if path == "/api/v2/write":
            path, query = "/write", {"db": query["bucket"], "precision": query.get("precision", "ns")}
        if not body and path == "/write":
            return web.Response(status=204)
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, f"{self.server}{path}", params=query, data=body) as answer,
        ):
            content = await answer.read()
            if answer.status == 204:
                return web.Response(status=204)
            return web.Response(status=answer.status, body=content, content_type="application/json")


@contextmanager
def influx_server(folder: Path) -> Iterator[tuple[InfluxServer, str]]:
    """A server with an empty bucket, and the address of its proxy.

    Raises
    ------
    UnavailableError
        influxd is not installed or does not start.

    """
    server = InfluxServer(folder)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="influx-proxy")
    thread.start()
    try:
        server.start()
        server.ask(f'CREATE DATABASE "{BUCKET}"')
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", server.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        port = asyncio.run_coroutine_threadsafe(_serve(runner), loop).result()
        try:
            yield server, f"http://127.0.0.1:{port}"
        finally:
            server.answer = ""  # what waits goes on
            asyncio.run_coroutine_threadsafe(_end(runner), loop).result()
    finally:
        server.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(runner: web.AppRunner) -> int:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    return port


async def _end(runner: web.AppRunner) -> None:
    await runner.cleanup()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=TIMEOUT_S)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"code": "told", "message": message}, status=status, headers=headers)


def _cut(request: web.Request) -> web.Response:
    """Ends the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def free_ports() -> tuple[int, int]:
    """Two ports that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]
