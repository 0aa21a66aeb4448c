"""From registers to values and qualities, for all values of one or many replies at once; pure.

Sources: *MODBUS Application Protocol Specification V1.1b3* 4.2 (big-endian registers); *SunSpec Device
Information Model Specification 1.1* 4.2 to 4.4 (accumulators, marks of what is not implemented, scale
factors). Everything else is custom of the trade and declared by the profile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from telemetry.profiles import RegisterType, WordOrder
from telemetry.quality import Quality

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

MOST_WAITING = 256
"""Replies that wait to be decoded together, at most."""
MAX_EXPONENT = 10
"""Largest and smallest power of ten that a scale factor may stand for, SunSpec 4.4."""

_NO_EXPONENT = -0x8000
_DTYPES = {
    RegisterType.BOOL: ">u2",
    RegisterType.INT16: ">i2",
    RegisterType.UINT16: ">u2",
    RegisterType.INT32: ">i4",
    RegisterType.UINT32: ">u4",
    RegisterType.INT64: ">i8",
    RegisterType.UINT64: ">u8",
    RegisterType.FLOAT16: ">f2",
    RegisterType.FLOAT32: ">f4",
    RegisterType.FLOAT64: ">f8",
    RegisterType.ACC32: ">u4",
    RegisterType.ACC64: ">u8",
    RegisterType.BCD16: ">u2",
    RegisterType.BCD32: ">u4",
    RegisterType.BCD64: ">u8",
}
_ACCUMULATORS = {RegisterType.ACC32, RegisterType.ACC64}
_DECIMAL = {RegisterType.BCD16, RegisterType.BCD32, RegisterType.BCD64}
_SWAPPED_BYTES = {WordOrder.BADC, WordOrder.DCBA}


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one value stands in the registers of a read, and how it is to be understood.

    Raises
    ------
    ValueError
        The type is text.

    """

    offset: int
    """First register, counted from the start of the read."""
    type: RegisterType
    scale: float = 1.0
    """value = raw * scale + shift."""
    shift: float = 0.0
    not_implemented: int | None = None
    """Bit pattern that marks the value as not implemented; a negative number is its two's complement."""
    low: float = -np.inf
    high: float = np.inf
    """Physical range, ends included."""
    order: WordOrder | None = None
    """Its own byte order, if not that of the read."""
    bit: int | None = None
    """First bit of a field within an unsigned integer."""
    bits: int = 1
    """Width of that field."""
    scale_from: int | None = None
    """Registers from ``offset`` to the one with a power of ten for the raw value; may be negative."""

    def __post_init__(self) -> None:
        if self.type not in _DTYPES:
            raise ValueError(f"a {self.type} is not a number")


def byte_order(order: WordOrder, size: int) -> list[int]:
    """Position on the wire of each byte of a value of ``size`` bytes, most significant byte first."""
    positions = list(range(size))
    if order in {WordOrder.EFGHABCD, WordOrder.CDABGHEF}:
        if order is WordOrder.CDABGHEF:
            positions = [at ^ 2 for at in positions] if size > 2 else positions
        elif size == 8:
            positions = [at ^ 4 for at in positions]
        return positions
    if order in {WordOrder.LITTLE, WordOrder.DCBA}:
        positions = [size - 2 - at + 2 * (at % 2) for at in positions]
    if order in _SWAPPED_BYTES:
        positions = [at ^ 1 for at in positions]
    return positions


class _Group:
    """The slots of one type and byte order, decoded together."""

    def __init__(
        self, kind: RegisterType, order: WordOrder, slots: Sequence[Slot], column: Sequence[int]
    ) -> None:
        size = 2 * kind.registers
        offsets = np.array([slot.offset for slot in slots])
        self.kind = kind
        self.column = np.array(column)
        self.dtype = np.dtype(_DTYPES[kind])
        self.pattern = np.dtype(f">u{size}")
        self.gather = 2 * offsets[:, None] + np.array(byte_order(order, size))
        self.scale = np.array([slot.scale for slot in slots])
        self.shift = np.array([slot.shift for slot in slots])
        accumulates = kind in _ACCUMULATORS
        self.marked = np.array([slot.not_implemented is not None or accumulates for slot in slots])
        self.mark = np.array([(slot.not_implemented or 0) % (1 << 8 * size) for slot in slots], self.pattern)
        self.some_marked = bool(self.marked.any())
        scaled = [i for i, slot in enumerate(slots) if slot.scale_from is not None]
        self.scaled = np.array(scaled, np.intp)
        self.exponent_at = 2 * np.array(
            [slots[i].offset + (slots[i].scale_from or 0) for i in scaled], np.intp
        )[:, None] + np.array(byte_order(order, 2))
        fields = [i for i, slot in enumerate(slots) if slot.bit is not None]
        self.fields = np.array(fields, np.intp)
        self.first_bit = np.array([slots[i].bit or 0 for i in fields], np.uint64)
        self.bit_mask = np.array([(1 << slots[i].bits) - 1 for i in fields], np.uint64)

    def decode(self, octets: NDArray[np.uint8]) -> tuple[Floats, Flags | None]:
        """Values of each reply (row), and which of them are marked as not implemented."""
        raw_bytes = octets.take(self.gather, axis=1)
        raw = raw_bytes.view(self.dtype)[:, :, 0]
        number = self._number(raw)
        absent: Flags | None = None
        if self.some_marked:
            absent = self.marked & (raw_bytes.view(self.pattern)[:, :, 0] == self.mark)
        if len(self.scaled):
            number, unscaled = self._powers(number, octets)
            absent = unscaled if absent is None else absent | unscaled
        return number * self.scale + self.shift, absent

    def _number(self, raw: NDArray[Any]) -> Floats:
        if self.kind is RegisterType.BOOL:
            return np.where(raw != 0, 1.0, 0.0)
        if self.kind in _DECIMAL:
            return _decimal(raw.astype(np.uint64), digits=2 * self.dtype.itemsize)
        number: Floats = raw.astype(np.float64)
        if len(self.fields):
            whole = raw[:, self.fields].astype(np.uint64)
            number[:, self.fields] = (whole >> self.first_bit) & self.bit_mask
        return number

    def _powers(self, number: Floats, octets: NDArray[np.uint8]) -> tuple[Floats, Flags]:
        """Values times their powers of ten; a power that is not implemented leaves the value without one."""
        exponent = octets.take(self.exponent_at, axis=1).view(">i2")[:, :, 0].astype(np.int64)
        absent = np.zeros(number.shape, np.bool_)
        absent[:, self.scaled] = exponent == _NO_EXPONENT
        sound = np.abs(exponent) <= MAX_EXPONENT
        power = 10.0 ** np.where(sound, np.abs(exponent), 0)
        value = number[:, self.scaled]
        # dividing keeps 12345 / 100 the number that 123.45 is written as
        value = np.where(exponent >= 0, value * power, value / power)
        value[~sound] = np.nan
        number[:, self.scaled] = value
        return number, absent


def _decimal(raw: NDArray[np.uint64], digits: int) -> Floats:
    """Binary coded decimals; NaN where four bits are no digit."""
    whole = np.zeros(raw.shape, np.uint64)
    wrong = np.zeros(raw.shape, np.bool_)
    for i in range(digits):
        digit = (raw >> np.uint64(4 * i)) & np.uint64(15)
        whole += digit * np.uint64(10**i)
        wrong |= digit > 9
    number: Floats = whole.astype(np.float64)
    number[wrong] = np.nan
    return number


class Reply:
    """The register bytes of one reply, or of several alike, that are not decoded before they must be."""

    __slots__ = ("_decoder", "columns", "count", "data")

    def __init__(self, decoder: BlockDecoder, data: bytes, count: int) -> None:
        self._decoder = decoder
        self.data = data
        self.count = count
        self.columns: tuple[Floats, NDArray[np.uint8]] | None = None
        """Values and qualities, once they are decoded."""

    def decoded(self) -> tuple[Floats, NDArray[np.uint8]]:
        """Values and qualities, as of :meth:`BlockDecoder.decode`."""
        return self._decoder.settle(self) if self.columns is None else self.columns


class BlockDecoder:
    """Turns the registers of reads into values and qualities, all slots of all replies at once."""

    def __init__(self, slots: Sequence[Slot], order: WordOrder) -> None:
        self._size = len(slots)
        members: dict[tuple[RegisterType, WordOrder], list[int]] = {}
        for column, slot in enumerate(slots):
            members.setdefault((slot.type, slot.order or order), []).append(column)
        self._groups = [
            _Group(kind, own, [slots[c] for c in columns], columns)
            for (kind, own), columns in members.items()
        ]
        self._low = np.array([slot.low for slot in slots])
        self._high = np.array([slot.high for slot in slots])
        self._waiting: list[Reply] = []
        self._replies = 0

    def later(self, data: bytes, replies: int = 1) -> Reply:
        """Takes what :meth:`decode` does; it is decoded when it is asked for, with all that wait then.

        Numpy's cost is that of calls rather than of values: twenty replies at once cost about as much as one.
        """
        reply = Reply(self, data, replies)
        self._waiting.append(reply)
        self._replies += replies
        if self._replies >= MOST_WAITING:
            self.settle(reply)
        return reply

    def settle(self, asked: Reply) -> tuple[Floats, NDArray[np.uint8]]:
        """Decodes every reply that waits; returns what one of them says."""
        waiting, self._waiting = self._waiting, []
        replies, self._replies = self._replies, 0
        value, quality = self.decode(b"".join([reply.data for reply in waiting]), replies)
        at = 0
        for reply in waiting:
            part = slice(at, at := at + reply.count * self._size)
            reply.columns = value[part], quality[part]
        return asked.columns or self.decode(asked.data, asked.count)

    def decode(self, data: bytes, replies: int = 1) -> tuple[Floats, NDArray[np.uint8]]:
        """Values [unit of the point] and quality codes, in the order of the slots, reply after reply.

        A value that is not a finite number or is marked as not implemented is NaN; one out of range is kept.

        Parameters
        ----------
        data
            Register bytes of one reply, or of several of equal length in a row.
        replies
            How many.

        """
        octets = np.frombuffer(data, np.uint8).reshape(replies, -1)
        value = np.empty((replies, self._size))
        absent: Flags | None = None
        with np.errstate(over="ignore", invalid="ignore"):
            for group in self._groups:
                number, missing = group.decode(octets)
                value[:, group.column] = number
                if missing is not None:
                    absent = np.zeros(value.shape, np.bool_) if absent is None else absent
                    absent[:, group.column] = missing
            quality = np.where((value < self._low) | (value > self._high), np.uint8(Quality.OUT_OF_RANGE), 0)
        quality = quality.astype(np.uint8)
        nameless = ~np.isfinite(value)
        quality[nameless] = Quality.NOT_A_NUMBER
        if absent is not None:
            quality[absent] = Quality.NOT_IMPLEMENTED
            nameless |= absent
        value[nameless] = np.nan
        return value.ravel(), quality.ravel()
