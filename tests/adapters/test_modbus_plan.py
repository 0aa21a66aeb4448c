from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.codec import Slot
from adapters.modbus.plan import Limits, Read, Wanted, coalesced, plan_device
from adapters.profiles import bundled_profiles
from telemetry.errors import ConfigError
from telemetry.profiles import DeviceProfile, RegisterTable, RegisterType
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


def asked(wanted: list[tuple[int, RegisterType]]) -> list[Wanted]:
    return [Wanted(i, f"P{i}", address, Slot(0, kind)) for i, (address, kind) in enumerate(wanted)]


def registers_of(wanted: tuple[Wanted, ...]) -> set[int]:
    return {a for want in wanted for a in range(want.start, want.end)}


def cost(reads: tuple[Read, ...], request: float) -> float:
    return sum(request + read.count for read in reads)


@given(values, st.integers(4, 125), st.integers(0, 30))
def test_every_value_is_read_once_whole_and_within_the_limits(
    wanted: list[tuple[int, RegisterType]], max_registers: int, max_gap: int
) -> None:
    reads = coalesced(Limits(max_registers, max_gap=max_gap), asked(wanted))
    assert sorted(index for read in reads for index in read.point.tolist()) == list(range(len(wanted)))
    for read in reads:
        assert 1 <= read.count <= max_registers
        covered = registers_of(read.wanted)
        assert all(read.address <= a < read.end for a in covered)
        unused = sorted(set(range(read.address, read.end)) - covered)
        assert all(not set(range(a, a + max_gap + 1)) <= set(unused) for a in unused)
        assert all(part.count == len(registers_of(part.wanted)) for part in read.without_gaps())


@given(values, st.floats(0, 60))
def test_no_cheaper_way_is_found_by_joining_or_cutting(
    wanted: list[tuple[int, RegisterType]], request_cost: float
) -> None:
    limits = Limits(60, max_gap=40, request_cost=request_cost)
    reads = coalesced(limits, asked(wanted))
    paid = cost(reads, request_cost)
    for one, two in pairwise(reads):
        both = one.with_(two)
        gap = two.address - max(want.end for want in one.wanted)
        if both.count <= 60 and gap <= 40:
            rest = tuple(read for read in reads if read not in {one, two})
            assert cost((*rest, both), request_cost) >= paid - 1e-9
    for read in reads:
        rest = tuple(other for other in reads if other is not read)
        for k in range(1, len(read.wanted)):
            parts = (
                Read(read.table, read.order, read.wanted[:k]),
                Read(read.table, read.order, read.wanted[k:]),
            )
            assert cost((*rest, *parts), request_cost) >= paid - 1e-9


def test_a_dear_request_reads_across_a_gap_that_a_cheap_one_does_not() -> None:
    two = asked([(0, RegisterType.UINT16), (20, RegisterType.UINT16)])
    assert len(coalesced(Limits(max_gap=40, request_cost=30), two)) == 1
    assert len(coalesced(Limits(max_gap=40, request_cost=10), two)) == 2
    assert len(coalesced(Limits(max_gap=10, request_cost=30), two)) == 2, "the device does not bear the gap"


def test_a_forbidden_range_is_never_touched() -> None:
    three = asked([(0, RegisterType.UINT16), (2, RegisterType.UINT16), (8, RegisterType.UINT16)])
    reads = coalesced(Limits(max_gap=40, forbidden=((4, 6),)), three)
    assert [(read.address, read.count) for read in reads] == [(0, 3), (8, 1)]


def test_a_value_and_its_scale_factor_are_in_one_read_and_stay_together() -> None:
    values = [
        Wanted(0, "W", 10, Slot(0, RegisterType.INT16, scale_from=5)),
        Wanted(1, "Hz", 40, Slot(0, RegisterType.UINT16, scale_from=-2)),
    ]
    (read,) = coalesced(Limits(max_gap=40), values)
    assert (read.address, read.count) == (10, 31)
    assert [(part.address, part.count) for part in read.smaller()] == [(10, 6), (38, 3)]
    assert read.smaller()[0].smaller() == ()


def test_coils_and_periods_are_planned_apart() -> None:
    wanted = [
        Wanted(0, "a", 0, Slot(0, RegisterType.UINT16)),
        Wanted(1, "b", 1, Slot(0, RegisterType.UINT16), period_s=900.0),
        Wanted(2, "c", 1999, Slot(0, RegisterType.BOOL), RegisterTable.COIL),
        Wanted(3, "d", 0, Slot(0, RegisterType.BOOL), RegisterTable.COIL),
    ]
    reads = coalesced(Limits(max_gap=2000), wanted)
    assert [(r.table, r.address, r.count, r.period_s) for r in reads] == [
        (RegisterTable.HOLDING, 0, 1, 1.0),
        (RegisterTable.HOLDING, 1, 1, 900.0),
        (RegisterTable.COIL, 0, 2000, 1.0),
    ]


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
