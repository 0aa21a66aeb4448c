"""Connections to a broker that asks for a certificate, and settings that cannot lead to one."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import aiomqtt
import pytest

from adapters.mqtt.config import BrokerSettings
from adapters.mqtt.source import MqttSource
from adapters.tls import TlsSettings
from ingest.fakes import FakeIntake
from telemetry.clock import SystemClock
from telemetry.errors import ConfigError
from telemetry.profiles import DeviceProfile, parse_profile
from telemetry.site import SitePoint
from tests.adapters.brokers import mosquitto_broker

Run = Callable[[Awaitable[None]], AbstractAsyncContextManager[asyncio.Task[None]]]
MakePoints = Callable[..., list[SitePoint]]

BROKER = """
listener {{port}} 127.0.0.1
allow_anonymous true
cafile {keys}/ca.pem
certfile {keys}/server.pem
keyfile {keys}/server.key
require_certificate true
set_tcp_nodelay true
user root
"""
COUNTER = """
id = "counter"
title = "Counts up"
source = "test"
[points.N]
title = "number"
unit = "1"
[json]
time_field = "ts"
[json.fields]
N = { field = "n" }
"""


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text("unlock\n")
    return str(path)


@pytest.fixture
def tls(certificates: Path, password_file: str) -> TlsSettings:
    return TlsSettings(
        ca_file=str(certificates / "ca.pem"),
        certificate_file=str(certificates / "client.pem"),
        key_file=str(certificates / "client.key"),
        key_password_file=password_file,
    )


@pytest.fixture
def profile() -> DeviceProfile:
    return parse_profile(COUNTER, "counter.toml")


@pytest.fixture
async def port(certificates: Path, tmp_path: Path) -> AsyncIterator[int]:
    async with mosquitto_broker(tmp_path, BROKER.format(keys=certificates)) as broker:
        yield broker.port


def settings(port: int, tls: TlsSettings | None, host: str = "localhost", **more: object) -> BrokerSettings:
    values = {"id": "main", "host": host, "port": port, "client_id": "test", "tls": tls}
    values |= {"backoff_first_s": 0.02, "backoff_max_s": 0.1}
    return BrokerSettings.model_validate(values | more)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await SystemClock().sleep(0.005)


@pytest.mark.system("mosquitto")
async def test_readings_come_over_a_connection_with_certificates_at_both_ends(
    port: int, tls: TlsSettings, make_points: MakePoints, profile: DeviceProfile, run_source: Run
) -> None:
    intake = FakeIntake()
    intake.hold()
    points = make_points(("a", profile, "t/a"))
    source = MqttSource(settings(port, tls, max_unacknowledged=5), points, intake, SystemClock())
    client = aiomqtt.Client("localhost", port, tls_context=tls.context("test"))
    async with run_source(source.run()), client:
        await until(lambda: source.state.counts["connects"] == 1)
        for n in range(40):
            await client.publish("t/a", json.dumps({"ts": 1_795_000_000_000 + n, "n": n}), qos=0)
        await until(lambda: source.unacknowledged == 5)
        intake.release()
        await until(lambda: sum(len(batch) for batch in intake.batches) == 40)
    assert [v for batch in intake.batches for v in batch.value.tolist()] == list(range(40))


async def test_what_is_decrypted_already_is_not_left_lying(
    certificates: Path, tls: TlsSettings, make_points: MakePoints, profile: DeviceProfile, run_source: Run
) -> None:
    """Nothing tells the event loop of data that TLS has decrypted: one record may hold many packets."""

    def packet(n: int) -> bytes:
        body = b"\x00\x03t/a" + bytes([0, n]) + json.dumps({"ts": 1_795_000_000_000 + n, "n": n}).encode()
        return bytes([0x32, len(body)]) + body

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                kind, length = await reader.readexactly(2)
                body = await reader.readexactly(length)
                if kind >> 4 == 1:
                    writer.write(b"\x20\x02\x00\x00")
                elif kind >> 4 == 8:
                    answer = bytes([0x90, 3]) + body[:2] + b"\x01"
                    writer.write(answer + b"".join(packet(n) for n in range(1, 31)))
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    server = await asyncio.start_server(serve, "localhost", 0, ssl=context)
    intake, points = FakeIntake(), make_points(("a", profile, "t/a"))
    port = server.sockets[0].getsockname()[1]
    source = MqttSource(settings(port, tls, max_unacknowledged=4), points, intake, SystemClock())
    async with server, run_source(source.run()):
        await until(lambda: sum(len(batch) for batch in intake.batches) == 30)


@pytest.mark.system("mosquitto")
@pytest.mark.parametrize(
    ("change", "host", "told"),
    [
        ({"ca_file": "other.pem"}, "localhost", "certificate verify failed"),
        ({}, "127.0.0.1", "certificate is not valid for '127.0.0.1'"),
    ],
)
async def test_a_peer_that_cannot_be_verified_is_a_lost_link(
    change: dict[str, str],
    host: str,
    told: str,
    port: int,
    certificates: Path,
    tls: TlsSettings,
    make_points: MakePoints,
    profile: DeviceProfile,
    run_source: Run,
) -> None:
    files = {key: str(certificates / name) for key, name in change.items()}
    wrong = settings(port, tls.model_copy(update=files), host)
    points = make_points(("a", profile, "t/a"))
    source = MqttSource(wrong, points, FakeIntake(), SystemClock())
    async with run_source(source.run()):
        await until(lambda: source.state.counts["connect_failures"] > 0)
    assert told in source.state.last_error


@pytest.mark.system("mosquitto")
async def test_a_client_without_its_certificate_gets_nothing(
    port: int, certificates: Path, make_points: MakePoints, profile: DeviceProfile, run_source: Run
) -> None:
    source = MqttSource(
        settings(port, TlsSettings(ca_file=str(certificates / "ca.pem"))),
        make_points(("a", profile, "t/a")),
        FakeIntake(),
        SystemClock(),
    )
    async with run_source(source.run()):
        await until(lambda: source.state.counts["connect_failures"] > 1)
    assert source.state.counts["connects"] == 0
    assert "hung up" in source.state.last_error


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ca_file": "none.pem"}, 'tls.ca_file = "none.pem": cannot be used: No such file'),
        ({"ca_file": "{keys}/client.key"}, "tls.ca_file"),
        ({"certificate_file": "none.pem"}, "tls.certificate_file"),
        ({"key_file": "{keys}/server.key"}, "key values mismatch"),
        ({"key_password_file": None}, "tls.certificate_file"),
        ({"key_password_file": "none"}, "tls.key_password_file"),
        ({"certificate_file": None}, "a key without certificate"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    change: dict[str, str | None], told: str, certificates: Path, tls: TlsSettings
) -> None:
    named = {key: name and name.format(keys=certificates) for key, name in change.items()}
    with pytest.raises(ConfigError) as caught:
        tls.model_copy(update=named).context("broker main")
    assert told in str(caught.value)
    assert "broker main" in str(caught.value)


def test_the_peer_is_always_verified(tls: TlsSettings) -> None:
    for made in (tls.context("a"), TlsSettings().context("b")):
        assert (made.verify_mode, made.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert made.minimum_version is ssl.TLSVersion.TLSv1_2
