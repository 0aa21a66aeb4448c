"""What a probe makes of topics, and the command against a real broker."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from adapters.mqtt.config import BrokerSettings
from commissioning.listening import BrokerNameError, connection, usable_filter
from commissioning.mqtt.drafting import drafted
from commissioning.mqtt.topics import MAX_TOPICS, TopicTree
from commissioning.naming import device_id, point_name, unit_in
from greenbridge.settings import load
from telemetry.clock import SystemClock
from telemetry.errors import ConfigError
from telemetry.profiles import JsonShape, TimeFormat
from tests.adapters.brokers import free_port, mosquitto_broker

NOW = 1_795_000_000
NOW_NS = NOW * 10**9
BROKER = BrokerSettings(id="main", host="127.0.0.1", client_id="x")


def heard(**payloads: object) -> TopicTree:
    """A tree that heard one message of each topic; a dot in a name stands for a level."""
    tree = TopicTree()
    for name, payload in payloads.items():
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        tree.hear(name.replace("__", "/"), body, NOW_NS)
    return tree


@pytest.mark.parametrize(
    ("member", "value", "form"),
    [
        ("ts", NOW, "s"),
        ("ts", NOW * 1000 + 1, "ms"),
        ("timestamp", NOW * 10**6, "us"),
        ("time", NOW * 10**9, "ns"),
        ("t", NOW + 0.5, "s"),
        ("ts_ms", NOW * 1000, "ms"),
        ("time", "2026-11-24T10:00:00Z", "iso8601"),
        ("time", "2026-11-24T10:00:00", None),
        ("time", "noon", None),
        ("ts", 5, None),
        ("power", NOW, None),
    ],
)
def test_the_time_of_a_payload_is_recognised(member: str, value: object, form: str | None) -> None:
    tree = heard(a={member: value, "p": 1.0})
    assert tree.topics["a"].time == (None if form is None else (member, form))


def test_rates_count_what_is_fresh() -> None:
    tree = TopicTree()
    tree.hear("a", b"1", NOW_NS, retained=True)
    for n in range(5):
        tree.hear("a", b"1", NOW_NS + n * 500_000_000)
    assert tree.topics["a"].rate == 2.0
    assert (tree.topics["a"].messages, tree.topics["a"].retained) == (6, 1)


def test_the_tree_shows_levels_once_and_junk_without_harm() -> None:
    tree = heard(p__a={"x": 1, "y": {"z": "on"}}, p__b=b"\xff\x1b[2J", p__c=[{"x": 1}], q=True)
    shown = tree.text()
    assert shown.count("p/") == 1
    assert "\x1b" not in shown
    for part in (".x", ".y.z", "object of 1 numbers", "samples of 1 numbers", "True"):
        assert part in shown
    assert "nothing was heard" in TopicTree().text()
    assert not TopicTree().sound


def test_topics_beyond_the_limit_are_counted_and_told() -> None:
    tree = TopicTree()
    for n in range(MAX_TOPICS + 3):
        tree.hear(f"t/{n}", b"1", NOW_NS)
    assert (len(tree.topics), tree.left_out, tree.sound) == (MAX_TOPICS, 3, False)
    assert "3 messages of further topics" in tree.text()


def test_devices_of_one_kind_share_a_profile_and_units_come_from_names() -> None:
    tree = heard(
        s__a={"ts": NOW * 1000, "p_kW": 1, "n": 2},
        s__b={"ts": NOW * 1000, "p_kW": 3, "n": 4},
        s__c=[{"ts": NOW, "x": 1}],
        s__m__Wd={"value": 1.5, "time": "2026-11-24T10:00:00Z"},
        s__m__T=b"4",
        junk=b"no",
    )
    draft = drafted(tree.topics, BROKER)
    assert draft is not None
    profiles = (draft.profile, *draft.further)
    by_topic = {d.mqtt.topic: d.profile for d in draft.devices if d.mqtt is not None}
    assert by_topic["s/a"] == by_topic["s/b"] == draft.profile.id
    assert set(by_topic) == {"s/a", "s/b", "s/c", "s/m/{point}"}
    first = draft.profile.json_payload
    assert first is not None
    assert (first.time_field, first.time_format) == ("ts", TimeFormat.MILLISECONDS)
    assert first.fields["p_kW"].unit == "kW"
    shapes = {p.json_payload.shape for p in profiles if p.json_payload is not None}
    assert shapes == {JsonShape.OBJECT, JsonShape.SAMPLES, JsonShape.SCALAR}


def test_what_cannot_be_mapped_is_not_drafted(tmp_path: Path) -> None:
    tree = heard(a=b"x", b={"name": "x"}, **{"c d": {"p": 1}, "e": {"a.b": 1}})
    assert drafted(tree.topics, BROKER) is None


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("p_kw", "kW"),
        ("p_kW", "kW"),
        ("f_Hz", "Hz"),
        ("u.V", "V"),
        ("u_v", None),
        ("f_mhz", None),
        ("kW", None),
    ],
)
def test_units_in_names(name: str, unit: str | None) -> None:
    assert unit_in(name) == unit


def test_names_are_safe_and_their_own() -> None:
    assert point_name("a.b/c d") == "a_b_c_d"
    assert point_name("1st") == "P_1st"
    assert point_name("a", {"a", "a_2"}) == "a_3"
    assert point_name("!!") == "P"
    assert len(point_name("x" * 99, {"x" * 48})) == 48
    assert device_id("plant/SHU/é") == "plant-SHU"
    assert device_id("//") == "device"


@pytest.mark.parametrize("broker", ["", ":1883", "host:", "host:0", "host:x", "host:70000"])
def test_what_is_no_broker_is_refused(broker: str) -> None:
    with pytest.raises(BrokerNameError, match="give HOST or HOST:PORT"):
        connection(broker)


@pytest.mark.parametrize("topic", ["", "a/#/b", "a+/b", "a/b#", "a\x00"])
def test_what_is_no_topic_filter_is_refused(topic: str) -> None:
    with pytest.raises(ConfigError, match="not a topic filter"):
        usable_filter(topic)


async def probed(*words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "greenbridge", "probe", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def publishing(port: int) -> AsyncIterator[None]:
    async def publish() -> None:
        async with aiomqtt.Client("127.0.0.1", port) as client:
            while True:
                body = json.dumps({"ts": SystemClock().now_ns() // 10**6, "p_kW": 1500.0, "state": "run"})
                await client.publish("plant/inv1/telemetry", body)
                await client.publish("plant/mast/HorWdSpd", "7.5")
                await SystemClock().sleep(0.05)

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.system("mosquitto")
async def test_a_broker_is_looked_at_and_its_draft_passes_the_check(tmp_path: Path) -> None:
    async with asyncio.timeout(150), mosquitto_broker(tmp_path) as broker, publishing(broker.port):
        words = ("mqtt", f"127.0.0.1:{broker.port}", "plant/#", "--seconds", "1")
        code, shown, _ = await probed(*words, "--write", str(tmp_path / "site"))
        assert code == 0
        assert "inv1/" in shown
        code, shown, _ = await probed(*words, "--json", "--write", str(tmp_path / "one.toml"))
        document: dict[str, Any] = json.loads(shown)
        code_again, _, told = await probed(*words, "--write", str(tmp_path / "site"))
    assert {row["topic"] for row in document["topics"]["topics"]} == {
        "plant/inv1/telemetry",
        "plant/mast/HorWdSpd",
    }
    assert all(row["per_s"] > 1 for row in document["topics"]["topics"])
    configuration = load(str(tmp_path / "site"), {})
    assert {d.mqtt.topic for d in configuration.devices if d.mqtt is not None} == {
        "plant/inv1/telemetry",
        "plant/mast/{point}",
    }
    assert "1 more kinds of device are left out" in (tmp_path / "one.toml").read_text()
    assert code_again == 2
    assert "is there already; add --force" in told


async def test_a_broker_that_is_not_there_is_told_with_its_own_exit_code() -> None:
    code, _, told = await probed("mqtt", f"127.0.0.1:{free_port()}", "--seconds", "1")
    assert code == 3
    assert "cannot be reached: Connection refused; check the port (usually 1883, or 8883 with TLS)" in told
    code, _, told = await probed("mqtt", "127.0.0.1:1", "a/#/b")
    assert code == 2
    assert "not a topic filter" in told
    code, _, told = await probed("sparkplug", "127.0.0.1:1", "--group", "plants/north")
    assert code == 2
    assert '--group = "plants/north": not one level of a topic' in told
