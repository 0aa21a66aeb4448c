"""Replies that are decoded together say what each says alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.decoding import MOST_WAITING, BlockDecoder, Slot
from telemetry.profiles import RegisterType, WordOrder

REGISTERS = 12
NUMBERS = [kind for kind in RegisterType if kind is not RegisterType.STRING]


@st.composite
def slots(draw: st.DrawFn) -> Slot:
    kind = draw(st.sampled_from(NUMBERS))
    offset = draw(st.integers(0, REGISTERS - kind.registers))
    low, high = sorted(draw(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))))
    return Slot(
        offset,
        kind,
        scale=draw(st.sampled_from([1.0, 0.1, -2.5])),
        shift=draw(st.sampled_from([0.0, 7.0])),
        not_implemented=draw(st.sampled_from([None, 0, 0x8000, -1])),
        low=low,
        high=high,
        order=draw(st.sampled_from([None, *WordOrder])),
        scale_from=draw(st.sampled_from([None, -offset, REGISTERS - 1 - offset])),
    )


@given(
    st.lists(slots(), min_size=1, max_size=6),
    st.sampled_from(list(WordOrder)),
    st.lists(st.binary(min_size=2 * REGISTERS, max_size=2 * REGISTERS), min_size=1, max_size=9),
)
def test_replies_decoded_together_are_those_decoded_one_by_one(
    members: list[Slot], order: WordOrder, replies: list[bytes]
) -> None:
    decoder = BlockDecoder(members, order)
    waiting = [decoder.later(data) for data in replies]
    for reply, data in zip(reversed(waiting), reversed(replies), strict=True):
        value, quality = reply.decoded()
        alone_value, alone_quality = decoder.decode(data)
        np.testing.assert_array_equal(value, alone_value)
        np.testing.assert_array_equal(quality, alone_quality)


def test_replies_that_nobody_asks_for_do_not_pile_up() -> None:
    decoder = BlockDecoder([Slot(0, RegisterType.UINT16)], WordOrder.BIG)
    waiting = [decoder.later(i.to_bytes(2, "big")) for i in range(MOST_WAITING + 1)]
    assert [reply.columns is not None for reply in waiting] == [True] * MOST_WAITING + [False]
    assert [reply.decoded()[0][0] for reply in waiting] == [pytest.approx(i) for i in range(MOST_WAITING + 1)]
