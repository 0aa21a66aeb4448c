"""Wind and turbines: distribution, memory, distance, power curve and states."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.world.plants import Fleet, PlantKind, reference_plants
from simulators.world.units import Outages, UnitState
from simulators.world.wind import SiteWind, Turbines, density, distances_km, power_share

START_NS = 1_795_500_000_000_000_000
HOUR_NS = 3600 * 10**9
WIND = [plant for plant in reference_plants() if plant.kind is PlantKind.WIND]
HERE = (np.array([43.0, 43.1, 40.0]), np.array([58.0, 58.1, 64.0]))


def site_wind(seed: int, start_ns: int = 0) -> SiteWind:
    return SiteWind(HERE, (np.full(3, 8.5), np.full(3, 2.1)), np.random.default_rng(seed), start_ns)


def hourly(seed: int, hours: int) -> np.ndarray:
    sites = site_wind(seed)
    return np.array([sites.at(hour * HOUR_NS) for hour in range(hours)])


def test_wind_is_weibull_at_the_hour_and_between() -> None:
    sites = site_wind(3)
    at = np.array([sites.at(k * HOUR_NS // 2) for k in range(40_000)])
    for values in (at[::2], at[1::2]):
        for quantile in (0.1, 0.5, 0.9):
            expected = 8.5 * (-np.log(1 - quantile)) ** (1 / 2.1)
            assert np.quantile(values, quantile) == pytest.approx(expected, rel=0.08)


def test_wind_remembers_the_hour_and_its_neighbours() -> None:
    wind = hourly(4, 20_000)
    # a rank transformation gives the Gaussian back, whatever the marginal distribution
    ranks = np.argsort(np.argsort(wind, axis=0), axis=0)
    z = np.sqrt(12) * (ranks / len(wind) - 0.5)
    lag = np.mean(z[1:, 0] * z[:-1, 0])
    assert lag == pytest.approx(0.95, abs=0.02)
    assert np.mean(z[:, 0] * z[:, 1]) > 0.93
    far = np.exp(-distances_km(*HERE)[0, 2] / 400)
    assert np.mean(z[:, 0] * z[:, 2]) == pytest.approx(far, abs=0.12)


def test_wind_is_steady_within_the_hour() -> None:
    sites = site_wind(5)
    steps = np.diff([sites.at(k * 10**9)[0] for k in range(7200)])
    assert np.abs(steps).max() < 0.01


def test_distance_and_density_are_known_ones() -> None:
    km = distances_km(np.array([0.0, 0.0]), np.array([0.0, 1.0]))
    assert km[0, 1] == pytest.approx(111.19, abs=0.01)
    assert density(np.array([15.0]), np.array([0.0]))[0] == pytest.approx(1.225, abs=1e-3)
    assert density(np.array([8.5]), np.array([1000.0]))[0] == pytest.approx(1.112, abs=0.01)


def test_power_curve_cuts_in_and_saturates() -> None:
    share = power_share(np.array([2.0, 3.0, 8.0, 12.0, 24.9]))
    assert share == pytest.approx([0, 0, (512 - 27) / (1728 - 27), 1, 1])


class Blower:
    """One plant of many turbines in a wind that the test sets."""

    def __init__(self, count: int = 50) -> None:
        sites = SiteWind(
            (np.array([45.0]), np.array([60.0])),
            (np.array([8.5]), np.array([2.0])),
            np.random.default_rng(1),
            START_NS,
        )
        counts = np.array([count], np.intp)
        self.turbines = Turbines(sites, np.array([count * 5.0]), counts, np.random.default_rng(2), START_NS)
        self.rng = np.random.default_rng(3)
        self.out = np.zeros(count, np.int8)
        self.limit = np.array([np.inf])

    def blow(self, wind_m_s: float, seconds: int, dt_s: float = 1.0) -> np.ndarray:
        """Winds at the nacelles, by time and turbine."""
        self.turbines.front.start(0, 1e9)
        self.turbines.front.intensity = np.ones(1)
        self.turbines.storm_m_s = np.array([wind_m_s])
        seen = []
        for _ in range(round(seconds / dt_s)):
            gust = self.rng.standard_normal(len(self.out))
            rho = np.array([1.225])
            self.turbines.step(dt_s, START_NS, self.out, self.limit, rho=rho, gust=gust)
            seen.append(self.turbines.wind_m_s)
        return np.array(seen)

    def states(self) -> set[UnitState]:
        return {UnitState(code) for code in self.turbines.state}


def test_turbulence_has_its_intensity_and_its_memory() -> None:
    blower = Blower(100)
    wind = blower.blow(10.0, 3000)
    scatter = (wind - wind.mean(axis=0)) / wind.mean()
    assert scatter.std() == pytest.approx(0.055, rel=0.05)
    lag = 34  # tau = 340 m / 10 m/s
    lagged = np.mean(scatter[lag:] * scatter[:-lag]) / np.mean(scatter**2)
    assert lagged == pytest.approx(np.exp(-1), abs=0.07)


def test_cut_out_waits_for_calm_before_it_restarts() -> None:
    blower = Blower()
    blower.blow(14.0, 300)
    assert blower.turbines.p_mw.sum() == pytest.approx(250, rel=0.01)
    blower.blow(28.0, 600)
    assert blower.states() == {UnitState.STORM}
    assert not blower.turbines.p_mw.any()
    blower.blow(24.0, 600)
    assert UnitState.STORM in blower.states(), "above the restart speed they wait"
    blower.blow(18.0, 900)
    assert blower.states() == {UnitState.RUNNING}
    assert blower.turbines.p_mw.sum() == pytest.approx(250, rel=0.01)


def test_wakes_cost_their_share() -> None:
    blower = Blower(400)
    wind = blower.blow(8.0, 300)
    assert wind.mean() / 8.0 == pytest.approx(0.97, abs=0.004)
    share = blower.turbines.p_mw.sum() / 2000
    assert share / power_share(np.array([8.0]))[0] == pytest.approx(0.92, abs=0.03)


def test_curtailment_and_outages_have_their_states() -> None:
    blower = Blower()
    blower.out[:3] = UnitState.FAULTED
    blower.out[3] = UnitState.MAINTENANCE
    blower.limit = np.array([100.0])
    blower.blow(13.0, 120)
    assert blower.turbines.p_mw.sum() == pytest.approx(100, abs=0.01)
    assert blower.turbines.available_mw.sum() == pytest.approx(230, rel=0.03)
    assert blower.states() == {UnitState.FAULTED, UnitState.MAINTENANCE, UnitState.CURTAILED}
    blower.limit = np.array([np.inf])
    blower.blow(13.0, 60)
    assert blower.turbines.p_mw.sum() == pytest.approx(230, rel=0.03)
    blower.blow(1.0, 400)
    assert blower.states() == {UnitState.FAULTED, UnitState.MAINTENANCE, UnitState.WAITING}


def test_plants_are_made_of_their_turbines() -> None:
    fleet = Fleet(reference_plants(), np.random.default_rng(4), START_NS)
    counts = {plant.id: sum(name == plant.id for name, _ in fleet.units) for plant in WIND}
    assert counts["zhanatas-wind"] == 40
    assert counts["zarafshan-wind"] == 111
    for k in range(120):
        fleet.step(1.0, START_NS + (k + 1) * 10**9)
    state = fleet.state()
    total = np.bincount(fleet.unit_plant, state.unit_p_mw, len(fleet.plants))
    moved = np.isin(np.arange(len(fleet.plants)), fleet.unit_plant)
    assert total[moved] == pytest.approx(state.p_mw[moved])
    assert np.all((state.p_mw >= 0) & (state.p_mw <= fleet.rated_mw))


def test_capacity_factor_of_every_wind_plant_over_a_year() -> None:
    fleet = Fleet(reference_plants(), np.random.default_rng(1), START_NS)
    turbines, rng = fleet.turbines, np.random.default_rng(2)
    in_service = np.zeros(len(turbines.rated_mw), np.int8)
    unlimited, rho = np.full(len(WIND), np.inf), np.full(len(WIND), 1.19)
    energy_mwh = np.zeros(len(WIND))
    for hour in range(1, 8761):
        gust = rng.standard_normal(len(in_service))
        turbines.step(60.0, START_NS + hour * HOUR_NS, in_service, unlimited, rho=rho, gust=gust)
        energy_mwh += turbines.by_plant(turbines.p_mw)
    factor = energy_mwh / 8760 / [plant.rated_mw for plant in WIND]
    for plant, share in zip(WIND, factor, strict=True):
        assert 0.25 < share < 0.50, (plant.id, share)


def test_units_fail_and_are_repaired_around_their_availability() -> None:
    outages = Outages(np.full(2000, 0.97), np.random.default_rng(1))
    first = outages.state.copy()
    seen = []
    for _ in range(24 * 20):
        outages.step(3600.0)
        seen.append(np.mean(outages.state == 0))
    assert np.mean(seen) == pytest.approx(0.97, abs=0.005)
    assert set(np.unique(outages.state)) == {0, UnitState.FAULTED, UnitState.MAINTENANCE}
    assert not np.array_equal(first, outages.state)
