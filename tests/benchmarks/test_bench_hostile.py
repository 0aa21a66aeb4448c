"""A moment of what ``python -m benchmarks.hostile`` does in full."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from benchmarks.hostile import MODES, attacked
from benchmarks.hostile_gateway import ALL_DEEDS, TCP_DEEDS, VALUE, registers, value_of


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("mode", MODES)
async def test_a_lying_gateway_never_gets_a_wrong_value_marked_good(mode: str) -> None:
    found = await attacked(mode, 700, seed=7)
    assert (found.wrong_replies, found.wrong_values) == (0, 0)
    assert found.exchanges >= 700
    assert found.good_values > 100
    assert found.bad_values > 100
    expected = set(ALL_DEEDS) | (set() if mode.startswith("rtu") else set(TCP_DEEDS))
    assert len(expected - set(found.deeds)) <= 3, "nearly every deed was done"


def test_any_cut_of_the_registers_tells_whose_they_are() -> None:
    whole = registers(3, 7, 100, 8, 5)
    assert whole == b"".join(value_of(3, 7, at, 5).to_bytes(8, "big") for at in (100, 104))
    for first in range(8):
        assert registers(3, 7, 100 + first, 8 - first, 5) == whole[2 * first :]
    assert (
        len({value_of(f, u, a, s) for f in (3, 4) for u in (1, 2) for a in (0, VALUE) for s in (1, 2)}) == 16
    )
