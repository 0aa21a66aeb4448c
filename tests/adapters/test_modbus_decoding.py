"""Registers to values: every type in every order, with marks and scales; ``struct`` is the oracle."""

from __future__ import annotations

import math
import struct
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from adapters.modbus.decoding import MAX_EXPONENT, BlockDecoder, Slot
from telemetry.profiles import RegisterType, WordOrder
from telemetry.quality import Quality

NUMBERS = [kind for kind in RegisterType if kind is not RegisterType.STRING]
FORMATS = {
    RegisterType.BOOL: "H",
    RegisterType.INT16: "h",
    RegisterType.UINT16: "H",
    RegisterType.INT32: "i",
    RegisterType.UINT32: "I",
    RegisterType.INT64: "q",
    RegisterType.UINT64: "Q",
    RegisterType.FLOAT16: "e",
    RegisterType.FLOAT32: "f",
    RegisterType.FLOAT64: "d",
    RegisterType.ACC32: "I",
    RegisterType.ACC64: "Q",
}
WIRE = {
    WordOrder.BIG: ("AB", "ABCD", "ABCDEFGH"),
    WordOrder.LITTLE: ("AB", "CDAB", "GHEFCDAB"),
    WordOrder.BADC: ("BA", "BADC", "BADCFEHG"),
    WordOrder.DCBA: ("BA", "DCBA", "HGFEDCBA"),
    WordOrder.EFGHABCD: ("AB", "ABCD", "EFGHABCD"),
    WordOrder.CDABGHEF: ("AB", "CDAB", "CDABGHEF"),
}
"""The letters in which the trade names the orders, A the most significant byte; for 2, 4 and 8 bytes."""


def ordered(data: bytes, order: WordOrder) -> bytes:
    letters = WIRE[order][{2: 0, 4: 1, 8: 2}[len(data)]]
    return bytes(data["ABCDEFGH".index(letter)] for letter in letters)


def encoded(kind: RegisterType, value: float, order: WordOrder = WordOrder.BIG) -> bytes:
    """The registers of a value as they go over the wire."""
    if kind.value.startswith("bcd"):
        data = bytes.fromhex(f"{int(value):0{4 * kind.registers}d}")
    else:
        data = struct.pack(f">{FORMATS[kind]}", value)
    return ordered(data, order)


def examples(kind: RegisterType) -> list[float]:
    """Values of a type: its limits, and some whose bytes all differ."""
    if kind.is_float:
        return [0.5, -2.25, 1.0]
    whole = kind.integers
    mixed = {1: 12345, 2: 0x01234567, 4: 0x0102030405060708}[kind.registers]
    if kind.value.startswith("bcd"):
        mixed = {1: 1234, 2: 12345678, 4: 1234567890123456}[kind.registers]
    return [1, whole[-1], *([whole[0]] if whole[0] else []), *([mixed] if mixed in whole else [])]


def rows(value: NDArray[np.float64], quality: NDArray[np.uint8]) -> list[object]:
    return list(zip(value.tolist(), map(Quality, quality.tolist()), strict=True))


@pytest.mark.parametrize(("kind", "order"), list(product(NUMBERS, WordOrder)))
def test_each_type_in_each_order_with_each_scale(kind: RegisterType, order: WordOrder) -> None:
    for raw in examples(kind):
        data = encoded(kind, raw, order)
        for scale, shift, exponent in product((1.0, 0.001, -40.0), (0.0, -273.15), (None, 0, -2, 3, -10, 10)):
            slot = Slot(0, kind, scale=scale, shift=shift, scale_from=None if exponent is None else -1)
            power = encoded(RegisterType.INT16, exponent or 0, order)
            if exponent is not None:
                slot = Slot(1, kind, scale=scale, shift=shift, scale_from=-1)
            got = BlockDecoder([slot], order).decode(power + data if exponent is not None else data)
            expected = float(raw) * 10.0 ** (exponent or 0) * scale + shift
            assert rows(*got) == [(pytest.approx(expected, rel=1e-12), Quality.GOOD)]


@pytest.mark.parametrize(("kind", "order"), list(product(NUMBERS, WordOrder)))
def test_each_type_in_each_order_with_a_mark_of_what_is_not_implemented(
    kind: RegisterType, order: WordOrder
) -> None:
    """A mark is a bit pattern: of a floating-point type it is a NaN, of a signed one it may be negative."""
    size = 2 * kind.registers
    pattern = (1 << 8 * size - 1) if kind.value.startswith("int") else (1 << 8 * size) - 1
    marked = ordered(pattern.to_bytes(size, "big"), order)
    negative = pattern - (1 << 8 * size)
    for mark in (pattern, negative):
        for scale_from in (None, -1):
            slot = Slot(1, kind, scale=2.0, shift=3.0, not_implemented=mark, scale_from=scale_from)
            value, quality = BlockDecoder([slot], order).decode(b"\0\0" + marked)
            assert np.isnan(value).all()
            assert quality.tolist() == [Quality.NOT_IMPLEMENTED]
    for raw in examples(kind):
        data = encoded(kind, raw, order)
        if data != marked:
            _, quality = BlockDecoder([Slot(0, kind, not_implemented=pattern)], order).decode(data)
            assert quality.tolist() == [Quality.GOOD]


@pytest.mark.parametrize("kind", [RegisterType.ACC32, RegisterType.ACC64])
def test_an_accumulator_of_zero_is_not_implemented(kind: RegisterType) -> None:
    value, quality = BlockDecoder([Slot(0, kind)], WordOrder.BIG).decode(b"\0" * 2 * kind.registers)
    assert np.isnan(value).all()
    assert quality.tolist() == [Quality.NOT_IMPLEMENTED]


@pytest.mark.parametrize("kind", [k for k in NUMBERS if k.value.startswith("bcd")])
def test_four_bits_that_are_no_digit_are_no_number(kind: RegisterType) -> None:
    for at in range(4 * kind.registers):
        data = (0xA << 4 * at).to_bytes(2 * kind.registers, "big")
        value, quality = BlockDecoder([Slot(0, kind)], WordOrder.BIG).decode(data)
        assert np.isnan(value).all()
        assert quality.tolist() == [Quality.NOT_A_NUMBER]


@pytest.mark.parametrize(
    ("exponent", "quality"),
    [
        (MAX_EXPONENT, Quality.GOOD),
        (-MAX_EXPONENT, Quality.GOOD),
        (MAX_EXPONENT + 1, Quality.NOT_A_NUMBER),
        (-MAX_EXPONENT - 1, Quality.NOT_A_NUMBER),
        (32767, Quality.NOT_A_NUMBER),
        (-32767, Quality.NOT_A_NUMBER),
        (-32768, Quality.NOT_IMPLEMENTED),
    ],
)
def test_a_power_of_ten_that_cannot_be_leaves_no_value(exponent: int, quality: Quality) -> None:
    slot = Slot(0, RegisterType.INT16, scale_from=1)
    value, codes = BlockDecoder([slot], WordOrder.BIG).decode(struct.pack(">hh", 7, exponent))
    assert codes.tolist() == [quality]
    assert (quality is Quality.GOOD) == math.isfinite(value[0])


def raw_values(kind: RegisterType) -> st.SearchStrategy[float]:
    if kind.is_float:
        return st.floats(width={1: 16, 2: 32, 4: 64}[kind.registers], allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]
    least = 1 if kind.value.startswith("acc") else kind.integers[0]
    return st.integers(least, kind.integers[-1])


@given(
    st.data(),
    st.sampled_from(WordOrder),
    st.lists(
        st.tuples(st.sampled_from(NUMBERS), st.none() | st.sampled_from(WordOrder)), min_size=1, max_size=8
    ),
    st.integers(1, 4),
)
def test_what_is_encoded_is_decoded_for_all_replies_at_once(
    data: st.DataObject,
    order: WordOrder,
    kinds: list[tuple[RegisterType, WordOrder | None]],
    replies: int,
) -> None:
    slots, at = [Slot(0, RegisterType.UINT16)], 1
    for kind, own in kinds:
        at += data.draw(st.integers(0, 2))  # registers that belong to no value
        slots.append(Slot(at, kind, order=own))
        at += kind.registers
    blocks, raws = b"", []
    for _ in range(replies):
        block = bytearray(b"\xab" * 2 * at)
        for slot in slots:
            raws.append(data.draw(raw_values(slot.type)))
            wire = encoded(slot.type, raws[-1], slot.order or order)
            block[2 * slot.offset : 2 * slot.offset + len(wire)] = wire
        blocks += block
    value, quality = BlockDecoder(slots, order).decode(blocks, replies)
    assert value.tolist() == [float(raw) for raw in raws]
    assert not quality.any()


@given(
    st.sampled_from([RegisterType.UINT16, RegisterType.UINT32, RegisterType.UINT64]),
    st.sampled_from(WordOrder),
    st.integers(0, 2**64 - 1),
    st.integers(0, 63),
    st.integers(1, 32),
)
def test_a_field_of_bits_is_cut_out_of_its_integer(
    kind: RegisterType, order: WordOrder, raw: int, bit: int, bits: int
) -> None:
    width = 16 * kind.registers
    raw, bit = raw % (1 << width), bit % width
    bits = min(bits, width - bit)
    field = Slot(0, kind, scale=2.0, shift=1.0, bit=bit, bits=bits)
    value, quality = BlockDecoder([field, Slot(0, kind)], order).decode(encoded(kind, raw, order))
    assert value.tolist() == [2.0 * ((raw >> bit) % (1 << bits)) + 1.0, float(raw)]
    assert not quality.any()


@given(
    st.binary(min_size=34, max_size=34),
    st.sampled_from(WordOrder),
    st.booleans(),
    st.sampled_from([1.0, 1e-3, 1e300]),
)
def test_no_bytes_raise_and_no_value_without_meaning_is_good(
    data: bytes, order: WordOrder, scaled: bool, scale: float
) -> None:
    slots = [
        Slot(i % 4, kind, scale=scale, low=-5e300, high=5e300, scale_from=16 - i % 4 if scaled else None)
        for i, kind in enumerate(NUMBERS)
    ]
    value, quality = BlockDecoder(slots, order).decode(data)
    good = quality == Quality.GOOD
    assert np.isfinite(value[good]).all()
    assert (np.abs(value[good]) <= 5e300).all()
    assert np.isnan(value[~good & (quality != Quality.OUT_OF_RANGE)]).all()


@pytest.mark.parametrize(
    ("slot", "data", "value", "quality"),
    [
        (Slot(0, RegisterType.INT16, scale=0.1, shift=5), b"\xff\xf6", 4.0, Quality.GOOD),
        (Slot(0, RegisterType.INT16, not_implemented=-32768), b"\x80\0", math.nan, Quality.NOT_IMPLEMENTED),
        (Slot(0, RegisterType.UINT16), b"\x80\0", 32768.0, Quality.GOOD),
        (Slot(0, RegisterType.BOOL), b"\xff\0", 1.0, Quality.GOOD),
        (Slot(0, RegisterType.FLOAT16), b"\x7e\0", math.nan, Quality.NOT_A_NUMBER),
        (Slot(0, RegisterType.FLOAT32), b"\x7f\xc0\0\0", math.nan, Quality.NOT_A_NUMBER),
        (Slot(0, RegisterType.FLOAT32), b"\xff\x80\0\0", math.nan, Quality.NOT_A_NUMBER),
        (Slot(0, RegisterType.FLOAT64), b"\x7f\xf0" + b"\0" * 6, math.nan, Quality.NOT_A_NUMBER),
        (Slot(0, RegisterType.FLOAT64, scale=1e300), b"\x7f\xe0" + b"\0" * 6, math.nan, Quality.NOT_A_NUMBER),
        (Slot(0, RegisterType.UINT16, high=600), b"\x02\x59", 601.0, Quality.OUT_OF_RANGE),
        (Slot(0, RegisterType.UINT16, high=600), b"\x02\x58", 600.0, Quality.GOOD),
        (Slot(0, RegisterType.INT16, low=0), b"\xff\xff", -1.0, Quality.OUT_OF_RANGE),
    ],
)
def test_a_raw_value_becomes_a_value_and_a_quality(
    slot: Slot, data: bytes, value: float, quality: Quality
) -> None:
    got, codes = BlockDecoder([slot], WordOrder.BIG).decode(data)
    assert got.tolist() == pytest.approx([value], nan_ok=True)
    assert codes.tolist() == [quality]


def test_a_text_is_no_number() -> None:
    with pytest.raises(ValueError, match="not a number"):
        Slot(0, RegisterType.STRING)
