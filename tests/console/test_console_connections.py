"""The server itself: TLS, requests that do not end, one address that wants everything."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from console.config import ConsoleSettings, ConsoleTls
from console.connections import Connection
from console.server import ConsoleError, context_of, serving
from console.sessions import Sessions
from tests.console.rig import Rig


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await PlainTextResponse("ok")(scope, receive, send)


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("greenbridge_console_refused_total", {"reason": reason}) or 0.0


def waits(connection: Connection) -> bool:
    return connection._deadline is not None


@asynccontextmanager
async def listening(
    request_s: float = 600.0, per_address: int | None = None
) -> AsyncIterator[tuple[int, Any]]:
    config = Config(answer, log_config=None, lifespan="off", ws="none")
    state = ServerState()
    make = partial(Connection, config, state, {}, request_s=request_s, per_address=per_address)
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], state
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await server.wait_closed()


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"],
    ids=["nothing", "half a head", "half a body"],
)
async def test_a_request_that_does_not_end_is_let_go(begun: bytes) -> None:
    before = refused("slow")
    async with listening(request_s=0.02) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
    assert refused("slow") - before == 1


async def test_a_request_that_is_whole_has_all_the_time_it_takes_to_answer() -> None:
    async with listening() as (port, state):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"ok")
        (connection,) = state.connections
        assert not waits(connection)
        # the next one has its own time, from its first byte
        connection.data_received(b"GET / HT")
        assert waits(connection)
        connection.data_received(b"TP/1.1\r\nHost: x\r\n\r\n")
        assert not waits(connection)
        await reader.readuntil(b"ok")
        writer.close()


async def test_one_address_does_not_have_all_connections() -> None:
    class Peer(asyncio.Transport):
        def __init__(self, host: str) -> None:
            super().__init__({"peername": (host, 1)})
            self.gone = False

        def abort(self) -> None:
            self.gone = True

        close = abort

    state = ServerState()
    config = Config(answer, log_config=None, lifespan="off", ws="none")
    made = []
    for host in ["192.0.2.1"] * 3 + ["192.0.2.2", "127.0.0.1", "127.0.0.1", "127.0.0.1", "fe80::1%eth0"]:
        connection = Connection(config, state, {}, request_s=600.0, per_address=2)
        connection.connection_made(peer := Peer(host))
        made.append((connection, peer))
    assert [peer.gone for _, peer in made] == [False, False, True] + [False] * 5
    for connection, _ in made:
        connection.connection_lost(None)
        assert not waits(connection)


@pytest.fixture
def tls(tmp_path: Path) -> ConsoleTls:
    if shutil.which("openssl") is None:
        pytest.skip("openssl not found; on Debian: apt-get install openssl")
    key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-keyout",
        "key.pem",
        "-passout",
        "pass:unlock",
    ]
    about = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *key, "-out", "cert.pem", *about]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    (tmp_path / "password").write_text("unlock\n")
    return ConsoleTls(
        certificate_file=str(tmp_path / "cert.pem"),
        key_file=str(tmp_path / "key.pem"),
        key_password_file=str(tmp_path / "password"),
    )


async def test_the_console_by_tls(rig: Rig, tls: ConsoleTls) -> None:
    settings = ConsoleSettings(port=0, tls=tls, host="0.0.0.0")
    trust = ssl.create_default_context(cafile=tls.certificate_file)
    async with (
        Sessions(rig.path, rig.clock) as sessions,
        serving(settings, rig.clock, rig.site, rig.ports, sessions) as console,
    ):
        assert console.url.startswith("https://")
        port = int(console.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answered = await reader.read()
        assert answered.startswith(b"HTTP/1.1 200")
        assert b"strict-transport-security" in answered
        writer.write(b"GET /metrics HTTP/1.1\r\n")
        writer.close()


def test_keys_that_cannot_be_used_are_named(tls: ConsoleTls, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    for wrong in (
        {"certificate_file": str(tmp_path / "missing.pem")},
        {"key_file": tls.certificate_file},
        {"key_password_file": str(tmp_path / "empty")},
        {"key_password_file": None},
    ):
        with pytest.raises(ConsoleError, match=r"\[console\.tls\].*cert|missing") as caught:
            context_of(tls.model_copy(update=wrong))
        assert "unlock" not in str(caught.value)
