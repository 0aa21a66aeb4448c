"""What a probe makes of births, and the command against a real broker and an edge node."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from adapters.sparkplug.config import HostSettings
from commissioning.sparkplug.births import MAX_NODES, Births
from commissioning.sparkplug.drafting import drafted
from greenbridge.settings import load
from simulators.devices.sparkplug.payloads import DataType, decode_commands, encode
from tests.adapters.brokers import mosquitto_broker
from tests.adapters.sparkplug_messages import T0, bd, metric, odd
from tests.adapters.test_sparkplug_host import Counting, edge_node, listening, payload
from tests.commissioning.test_probe_mqtt import probed

HOST = HostSettings(id="main", host="127.0.0.1", client_id="x", host_id="scada")
NOW_NS = T0 * 1_000_000


def hear(births: Births, verb: str, body: bytes, device: str = "", edge: str = "e") -> dict[str, bytes]:
    topic = f"spBv1.0/g/{verb}/{edge}" + (f"/{device}" if device else "")
    return dict(births.hear(topic, body, NOW_NS))


def born(edge: str = "e") -> Births:
    births = Births()
    own = [bd(0), metric(230.0, name="V", alias=1, unit="V")]
    hear(
        births,
        "NBIRTH",
        encode([*own, metric(False, name="Node Control/Rebirth", datatype=DataType.BOOLEAN)], T0, 0),
    )
    for at, name in enumerate(("t1", "t2")):
        power = metric(-5, name="AC/Power", alias=10 + at, unit="kW", datatype=DataType.INT32)
        run = metric(True, name="Run", alias=20 + at, datatype=DataType.BOOLEAN)
        maker = metric("x", name="Maker", datatype=DataType.STRING)
        hear(births, "DBIRTH", encode([power, run, maker], T0, 1 + at), name)
    return births


def test_births_become_a_tree_and_a_draft_of_one_profile_for_each_kind() -> None:
    births = born()
    shown = births.text()
    for part in ("edge nodes born: 1, with 3 devices", "g/e", "t2", "AC/Power", "int32", "-5", "(text)"):
        assert part in shown
    assert births.sound
    draft = drafted(births.directory, HOST)
    assert draft is not None
    assert [device.id for device in draft.devices] == ["e", "e-t1", "e-t2"]
    assert draft.devices[1].profile == draft.devices[2].profile
    (turbine,) = draft.further
    assert turbine.sparkplug is not None
    assert turbine.sparkplug.metrics["AC_Power"].model_dump()["unit"] == "kW"
    assert set(turbine.points) == {"AC_Power", "Run"}, "text is none"
    assert set(draft.profile.points) == {"V"}, "controls are none"


def test_nothing_is_asked_without_consent_and_each_edge_node_once_with_it() -> None:
    data = encode([metric(1, alias=1)], T0, 4)
    quiet = Births()
    assert hear(quiet, "DDATA", data, "t1") == {}
    assert "heard without a birth: g/e" in quiet.text()
    assert "--ask-births" in quiet.text()
    assert not quiet.sound
    asking = Births(ask=True)
    (asked,) = hear(asking, "DDATA", data, "t1").items()
    assert asked[0] == "spBv1.0/g/NCMD/e"
    assert decode_commands(asked[1])[0].value is True
    assert hear(asking, "DDATA", data, "t1") == {}, "once"
    assert hear(asking, "NBIRTH", encode([bd(0)], T0, 0)) == {}
    assert asking.asked == 1
    assert not asking.unborn


@pytest.mark.parametrize(
    ("verb", "body"),
    [("NOPE", b""), ("DDATA", b"\xff\xff"), ("NBIRTH", odd([], seq=300)), ("NBIRTH", odd([], seq=None))],
)
def test_what_is_not_of_the_protocol_is_counted(verb: str, body: bytes) -> None:
    births = Births(ask=True)
    assert hear(births, verb, body, "t1" if verb == "DDATA" else "") == {}
    assert births.rejected == 1
    assert "1 messages are not of the protocol" in births.text()


def test_commands_deaths_and_certificates_of_hosts_are_nothing_to_find() -> None:
    births = Births(ask=True)
    assert births.hear("spBv1.0/STATE/scada", b"{}", NOW_NS) == {}
    assert hear(births, "NCMD", b"") == {}
    assert hear(births, "NDEATH", odd([], seq=None)) == {}
    assert (births.rejected, births.unborn) == (0, set())
    assert drafted(births.directory, HOST) is None


def test_edge_nodes_beyond_the_limit_are_counted() -> None:
    births = Births()
    for n in range(MAX_NODES + 2):
        hear(births, "NBIRTH", encode([bd(0)], T0, 0), edge=f"e{n}")
    assert births.left_out == 2
    assert not births.sound


@pytest.mark.system("mosquitto")
async def test_an_edge_node_is_found_by_its_births_and_its_draft_passes_the_check(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(90),
        mosquitto_broker(tmp_path) as broker,
        edge_node(broker.port, Counting()),
        listening(broker.port) as listener,
    ):
        await listener.until(lambda m: "/DDATA/" in m.topic.value)
        words = ("sparkplug", f"127.0.0.1:{broker.port}", "--seconds", "1")
        code, shown, _ = await probed(*words)
        assert code == 1
        assert "heard without a birth: corridor/site" in shown
        code, shown, _ = await probed(*words, "--ask-births", "--json", "--write", str(tmp_path / "site"))
        await listener.until(lambda m: "/NCMD/" in m.topic.value)
    assert code == 0
    found: dict[str, Any] = json.loads(shown)["births"]
    assert [(row["edge"], row["device"]) for row in found["devices"]][-1] == ("site", "t1")
    commands = [m for m in listener.heard if "/NCMD/" in m.topic.value]
    assert len(commands) == 1, "without consent nothing is asked"
    assert decode_commands(payload(commands[0]))[0].name == "Node Control/Rebirth"
    devices = {
        d.sparkplug.device: d for d in load(str(tmp_path / "site"), {}).devices if d.sparkplug is not None
    }
    assert devices["t1"].id == "site-t1"
