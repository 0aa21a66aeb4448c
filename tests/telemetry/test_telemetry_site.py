from __future__ import annotations

import pytest

from telemetry.devices import Device, Role
from telemetry.errors import ConfigError, RegistryError
from telemetry.grid import Grid
from telemetry.points import PointKey
from telemetry.profiles import DeviceProfile, RegisterType, parse_profile
from telemetry.registry import PointRegistry
from telemetry.settings import Settings, parse
from telemetry.site import Site, point_keys

GRID = """
u_rated_kv = 500.0
line_parameters = { r_ohm_per_km = 0.025, x_ohm_per_km = 0.3, b_us_per_km = 3.6, corona_kw_per_km = 2.4 }
area = [
  { id = "KZ", name = "Kazakhstan", utc_offset_h = 5.0, sync_area = "IPS" },
  { id = "UZ", name = "Uzbekistan", utc_offset_h = 5.0, sync_area = "IPS" },
]
node = [
  { id = "SHY", name = "Shymkent", area = "KZ", latitude = 42.3, longitude = 69.6 },
  { id = "TAS", name = "Tashkent", area = "UZ", latitude = 41.3, longitude = 69.2 },
]
[[line]]
id = "SHY-TAS"
from = "SHY"
to = "TAS"
circuits = 2
limit_mw = 600.0
sections = [{ km = 60.0, joint = { reactor_mvar = 180.0 } }, { km = 60.0 }]
[[tie]]
id = "SHY-TAS"
kind = "ring"
from_area = "KZ"
to_area = "UZ"
delivery_node = "TAS"
ntc_mw = 600.0
schedule = [{ start = 2026-01-01T00:00:00Z, mw = 323.0 }, { start = 2026-01-01T01:00:00Z, mw = 300.0 }]
"""

PROFILE = """
id = "meter"
title = "Meter"
source = "vendor list 7"
[points.TotW]
title = "Active power"
unit = "MW"
low = -10.0
high = 10.0
[points.St]
title = "State"
unit = "1"
kind = "state"
states = { 1 = "OFF", 4 = "MPPT" }
[modbus.registers]
TotW = { address = 3059, type = "float32", scale = 0.001 }
St = { address = 65535, type = "int16", not_implemented = -32768 }
"""

JSON_PROFILE = """
id = "bus"
title = "Bus meter"
source = "site"
[points.W]
title = "Active power"
unit = "MW"
[json]
time_field = "ts"
fields = { W = { field = "p_mw" } }
"""


class Devices(Settings):
    device: tuple[Device, ...]


def devices() -> list[Device]:
    text = """
    [[device]]
    id = "m1"
    profile = "meter"
    node = "SHY"
    branch = "SHY-TAS"
    role = "main"
    modbus = { gateway = "g1", unit = 1 }
    [[device]]
    id = "off"
    profile = "meter"
    node = "TAS"
    branch = "SHY-TAS"
    role = "main"
    enabled = false
    modbus = { gateway = "g1", unit = 2 }
    [[device]]
    id = "bus"
    profile = "bus"
    node = "TAS"
    role = "injection"
    mqtt = { broker = "b", topic = "a/b" }
    """
    return list(parse(text, "d.toml", Devices).device)


def profiles() -> dict[str, DeviceProfile]:
    return {p.id: p for p in (parse_profile(PROFILE, "m.toml"), parse_profile(JSON_PROFILE, "b.toml"))}


def grid_problems(*changes: tuple[str, str]) -> list[tuple[str, str]]:
    text = GRID
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return [(problem.key, problem.fix) for problem in parse(text, "grid.toml", Grid).problems("grid.toml")]


def test_a_sound_grid_has_no_problem() -> None:
    assert grid_problems() == []
    grid = parse(GRID, "grid.toml", Grid)
    assert grid.line[0].km == 120
    assert grid.parameters_of(grid.line[0]) is grid.line_parameters


@pytest.mark.parametrize(
    ("old", "new", "key", "fix"),
    [
        ('area = "UZ"', 'area = "UX"', "node[1].area", "valid: KZ, UZ"),
        ('to = "TAS"', 'to = "TAZ"', "line[0].to", 'did you mean "TAS"?'),
        ('to = "TAS"', 'to = "SHY"', "line[0].to", "name the other end"),
        ('id = "TAS"', 'id = "SHY"', "node[1].id", "give it another id"),
        ('from_area = "KZ"', 'from_area = "K"', "tie[0].from_area", 'did you mean "KZ"?'),
        ('delivery_node = "TAS"', 'delivery_node = "X"', "tie[0].delivery_node", "valid: SHY, TAS"),
        ("01T01:00:00Z", "01T00:00:00Z", "tie[0].schedule[1].start", "order the steps by time"),
        ("{ km = 60.0 }", "{ km = 60.0, joint = {} }", "line[0].sections[1].joint", "remove it"),
    ],
)
def test_faults_that_only_the_whole_grid_shows(old: str, new: str, key: str, fix: str) -> None:
    assert (key, fix) in grid_problems((old, new))


def test_a_tie_of_nothing_still_has_its_other_faults_told() -> None:
    found = grid_problems(('"SHY-TAS"\nkind', '"SHY-TAZ"\nkind'), ('from_area = "KZ"', 'from_area = "KX"'))
    assert [key for key, _ in found] == ["tie[0].from_area", "tie[0].id"]


def test_a_line_and_a_link_do_not_share_an_id() -> None:
    link = """
    [[hvdc]]
    id = "SHY-TAS"
    from = "SHY"
    to = "TAS"
    km = 1.0
    limit_mw = 1.0
    u_dc_kv = 1.0
    r_ohm_per_km = 0.01
    converter_const_loss_mw = 0.0
    converter_prop_loss = 0.0
    """
    assert grid_problems(("[[tie]]", link + "[[tie]]")) == [("hvdc[0].id", "give it another id")]


@pytest.mark.parametrize("number", ["inf", "nan", "0.0"])
def test_a_limit_is_a_finite_number(number: str) -> None:
    with pytest.raises(ConfigError, match=r"line\[0\].limit_mw"):
        parse(GRID.replace("limit_mw = 600.0", f"limit_mw = {number}"), "grid.toml", Grid)


def test_profiles_map_registers_and_fields() -> None:
    meter, bus = profiles()["meter"], profiles()["bus"]
    assert (meter.protocol, bus.protocol) == ("modbus", "mqtt")
    assert meter.modbus is not None
    assert meter.modbus.registers["TotW"].type.registers == 2
    assert [RegisterType(name).registers for name in ("int16", "uint32", "float64")] == [1, 2, 4]
    assert [RegisterType(name).integers for name in ("int16", "uint16", "float32")] == [
        range(-32768, 32768),
        range(65536),
        range(0),
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            'address = 65535, type = "int16"',
            'address = 65535, type = "int32"',
            "registers.St.address = 65535: runs",
        ),
        (
            "3059",
            "65536",
            "modbus.registers.TotW.address = 65536: Input should be less than",
        ),
        ("TotW = {", "TotV = {", 'modbus.registers.TotV: no such point (did you mean "TotW"?)'),
        ("TotW = {", "TotV = {", "points.TotW: not mapped in [modbus.registers]"),
        ("low = -10.0", "low = 10.0", "points.TotW.low = 10.0: not below high = 10.0"),
        ("low = -10.0", "low = nan", "points.TotW.low = nan: not below high"),
        ("scale = 0.001", "scale = 0.0", "TotW.scale = 0: makes every value the same"),
        ("scale = 0.001", "scale = nan", "modbus.registers.TotW.scale"),
        (
            "scale = 0.001",
            "not_implemented = 0",
            "TotW.not_implemented = 0: a raw float32 never",
        ),
        ("-32768", "32768", "St.not_implemented = 32768: a raw int16 never has this value"),
        (
            "[modbus.registers]",
            "[modbus]\nmax_registers = 1\n[modbus.registers]",
            "takes 2 registers, but",
        ),
        ('4 = "MPPT"', 'four = "MPPT"', "points.St.states.four: a state is a whole number"),
        ("[modbus.registers]", "[json]\nfields = {}\n[modbus.registers]", "a profile maps one protocol"),
        ('unit = "MW"', 'unit = "MV"', 'points.TotW.unit = "MV"'),
    ],
)
def test_faults_of_a_profile(old: str, new: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_profile(PROFILE.replace(old, new), "m.toml")
    assert told in str(caught.value)


def test_a_profile_without_a_map_is_refused() -> None:
    with pytest.raises(ConfigError, match="a profile maps one protocol"):
        parse_profile(JSON_PROFILE.partition("[json]")[0], "b.toml")


@pytest.mark.parametrize("topic", ["a/+/b", "a/#", "a b", ""])
def test_a_topic_is_exact(topic: str) -> None:
    mqtt = f'mqtt = {{ broker = "b", topic = "{topic}" }}'
    text = f'device = [{{ id = "d", profile = "p", node = "n", role = "main", {mqtt} }}]'
    with pytest.raises(ConfigError, match=r"device\[0\].mqtt.topic"):
        parse(text, "d.toml", Devices)


def test_the_site_joins_devices_profiles_and_indices() -> None:
    keys = point_keys(devices(), profiles())
    assert keys[:2] == [PointKey("m1", "TotW", "MW"), PointKey("m1", "St", "1")]
    registry = PointRegistry([PointKey("old", "X", "MW"), *reversed(keys)])
    site = Site.of("Corridor", parse(GRID, "grid.toml", Grid), devices(), profiles(), registry)
    point = site.find("m1", "TotW")
    assert point is not None
    assert (point.index, point.path) == (registry.index(keys[0]), "m1/TotW")
    assert site.points[point.index] is point
    assert site.find("m1", "X") is None
    assert [p.key.name for p in site.points_of("m1")] == ["TotW", "St"]
    assert (site.area_of("TAS"), site.area_of("X")) == ("UZ", "")


def test_a_device_out_of_use_is_no_meter_and_on_no_link() -> None:
    registry = PointRegistry(point_keys(devices(), profiles()))
    site = Site.of("Corridor", parse(GRID, "grid.toml", Grid), devices(), profiles(), registry)
    meter = site.meter("SHY-TAS", "SHY")
    assert meter is not None
    assert meter.id == "m1"
    assert site.meter("SHY-TAS", "TAS") is None
    assert site.meter("SHY-TAS", "SHY", Role.CHECK) is None
    assert {link: [device.id for device in on] for link, on in site.links.items()} == {
        "modbus/g1": ["m1"],
        "mqtt/b": ["bus"],
    }


def test_a_point_without_an_index_stops_the_site() -> None:
    registry = PointRegistry(point_keys(devices()[:2], profiles()))
    with pytest.raises(RegistryError, match="bus/W/MW was never declared"):
        Site.of("Corridor", parse(GRID, "grid.toml", Grid), devices(), profiles(), registry)
