"""What a reload would change, told from two configurations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from greenbridge.difference import Links, applicable, difference
from greenbridge.settings import Configuration, load
from tests.greenbridge.test_site_settings import DEVICE, GRID, MAIN

SECOND = """
[[device]]
id = "m2"
profile = "pm5xxx"
node = "TAS"
branch = "SHY-TAS"
role = "main"
modbus = { gateway = "TAS", unit = 1 }
"""
PUBLISHER = """
[[device]]
id = "p1"
profile = "bus-meter"
node = "SHY"
role = "injection"
mqtt = { broker = "main", topic = "a/p1" }
"""
CONNECTED = (
    MAIN
    + """
[[modbus.gateway]]
id = "TAS"
host = "127.0.0.1"
[[mqtt.broker]]
id = "main"
host = "127.0.0.1"
client_id = "gb"
password_env = "MQTT_PASSWORD"
username = "gb"
[[alerts.webhook]]
id = "duty"
url = "https://duty.example/very/secret/path"
[alerts.R6]
off_s = 40.0
"""
)


def site(
    folder: Path, main: str = CONNECTED, devices: str = DEVICE + SECOND + PUBLISHER, grid: str = GRID
) -> Configuration:
    (folder / "greenbridge.toml").write_text(main)
    (folder / "grid.toml").write_text(grid)
    (folder / "devices.toml").write_text(devices)
    return load(str(folder), {"MQTT_PASSWORD": "x"})


@pytest.fixture
def running(tmp_path: Path) -> Configuration:
    return site(tmp_path)


def test_the_same_files_differ_in_nothing(running: Configuration, tmp_path: Path) -> None:
    found = difference(running, site(tmp_path))
    assert found.empty
    assert found.text() == "Nothing differs from the running configuration."
    assert not any([found.site, found.rules, found.notifications, found.stores, found.logs])


DEVICES = DEVICE + SECOND + PUBLISHER
CASES: dict[str, tuple[str, str, list[str], dict[str, Any]]] = {
    "a meter moves to another unit": (
        CONNECTED,
        DEVICES.replace('gateway = "SHY", unit = 1', 'gateway = "SHY", unit = 7'),
        ["~ device m1 (modbus.unit: 1 -> 7)"],
        {"adjusted": {"modbus/SHY": ["m1"]}},
    ),
    "a topic is added": (
        CONNECTED,
        DEVICES + PUBLISHER.replace("p1", "p2").replace('"SHY"', '"TAS"'),
        ["+ device p2 (bus-meter at TAS, mqtt/main)"],
        {"adjusted": {"mqtt/main": ["p2"]}},
    ),
    "the last device behind a gateway is taken out": (
        CONNECTED,
        DEVICE + PUBLISHER,
        ["- device m2"],
        {"stopped": ["modbus/TAS"]},
    ),
    "a device is taken out of use": (
        CONNECTED,
        DEVICES.replace('id = "m2"', 'id = "m2"\nenabled = false'),
        ["~ device m2 (enabled: true -> false)"],
        {"stopped": ["modbus/TAS"]},
    ),
    "a device moves behind another gateway": (
        CONNECTED,
        DEVICES.replace('gateway = "TAS", unit = 1', 'gateway = "SHY", unit = 2'),
        ['~ device m2 (modbus.gateway: "TAS" -> "SHY"; modbus.unit: 1 -> 2)'],
        {"adjusted": {"modbus/SHY": ["m2"]}, "stopped": ["modbus/TAS"]},
    ),
    "a title is of no concern to a source": (
        CONNECTED,
        DEVICES.replace('id = "m1"', 'id = "m1"\ntitle = "North"'),
        ['~ device m1 (title: "" -> "North")'],
        {},
    ),
    "a gateway gets another port": (
        CONNECTED.replace('id = "TAS"\n', 'id = "TAS"\nport = 5020\n'),
        DEVICES,
        ["~ gateway TAS (port: unset -> 5020)"],
        {"restarted": ["modbus/TAS"]},
    ),
    "a threshold moves": (
        CONNECTED.replace("40.0", "50.0"),
        DEVICES,
        ["~ rule R6 (off_s: 40.0 -> 50.0)"],
        {},
    ),
    "a webhook moves; its path is not shown": (
        CONNECTED.replace("duty.example/very", "new.example/very"),
        DEVICES,
        ['~ webhook duty (url: "https://duty.example/..." -> "https://new.example/...")'],
        {},
    ),
    "a store is added": (
        CONNECTED + '[influx]\nurl = "http://localhost:8086"\norg = "o"\nbucket = "b"\ntoken_env = "T"\n',
        DEVICES,
        ["+ store influx"],
        {},
    ),
    "logs are told more": (
        CONNECTED + '[logs]\nlevel = "debug"\n',
        DEVICES,
        ['~ logs (level: "info" -> "debug")'],
        {},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_change_is_told_and_touches_only_its_link(
    running: Configuration, tmp_path: Path, case: tuple[str, str, list[str], dict[str, Any]]
) -> None:
    main, devices, changes, links = case
    found = difference(running, site(tmp_path, main, devices))
    assert [str(change) for change in found.changes] == changes
    assert found.document()["links"] == {
        "started": [],
        "stopped": [],
        "restarted": [],
        "adjusted": {},
        **links,
    }
    assert not found.needs_restart
    back = difference(site(tmp_path, main, devices), site(tmp_path))
    assert len(back.changes) == len(changes)
    assert len(back.links.started) == len(found.links.stopped)


def test_what_each_change_touches(running: Configuration, tmp_path: Path) -> None:
    threshold = difference(running, site(tmp_path, CONNECTED.replace("40.0", "50.0")))
    assert (threshold.rules, threshold.site, threshold.notifications) == (True, False, False)
    webhook = difference(running, site(tmp_path, CONNECTED.replace("duty.example", "new.example")))
    assert (webhook.rules, webhook.site, webhook.notifications) == (False, False, True)
    device = difference(running, site(tmp_path, devices=DEVICE + PUBLISHER))
    assert (device.rules, device.site, device.stores) == (True, True, frozenset())
    line = difference(running, site(tmp_path, grid=GRID.replace("limit_mw = 600.0", "limit_mw = 700.0")))
    assert [str(change) for change in line.changes] == ["~ grid (line.[SHY-TAS].limit_mw: 600.0 -> 700.0)"]
    assert (line.rules, line.site, line.links) == (True, True, Links())


def test_a_changed_profile_touches_its_devices_only(running: Configuration, tmp_path: Path) -> None:
    profile = running.profiles["pm5xxx"]
    slower = replace(
        running, profiles={**running.profiles, "pm5xxx": profile.model_copy(update={"period_s": 5.0})}
    )
    found = difference(running, slower)
    assert [str(change) for change in found.changes] == ["~ profile pm5xxx (period_s: 1.0 -> 5.0)"]
    assert found.links == Links(adjusted={"modbus/SHY": frozenset({"m1"}), "modbus/TAS": frozenset({"m2"})})
    assert "modbus/SHY runs on; of its devices only these are touched: m1" in found.text()
    unused = {**running.profiles, "umg": running.profiles["umg"].model_copy(update={"period_s": 5.0})}
    assert difference(running, replace(running, profiles=unused)).empty


def test_what_only_a_restart_changes_is_named_and_stays(running: Configuration, tmp_path: Path) -> None:
    moved = CONNECTED.replace('"state"', '"elsewhere"').replace("40.0", "50.0") + "[console]\nport = 9999\n"
    wanted = site(tmp_path, moved)
    found = difference(running, wanted)
    assert [str(change) for change in found.needs_restart] == [
        '~ setting state_dir ("state" -> "elsewhere")',
        "~ setting console (port: 8080 -> 9999)",
    ]
    assert found.text().count("needs a restart") == 2
    kept = applicable(running, wanted)
    assert kept.settings.state_dir == "state"
    assert kept.settings.console == running.settings.console
    assert kept.settings.alerts.two_end.off_s == 50.0
    again = difference(kept, wanted)
    assert not again.changes
    assert len(again.needs_restart) == 2


def test_a_secret_is_not_shown(running: Configuration) -> None:
    broker = running.settings.mqtt.broker[0].model_copy(update={"password_env": "OTHER"})
    mqtt = running.settings.mqtt.model_copy(update={"broker": (broker,)})
    found = difference(running, replace(running, settings=running.settings.model_copy(update={"mqtt": mqtt})))
    assert [str(change) for change in found.changes] == ["~ broker main (password_env: *** -> ***)"]
