from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

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


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        load_file(tmp_path / "none.toml", {})
    path = tmp_path / "b.toml"
    path.write_text(SMALL)
    assert load_file(path, {}).device[0].id == "m1"
