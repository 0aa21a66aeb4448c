"""When shunt reactors are switched."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.world.reactors import DEAD_TIME_S, HIGH_PU, LOW_PU, PICKUP_S, ReactorControl

BUSES = np.array([4, 4, 7], np.intp)
"""Two groups at one bus, one at another."""


def control() -> ReactorControl:
    return ReactorControl(np.array([2, 2, 1], np.int64))


def operations(reactors: ReactorControl, voltage: list[float], seconds: int) -> list[tuple[int, list[int]]]:
    """(second, units in service) after each operation."""
    return [
        (second, reactors.units.tolist())
        for second in range(1, seconds + 1)
        if reactors.step(1.0, np.array(voltage), BUSES)
    ]


def test_one_unit_of_a_bus_goes_out_at_a_time_and_the_bus_then_waits() -> None:
    pickup, rest = int(PICKUP_S), int(DEAD_TIME_S)
    assert operations(control(), [LOW_PU - 0.01, LOW_PU - 0.01, 1.0], 200) == [
        (pickup, [1, 2, 1]),
        (pickup + rest, [0, 2, 1]),
        (pickup + 2 * rest, [0, 1, 1]),
        (pickup + 3 * rest, [0, 0, 1]),
    ]


def test_units_come_back_at_high_voltage_up_to_what_is_installed() -> None:
    reactors = control()
    operations(reactors, [1.0, 1.0, LOW_PU - 0.01], 20)
    assert reactors.units.tolist() == [2, 2, 0]
    assert [units for _, units in operations(reactors, [1.0, 1.0, HIGH_PU + 0.01], 300)] == [[2, 2, 1]]


@pytest.mark.parametrize("voltage", [LOW_PU, 1.0, HIGH_PU, 0.0])
def test_within_the_band_and_without_voltage_nothing_is_switched(voltage: float) -> None:
    assert operations(control(), [voltage] * 3, 100) == []
