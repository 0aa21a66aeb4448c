"""What is told of a device, and the search for a register that it does not have."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.codec import DeviceRefusedError
from adapters.modbus.decoding import Slot
from adapters.modbus.plan import DevicePlan, Limits, Wanted, coalesced
from adapters.modbus.unit import MAX_REST, Poll, Unit
from telemetry.profiles import RegisterType
from telemetry.quality import Quality

ABSENT = DeviceRefusedError(2)


def unit_of(addresses: list[int], max_gap: int = 8, **kinds: int) -> Unit:
    """Single registers, one point each; ``scale_from`` of each by its name ``R<address>``."""
    limits = Limits(max_gap=max_gap)
    wanted = [
        Wanted(a, f"R{a}", a, Slot(0, RegisterType.UINT16, scale_from=kinds.get(f"R{a}"))) for a in addresses
    ]
    return Unit(DevicePlan("d", 1, 1.0, coalesced(limits, wanted), limits))


def poll(unit: Unit, missing: set[int], code: int = 2) -> tuple[set[int], list[tuple[int, int]]]:
    """One poll of a device without some registers: the points that were read, and each request."""
    turn, read, asked = Poll(unit), set(), []
    while len(turn):
        (state,) = turn.next(1)
        span = range(state.read.address, state.read.end)
        asked.append((span.start, len(span)))
        if missing.intersection(span):
            turn.refused(state, DeviceRefusedError(code))
        else:
            turn.answered((state,), (bytes(2 * len(span)),), (0,))
            read |= {want.address for want in state.read.wanted}
    turn.end()
    return read, asked


def test_the_search_for_a_bad_register_loses_nothing_of_the_cycle() -> None:  # telegraf's modbus input
    unit = unit_of(list(range(100, 116)))
    read, asked = poll(unit, {107})
    assert read == set(range(100, 116)) - {107}
    assert asked[0] == (100, 16)
    assert len(asked) == 9, "four halvings, of which each asks for two"


def test_what_the_search_found_is_remembered() -> None:
    unit = unit_of(list(range(100, 116)))
    poll(unit, {107})
    read, asked = poll(unit, {107})
    assert read == set(range(100, 116)) - {107}
    assert asked == [(100, 7), (108, 8)], "the good registers are together again, the bad one rests"


def test_a_register_that_does_not_exist_is_asked_for_less_and_less_often_and_never_forgotten() -> None:
    unit = unit_of([100, 101])
    polls = [bool({(101, 1), (100, 2)} & set(poll(unit, {101})[1])) for _ in range(3000)]
    at = [i for i, asked in enumerate(polls) if asked]
    pauses = [two - one for one, two in pairwise(at)]
    assert pauses[:6] == [2, 3, 5, 9, 17, 33]
    assert max(pauses) == MAX_REST + 1


def test_a_register_that_comes_to_exist_returns_at_its_next_turn() -> None:
    unit = unit_of([100, 101])
    poll(unit, {101})
    assert poll(unit, {101})[0] == {100}
    assert poll(unit, set())[0] == {100, 101}
    assert poll(unit, set())[0] == {100, 101}, "and stays"


def test_everything_is_asked_for_again_after_the_device_was_away() -> None:
    unit = unit_of([100, 101])
    for _ in range(40):
        poll(unit, {101})
    assert poll(unit, set())[0] == {100}, "it rests"
    unit.wake()
    assert poll(unit, set())[0] == {100, 101}


@given(
    st.sets(st.integers(0, 60), min_size=1, max_size=25),
    st.sets(st.integers(0, 60), max_size=6),
    st.integers(0, 12),
    st.sampled_from([2, 3]),
)
def test_whatever_is_missing_everything_else_is_read_in_every_poll(
    wanted: set[int], missing: set[int], max_gap: int, code: int
) -> None:
    """A gap that cannot be read across is as bad as a value that is not there, and costs no value."""
    unit = unit_of(sorted(wanted), max_gap)
    for _ in range(4):
        read, asked = poll(unit, missing, code)
        assert read == wanted - missing
        assert len(asked) <= 4 * len(wanted)
    assert {want.address for state in unit.reads for want in state.read.wanted} == wanted


def test_a_value_and_its_scale_factor_fall_together() -> None:
    """The factor of 100 stands at 103: where it is missing, only that value has no meaning."""
    unit = unit_of([100, 101, 102], R100=3)
    assert poll(unit, {103})[0] == {101, 102}


@pytest.mark.parametrize("code", [1, 4, 5, 6, 8, 99])
def test_other_refusals_are_no_reason_to_search(code: int) -> None:
    unit = unit_of([100, 101])
    read, asked = poll(unit, {101}, code)
    assert read == set()
    assert asked == [(100, 2)]
    assert poll(unit, set())[1] == [(100, 2)]


def test_a_failure_is_told_once_and_again_after_an_answer_or_another_failure() -> None:
    unit = unit_of([100])
    (state,) = unit.reads

    def told(quality: Quality) -> list[int]:
        codes: list[int] = state.failed(quality, 5).quality.tolist()
        return codes

    assert told(Quality.DEVICE_TIMEOUT) == [Quality.DEVICE_TIMEOUT]
    assert told(Quality.DEVICE_TIMEOUT) == []
    assert told(Quality.LINK_LOST) == [Quality.LINK_LOST]
    turn = Poll(unit)
    turn.answered((state,), (b"\0\x07",), (6,))
    (answer,) = turn.answers()
    answered = answer.columns()
    assert (answered.value.tolist(), answered.t_source.tolist()) == ([7.0], [6])
    again = state.failed(Quality.LINK_LOST, 7)
    assert (again.t_source.tolist(), again.quality.tolist()) == ([7], [Quality.LINK_LOST])
    assert math.isnan(again.value[0])
    unit.forget()
    assert told(Quality.LINK_LOST) == [Quality.LINK_LOST]
