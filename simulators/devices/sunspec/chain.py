"""Chains: the marker, model after model, and the end, as one register map.

SunSpec Device Information Model Specification 1.1, 6: the marker "SunS" stands at 0, 40000 or 50000; each
model begins with its identifier and length; the chain ends with identifier 0xFFFF and length 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from simulators.devices.registers import Encoding, Quantity, Register, RegisterMap, Value
from simulators.devices.sunspec.tables import COUNTERS, ENCODINGS, PAD, SCALE, Point, models

T = TypeVar("T")

MARKER = 0x53756E53
END = 0xFFFF
BASES = (40000, 0, 50000)
INT16_TOP, UINT16_TOP = 32767, 65534
"""Largest values that are not "not implemented"."""


@dataclass(frozen=True)
class Content(Generic[T]):
    """What a device implements of one model; every other point reads as not implemented."""

    values: Mapping[str, Quantity[T] | Value] = field(default_factory=dict)
    """Quantity of each point in its unit, or its constant value."""
    scales: Mapping[str, int] = field(default_factory=dict)
    """Exponent of each scale factor that implemented points use."""
    repeats: Sequence[Mapping[str, Quantity[T] | Value]] = ()
    """Values of each turn of the repeating group."""


def exponent_for(limit: float, top: int = INT16_TOP) -> int:
    """The smallest exponent of ten with which a limit still fits below ``top``."""
    return math.ceil(math.log10(limit / top))


def chain(kind: str, base: int, contents: Mapping[int, Content[T]]) -> RegisterMap[T]:
    """The register map of a device with these models, in this order.

    Raises
    ------
    KeyError
        A model is unknown, has no such point, or uses a scale factor without an exponent.

    """
    rows: list[Register[T]] = [_constant(base, Encoding.UINT32, MARKER, "SunS")]
    at = base + 2
    for number, content in contents.items():
        model = models()[number]
        _check_names(number, model.fixed, (*content.values, *content.scales))
        for values in content.repeats:
            _check_names(number, model.repeating, tuple(values))
        rows.append(_constant(at, Encoding.UINT16, number, f"{number}.ID"))
        rows.append(_constant(at + 1, Encoding.UINT16, model.length(len(content.repeats)), f"{number}.L"))
        at += 2
        for point in model.fixed:
            rows.append(_register(at, point, f"{number}.{point.name}", content.values, content.scales))
            at += point.words
        for turn, values in enumerate(content.repeats):
            for point in model.repeating:
                name = f"{number}.{point.name}[{turn + 1}]"
                rows.append(_register(at, point, name, values, content.scales))
                at += point.words
    rows.append(_constant(at, Encoding.UINT16, END, "end.ID"))
    rows.append(_constant(at + 1, Encoding.UINT16, 0, "end.L"))
    return RegisterMap(kind, base, at + 2 - base, tuple(rows))


def _check_names(number: int, points: Sequence[Point], names: Sequence[str]) -> None:
    if unknown := set(names) - {point.name for point in points}:
        raise KeyError(f"model {number} has no point {', '.join(sorted(unknown))}")


def _constant(address: int, encoding: Encoding, value: int, name: str) -> Register[T]:
    return Register(address, encoding, value, name, wraps=True)


def _register(
    address: int,
    point: Point,
    name: str,
    values: Mapping[str, Quantity[T] | Value],
    scales: Mapping[str, int],
) -> Register[T]:
    encoding = ENCODINGS[point.type]
    if point.type == PAD:
        return Register(address, encoding, None, name)
    if point.type == SCALE:
        given: Quantity[T] | Value | None = scales.get(point.name)
    else:
        given = values.get(point.name)
    exponent = 0
    if point.scale:
        exponent = int(point.scale) if point.scale.lstrip("-").isdigit() else 0
        if given is not None and not point.scale.lstrip("-").isdigit():
            exponent = scales[point.scale]
    return Register(
        address,
        encoding,
        given,
        name,
        point.unit,
        exponent,
        wraps=point.type in COUNTERS,
        length=point.length,
    )
