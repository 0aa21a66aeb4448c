"""Edge nodes and the publisher sign in to an encrypted broker, and are refused by it."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import pytest
from structlog.testing import capture_logs

from simulators.bench import Broker
from simulators.devices.payloads import Message
from simulators.devices.publisher import Publisher
from simulators.devices.sparkplug.plan import NodePlan
from simulators.devices.sparkplug.runner import EdgeNodeRunner
from telemetry.clock import SystemClock
from tests.simulators.sparkplug_reader import HostView, read

pytestmark = pytest.mark.system("mosquitto")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the certificate, key, passwords and rights of a broker; ``meter`` may only write."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl not found; on Debian: apt-get install openssl")
    request = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    paths = ["-keyout", f"{tmp_path}/key.pem", "-out", f"{tmp_path}/ca.pem"]
    subprocess.run([*request, *names, *paths], check=True, capture_output=True)
    passwords, acl = tmp_path / "passwords", tmp_path / "acl"
    for flags, user in ((["-c", "-b"], "edge"), (["-b"], "meter")):
        subprocess.run(["mosquitto_passwd", *flags, str(passwords), user, f"{user}-secret"], check=True)
    acl.write_text("user edge\ntopic readwrite spBv1.0/#\nuser meter\ntopic write #\n")
    for path in (passwords, acl):
        path.chmod(0o600)
    return tmp_path


@pytest.fixture
async def secure(port: int, files: Path) -> AsyncIterator[Broker]:
    """A broker that asks for encryption and a password."""
    config, ca = files / "secure.conf", files / "ca.pem"
    config.write_text(
        f"listener {port} 127.0.0.1\ncafile {ca}\ncertfile {ca}\nkeyfile {files}/key.pem\n"
        f"password_file {files}/passwords\nacl_file {files}/acl\nallow_anonymous false\nuser root\n"
    )
    broker = await asyncio.create_subprocess_exec(
        "mosquitto", "-c", config, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert broker.stderr is not None
    async with asyncio.timeout(10):
        while b"running" not in (line := await broker.stderr.readline()):
            assert line, "mosquitto ended"
    yield Broker(port=port, username="edge", password="edge-secret", ca_file=str(ca))
    broker.kill()
    await broker.communicate()


@asynccontextmanager
async def at_work(member: EdgeNodeRunner | Publisher) -> AsyncIterator[None]:
    task = asyncio.create_task(member.run())
    try:
        async with asyncio.timeout(20):
            yield
    finally:
        task.cancel()
        async with asyncio.timeout(10):
            with suppress(asyncio.CancelledError):
                await task


def edge_node(broker: Broker) -> EdgeNodeRunner:
    plan = NodePlan("corridor", "site", ())
    return EdgeNodeRunner(plan, broker, SystemClock(), lambda _: {}, period_s=0.02)


async def test_an_edge_node_signs_in_over_tls(secure: Broker) -> None:
    context = ssl.create_default_context(cafile=secure.ca_file)
    host = aiomqtt.Client(
        "127.0.0.1", secure.port, username="edge", password="edge-secret", tls_context=context
    )
    view = HostView()
    async with host, at_work(edge_node(secure)):
        await host.subscribe("spBv1.0/#")
        await host.publish("spBv1.0/corridor/NCMD/site", b"\x12\x18\x0a\x14Node Control/Rebirth\x70\x01")
        async for message in host.messages:
            assert isinstance(message.payload, bytes)
            if "/NBIRTH/" in message.topic.value:
                view.hear(read(message.topic.value, message.payload))
                break
    assert view.online


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": "wrong"}, "uthoriz"),
        ({"ca_file": "", "ack_timeout_s": 0.5}, "no answer in time"),
    ],
)
async def test_a_refusal_is_told_and_tried_again(
    secure: Broker, change: dict[str, object], reason: str
) -> None:
    with capture_logs() as logs:
        async with at_work(edge_node(secure.model_copy(update=change))):
            while len(lost := [log for log in logs if log["event"] == "edge_node_lost"]) < 2:
                await SystemClock().sleep(0)
    assert all(reason in log["reason"] for log in lost), lost
    assert not any(log["event"] == "edge_node_connected" for log in logs)


async def test_the_publisher_signs_in_over_tls(secure: Broker) -> None:
    meter = secure.model_copy(update={"username": "meter", "password": "meter-secret"})
    publisher = Publisher(meter, SystemClock())
    publisher.offer(Message("site/m", {"ts": 1}))
    async with at_work(publisher):
        while not publisher.acknowledged:
            await SystemClock().sleep(0)
    assert publisher.pending == 0
