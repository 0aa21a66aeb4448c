from __future__ import annotations

import math
import struct
from datetime import UTC, datetime

import pytest

from simulators.devices.catalogue import READING_MAPS
from simulators.devices.identification import Refusal
from simulators.devices.meter_maps import PM5XXX, UMG
from simulators.devices.modbus import MappedUnit
from simulators.devices.registers import Encoding, Register, RegisterMap
from simulators.world.meters import Reading

READING = Reading(-322.125, -100.5, 501.25, 371.5, 50.0125, 123_456_789_012_345, 9_876_543_210)


def f32(layout: RegisterMap[Reading], address: int) -> float:
    words = layout.encode(READING)[address - layout.start :][:2]
    value: float = struct.unpack(">f", struct.pack(">HH", *words))[0]
    return value


@pytest.mark.parametrize(
    ("register", "value"),
    [
        (3010, 371.5),
        (3026, 501_250.0),
        (3060, -322_125.0),
        (3068, -100_500.0),
        (3110, 50.0125),
        (3000, 371.5),
        (3036, 501_250 / math.sqrt(3)),
        (3076, math.hypot(322_125, 100_500)),
    ],
)
def test_pm5xxx_answers_at_register_number_minus_one(register: int, value: float) -> None:
    assert f32(PM5XXX, register - 1) == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize(("register", "value"), [(3204, READING.export_wh), (3208, READING.import_wh)])
def test_pm5xxx_counts_in_whole_watt_hours(register: int, value: int) -> None:
    words = PM5XXX.encode(READING)[register - 1 - PM5XXX.start :][:4]
    assert struct.unpack(">q", struct.pack(">4H", *words)) == (value,)


def test_pm5xxx_tells_the_time_of_its_own_clock_and_has_nothing_between() -> None:
    moment = datetime(2026, 11, 24, 17, 5, 59, 250_000, UTC)
    reading = READING._replace(t_ns=round(moment.timestamp() * 1e3) * 10**6)
    unit = MappedUnit(PM5XXX, lambda: reading)
    assert unit.read(3, 1844, 4) == [26, 11 << 8 | 24, 17 << 8 | 5, 59_250]
    assert unit.read(3, 1847, 2) == unit.read(3, 1848, 1) == unit.read(3, 2998, 2) == Refusal.ILLEGAL_ADDRESS
    assert unit.read(3, 1843, 1) == unit.read(3, 3214, 2) == Refusal.ILLEGAL_ADDRESS
    for undefined in (3005, 3015, 3203 - 2):
        assert unit.read(4, undefined, 2) == [0x7FC0, 0], "not available"


@pytest.mark.parametrize(
    ("address", "value"),
    [
        (19006, 501_250.0),
        (19012, 371.5),
        (19026, -322_125_000.0),
        (19042, -100_500_000.0),
        (19050, 50.0125),
        (19068, 123_456_789_012_345.0),
        (19076, 9_876_543_210.0),
    ],
)
def test_umg_answers_at_the_listed_address(address: int, value: float) -> None:
    assert f32(UMG, address) == pytest.approx(value, rel=1e-7)


def test_a_float_counter_moves_in_steps_of_8_kwh_at_100_gwh() -> None:
    shown = set()
    for wh in range(100_000_000_000, 100_000_020_000, 100):
        words = UMG.encode(Reading(0, 0, 0, 0, 50, wh, 0))[19068 - UMG.start :][:2]
        shown.add(struct.unpack(">f", struct.pack(">HH", *words))[0])
    assert sorted(shown) == [99_999_997_952.0 + 8192 * k for k in range(4)]


@pytest.mark.parametrize("layout", READING_MAPS.values(), ids=lambda layout: layout.kind)
def test_whole_block_is_readable_and_gaps_are_not_available(layout: RegisterMap[Reading]) -> None:
    words = layout.encode(READING)
    assert len(words) == layout.length
    assert all(0 <= word <= 0xFFFF for word in words)
    taken = {r.address + k for r in layout.registers for k in range(r.encoding.words)}
    block = range(layout.start, layout.start + layout.length - 1)
    open_pairs = [a for a in block if layout.readable(a, 2) and not {a, a + 1} & taken]
    gaps = [a for a in open_pairs if (a - layout.run(a).start) % 2 == 0]
    assert gaps
    assert all(math.isnan(f32(layout, address)) for address in gaps)


def test_overlapping_and_outlying_registers_are_refused() -> None:
    a: Register[Reading] = Register(10, Encoding.FLOAT32, lambda r: r.p_mw, "a")
    b: Register[Reading] = Register(11, Encoding.FLOAT32, lambda r: r.q_mvar, "b")
    with pytest.raises(ValueError, match="b overlaps a at 11"):
        RegisterMap("m", 10, 4, (a, b))
    with pytest.raises(ValueError, match="outside the block"):
        RegisterMap("m", 10, 1, (a,))
