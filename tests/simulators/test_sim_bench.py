from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import simulators
from simulators.bench import Bench, load, load_file
from telemetry.errors import ConfigError

SMALL = """
seed = 1
control_port = 0
[[gateway]]
id = "SHY"
port = 0
[[device]]
id = "m1"
kind = "pm5xxx"
node = "SHY"
branch = "SHY-TAS"
gateway = "SHY"
unit = 1
[[device]]
id = "w1"
kind = "wind-plant"
node = "SHU"
plant = "mirny-wind"
topic = "w1"
[[tap]]
line = "SHY-TAS"
mw = 30
at_s = 60
for_s = 300
"""


def problems(text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load(text, "b.toml", {})
    return [(problem.key, f"{problem.reason} {problem.fix}") for problem in caught.value.problems]


def test_shipped_bench_is_the_demo_site() -> None:
    bench = load_file(None, {})
    kinds = Counter(device.kind.value for _, device in bench.served())
    assert kinds == {
        "pm5xxx": 36, "umg": 8, "bus-meter": 17, "wind-plant": 10, "solar-plant": 8, "power-plant": 2,
        "wind-farm": 10, "met-mast": 10, "turbine": 43, "sunspec-met": 8, "sunspec-inverter": 24,
    }  # fmt: skip
    assert [gateway.port for gateway in bench.gateway] == [*range(15501, 15518), *range(15521, 15539)]
    assert (bench.host, bench.control_port, bench.broker.port) == ("127.0.0.1", 15500, 1883)
    (tap,) = bench.tap
    assert (tap.line, tap.mw, tap.at_s, tap.for_s) == ("SHY-TAS", 30, 60, 300)
    ends = {(device.branch, device.node) for device in bench.device if device.branch}
    assert len(ends) == 36, "every end of every line and of the HVDC link has a meter"


def test_environment_moves_ports_and_hosts() -> None:
    environment = {
        "GB_MODBUS_PORT_SHY": "21000", "GB_SIM_HOST": "0.0.0.0", "GB_BROKER_HOST": "mosquitto",
        "GB_SIM_LEDGER": "acks.jsonl", "GB_TAP_FOR_S": "75",
    }  # fmt: skip
    bench = load_file(None, environment)
    assert bench.gateway[5].port == 21000
    assert (bench.host, bench.broker.host, bench.ledger) == ("0.0.0.0", "mosquitto", "acks.jsonl")
    assert bench.tap[0].for_s == 75


def test_a_small_bench_is_enough() -> None:
    assert isinstance(load(SMALL, "b.toml", {}), Bench)


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ('kind = "pm5xxx"', 'kind = "pm5xx"', "device[0].kind", 'did you mean "pm5xxx"?'),
        ('node = "SHY"', 'node = "SHI"', "device[0].node", "no such node"),
        ('node = "SHY"', 'node = "NAV"', "device[0].node", "SHY-TAS does not end there"),
        ('branch = "SHY-TAS"', 'branch = "SHY-TAZ"', "device[0].branch", 'did you mean "SHY-TAS"?'),
        ('gateway = "SHY"', 'gateway = "SHI"', "device[0].gateway", 'did you mean "SHY"?'),
        ("unit = 1\n", "", "device[0].unit", "needs it"),
        ("unit = 1\n", "unit = 300\n", "device[0].unit", "less than or equal to 247"),
        ('topic = "w1"', 'topic = "w/#"', "device[1].topic", "pattern"),
        ('topic = "w1"', 'topic = "w1"\nbranch = "SHU-ZHB"', "device[1].branch", "has none"),
        ('plant = "mirny-wind"', 'plant = "mirny"', "device[1].plant", "no such plant"),
        ('plant = "mirny-wind"', 'plant = "saran-solar"', "device[1].plant", "plant for a wind-plant"),
        ('plant = "mirny-wind"', 'plant = "khizi-wind"', "device[1].node", "stands at ABS"),
        ('line = "SHY-TAS"', 'line = "AKT-ALT"', "tap[0].line", "no such line"),
        ("for_s = 300", "for_s = 300\nrepeat_s = 200", "tap[0].repeat_s", "longer than for_s"),
        ("mw = 30", "mw = -30", "tap[0].mw", "greater than 0"),
        ("seed = 1", "seed = 1\nseeds = 2", "seeds", 'did you mean "seed"?'),
    ],
)  # fmt: skip
def test_each_mistake_is_named(old: str, new: str, key: str, words: str) -> None:
    assert old in SMALL
    (found,) = problems(SMALL.replace(old, new, 1))
    assert found[0] == key
    assert words in found[1]


def test_duplicates_are_named_all_at_once() -> None:
    device = SMALL[SMALL.index("[[device]]") : SMALL.index("[[tap]]")]
    gateway = '[[gateway]]\nid = "TAS"\nport = 5020\n[[gateway]]\nid = "NAV"\nport = 5020\n'
    keys = [
        key
        for key, _ in problems(SMALL.replace("control_port = 0", "control_port = 5020") + device + gateway)
    ]
    assert keys == ["device[2].id", "device[3].id", "device[3].topic", "gateway[2].port", "control_port"]
    other = device.replace('"m1"', '"m2"').replace('"w1"', '"w2"')
    (found,) = problems(SMALL + other)
    assert found == ("device[2].unit", "unit of gateway SHY is taken by m1 give each device its own unit")


INSIDE = """
seed = 1
control_port = 0
[[gateway]]
id = "G"
port = 5100
units = 100
[[gateway]]
id = "bus"
transport = "serial"
serial_port = "/dev/ttyUSB0"
[[device]]
id = "turbine"
kind = "turbine"
node = "SHU"
plant = "mirny-wind"
gateway = "G"
unit = 11
[[device]]
id = "inverter"
kind = "sunspec-inverter"
node = "NUR"
plant = "saran-solar"
gateway = "bus"
unit = 1
"""


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ('"mirny-wind"', '"mirny-wind"\nnumber = 161', "device[0].number", "has only 160 units"),
        ('"mirny-wind"', '"mirny-wind"\nnumber = 159\ncount = 3', "device[0].count", "has only 160 units"),
        ('"mirny-wind"', '"saran-solar"', "device[0].plant", "no such plant for a turbine"),
        ('"mirny-wind"', '"mirny-wind"\nbase = 0', "device[0].base", "a turbine has none"),
        ('"mirny-wind"', '"mirny-wind"\noffset = -1001', "device[0].offset", "puts registers at -1 to 58"),
        ('"mirny-wind"', '"mirny-wind"\nword_order = "abdc"', "device[0].word_order", "abcd"),
        ('"mirny-wind"', '"mirny-wind"\nexception = "bussy"', "device[0].exception", 'mean "busy"?'),
        ('"saran-solar"', '"saran-solar"\nmodels = [104]', "device[1].models", "no such model valid: 101"),
        ('"saran-solar"', '"saran-solar"\nmodels = [103, 103]', "device[1].models", "listed twice"),
        ('"saran-solar"', '"saran-solar"\nmodels = [101, 103]', "device[1].models", "keep one of"),
        ('"saran-solar"', '"saran-solar"\nword_order = "cdab"', "device[1].word_order", "has none"),
        ('"saran-solar"', '"saran-solar"\nfile = "x"', "device[1].file", "has none"),
        ('serial_port = "/dev/ttyUSB0"', "", "gateway[1].serial_port", "needs it"),
        ('"serial"', '"serial"\nport = 5200', "gateway[1].port", "a serial gateway has none"),
        ('"serial"', '"rtu-over-tcp"', "gateway[1].serial_port", "a rtu-over-tcp gateway has none"),
    ],
)  # fmt: skip
def test_each_mistake_inside_a_plant_is_named(old: str, new: str, key: str, words: str) -> None:
    assert isinstance(load(INSIDE, "b.toml", {}), Bench)
    assert old in INSIDE
    (found,) = problems(INSIDE.replace(old, new, 1))
    assert found[0] == key
    assert words in found[1]


def test_one_line_serves_numbered_devices_over_several_ports() -> None:
    bench = load(SMALL.replace("unit = 1\n", "unit = 3\ncount = 500\n", 1), "b.toml", {})
    meters = [device for _, device in bench.served() if device.kind.meter]
    assert len(meters) == 500
    assert [(meters[n].id, meters[n].gateway, meters[n].unit) for n in (0, 244, 245, 491, 492, 499)] == [
        ("m1-001", "SHY", 3), ("m1-245", "SHY", 247), ("m1-246", "SHY-2", 1), ("m1-492", "SHY-2", 247),
        ("m1-493", "SHY-3", 1), ("m1-500", "SHY-3", 8),
    ]  # fmt: skip
    assert [server.settings.id for server in bench.servers()] == ["SHY", "SHY-2", "SHY-3"]
    fixed = load(INSIDE.replace("unit = 11", "unit = 11\ncount = 160"), "b.toml", {})
    assert [server.settings.port for server in fixed.servers()] == [5100, 5101, 0]


def test_what_numbered_devices_collide_with_is_named() -> None:
    more = '[[gateway]]\nid = "H"\nport = 5101\n'
    (found,) = problems(INSIDE.replace("unit = 11", "unit = 11\ncount = 160") + more)
    assert found[0] == "gateway[2].port"
    serial = INSIDE.replace("units = 100", "").replace(
        'serial_port = "/dev', 'units = 2\nserial_port = "/dev'
    )
    (found,) = problems(serial.replace("unit = 1\n", "unit = 1\ncount = 3\n"))
    assert found[0] == "gateway[1]"
    assert "only 2 units" in found[1]


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        load_file(tmp_path / "none.toml", {})
    path = tmp_path / "b.toml"
    path.write_text(SMALL)
    assert load_file(path, {}).device[0].id == "m1"


def test_the_example_of_the_readme_is_a_bench() -> None:
    readme = (Path(simulators.__file__).parent / "README.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    bench = load("seed = 1\ncontrol_port = 0\n" + example, "README.md", {})
    assert [device.id for _, device in bench.served()][::19] == ["inverter-01", "inverter-20"]
