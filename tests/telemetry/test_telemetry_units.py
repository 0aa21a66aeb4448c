from __future__ import annotations

import pytest

from telemetry.points import Unit
from telemetry.units import CONVERSIONS, conversion, stored_unit, units_for


@pytest.mark.parametrize(
    ("value", "given", "stored", "expected"),
    [
        (1500, "kW", Unit.MW, 1.5),
        (250_000, "W", Unit.MW, 0.25),
        (-700, "kVAr", Unit.MVAR, -0.7),
        (510_000, "V", Unit.KV, 510),
        (3.6, "GJ", Unit.MWH, 1),
        (36, "km/h", Unit.M_PER_S, 10),
        (273.15, "K", Unit.DEG_C, 0),
        (212, "°F", Unit.DEG_C, 100),
        (3.141592653589793, "rad", Unit.DEG, 180),
        (0.5, "pu", Unit.PERCENT, 50),
        (7, "rpm", Unit.RPM, 7),
    ],
)
def test_units_are_converted(value: float, given: str, stored: Unit, expected: float) -> None:
    scale, offset = conversion(given, stored)
    assert value * scale + offset == pytest.approx(expected)


@pytest.mark.parametrize(("given", "stored"), [("kW", Unit.MWH), ("furlong", Unit.M_PER_S), ("", Unit.MW)])
def test_a_unit_of_another_quantity_is_refused(given: str, stored: Unit) -> None:
    with pytest.raises(KeyError):
        conversion(given, stored)


def test_every_stored_unit_is_given_as_itself_and_found_again() -> None:
    for unit in Unit:
        assert conversion(unit.value, unit) == (1.0, 0.0)
        assert unit.value in units_for(unit)
        assert stored_unit(unit.value) is unit
    assert len({name for known in CONVERSIONS.values() for name in known}) == sum(
        map(len, CONVERSIONS.values())
    )
    assert stored_unit("MVAR") is Unit.MVAR
    assert stored_unit("furlong") is None
