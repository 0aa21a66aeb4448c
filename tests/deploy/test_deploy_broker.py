"""The broker's configuration and passwords, tried with a real mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest

from adapters.sparkplug.codec import rebirth_request
from adapters.sparkplug.source import SparkplugSource
from adapters.tls import TlsSettings
from greenbridge.settings import load
from ingest.fakes import FakeIntake
from simulators.bench import Broker
from simulators.devices.sparkplug.history import Sample
from simulators.devices.sparkplug.payloads import DataType
from simulators.devices.sparkplug.plan import DevicePlan, MetricPlan, NodePlan
from simulators.devices.sparkplug.runner import EdgeNodeRunner, Moment
from telemetry.clock import SystemClock

ROOT = Path(__file__).parents[2]
TOPIC = "corridor/KZ/SHY/SHY_injection/telemetry"


def test_the_broker_loses_nothing_that_it_acknowledged() -> None:
    text = (ROOT / "deploy/mosquitto/mosquitto.conf").read_text()
    settings = dict(re.findall(r"^(\w+) (.+)$", text, re.MULTILINE))
    assert settings["allow_anonymous"] == "false"
    assert (settings["persistence"], settings["autosave_on_changes"]) == ("true", "true")
    assert (settings["autosave_interval"], settings["max_queued_messages"]) == ("1", "0")
    assert int(settings["max_queued_bytes"]) > 0
    assert int(settings["max_inflight_messages"]) >= 1000
    assert settings["set_tcp_nodelay"] == "true"


def everything(secrets: Path) -> dict[str, str]:
    return {str(path.relative_to(secrets)): path.read_text() for path in secrets.glob("*/*")}


def test_secrets_stay_unless_they_are_renewed(secrets: Path, tmp_path: Path) -> None:
    make, own = ROOT / "deploy" / "make-secrets", tmp_path / "secrets"
    shutil.copytree(secrets, own)
    before = everything(own)
    subprocess.run([make, own], check=True, capture_output=True)
    assert everything(own) == before
    (own / "grafana" / "influx_token").unlink()
    subprocess.run([make, own], check=True, capture_output=True)
    assert everything(own) == before  # it is the one that the others have
    subprocess.run([make, own, "--renew"], check=True, capture_output=True)
    after = everything(own)
    assert after.keys() == before.keys()
    assert not [name for name in after if after[name] == before[name]]
    for wrong in ([], ["--renew"], [own, "--what"]):
        assert subprocess.run([make, *wrong], check=False, capture_output=True).returncode != 0


def test_no_secret_is_in_the_repository() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "deploy"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not [line for line in listed.stdout.splitlines() if re.search(r"password|token|key|\.pem", line)]


@contextlib.asynccontextmanager
async def broker(secrets: Path, folder: Path) -> AsyncIterator[int]:
    """mosquitto with the shipped files, of which only places and port are changed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (ROOT / "deploy/mosquitto/mosquitto.conf").read_text()
    for old, new in (
        ("listener 8883", f"listener {port} 127.0.0.1"),
        ("/run/secrets/", f"{secrets}/mosquitto/"),
        ("/mosquitto/config/", f"{folder}/"),
        ("/mosquitto/data/", f"{folder}/"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "acl.conf").write_text((ROOT / "deploy/mosquitto/acl.conf").read_text())
    (folder / "mosquitto.conf").write_text(text + "\nuser root\nlog_type information\n")
    process = await asyncio.create_subprocess_exec(
        "mosquitto", "-c", folder / "mosquitto.conf", stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(10):
            while b"running" not in await process.stderr.readline():
                assert process.returncode is None, "mosquitto does not accept the configuration"
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def client(port: int, user: str | None, password: str | None, trusting: Path) -> aiomqtt.Client:
    tls = TlsSettings(ca_file=str(trusting)).context("the test")
    return aiomqtt.Client("localhost", port, username=user, password=password, timeout=5, tls_context=tls)


def passwords(secrets: Path) -> dict[str, str]:
    return {
        user: (secrets / user / f"mqtt_{user}_password").read_text() for user in ("greenbridge", "simulators")
    }


@pytest.mark.system("mosquitto")
async def test_each_user_may_do_its_part_and_nobody_else_anything(secrets: Path, tmp_path: Path) -> None:
    known = passwords(secrets)
    ours, theirs = (secrets / user / "broker_ca.pem" for user in ("greenbridge", "simulators"))
    async with broker(secrets, tmp_path) as port:
        strangers = ((None, None), ("greenbridge", "wrong"), ("simulators", known["greenbridge"]))
        for user, password in strangers:
            with pytest.raises(aiomqtt.MqttError, match=r"(?i)not authori"):
                async with client(port, user, password, ours):
                    pass
        async with (
            client(port, "greenbridge", known["greenbridge"], ours) as greenbridge,
            asyncio.timeout(10),
        ):
            await greenbridge.subscribe("corridor/#", qos=1)
            with contextlib.suppress(aiomqtt.MqttError):  # it may be thrown out for trying
                async with client(port, "greenbridge", known["greenbridge"], ours) as forger:
                    await forger.publish(TOPIC, b"forged", qos=1)
            async with client(port, "simulators", known["simulators"], theirs) as simulators:
                await simulators.publish(TOPIC, b"reading", qos=1)
            message = await anext(aiter(greenbridge.messages))
            assert (message.topic.value, message.payload) == (TOPIC, b"reading")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Secrets of somebody else."""
    folder = tmp_path_factory.mktemp("others")
    subprocess.run([ROOT / "deploy" / "make-secrets", folder], check=True, capture_output=True)
    return folder


@pytest.mark.system("mosquitto")
async def test_another_broker_is_not_believed_and_this_one_hears_nothing_in_the_clear(
    secrets: Path, others: Path, tmp_path: Path
) -> None:
    tls = TlsSettings(ca_file=str(others / "greenbridge" / "broker_ca.pem")).context("the test")
    connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"
    async with broker(secrets, tmp_path) as port, asyncio.timeout(20):
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("localhost", port, ssl=tls)
        reader, writer = await asyncio.open_connection("localhost", port)
        writer.write(connect)
        with contextlib.suppress(ConnectionError):
            assert b"\x20\x02" not in await reader.read()  # no CONNACK, but the end
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.system("mosquitto")
async def test_edge_nodes_and_their_host_hear_each_other_through_it(secrets: Path, tmp_path: Path) -> None:
    """Certificates, births, the request for births: all that host and edge nodes need, as configured."""
    configured = load(str(ROOT / "deploy/greenbridge/greenbridge.toml"), {}).settings.sparkplug.host[0]
    known, trusting = passwords(secrets), str(secrets / "greenbridge" / "broker_ca.pem")
    plan = NodePlan(
        "corridor", "site", (DevicePlan("t", (MetricPlan("W", DataType.INT32),)),), primary_host="greenbridge"
    )

    def look(moment: Moment) -> dict[str, dict[str, Sample] | None]:
        return {"t": {"W": Sample(1, moment.own_ms)}}

    async with broker(secrets, tmp_path) as port:
        place = {
            "host": "localhost",
            "port": port,
            "password_file": str(secrets / "greenbridge" / "mqtt_greenbridge_password"),
            "tls": TlsSettings(ca_file=trusting),
        }
        host = SparkplugSource(configured.model_copy(update=place), [], FakeIntake(), SystemClock())
        bench = Broker(
            host="localhost",
            port=port,
            username="simulators",
            password=known["simulators"],
            ca_file=str(secrets / "simulators" / "broker_ca.pem"),
        )
        edge = EdgeNodeRunner(plan, bench, SystemClock(), look, period_s=0.05)
        tasks = [asyncio.create_task(host.run()), asyncio.create_task(edge.run())]
        try:
            async with asyncio.timeout(30):
                while len(host.directory) != 2:
                    await SystemClock().sleep(0.02)
                births = host.state.counts["births"]
                async with client(port, "greenbridge", known["greenbridge"], Path(trusting)) as asking:
                    await asking.publish("spBv1.0/corridor/NCMD/site", rebirth_request(0))
                while host.state.counts["births"] == births:
                    await SystemClock().sleep(0.02)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
