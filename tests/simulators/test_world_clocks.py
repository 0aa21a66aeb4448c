from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from simulators.world.clocks import ClockBank, Discipline, clock_of

NOW_NS = 1_795_500_000_000_000_000
HOUR_NS = 3600 * 10**9


def errors_s(
    discipline: Discipline, t_ns: int, count: int = 3000
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([(clock_of(str(n), discipline).at(t_ns) - t_ns) / 1e9 for n in range(count)])


def test_a_clock_belongs_to_its_serial_number() -> None:
    assert clock_of("7") == clock_of("7") != clock_of("8")
    assert clock_of("7") != clock_of("7", Discipline.RTC)


@pytest.mark.parametrize(
    ("discipline", "spread_s", "limit_s"), [(Discipline.NTP, 0.032, 0.15), (Discipline.RTC, 0.64, 3.8)]
)
def test_clocks_are_nearly_right_at_any_time(discipline: Discipline, spread_s: float, limit_s: float) -> None:
    for t_ns in (NOW_NS, NOW_NS + 17 * HOUR_NS, 0):
        error_s = errors_s(discipline, t_ns)
        assert error_s.std() == pytest.approx(spread_s, rel=0.1)
        assert abs(error_s.mean()) < 3 * spread_s / 3000**0.5
        assert np.abs(error_s).max() < limit_s


def test_a_clock_drifts_until_it_is_set_again() -> None:
    clock = clock_of("m", Discipline.RTC)
    ahead = [clock.ahead_s(NOW_NS + k * HOUR_NS) for k in range(49)]
    steps = [later - earlier for earlier, later in pairwise(ahead)]
    usual = clock.drift * 3600
    assert sum(step == pytest.approx(usual) for step in steps) == 46, "set twice in two days"
    assert ahead[0] == pytest.approx(ahead[24]) == pytest.approx(ahead[48])


def test_devices_are_not_all_set_at_once() -> None:
    phases = {clock_of(str(n)).phase_ns // (HOUR_NS // 60) for n in range(600)}
    assert len(phases) > 55, "each minute of the hour sees some"


def test_a_fault_moves_what_a_clock_shows() -> None:
    clock = clock_of("m")
    assert clock.at(NOW_NS, -5.0) == pytest.approx(clock.at(NOW_NS) - 5 * 10**9, abs=1)


def test_many_clocks_are_read_as_one_by_one() -> None:
    clocks = [clock_of(str(n), d) for n in range(40) for d in Discipline]
    bank = ClockBank(clocks)
    for t_ns in (NOW_NS, NOW_NS + 1, NOW_NS + 5 * HOUR_NS):
        assert bank.at(t_ns).tolist() == [clock.at(t_ns) for clock in clocks]
    assert bank[3] == clocks[3]
