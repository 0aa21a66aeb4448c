"""The far side of the in-memory links: simulated meters that answer bytes with bytes.

Framing and exceptions after *MODBUS Application Protocol Specification V1.1b3*, sections 4.1, 6.3 and 7,
written apart from the adapter's codec.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from simulators.devices.registers import Encoding, RegisterMap
from simulators.world.meters import NOTHING, Reading

_REQUEST = struct.Struct(">HHHBBHH")
_HEAD = struct.Struct(">HHHBB")
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _NO_TARGET = 1, 2, 11
_READS = frozenset({3, 4})
_NOT_AVAILABLE = b"\x7f\xc0\x00\x00"


class MemoryMeter:
    """A meter with its register map; shows the reading that it was given last."""

    def __init__(self, layout: RegisterMap[Reading]) -> None:
        self._layout = layout
        self._windows: dict[tuple[int, int], Callable[[Reading, bool], bytes] | None] = {}
        self.reading = NOTHING
        self.swapped = False
        """Whether it sends the words of each number in the other order."""

    def registers(self, address: int, count: int) -> bytes | None:
        """The bytes of some registers; None if it does not have them all."""
        window = (address, count)
        if window not in self._windows:
            self._windows[window] = _window(self._layout, address, count)
        encode = self._windows[window]
        return None if encode is None else encode(self.reading, self.swapped)


class MemoryGateway:
    """Meters behind one gateway, by unit identifier."""

    def __init__(self, meters: Mapping[int, MemoryMeter]) -> None:
        self._meters = dict(meters)

    def answer(self, request: bytes) -> bytes:
        """The reply to one read request."""
        transaction, _, _, unit, function, address, count = _REQUEST.unpack(request)
        meter = self._meters.get(unit)
        if meter is None:
            return _refusal(transaction, unit, function, _NO_TARGET)
        if function not in _READS:
            return _refusal(transaction, unit, function, _ILLEGAL_FUNCTION)
        data = meter.registers(address, count)
        if data is None:
            return _refusal(transaction, unit, function, _ILLEGAL_ADDRESS)
        return _HEAD.pack(transaction, 0, 3 + len(data), unit, function) + bytes([len(data)]) + data


def _refusal(transaction: int, unit: int, function: int, code: int) -> bytes:
    return _HEAD.pack(transaction, 0, 3, unit, function | 0x80) + bytes([code])


def _window(
    layout: RegisterMap[Reading], address: int, count: int
) -> Callable[[Reading, bool], bytes] | None:
    """Encodes some registers of a map with one call of :mod:`struct`.

    What no register defines, or only a part of one, reads as a float32 NaN, "not available".
    """
    if not layout.readable(address, count):
        return None
    end = address + count
    inside = sorted(
        (r for r in layout.registers if address <= r.address and r.address + r.encoding.words <= end),
        key=lambda r: r.address,
    )
    form, at = ">", address
    fields: list[Callable[[Reading], float] | bytes] = []
    spans: list[tuple[int, int]] = []
    for register in (*inside, None):
        gap = (end if register is None else register.address) - at
        if gap:
            blank = _NOT_AVAILABLE * (gap // 2 + 1)
            first = 2 * ((at - layout.run(at).start) % 2)
            form += f"{2 * gap}s"
            fields.append(blank[first : first + 2 * gap])
        if register is not None:
            form += register.encoding.value
            fields.append(_quantity(register.quantity, whole=register.encoding is not Encoding.FLOAT32))
            words = register.encoding.words
            spans.append((2 * (register.address - address), 2 * words))
            at = register.address + words
    packed = struct.Struct(form)

    def encode(reading: Reading, swapped: bool) -> bytes:
        data = packed.pack(*[field(reading) if callable(field) else field for field in fields])
        return _swapped(data, spans) if swapped else data

    return encode


def _quantity(quantity: object, *, whole: bool) -> Callable[[Reading], Any]:
    if not callable(quantity):
        raise TypeError("a meter measures every register of its map")
    return (lambda reading: round(quantity(reading))) if whole else quantity


def _swapped(data: bytes, spans: list[tuple[int, int]]) -> bytes:
    changed = bytearray(data)
    for at, size in spans:
        words = [data[i : i + 2] for i in range(at, at + size, 2)]
        changed[at : at + size] = b"".join(reversed(words))
    return bytes(changed)
