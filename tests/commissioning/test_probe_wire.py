"""Serial lines, TLS, and a probe that is ended with Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.commissioning.conftest import Probe, served

LINE = """
seed = 7
control_port = 0
[[gateway]]
id = "L"
transport = "serial"
serial_port = "unused"
[[device]]
id = "turbine"
kind = "turbine"
node = "SHU"
plant = "mirny-wind"
gateway = "L"
unit = 4
"""


def test_a_device_on_a_serial_line_is_read(probe: Probe, tmp_path: Path) -> None:
    with served(LINE, tmp_path) as lines:
        reach = (
            lines["L"],
            "--transport",
            "serial",
            "--baudrate",
            "9600",
            "--parity",
            "none",
            "--timeout",
            "0.5",
        )
        words = ("modbus", *reach, "--unit", "4", "--scan-registers", "--within", "990:40", "--json")
        document = json.loads(probe(*words).stdout)
        assert document["identification"]["product_name"] == "Wind turbine"
        assert document["registers"]["ranges"]
        told = probe("modbus", *reach, "--unit", "5", "--read", "100", code=3).stderr
        assert "9600 baud, no parity, 1 stop bit" in told
        assert "termination" in told


def test_a_serial_line_that_is_not_there_is_named(probe: Probe, tmp_path: Path) -> None:
    told = probe("modbus", str(tmp_path / "tty"), "--transport", "serial", "--read", "0", code=3).stderr
    assert "No such file" in told
    assert "dialout" in told


@contextmanager
def encrypted(target: str, folder: Path) -> Iterator[int]:
    """A TLS server that asks for a client certificate and hands everything on; yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    host, port = target.split(":")
    ready = threading.Event()
    found: list[int] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(4096):
                writer.write(data)
        writer.close()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(copy(reader, back), copy(onward, writer))

    async def serve() -> None:
        async with await asyncio.start_server(client, "127.0.0.1", 0, ssl=context) as server:
            found.append(server.sockets[0].getsockname()[1])
            ready.set()
            await stop.wait()
            server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="tunnel")
    thread.start()
    try:
        assert ready.wait(20)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def test_a_device_is_read_over_tls(bench: dict[str, str], certificates: Path, probe: Probe) -> None:
    password = certificates / "probe-password"
    password.write_text("unlock\n")
    own = (
        *("--certificate-file", str(certificates / "client.pem")),
        *("--key-file", str(certificates / "client.key")),
        *("--key-password-file", str(password)),
    )
    with encrypted(bench["G"], certificates) as port:
        words = ("modbus", f"localhost:{port}", "--transport", "tls", "--read", "3109:2", *own)
        shown = probe(*words, "--ca-file", str(certificates / "ca.pem")).stdout
        assert "     3109  424" in shown
        told = probe(*words, "--ca-file", str(certificates / "other.pem"), code=3).stderr
        assert "--ca-file" in told
    told = probe(*words, "--ca-file", str(certificates / "none.pem"), code=2).stderr
    assert "none.pem" in told


def test_a_probe_that_is_ended_early_shows_what_it_found(bench: dict[str, str]) -> None:
    """On a terminal it shows its progress, and Ctrl-C keeps what was found until then."""
    master, slave = os.openpty()
    words = ["modbus", bench["G"], "--scan-registers", "--within", "2900:60000", "--max-requests", "60000"]
    with subprocess.Popen(
        [sys.executable, "-m", "greenbridge", "probe", *words, "--pause", "0.002"],
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
    ) as process:
        os.close(slave)
        seen = b""
        while b"600 requests" not in seen:
            seen += os.read(master, 4096)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        shown = process.stdout.read()
        with suppress(OSError):  # the terminal ends with the process
            while data := os.read(master, 4096):
                seen += data
        assert process.wait(20) == 1
    os.close(master)
    assert b"ended early" in seen
    assert "2999  3214    216" in shown
    assert "not resolved" in shown


@pytest.mark.parametrize("name", ["modbus", "sunspec"])
def test_help_names_every_option_without_loading_the_adapters(name: str) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from greenbridge.cli import app; "
        f"shown = CliRunner().invoke(app, ['probe', '{name}', '--help']).stdout; assert '--pause' in shown; "
        "assert 'numpy' not in sys.modules and 'adapters' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
