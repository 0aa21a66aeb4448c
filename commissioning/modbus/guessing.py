"""Guesses how a value is encoded: ranks type, word order, scale and address by plausibility; pure.

A wrong decoding gives itself away: a float with swapped words has an absurd exponent; an integer with swapped
words ends in sixteen zero bits, and leaps from sample to sample; a value that the device's display shows is
met by few. Weights are judgement, not theory: they order candidates, they are no probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from adapters.modbus.decoding import BlockDecoder, Slot
from commissioning.tables import aligned, number, printable
from telemetry.profiles import RegisterMapping, RegisterType, WordOrder

BEHIND = 4
"""Registers from the address on that are looked at."""
SHIFTS = (0, -1, 1)
"""Registers that the value may stand away from the address: lists that count from 1 are one off."""

_TYPES: Mapping[RegisterType, float] = {
    RegisterType.FLOAT32: 1.0,
    RegisterType.UINT16: 0.9,
    RegisterType.INT16: 0.88,
    RegisterType.INT32: 0.8,
    RegisterType.UINT32: 0.78,
    RegisterType.FLOAT64: 0.6,
    RegisterType.INT64: 0.5,
    RegisterType.UINT64: 0.48,
    RegisterType.BCD32: 0.1,
    RegisterType.BCD16: 0.1,
    RegisterType.FLOAT16: 0.05,
}
"""How common the types are."""
_ORDERS: Mapping[WordOrder, float] = {
    WordOrder.BIG: 1.0,
    WordOrder.LITTLE: 0.8,
    WordOrder.BADC: 0.3,
    WordOrder.DCBA: 0.4,
    WordOrder.EFGHABCD: 0.3,
    WordOrder.CDABGHEF: 0.2,
}
_SCALES: Mapping[float, float] = {
    1.0: 1.0,
    0.1: 0.6,
    0.01: 0.6,
    0.001: 0.5,
    10.0: 0.4,
    100.0: 0.4,
    1e3: 0.4,
    1e-4: 0.2,
    1e-6: 0.3,
    1e6: 0.2,
}
_SIGN = "sign reversed"
_REVERSED = 0.3
"""Weight of a sign that is reversed; only for an expected value that says so."""
_SHIFTED = 0.4
_ANCHORS = (
    (50.0, 0.01, 2.5, "a frequency [Hz]"),
    (60.0, 0.01, 2.5, "a frequency [Hz]"),
    (230.0, 0.07, 1.2, "a voltage [V]"),
)
"""Values that tell themselves: nominal, tolerance, weight, what it looks like."""
_ROUND_BITS = 12
"""Bits of a float's mantissa that a round number needs."""


@dataclass(frozen=True, slots=True)
class Guess:
    """One way to understand the registers."""

    address: int
    type: RegisterType
    order: WordOrder
    scale: float
    value: float
    """Of the latest sample, scaled."""
    score: float
    """Weight, only to be compared with others'."""
    why: tuple[str, ...]

    def mapping(self) -> RegisterMapping:
        """As a profile has it, in the table of its map."""
        order = self.order if self.type.registers > 1 or self.order is not WordOrder.BIG else None
        return RegisterMapping(
            address=self.address,
            type=self.type,
            scale=self.scale,
            word_order=order,
        )


@dataclass(frozen=True, slots=True)
class Guesses:
    """Ways to understand the registers from an address on, the most plausible first."""

    address: int
    words: Mapping[int, int]
    """Of the latest sample."""
    samples: int
    expected: float | None
    ranked: tuple[Guess, ...]
    text_seen: str = ""
    """The registers as text, where they are printable."""

    @property
    def sound(self) -> bool:
        """True when one way stands out, or meets what was expected."""
        return bool(self.ranked)

    @property
    def ambiguous(self) -> bool:
        """True when the runner-up with another value is nearly as plausible as the first."""
        others = [g for g in self.ranked[1:] if not math.isclose(g.value, self.ranked[0].value, rel_tol=1e-6)]
        return bool(others) and others[0].score * 1.5 > self.ranked[0].score

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "address": self.address,
            "expected": self.expected,
            "words": {str(address): word for address, word in sorted(self.words.items())},
            "samples": self.samples,
            "text": self.text_seen or None,
            "ambiguous": self.ambiguous,
            "guesses": [
                {
                    "address": guess.address,
                    "type": guess.type.value,
                    "word_order": guess.order.value,
                    "scale": guess.scale,
                    "value": guess.value,
                    "score": round(guess.score, 4),
                    "why": list(guess.why),
                }
                for guess in self.ranked
            ],
        }

    def text(self) -> str:
        """For people."""
        shown = " ".join(f"{word:04x}" for _, word in sorted(self.words.items()))
        first = min(self.words, default=self.address)
        aim = "" if self.expected is None else f", expecting {number(self.expected)}"
        lines = [f"Guesses for {self.address}{aim} ({self.samples} samples; {first}: {shown}):"]
        if self.text_seen:
            lines.append(f'  as text: "{printable(self.text_seen)}"')
        if not self.words:
            lines[0] = f"Guesses for {self.address}: no register from {self.address - 1} on can be read"
            return lines[0]
        if not self.ranked:
            lines.append("  nothing fits: check address, table and unit, and read the expected value anew")
            return "\n".join(lines)
        rows = [
            [
                f"{guess.score / self.ranked[0].score:.0%}",
                str(guess.address),
                guess.type.value,
                guess.order.value if guess.type.registers > 1 or guess.order is not WordOrder.BIG else "",
                f"{guess.scale:g}",
                number(guess.value),
                "; ".join(guess.why),
            ]
            for guess in self.ranked
        ]
        lines.append(aligned(["", "address", "type", "order", "scale", "value", "why"], rows, {0, 1, 4, 5}))
        if self.ambiguous:
            lines.append("  not clear: give what the display shows as --expect, or sample while it changes")
        return "\n".join(lines)


def guesses(
    address: int,
    samples: Sequence[Mapping[int, int]],
    expected: float | None = None,
    tolerance: float = 0.02,
    most: int = 10,
) -> Guesses:
    """Ranks the ways to understand registers.

    Parameters
    ----------
    address
        Where the value is said to stand.
    samples
        Words by address, of the same addresses, one after the other in time.
    expected
        What the value should be, for example what a display shows.
    tolerance
        How far from it the value may be [share of it].
    most
        How many ways are listed.

    """
    words = samples[-1] if samples else {}
    aim = _Aim(expected, tolerance)
    found = [
        guess
        for shift in SHIFTS
        for kind in _TYPES
        for order in _orders_of(kind)
        for guess in _understood(_Way(address + shift, shift, kind, order), samples, aim)
    ]
    found.sort(key=lambda guess: -guess.score)
    ranked = tuple(_distinct(found)[:most])
    return Guesses(address, words, len(samples), expected, ranked, _text(address, words))


def _orders_of(kind: RegisterType) -> list[WordOrder]:
    if kind.registers == 1:
        return [WordOrder.BIG, WordOrder.BADC]
    return [order for order in WordOrder if kind.registers == 4 or order not in _LONG]


_LONG = {WordOrder.EFGHABCD, WordOrder.CDABGHEF}
"""Orders that differ from others in values of 64 bits only."""


class _Way(NamedTuple):
    """Where and how registers are read."""

    at: int
    shift: int
    kind: RegisterType
    order: WordOrder


class _Aim(NamedTuple):
    """What a value should be."""

    expected: float | None
    tolerance: float


def _understood(way: _Way, samples: Sequence[Mapping[int, int]], aim: _Aim) -> Iterator[Guess]:
    """The registers read in one way, with every scale that makes sense."""
    places = range(way.at, way.at + way.kind.registers)
    if not samples or not all(place in sample for sample in samples for place in places):
        return
    octets = [b"".join(bytes(divmod(sample[place], 256)) for place in places) for sample in samples]
    values, _ = _decoder(way.kind, way.order).decode(b"".join(octets), len(octets))
    raw = [float(value) for value in values]
    if not all(map(math.isfinite, raw)):
        return
    weight = _TYPES[way.kind] * _ORDERS[way.order]
    why: list[str] = []
    if way.shift:
        weight *= _SHIFTED
        why.append(f"{abs(way.shift)} register {'before' if way.shift < 0 else 'behind'} the address")
    factor, reasons = _shape(way.kind, raw)
    for scale, common in _SCALES.items():
        fit, told = _fit(raw[-1] * scale, aim, scale)
        if fit > 0:
            signed = -scale if _SIGN in told else scale
            value = raw[-1] / round(1 / signed) if scale < 1 else raw[-1] * signed
            score = weight * factor * common * fit
            yield Guess(way.at, way.kind, way.order, signed, value, score, (*why, *reasons, *told))


@cache
def _decoder(kind: RegisterType, order: WordOrder) -> BlockDecoder:
    return BlockDecoder([Slot(0, kind)], order)


def _shape(kind: RegisterType, raw: Sequence[float]) -> tuple[float, list[str]]:
    """How much a series of raw values looks like a measurement."""
    latest = abs(raw[-1])
    if kind.is_float:
        factor, why = _float_shape(latest)
    elif kind.registers > 1:
        factor, why = _integer_shape(kind, latest)
    elif latest >= 0x8000 and kind is RegisterType.UINT16:
        factor, why = 0.5, ["would be negative as int16"]
    else:
        factor, why = 1.0, []
    if all(value == 0 for value in raw):
        return factor * 0.3, [*why, "is 0"]
    swing = max(raw) - min(raw)
    if swing > 0.5 * max(map(abs, raw)):
        return factor * 0.1, [*why, "leaps between samples"]
    return factor, [*why, "moves like a measurement"] if swing else why


def _float_shape(latest: float) -> tuple[float, list[str]]:
    if latest != 0 and not 1e-4 <= latest < 1e10:
        return 1e-4, ["absurd size"]
    # of all patterns of bits one in eight is a number of the size that measurements have
    factor = 1.5 if 1e-2 <= latest < 1e7 else 1.0
    if latest != 0 and math.frexp(latest)[0] * 2**_ROUND_BITS % 1 == 0:
        return factor * 1.3, ["a round number"]
    return factor, []


def _integer_shape(kind: RegisterType, latest: float) -> tuple[float, list[str]]:
    beyond = math.log10(max(latest, 1.0)) - (7 if kind.registers == 2 else 13)
    factor = max(0.01, 1 - max(0.0, beyond) / 3)
    if latest and int(latest) % 0x10000 == 0:
        return factor * 0.05, ["ends in 16 zero bits"]
    if latest < 0x8000:
        return factor * 0.8, []
    if kind.registers == 4 and 2.0**32 <= latest < 2.0**48:
        return factor * 1.6, ["as large as an energy counter"]
    return factor, []


def _fit(value: float, aim: _Aim, scale: float) -> tuple[float, list[str]]:
    """How well a value meets what is expected, or what is usual."""
    if aim.expected is not None:
        return _met(value, aim.expected, aim.tolerance)
    for nominal, share, weight, told in _ANCHORS:
        if abs(value - nominal) <= share * nominal:
            return weight, [f"looks like {told}"]
    # without a hint a scale other than 1 is as good as any other
    return (1.0, []) if scale == 1 else (0.0, [])


def _met(value: float, expected: float, tolerance: float) -> tuple[float, list[str]]:
    room = max(tolerance * abs(expected), 1e-9)
    for sign, weight, told in ((1, 1.0, ""), (-1, _REVERSED, _SIGN)):
        off = abs(sign * value - expected)
        if off <= room:
            share = off / abs(expected) if expected else 0.0
            reasons = [f"{share:.2%} off"] + ([told] if told else [])
            return weight * (1 - 0.5 * off / room), reasons
    return 0.0, []


def _distinct(found: Sequence[Guess]) -> list[Guess]:
    """Without what says the same of the same registers with less weight: unsigned beside signed."""
    seen: set[tuple[int, int, WordOrder, float, float]] = set()
    kept = []
    for guess in found:
        key = (guess.address, guess.type.registers, guess.order, guess.scale, guess.value)
        if key not in seen:
            seen.add(key)
            kept.append(guess)
    return kept


def _text(address: int, words: Mapping[int, int]) -> str:
    octets = b"".join(bytes(divmod(words[at], 256)) for at in range(address, address + BEHIND) if at in words)
    octets = octets.rstrip(b"\0 ")
    return octets.decode() if len(octets) >= 3 and all(32 <= octet < 127 for octet in octets) else ""
