"""Topics of devices that publish, from the configuration to the adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenbridge.settings import load
from telemetry.errors import ConfigError

GRID = """
u_rated_kv = 500.0
line_parameters = { r_ohm_per_km = 0.03, x_ohm_per_km = 0.3, b_us_per_km = 3.6, corona_kw_per_km = 2.4 }
[[area]]
id = "KZ"
name = "Kazakhstan"
utc_offset_h = 5.0
sync_area = "IPS/UPS"
[[node]]
id = "SHY"
name = "Shymkent"
area = "KZ"
latitude = 42.3
longitude = 69.6
"""
MAIN = 'name = "Topics"\nstate_dir = "state"\n[[mqtt.broker]]\nid = "main"\nhost = "h"\nclient_id = "c"\n'
TEMPLATE = 'topic = "corridor/{area}/{site}/{device}/telemetry"\n'
DEVICE = """
[[device]]
id = "m1"
profile = "bus-meter"
node = "SHY"
role = "injection"
mqtt = { broker = "main" }
"""


def topics(folder: Path, main: str, devices: str) -> list[str | None]:
    (folder / "greenbridge.toml").write_text(main)
    (folder / "grid.toml").write_text(GRID)
    (folder / "devices.toml").write_text(devices)
    return [device.mqtt.topic for device in load(str(folder), {}).devices if device.mqtt is not None]


def test_devices_take_the_brokers_template_unless_they_name_a_topic(tmp_path: Path) -> None:
    own = DEVICE.replace("m1", "m2").replace('"main" }', '"main", topic = "own/{device}" }')
    found = topics(tmp_path, MAIN + TEMPLATE, DEVICE + own)
    assert found == ["corridor/KZ/SHY/m1/telemetry", "own/m2"]


@pytest.mark.parametrize(
    ("main", "topic", "told"),
    [
        ("", "", "device[0].mqtt.topic: missing (add topic, here or as a template in the broker's table)"),
        (TEMPLATE, ', topic = "a/{point}"', "the profile has all points in one payload"),
        (TEMPLATE, ', topic = "a/{aera}"', 'stands for nothing (did you mean "area"?)'),
        (TEMPLATE.replace("/{device}", ""), "", 'used by device "m1" too'),
    ],
)
def test_a_topic_that_cannot_work_is_named(tmp_path: Path, main: str, topic: str, told: str) -> None:
    first = DEVICE.replace('"main" }', f'"main"{topic} }}')
    with pytest.raises(ConfigError) as caught:
        topics(tmp_path, MAIN + main, first + first.replace("m1", "m2"))
    assert told in str(caught.value)
