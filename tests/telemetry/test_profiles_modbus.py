"""The Modbus and SunSpec sides of a profile: what is accepted, and how each fault is told."""

from __future__ import annotations

import pytest

from telemetry.errors import ConfigError
from telemetry.profiles import DeviceProfile, RegisterType, WordOrder, parse_profile

HEAD = 'id = "x"\ntitle = "X"\nsource = "test"\nperiod_s = 2.0\n[points.P]\ntitle = "P"\nunit = "1"\n'


def profile(tail: str) -> DeviceProfile:
    return parse_profile(HEAD + tail, "x.toml")


def registers(mapping: str, settings: str = "") -> str:
    return f"[modbus]\n{settings}\n[modbus.registers]\nP = {{ {mapping} }}\n"


def test_a_mapping_may_have_its_own_table_order_and_period() -> None:
    made = profile(
        registers('address = 7, type = "uint32", table = "input", word_order = "cdab", period_s = 900.0')
    )
    assert made.modbus is not None
    assert made.modbus.registers["P"].word_order is WordOrder.LITTLE
    assert (made.protocol, made.period_of("P")) == ("modbus", 900.0)


def test_a_sunspec_profile_names_points_instead_of_addresses() -> None:
    made = profile('[sunspec]\n[sunspec.points]\nP = { model = 103, point = "W", scale = 1e-6 }\n')
    assert (made.protocol, made.period_of("P")) == ("modbus", 2.0)


@pytest.mark.parametrize(
    ("tail", "key", "reason"),
    [
        (registers('address = 7, type = "string"'), "P.type", "not a text"),
        (registers('address = 7, type = "uint16"', 'table = "coil"'), "P.type", "single bit"),
        (registers('address = 7, type = "int16", bit = 3'), "P.bit", "no bit fields"),
        (registers('address = 7, type = "uint16", bit = 12, bits = 8'), "P.bit", "behind the 16 bits"),
        (registers('address = 7, type = "int16", scale_register = 200'), "P.scale_register", "one read"),
        (registers('address = 7, type = "int32"', "forbidden = [[8, 9]]"), "P.address", "forbidden"),
        (registers('address = 7, type = "bcd16", not_implemented = 10000'), "P.not_implemented", "never"),
        ('[sunspec]\n[sunspec.points]\nQ = { model = 103, point = "W" }\n', "sunspec.points.Q", "no such"),
        (registers('address = 7, type = "int16"') + "[sunspec]\n[sunspec.points]\n", "", "one protocol"),
    ],
)
def test_each_fault_of_a_map_is_told_with_its_key(tail: str, key: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        profile(tail)
    assert any(p.key.endswith(key) and reason in p.reason for p in caught.value.problems)


def test_types_know_their_size_and_their_integers() -> None:
    assert [kind.registers for kind in (RegisterType.BOOL, RegisterType.ACC64, RegisterType.BCD32)] == [
        1,
        4,
        2,
    ]
    assert RegisterType.BCD16.integers == range(10_000)
    assert RegisterType.ACC32.integers == range(1 << 32)
    assert RegisterType.INT16.integers == range(-32768, 32768)
    assert not RegisterType.FLOAT16.integers
