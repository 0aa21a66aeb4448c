"""Registers: how quantities lie in 16-bit words, and maps of them as tables.

All addresses are those sent on the wire, where registers count from 0 (Modbus Application Protocol V1.1b3,
4.4).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from itertools import pairwise
from typing import Generic, TypeVar

T = TypeVar("T")
"""What a map shows: a reading of a meter, the state of a generating unit."""
Value = float | int | str
Quantity = Callable[[T], Value]


@cache
def _words(code: str) -> int:
    return max(1, struct.calcsize(f">{code}") // 2)


class Encoding(StrEnum):
    """How a value lies in registers; the value is the code of :mod:`struct`."""

    UINT16 = "H"
    INT16 = "h"
    UINT32 = "I"
    INT32 = "i"
    UINT64 = "Q"
    INT64 = "q"
    FLOAT32 = "f"
    TEXT = "s"

    @property
    def words(self) -> int:
        """Number of 16-bit registers; of a text, the smallest."""
        return _words(self.value)

    @property
    def signed(self) -> bool:
        """Whether it is an integer that can be negative."""
        return self in {Encoding.INT16, Encoding.INT32, Encoding.INT64}

    @property
    def not_available(self) -> int:
        """What stands for "not implemented": the lowest signed, the highest unsigned number."""
        bits = 16 * self.words
        return -(1 << (bits - 1)) if self.signed else (1 << bits) - 1


class WordOrder(StrEnum):
    """Order of the bytes A (most significant) to D of a number in two registers; four registers go alike."""

    ABCD = "abcd"
    """As the standard has it."""
    CDAB = "cdab"
    """Least significant register first."""
    BADC = "badc"
    """Bytes swapped within each register."""
    DCBA = "dcba"

    def arranged(self, words: Sequence[int]) -> list[int]:
        """Words of one number from the standard's order into this one, and back."""
        arranged = list(words[::-1] if self in {WordOrder.CDAB, WordOrder.DCBA} else words)
        if self in {WordOrder.BADC, WordOrder.DCBA}:
            arranged = [word >> 8 | (word & 0xFF) << 8 for word in arranged]
        return arranged


@dataclass(frozen=True, slots=True)
class Held:
    """What a register, or the registers of one number, hold now."""

    table: str
    """``holding``, ``input`` or both: ``holding+input``."""
    address: int
    """First address on the wire."""
    name: str
    words: tuple[int, ...]
    value: Value | None
    """Engineering value [unit]; None when the words say "not available"."""
    unit: str


@dataclass(frozen=True, slots=True)
class Register(Generic[T]):
    """One quantity of a map."""

    address: int
    encoding: Encoding
    quantity: Quantity[T] | Value | None
    """Value [unit], or a constant; None for one that the device does not implement."""
    name: str
    unit: str = ""
    exponent: int = 0
    """The registers hold the value divided by ten to this power."""
    wraps: bool = False
    """A counter that starts again from zero when it is full."""
    length: int = 0
    """Words of a text."""

    @property
    def words(self) -> int:
        """Number of registers."""
        return self.length or self.encoding.words

    @property
    def constant(self) -> bool:
        """Whether it shows the same whatever is observed."""
        return not callable(self.quantity)

    def encode(self, observation: T) -> list[int]:
        """The words in the standard's order; a value that does not fit reads as not available."""
        return self._encoded(self.quantity(observation) if callable(self.quantity) else self.quantity)

    def field(self) -> Callable[[T], Value | bytes]:
        """What :mod:`struct` is to pack of an observation."""
        quantity = self.quantity
        if not callable(quantity):
            raise TypeError(f"{self.name} is a constant")
        if self.encoding is Encoding.TEXT:
            return lambda observation: self._text(quantity(observation))
        if self.encoding is not Encoding.FLOAT32:
            return lambda observation: self._integer(quantity(observation))
        if self.exponent:
            return lambda observation: self._number(quantity(observation))
        return quantity

    def encode_constant(self) -> list[int]:
        """The words of a constant."""
        return self._encoded(None if callable(self.quantity) else self.quantity)

    def _encoded(self, value: Value | None) -> list[int]:
        if self.encoding is Encoding.TEXT:
            raw = self._text(value)
        elif self.encoding is Encoding.FLOAT32:
            raw = struct.pack(">f", self._number(value))
        else:
            raw = self._integer(value).to_bytes(2 * self.words, "big", signed=self.encoding.signed)
        return list(struct.unpack(f">{self.words}H", raw))

    def decode(self, words: Sequence[int]) -> Value | None:
        """The value [unit] that words in the standard's order stand for; None if they stand for none."""
        raw = struct.pack(f">{len(words)}H", *words)
        if self.encoding is Encoding.TEXT:
            return raw.rstrip(b"\0").decode("ascii")
        (number,) = struct.unpack(f">{self.encoding.value}", raw)
        if (isinstance(number, float) and math.isnan(number)) or (
            not self.wraps and number == self.encoding.not_available
        ):
            return None
        value: Value = number * 10**self.exponent if self.exponent >= 0 else number / 10**-self.exponent
        return value

    def _text(self, value: Value | None) -> bytes:
        return str(value or "").encode("ascii", "replace")[: 2 * self.words].ljust(2 * self.words, b"\0")

    def _number(self, value: Value | None) -> float:
        return math.nan if value is None else float(value) / 10**self.exponent

    def _integer(self, value: Value | None) -> int:
        if value is None or isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value)):
            return 0 if self.wraps else self.encoding.not_available
        # whole numbers stay whole: a counter has more digits than a float
        if isinstance(value, int) and self.exponent == 0:
            number = value
        elif isinstance(value, int) and self.exponent > 0:
            number = value // 10**self.exponent
        else:
            number = round(value * 10**-self.exponent)
        bits = 16 * self.words
        if self.wraps:
            return number % (1 << bits)
        lowest = -(1 << (bits - 1)) if self.encoding.signed else 0
        fits = lowest <= number < lowest + (1 << bits)
        return number if fits else self.encoding.not_available


_Field = Callable[[T], Value | bytes]
_Packed = tuple[struct.Struct, struct.Struct, list[Value | bytes], tuple[tuple[int, _Field[T]], ...]]
"""Some registers as one structure and as words; what its fields hold always, and by place what they show."""
_MOST_PARTS = 256
"""Different reads of a map whose structures are kept."""


@dataclass(frozen=True)
class RegisterMap(Generic[T]):
    """The readable block of a kind of device.

    Raises
    ------
    ValueError
        Registers overlap or lie outside the block.

    """

    kind: str
    start: int
    """First address of the block."""
    length: int
    registers: tuple[Register[T], ...]
    functions: frozenset[int] = frozenset({3, 4})
    """Function codes that read it: 3 holding, 4 input registers (V1.1b3, 6.3 and 6.4)."""
    gaps: tuple[range, ...] = ()
    """Addresses within the block that the device does not have."""

    def readable(self, address: int, count: int) -> bool:
        """Whether the device has every one of ``count`` registers from an address on."""
        if address < self.start or address + count > self.start + self.length:
            return False
        return all(address + count <= gap.start or address >= gap.stop for gap in self.gaps)

    def __post_init__(self) -> None:
        taken: dict[int, str] = {}
        for register in self.registers:
            for address in range(register.address, register.address + register.words):
                if not self.readable(address, 1):
                    raise ValueError(f"map {self.kind}: {register.name} at {address} lies outside the block")
                if address in taken:
                    raise ValueError(
                        f"map {self.kind}: {register.name} overlaps {taken[address]} at {address}"
                    )
                taken[address] = register.name

    def run(self, address: int) -> range:
        """The part of the block, between gaps or a gap itself, in which an address lies."""
        return next(run for run in self._runs if address in run)

    @cached_property
    def _runs(self) -> list[range]:
        inner = {edge for gap in self.gaps for edge in (gap.start, gap.stop)}
        edges = sorted({self.start, self.start + self.length} | inner)
        return [range(first, last) for first, last in pairwise(edges)]

    @property
    def table(self) -> str:
        """Tables of the data model that show the block."""
        return "+".join(name for code, name in ((3, "holding"), (4, "input")) if code in self.functions)

    def encode(self, observation: T, order: WordOrder = WordOrder.ABCD) -> list[int]:
        """The words of the whole block; what no register defines reads as a float32 NaN, "not available"."""
        return self.window(observation, self.start, self.length, order)

    def window(
        self, observation: T, address: int, count: int, order: WordOrder = WordOrder.ABCD
    ) -> list[int]:
        """The words of a part of the block that :meth:`readable` allows; nothing else is looked at."""
        if order is WordOrder.ABCD:
            packed = self._packed(address, count)
            if packed is not None:
                form, split, constants, fields = packed
                filled = constants.copy()
                for at, look in fields:
                    filled[at] = look(observation)
                return list(split.unpack(form.pack(*filled)))
        words = self._constants(order).copy()
        for register in self._live:
            self._put(words, register, register.encode(observation), order)
        return words[address - self.start : address - self.start + count]

    def _packed(self, address: int, count: int) -> _Packed[T] | None:
        """A part of the block in the standard's order as one structure; None if it cuts a number."""
        if (address, count) not in self._parts:
            if len(self._parts) >= _MOST_PARTS:
                self._parts.clear()
            self._parts[address, count] = self._pack(address, address + count)
        return self._parts[address, count]

    @cached_property
    def _parts(self) -> dict[tuple[int, int], _Packed[T] | None]:
        return {}

    def _pack(self, first: int, end: int) -> _Packed[T] | None:
        words = self._constants(WordOrder.ABCD)
        form, filled, fields, at = ">", list[Value | bytes](), list[tuple[int, _Field[T]]](), first
        for register in sorted(self._live, key=lambda register: register.address):
            if register.address + register.words <= first or register.address >= end:
                continue
            if register.address < first or register.address + register.words > end:
                return None
            if between := _bytes(words[at - self.start : register.address - self.start]):
                form += f"{len(between)}s"
                filled.append(between)
            text = register.encoding is Encoding.TEXT
            form += f"{2 * register.words}s" if text else register.encoding.value
            fields.append((len(filled), register.field()))
            filled.append(b"")
            at = register.address + register.words
        rest = _bytes(words[at - self.start : end - self.start])
        filled.append(rest)
        return struct.Struct(f"{form}{len(rest)}s"), struct.Struct(f">{end - first}H"), filled, tuple(fields)

    @cached_property
    def _live(self) -> tuple[Register[T], ...]:
        return tuple(register for register in self.registers if not register.constant)

    def _constants(self, order: WordOrder) -> list[int]:
        """The block with only its constants in it."""
        if order not in self._blocks:
            words: list[int] = []
            for run in self._runs:
                words += (order.arranged([0x7FC0, 0x0000]) * ((len(run) + 1) // 2))[: len(run)]
            for register in self.registers:
                if register.constant:
                    self._put(words, register, register.encode_constant(), order)
            self._blocks[order] = words
        return self._blocks[order]

    @cached_property
    def _blocks(self) -> dict[WordOrder, list[int]]:
        return {}

    def _put(self, words: list[int], register: Register[T], encoded: list[int], order: WordOrder) -> None:
        if order is not WordOrder.ABCD and register.encoding is not Encoding.TEXT:
            encoded = order.arranged(encoded)
        at = register.address - self.start
        words[at : at + len(encoded)] = encoded

    def held(self, words: Sequence[int], order: WordOrder, offset: int) -> list[Held]:
        """What each register holds in the words of the block, shifted by ``offset`` on the wire."""
        rows = []
        for register in self.registers:
            at = register.address - self.start
            raw = tuple(words[at : at + register.words])
            standard = raw if register.encoding is Encoding.TEXT else order.arranged(raw)
            value = None if register.quantity is None else register.decode(standard)
            rows.append(Held(self.table, register.address + offset, register.name, raw, value, register.unit))
        return rows


def _bytes(words: Sequence[int]) -> bytes:
    return struct.pack(f">{len(words)}H", *words)
