"""Whether a value can be what its profile says: its range, its encoding, and its company; pure.

The check of powers against voltage and current is that of a balanced three-phase system, S = sqrt(3) U I.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from adapters.modbus.decoding import BlockDecoder, Slot, byte_order
from commissioning.tables import number
from telemetry.points import PointSpec
from telemetry.profiles import WordOrder
from telemetry.quality import Quality

_APPARENT_TOLERANCE = 0.1
"""How far S from power may be from S from voltage and current [share of the larger]."""
_SMALLEST_MVA = 1e-4
"""Powers that are not compared: where nothing flows, offsets are all that is measured [MVA]."""
_SMALLEST_FLOAT = 1e-9
"""Floats below are the mark of swapped words: nothing that is measured is so small [raw]."""
_ABSURD = 1e-6
"""Floats below are no better than what they would replace [raw]."""


class Verdict(StrEnum):
    """What to think of a value."""

    OK = "ok"
    SUSPECT = "suspect"
    """Possible, but it contradicts others or looks wrongly decoded."""
    BAD = "bad"
    """It cannot be the point's value, or there is none."""
    ABSENT = "absent"
    """The device does not have the point."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A value as it was read."""

    spec: PointSpec
    slot: Slot
    order: WordOrder
    octets: bytes
    """Of the value alone."""
    value: float
    quality: int


def judged(measured: Measured) -> tuple[Verdict, str]:
    """A verdict on one value, and why."""
    spec, value = measured.spec, measured.value
    if measured.quality == Quality.NOT_IMPLEMENTED:
        return Verdict.ABSENT, "the device marks it as not implemented"
    if measured.quality == Quality.NOT_A_NUMBER:
        return Verdict.BAD, f"no number{_hint(measured)}"
    if measured.quality == Quality.OUT_OF_RANGE:
        return Verdict.BAD, f"outside {number(spec.low)} to {number(spec.high)} {spec.unit}{_hint(measured)}"
    if measured.slot.type.is_float and 0 < abs(value) < _SMALLEST_FLOAT * abs(measured.slot.scale):
        return Verdict.SUSPECT, f"absurdly small{_hint(measured)}"
    if spec.states and str(int(value)) not in spec.states:
        return Verdict.SUSPECT, f"state {int(value)} has no name"
    return Verdict.OK, spec.states.get(str(int(value)), "") if spec.states else ""


def possible_orders(measured: Measured) -> dict[WordOrder, float]:
    """Other word orders in which a value is possible, with that value, the most usual first."""
    spec, slot = measured.spec, measured.slot
    if slot.scale_from is not None or slot.type.registers == 1:
        return {}
    size = 2 * slot.type.registers
    own = byte_order(slot.order or measured.order, size)
    found = {}
    for order in WordOrder:
        if byte_order(order, size) == own:
            continue
        bare = Slot(0, slot.type, slot.scale, slot.shift, slot.not_implemented, spec.low, spec.high)
        (value,), (quality,) = BlockDecoder([bare], order).decode(measured.octets)
        absurd = slot.type.is_float and abs(value) < _ABSURD * abs(slot.scale)
        if quality == Quality.GOOD and value != 0 and not absurd:
            found[order] = float(value)
    return found


def _hint(measured: Measured) -> str:
    """What would make the value possible: another word order, sign or power of ten."""
    spec, value = measured.spec, measured.value
    for order, better in possible_orders(measured).items():
        return f'; with word_order = "{order}" it is {number(better)} {spec.unit}'
    if not math.isfinite(value):
        return ""
    if spec.low <= -value <= spec.high:
        return f"; with the sign reversed it is {number(-value)} {spec.unit}"
    for exponent in (-3, -1, -2, 3, -6, 1, 2):
        scaled = value * 10.0**exponent
        if spec.low <= scaled <= spec.high and scaled != 0:
            return f"; a scale of 1e{exponent} more would make it {number(scaled)} {spec.unit}"
    return ""


_UNITS = {"MW": 1.0, "Mvar": 1.0, "kV": 1.0, "A": 1e-3}
"""Units of powers, voltage and current in which S comes out in MVA."""


class _Style(NamedTuple):
    """Names of the quantities of a three-phase device, and what their current is."""

    p: str
    q: str
    u: str
    i: str
    factor: float
    """S = factor * U * I."""
    also: str = ""
    """Point without which the device is not one with three phases."""


_STYLES = (
    _Style("TotW", "TotVAr", "PPV", "A", math.sqrt(3)),
    # SunSpec models 103 and 113: A is the sum of the phases' currents
    _Style("W", "VAr", "PPVphAB", "A", 1 / math.sqrt(3), "AphC"),
)


def contradictions(values: Mapping[str, float], units: Mapping[str, str]) -> dict[str, str]:
    """Points of a three-phase device whose values do not belong together, with the reason.

    Parameters
    ----------
    values
        Plausible values by name of the point.
    units
        Their units.

    """
    for style in _STYLES:
        names = [name for name in (style.p, style.q, style.u, style.i) if name in values]
        needed = {style.p, style.u, style.i} | ({style.also} if style.also else set())
        if needed <= values.keys() and all(units[name] in _UNITS for name in names):
            reason = _contradiction(style, values)
            return dict.fromkeys(names, reason) if reason else {}
    return {}


def _contradiction(style: _Style, values: Mapping[str, float]) -> str:
    power = math.hypot(values[style.p], values.get(style.q, 0.0))
    apparent = style.factor * values[style.u] * values[style.i] * 1e-3
    larger, smaller = max(power, apparent), min(power, apparent)
    # without reactive power, P alone may be smaller than S but not larger
    off = larger - smaller if style.q in values else power - apparent
    if off <= _APPARENT_TOLERANCE * larger + _SMALLEST_MVA:
        return ""
    ratio = f"{larger / smaller:.2g}" if smaller > 0 else "infinite"
    return (
        f"power says {power:.4g} MVA, voltage and current say {apparent:.4g} MVA (factor {ratio}): "
        "a scale, or the ratio of a transformer"
    )
