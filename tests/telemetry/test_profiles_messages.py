"""Profiles of devices that send messages: JSON in its three shapes, and Sparkplug."""

from __future__ import annotations

import pytest

from telemetry.devices import Device, Role, SparkplugAddress
from telemetry.errors import ConfigError
from telemetry.profiles import JsonShape, parse_profile

HEAD = """
id = "p"
title = "P"
source = "test"
[points.W]
title = "power"
unit = "MW"
[points.Hz]
title = "frequency"
unit = "Hz"
"""
FIELDS = '[json.fields]\nW = { field = "w" }\nHz = { field = "f" }\n'
METRICS = '[sparkplug.metrics]\nW = { metric = "AC/Power", unit = "kW" }\nHz = { metric = "Hz" }\n'


def test_a_profile_maps_samples_scalars_or_metrics() -> None:
    samples = parse_profile(HEAD + '[json]\nshape = "samples"\ntime_field = "t"\n' + FIELDS, "p.toml")
    assert samples.json_payload is not None
    assert samples.json_payload.shape is JsonShape.SAMPLES
    assert (samples.protocol, samples.by_exception) == ("mqtt", False)
    metrics = parse_profile(HEAD + METRICS, "p.toml")
    assert (metrics.protocol, metrics.by_exception) == ("sparkplug", True)


def test_a_device_depends_on_its_host() -> None:
    address = SparkplugAddress(host="main", group="g", edge="e")
    device = Device(id="d", profile="p", node="n", role=Role.PLANT, sparkplug=address)
    assert device.link == "sparkplug/main"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (METRICS + "[json]\n" + FIELDS, "a profile maps one protocol"),
        ('[json]\nvalue_field = "v"\n' + FIELDS, "only a scalar payload has one"),
        ('[json]\nsamples_field = "v"\n' + FIELDS, "only samples stand in a member"),
        ('[json]\nshape = "scalar"\ntime_field = "t"\n' + FIELDS, "a bare number has no time"),
        ('[json]\nshape = "samples"\n' + FIELDS, "samples need a time of their own"),
        ('[json]\nshape = "scalar"\n' + FIELDS.replace('"w"', '"a/b"'), "cannot be a level of a topic"),
        ('[json]\nshape = "scalar"\n' + FIELDS.replace('"w"', '"f"'), 'json.fields.Hz.field = "f": is W too'),
        (METRICS.replace('"Hz" }', '"AC/Power" }'), 'sparkplug.metrics.Hz.metric = "AC/Power": is W too'),
        (METRICS.replace('"kW"', '"kWh"'), "cannot be converted into MW"),
        (METRICS.replace('"kW"', '"Gwar"'), "valid: GW, MW, W, kW"),
        (METRICS.replace('"kW"', '"kW", scale = 2.0'), "scale or offset is given too"),
        (METRICS.replace("Hz = {", "Hx = {"), "valid: Hz, W"),
    ],
)
def test_a_fault_names_the_key_and_the_fix(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_profile(HEAD + text, "p.toml")
    assert told in str(caught.value)


BAND = HEAD.replace('unit = "Hz"\n', 'unit = "Hz"\nlow = 45\nhigh = 55\n{extra}\n')


def banded(extra: str) -> str:
    return BAND.format(extra=extra) + "[json]\n" + FIELDS


def test_a_deadband_is_absolute_or_a_part_of_the_range() -> None:
    absolute = parse_profile(banded("deadband = { absolute = 0.02, max_silence_s = 30 }"), "p.toml")
    spec = absolute.points["Hz"]
    assert spec.deadband is not None
    assert (spec.deadband.width(spec), spec.deadband.max_silence_s) == (0.02, 30)
    spec = parse_profile(banded("deadband = { range_pct = 0.5 }"), "p.toml").points["Hz"]
    assert spec.deadband is not None
    assert spec.deadband.width(spec) == pytest.approx(0.05)
    assert absolute.points["W"].deadband is None


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("deadband = {}", "has no width"),
        ("deadband = { absolute = 1, range_pct = 1 }", "has both absolute and range_pct"),
        ("deadband = { absolute = -1 }", "greater than or equal to 0"),
        ("deadband = { absolute = 1, max_silence_s = 0 }", "greater than 0"),
        ('kind = "state"\ndeadband = { absolute = 1 }', "would hide that a state changes"),
        ("deadband = { width = 1 }", "width"),
    ],
)
def test_a_deadband_that_makes_no_sense_is_named(extra: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_profile(banded(extra), "p.toml")
    assert said in str(error.value)
    assert "points.Hz" in str(error.value)


def test_a_part_of_a_range_needs_a_range() -> None:
    text = HEAD + "deadband = { range_pct = 1 }\n[json]\n" + FIELDS
    with pytest.raises(ConfigError, match="no finite range"):
        parse_profile(text, "p.toml")
