"""Guesses against values whose encoding is known; struct writes them, independently of the decoder."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from commissioning.modbus.guessing import guesses
from telemetry.profiles import RegisterType, WordOrder

FORMATS = {
    RegisterType.INT16: ">h",
    RegisterType.UINT16: ">H",
    RegisterType.INT32: ">i",
    RegisterType.UINT32: ">I",
    RegisterType.INT64: ">q",
    RegisterType.FLOAT32: ">f",
    RegisterType.FLOAT64: ">d",
}
NOISE = [0x1234, 0x9E37, 0x79B9, 0x4142, 0x0C0D]
"""What stands around the value."""


def words(kind: RegisterType, raw: float, order: WordOrder = WordOrder.BIG) -> list[int]:
    octets = struct.pack(FORMATS[kind], raw if kind.is_float else int(raw))
    split = [octets[i : i + 2] for i in range(0, len(octets), 2)]
    if order in {WordOrder.LITTLE, WordOrder.DCBA}:
        split.reverse()
    if order in {WordOrder.BADC, WordOrder.DCBA}:
        split = [pair[::-1] for pair in split]
    return [int.from_bytes(pair, "big") for pair in split]


def window(address: int, held: Sequence[int], shift: int = 0) -> dict[int, int]:
    found = dict(enumerate(NOISE + NOISE, address - 2))
    found.update(enumerate(held, address + shift))
    return {at: word for at, word in found.items() if address - 1 <= at <= address + 4}


def samples(
    kind: RegisterType, values: Sequence[float], order: WordOrder = WordOrder.BIG, shift: int = 0
) -> list[dict[int, int]]:
    return [window(100, words(kind, value, order), shift) for value in values]


@pytest.mark.parametrize(
    ("kind", "order", "values"),
    [
        (RegisterType.FLOAT32, WordOrder.BIG, [50.02, 50.03, 50.01]),
        (RegisterType.FLOAT32, WordOrder.BIG, [-323112.4, -323098.7, -323140.2]),
        (RegisterType.FLOAT32, WordOrder.LITTLE, [-323.53, -323.17, -322.91]),
        (RegisterType.FLOAT32, WordOrder.LITTLE, [50.0211, 50.0307, 50.0191]),
        (RegisterType.INT64, WordOrder.BIG, [38736906599, 38736906610, 38736906621]),
    ],
)
def test_what_moves_like_a_measurement_is_found_without_a_hint(
    kind: RegisterType, order: WordOrder, values: list[float]
) -> None:
    found = guesses(100, samples(kind, values, order))
    best = found.ranked[0]
    assert (best.type, best.order, best.address) == (kind, order, 100), found.text()
    assert best.value == pytest.approx(values[-1], rel=1e-6)


def test_a_frequency_in_hundredths_tells_itself() -> None:
    best = guesses(100, samples(RegisterType.UINT16, [4998, 5001, 4999])).ranked[0]
    assert (best.type, best.scale, best.value) == (RegisterType.UINT16, 0.01, 49.99)
    assert "looks like a frequency [Hz]" in best.why


@pytest.mark.parametrize(
    ("kind", "order", "raw", "shift", "expected", "scale"),
    [
        (RegisterType.UINT16, WordOrder.BIG, 4998, 0, 49.98, 0.01),
        (RegisterType.INT16, WordOrder.BIG, -325, 0, -32.5, 0.1),
        (RegisterType.INT32, WordOrder.LITTLE, -322994, 0, -323.0, 0.001),
        (RegisterType.INT32, WordOrder.BIG, -322994, 0, 323.0, -0.001),
        (RegisterType.FLOAT32, WordOrder.DCBA, 230.4, 0, 230.0, 1.0),
        (RegisterType.FLOAT32, WordOrder.BIG, 230400.0, 0, 230.0, 0.001),
        (RegisterType.FLOAT32, WordOrder.BIG, 12.5, -1, 12.5, 1.0),
        (RegisterType.INT32, WordOrder.BIG, 322994, 1, 323.0, 0.001),
        (RegisterType.FLOAT64, WordOrder.LITTLE, 987.25, 0, 987.0, 1.0),
    ],
)
def test_an_expected_value_leads_to_type_order_scale_sign_and_address(
    kind: RegisterType, order: WordOrder, raw: float, shift: int, expected: float, scale: float
) -> None:
    found = guesses(100, samples(kind, [raw], order, shift), expected)
    best = found.ranked[0]
    assert (best.type, best.order, best.scale, best.address) == (kind, order, scale, 100 + shift), (
        found.text()
    )
    assert best.value == pytest.approx(expected, rel=0.02)
    mapping = best.mapping()
    assert (mapping.address, mapping.type, mapping.scale) == (100 + shift, kind, scale)


@settings(deadline=None)
@given(
    kind=st.sampled_from(sorted(FORMATS)),
    order=st.sampled_from([WordOrder.BIG, WordOrder.LITTLE, WordOrder.BADC, WordOrder.DCBA]),
    raw=st.one_of(st.integers(-30000, 30000), st.floats(-30000, 30000, width=32)),
    scale=st.sampled_from([1.0, 0.1, 0.01, 0.001, 10.0, 100.0, 1e3]),
)
def test_the_truth_is_among_the_guesses_and_no_guess_is_far_off(
    kind: RegisterType, order: WordOrder, raw: float, scale: float
) -> None:
    if not kind.is_float:
        raw = int(raw) % 30000 if kind.value.startswith("u") else int(raw)
    assume(abs(raw) >= 1)
    expected = raw * scale
    found = guesses(100, samples(kind, [raw], order), expected, most=1000)
    assert all(abs(guess.value - expected) <= 0.0201 * abs(expected) for guess in found.ranked)
    widths = {(guess.address, guess.type.registers, guess.type.is_float) for guess in found.ranked}
    assert (100, kind.registers, kind.is_float) in widths


def test_two_possible_readings_are_called_ambiguous() -> None:
    found = guesses(100, [window(100, [0xC000, 0xC3A1])])
    assert found.ambiguous
    assert "--expect" in found.text()
    assert not guesses(100, samples(RegisterType.FLOAT32, [50.02, 50.03])).ambiguous


def test_a_float_one_register_off_cannot_be_told_from_swapped_words_by_one_sample() -> None:
    """Both share the word that holds the exponent, so their values differ by less than 1 %."""
    assert guesses(100, samples(RegisterType.FLOAT32, [12.5], shift=1), 12.5).ambiguous


def test_a_word_that_leaps_is_less_plausible_than_one_that_moves() -> None:
    """An int32 whose low word overflows between two samples: swapped words leap."""
    found = guesses(100, samples(RegisterType.INT32, [1310719, 1310721, 1310725], WordOrder.LITTLE))
    rank = {(guess.type, guess.order, guess.address): n for n, guess in enumerate(found.ranked)}
    true = rank[RegisterType.INT32, WordOrder.LITTLE, 100]
    assert true < rank.get((RegisterType.INT32, WordOrder.BIG, 100), 99)


def test_text_is_recognised() -> None:
    held = [int.from_bytes(b"PM5560\0\0"[i : i + 2], "big") for i in range(0, 8, 2)]
    assert guesses(100, [window(100, held)]).text_seen == "PM5560"
    assert guesses(100, samples(RegisterType.FLOAT32, [50.02])).text_seen == ""


def test_nothing_that_fits_says_what_to_check() -> None:
    found = guesses(100, samples(RegisterType.UINT16, [7]), expected=123456.0, tolerance=1e-9)
    assert not found.sound
    assert "check address, table and unit" in found.text()
    assert guesses(100, []).ranked == ()
    assert found.document()["guesses"] == []
