from __future__ import annotations

import tomllib
from importlib.resources import files

import pytest

from adapters.link import LinkState
from adapters.modbus.config import GatewaySettings, ModbusSettings
from adapters.mqtt.config import BrokerSettings, MqttSettings
from adapters.profiles import bundled_profiles
from adapters.sparkplug.config import HostSettings, SparkplugSettings
from telemetry.points import PointKind
from telemetry.settings import Settings, parse

MISSING_IN_SAMPLE = {"password_env", "tls", "serial"}
"""Keys that exclude another one of the sample; they are named in a comment."""


@pytest.mark.parametrize(
    ("package", "table", "model", "row"),
    [
        ("adapters.modbus", "gateway", ModbusSettings, GatewaySettings),
        ("adapters.mqtt", "broker", MqttSettings, BrokerSettings),
        ("adapters.sparkplug", "host", SparkplugSettings, HostSettings),
    ],
)
def test_the_sample_file_shows_the_whole_schema(
    package: str, table: str, model: type[Settings], row: type[Settings]
) -> None:
    text = (files(package) / "sample.toml").read_text("utf-8")
    parse(text, "sample.toml", model)
    (shown,) = tomllib.loads(text)[table]
    assert set(row.model_fields) - set(shown) <= MISSING_IN_SAMPLE
    fields = {name: info.default for name, info in row.model_fields.items() if not info.is_required()}
    defaults = {name: list(d) if isinstance(d, tuple) else d for name, d in fields.items()}
    assert {name: defaults[name] for name in shown if defaults.get(name) is not None} == {
        name: value for name, value in shown.items() if defaults.get(name) is not None
    }


def test_every_bundled_profile_says_where_it_is_from_and_what_is_possible() -> None:
    profiles = bundled_profiles()
    meters, plants = {"pm5xxx", "umg", "bus-meter"}, {"wind-plant", "solar-plant", "power-plant"}
    units = {"turbine", "wind-farm", "met-mast", "sunspec-inverter", "sunspec-der", "sunspec-met"}
    assert set(profiles) >= meters | plants | units
    for profile in profiles.values():
        assert profile.period_s == 1.0 or profile.id in units
        assert profile.source
        for spec in profile.points.values():
            assert float("-inf") < spec.low < spec.high < float("inf")
            assert (spec.kind is PointKind.COUNTER) == (spec.unit == "MWh")
    for meter in meters:
        assert (profiles[meter].accuracy_pct, profiles[meter].accuracy_floor_mw) == (0.2, 0.3)
    assert list(profiles["pm5xxx"].points) == list(profiles["umg"].points)


def test_the_state_of_a_link_tells_since_when_and_what_was_last_wrong() -> None:
    state = LinkState("modbus/test")
    assert not state.connected
    state.up(5)
    state.failed(7, "no answer")
    state.count("timeouts")
    state.count("overruns", 3)
    assert (state.connected, state.connected_since) == (True, 5)
    state.down()
    assert (state.connected, state.last_error, state.last_error_at) == (False, "no answer", 7)
    assert state.counts == {"timeouts": 1, "overruns": 3}
