from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest

from simulators.bench import Bench, Broker, load
from simulators.devices.payloads import Message, Shape, Writer
from simulators.devices.publisher import Publisher
from simulators.faults.frames import UNFRAMED
from simulators.faults.link import LinkFaults
from simulators.faults.proxy import LinkProxy
from simulators.state import BenchState
from simulators.world.clocks import clock_of
from telemetry.clock import SystemClock
from telemetry.errors import ConfigError

BENCH = """
seed = 1
control_port = 0
[[device]]
id = "points"
kind = "bus-meter"
node = "SHY"
topic = "site/points"
shape = "points"
[[device]]
id = "samples"
kind = "wind-plant"
node = "SHU"
plant = "mirny-wind"
topic = "site/{n}/samples"
count = 2
shape = "samples"
batch = 3
"""


def test_one_topic_for_each_point() -> None:
    writer = Writer("a/b", Shape.POINTS)
    assert writer.messages({"ts": 5, "p_mw": 1.5, "f_hz": 50.0}) == [
        Message("a/b/p_mw", {"ts": 5, "value": 1.5}),
        Message("a/b/f_hz", {"ts": 5, "value": 50.0}),
    ]


def test_samples_are_sent_when_the_array_is_full() -> None:
    writer = Writer("a", Shape.SAMPLES, 2)
    sent = [writer.messages({"ts": ts, "p_mw": 1.0}) for ts in range(5)]
    assert [[message.payload for message in messages] for messages in sent] == [
        [], [[{"ts": 0, "p_mw": 1.0}, {"ts": 1, "p_mw": 1.0}]],
        [], [[{"ts": 2, "p_mw": 1.0}, {"ts": 3, "p_mw": 1.0}]], [],
    ]  # fmt: skip


def test_the_latest_on_each_topic_is_kept_to_be_seen() -> None:
    state = BenchState(load(BENCH, "b.toml", {}), 0)
    assert state.said("points") == state.said("samples-1") == []
    for second in range(5):
        sent = {p: state.messages(p, second * 10**9) for p in state.publishing}
    assert [(said.topic, said.payload) for said in state.said("points")] == [
        (message.topic, message.payload) for message in sent[state.position["points"]]
    ]
    assert {said.t_ns for said in state.said("points")} == {4 * 10**9}
    (samples,) = state.said("samples-1")
    assert (samples.t_ns, len(samples.payload)) == (2 * 10**9, 3)


def test_a_bench_speaks_in_its_devices_shapes() -> None:
    state = BenchState(load(BENCH, "b.toml", {}), 0)
    heard: dict[str, list[Message]] = {}
    for second in range(4):
        state.step(second + 1.0, second * 10**9)
        for position in state.publishing:
            for message in state.messages(position, second * 10**9):
                heard.setdefault(message.topic, []).append(message)
    assert set(heard) == {
        *(f"site/points/{name}" for name in ("p_mw", "q_mvar", "v_kv", "f_hz")),
        "site/1/samples", "site/2/samples",
    }  # fmt: skip
    assert len(heard["site/points/p_mw"]) == 4
    (samples,) = heard["site/2/samples"]
    clock = clock_of("samples-2")
    assert [row["ts"] for row in samples.rows] == [clock.at(k * 10**9) // 10**6 for k in range(3)]
    assert {m.rows[0]["ts"] for m in heard["site/points/p_mw"]} == {
        clock_of("points").at(k * 10**9) // 10**6 for k in range(4)
    }
    assert all("wind_ms" in row for row in samples.rows)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """An authority, a server for 127.0.0.1 and a client, made for this test only."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=tmp_path)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    for name in ("server", "client"):
        (tmp_path / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *sign)
    subprocess.run(["mosquitto_passwd", "-c", "-b", tmp_path / "users", "plant", "s3cret"], check=True)
    return tmp_path


@pytest.fixture
async def secured(certificates: Path, port: int) -> AsyncIterator[Broker]:
    """A broker that asks for a certificate, a name and a password."""
    folder = certificates
    (folder / "broker.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {folder}/users\nuser root\n"
        f"cafile {folder}/ca.pem\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key\n"
        "require_certificate true\n"
    )
    process = await asyncio.create_subprocess_exec(
        "mosquitto", "-c", folder / "broker.conf", "-v", stdout=-3, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    async with asyncio.timeout(10):
        while b"running" not in (line := await process.stderr.readline()):
            assert line, "mosquitto ended"
    yield Broker(
        port=port,
        username="plant",
        password="s3cret",
        ca_file=str(folder / "ca.pem"),
        certificate_file=str(folder / "client.pem"),
        key_file=str(folder / "client.key"),
    )
    process.kill()
    await process.communicate()


@pytest.mark.system("mosquitto")
async def test_an_encrypted_broker_that_knows_its_clients(secured: Broker) -> None:
    context = ssl.create_default_context(cafile=secured.ca_file)
    context.load_cert_chain(secured.certificate_file, secured.key_file)
    listener = aiomqtt.Client(
        "127.0.0.1", secured.port, username="plant", password="s3cret", tls_context=context
    )
    faults = LinkFaults(framing=UNFRAMED)
    refused = Publisher(secured.model_copy(update={"certificate_file": "", "key_file": ""}), SystemClock())
    relay = LinkProxy("mqtt", ("127.0.0.1", 0), (secured.host, secured.port), faults, SystemClock())
    async with asyncio.timeout(15), listener, relay:
        # the certificate must show the name of the broker, not of the relay
        publisher = Publisher(secured, SystemClock(), via=("localhost", relay.port))
        await listener.subscribe("t")
        refused.offer(Message("t", {"ts": 0}))
        publisher.offer(Message("t", {"ts": 1}))
        tasks = [asyncio.create_task(refused.run()), asyncio.create_task(publisher.run())]
        received = await anext(aiter(listener.messages))
        assert json.loads(received.payload) == {"ts": 1}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert refused.acknowledged == 0


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ('ca_file = "none.pem"', "broker.ca_file"),
        ('ca_file = "ca.pem"\ncertificate_file = "none.pem"', "broker.certificate_file"),
        (
            'ca_file = "ca.pem"\ncertificate_file = "ca.pem"\nkey_file = "server.key"',
            "broker.certificate_file",
        ),
        ('certificate_file = "client.pem"', "broker.certificate_file"),
        ('key_file = "client.key"', "broker.key_file"),
    ],
)
@pytest.mark.system("mosquitto")
def test_certificates_that_cannot_be_used_are_named(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, changes: str, key: str
) -> None:
    monkeypatch.chdir(certificates)
    with pytest.raises(ConfigError) as caught:
        load(BENCH + f"[broker]\n{changes}\n", "b.toml", {})
    assert [problem.key for problem in caught.value.problems] == [key]


def test_shapes_need_what_belongs_to_them() -> None:
    for old, new, key in (
        ('"site/{n}/samples"', '"site/samples"', "device[1].topic"),
        ('shape = "samples"', 'shape = "object"', "device[1].batch"),
        ('shape = "samples"', 'shape = "array"', "device[1].shape"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(BENCH.replace(old, new), "b.toml", {})
        assert key in {problem.key for problem in caught.value.problems}
    assert isinstance(load(BENCH, "b.toml", {}), Bench)
