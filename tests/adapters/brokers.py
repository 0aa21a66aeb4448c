"""Real brokers as child processes."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from telemetry.clock import SystemClock

MOSQUITTO = """
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
max_inflight_messages 1000
set_tcp_nodelay true
sys_interval 1
user root
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """A broker as a child process that can be stopped and started again on its port."""

    def __init__(self, port: int, *command: str) -> None:
        self.port = port
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        quiet = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(*self._command, stdout=quiet, stderr=quiet)
        clock = SystemClock()
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except ConnectionRefusedError:
                    await clock.sleep(0.02)
                    continue
                writer.close()
                await writer.wait_closed()
                return

    async def stop(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()


@asynccontextmanager
async def mosquitto_broker(folder: Path, more: str = MOSQUITTO) -> AsyncIterator[Broker]:
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(more.format(port=port, folder=folder))
    broker = Broker(port, "mosquitto", "-c", str(config))
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


@asynccontextmanager
async def nats_broker(folder: Path) -> AsyncIterator[Broker]:
    port = free_port()
    config = folder / "nats.conf"
    config.write_text(
        f'server_name: test\nlisten: "127.0.0.1:{free_port()}"\n'
        f'jetstream {{ store_dir: "{folder}/js" }}\n'
        f'mqtt {{ listen: "127.0.0.1:{port}", ack_wait: "2s", max_ack_pending: 20000 }}\n'
    )
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    assert program is not None
    broker = Broker(port, program, "-c", str(config))
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


async def packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Kind and body of a packet; the packets of these tests are shorter than 128 bytes."""
    kind, length = await reader.readexactly(2)
    return kind >> 4, await reader.readexactly(length)


@asynccontextmanager
async def scripted_broker(
    suback: bytes, publish: bytes, acks: list[bytes], backlog: bytes = b""
) -> AsyncIterator[Broker]:
    """Sends a backlog at once, then answers the SUBSCRIBE, sends a packet and notes what is acknowledged."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                kind, body = await packet(reader)
                if kind == 1:
                    writer.write(b"\x20\x02\x00\x00" + backlog)
                elif kind == 8:
                    writer.write(bytes([0x90, 2 + len(suback)]) + body[:2] + suback + publish)
                elif kind == 4:
                    acks.append(body)
                else:
                    break
        except asyncio.IncompleteReadError:
            pass
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Broker(server.sockets[0].getsockname()[1])
