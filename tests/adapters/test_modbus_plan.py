from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.codec import Slot
from adapters.modbus.plan import Wanted, coalesced, plan_device
from adapters.profiles import bundled_profiles
from telemetry.errors import ConfigError
from telemetry.profiles import DeviceProfile, ModbusMap, RegisterType
from telemetry.site import SitePoint

MakePoints = Callable[..., list[SitePoint]]

values = st.lists(
    st.tuples(
        st.integers(0, 600), st.sampled_from([k for k in RegisterType if k is not RegisterType.STRING])
    ),
    min_size=1,
    max_size=40,
)


def spans(profile: DeviceProfile, make_points: MakePoints) -> list[tuple[int, int]]:
    points = make_points(("meter", profile, 2))
    return [(read.address, read.count) for read in plan_device(points[0].device, points).reads]


def test_the_bundled_meters_need_one_or_two_reads(make_points: MakePoints) -> None:
    profiles = bundled_profiles()
    assert spans(profiles["pm5xxx"], make_points) == [(3009, 102), (3203, 8)]
    assert spans(profiles["umg"], make_points) == [(19006, 72)]


@given(values, st.integers(4, 125), st.integers(0, 30))
def test_every_value_is_read_once_whole_and_within_the_limits(
    wanted: list[tuple[int, RegisterType]], max_registers: int, max_gap: int
) -> None:
    asked = [Wanted(i, f"P{i}", address, Slot(0, kind)) for i, (address, kind) in enumerate(wanted)]
    limits = ModbusMap(max_registers=max_registers, max_gap=max_gap, registers={})
    reads = coalesced(limits, asked)
    assert sorted(index for read in reads for index in read.point.tolist()) == list(range(len(asked)))
    for read in reads:
        assert 1 <= read.count <= max_registers
        covered = {a for want in read.wanted for a in range(want.address, want.end)}
        assert all(read.address <= a < read.address + read.count for a in covered)
        unused = sorted(set(range(read.address, read.address + read.count)) - covered)
        assert all(not set(range(a, a + max_gap + 1)) <= set(unused) for a in unused)
        assert all(part.count == len(part_registers(part.wanted)) for part in read.without_gaps())


def part_registers(wanted: tuple[Wanted, ...]) -> set[int]:
    return {a for want in wanted for a in range(want.address, want.end)}


@given(values)
def test_neighbouring_reads_could_not_have_been_one(wanted: list[tuple[int, RegisterType]]) -> None:
    asked = [Wanted(i, f"P{i}", address, Slot(0, kind)) for i, (address, kind) in enumerate(wanted)]
    reads = coalesced(ModbusMap(max_registers=60, max_gap=5, registers={}), asked)
    for one, two in pairwise(reads):
        too_far = two.address - (one.address + one.count) > 5
        assert too_far or two.wanted[0].end - one.address > 60


def test_order_of_the_points_is_kept_apart_from_the_order_of_addresses(make_points: MakePoints) -> None:
    profile = bundled_profiles()["pm5xxx"]
    points = make_points(("x", profile, 1), ("meter", profile, 2))[7:]
    index = {point.key.name: point.index for point in points}
    for read in plan_device(points[0].device, points).reads:
        assert read.point.tolist() == [index[name] for name in read.names]


def test_a_device_on_another_protocol_is_refused(make_points: MakePoints) -> None:
    points = make_points(("meter", bundled_profiles()["bus-meter"], "t/a"))
    with pytest.raises(ConfigError, match="not a Modbus device"):
        plan_device(points[0].device, points)
