"""Named conversions of what devices send into the units in which values are stored.

Prefixes and definitions: SI Brochure, 9th edition (2019), sections 3 and 4; knot and degree Fahrenheit: NIST
Special Publication 811 (2008), appendix B.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from telemetry.points import Unit


class Conversion(NamedTuple):
    """value [stored unit] = value [given unit] * scale + offset."""

    scale: float
    offset: float = 0.0


_KMH = 1 / 3.6

CONVERSIONS: dict[Unit, dict[str, Conversion]] = {
    Unit.MW: {
        "W": Conversion(1e-6),
        "kW": Conversion(1e-3),
        "MW": Conversion(1.0),
        "GW": Conversion(1e3),
    },
    Unit.MVAR: {
        "var": Conversion(1e-6),
        "kvar": Conversion(1e-3),
        "Mvar": Conversion(1.0),
        "Gvar": Conversion(1e3),
    },
    Unit.KV: {"V": Conversion(1e-3), "kV": Conversion(1.0), "MV": Conversion(1e3)},
    Unit.A: {"mA": Conversion(1e-3), "A": Conversion(1.0), "kA": Conversion(1e3)},
    Unit.HZ: {"mHz": Conversion(1e-3), "Hz": Conversion(1.0)},
    Unit.MWH: {
        "Wh": Conversion(1e-6),
        "kWh": Conversion(1e-3),
        "MWh": Conversion(1.0),
        "GWh": Conversion(1e3),
        "kJ": Conversion(1 / 3.6e6),
        "MJ": Conversion(1 / 3.6e3),
        "GJ": Conversion(1 / 3.6),
    },
    Unit.M_PER_S: {
        "m/s": Conversion(1.0),
        "km/h": Conversion(_KMH),
        "kn": Conversion(1.852 * _KMH),
    },
    Unit.DEG: {"deg": Conversion(1.0), "rad": Conversion(180 / math.pi)},
    Unit.DEG_C: {
        "degC": Conversion(1.0),
        "K": Conversion(1.0, -273.15),
        "degF": Conversion(5 / 9, -160 / 9),
    },
    Unit.W_PER_M2: {"W/m2": Conversion(1.0), "kW/m2": Conversion(1e3)},
    Unit.PERCENT: {"%": Conversion(1.0), "pu": Conversion(1e2)},
    Unit.COUNT: {"1": Conversion(1.0)},
}
"""For each stored unit, what may be given for it. A unit without an entry is only given as itself."""

_SPELLINGS = {
    "kvar": ("kVAr", "kVar", "kVAR", "KVAR"),
    "var": ("VAr", "Var", "VAR"),
    "Mvar": ("MVAr", "MVar", "MVAR"),
    "degC": ("°C", "C", "Celsius"),
    "degF": ("°F", "F"),
    "deg": ("°", "degrees"),
    "W/m2": ("W/m²", "W/m^2"),
    "kW/m2": ("kW/m²", "kW/m^2"),
    "kn": ("kt", "knots"),
    "km/h": ("kmh", "kph"),
    "%": ("percent", "pct"),
    "1": ("", "count"),
}
_PLAIN = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}


def plain(unit: str) -> str:
    """The name that :data:`CONVERSIONS` knows a unit by; unknown ones come back as they are."""
    return _PLAIN.get(unit.strip(), unit.strip())


def spellings() -> set[str]:
    """Every way to write a unit that is understood, but those of a plain number."""
    names = {name for known in CONVERSIONS.values() for name in known}
    names |= {spelling for several in _SPELLINGS.values() for spelling in several}
    names |= {unit.value for unit in Unit}
    return names - {"", "1", "count"}


def units_for(stored: Unit) -> list[str]:
    """Names of the units that can be given for a stored one."""
    return list(CONVERSIONS.get(stored, {stored.value: Conversion(1.0)}))


def conversion(given: str, stored: Unit) -> Conversion:
    """How to convert a given unit into a stored one.

    Raises
    ------
    KeyError
        The one cannot be converted into the other.

    """
    known = CONVERSIONS.get(stored, {stored.value: Conversion(1.0)})
    return known[plain(given)]


def stored_unit(given: str) -> Unit | None:
    """The stored unit that a given one can be converted into; None for an unknown one."""
    name = plain(given)
    for stored, known in CONVERSIONS.items():
        if name in known:
            return stored
    return next((unit for unit in Unit if unit.value == name), None)
