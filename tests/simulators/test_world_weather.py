from __future__ import annotations

import numpy as np
import pytest

from simulators.world import plants
from simulators.world.plants import Fleet, PlantKind, reference_plants
from simulators.world.weather import Drift, air_temperature, clear_sky_ghi, cos_zenith

NOON_NS = 1_782_043_200_000_000_000  # 2026-06-21 12:00 UTC
HALF_DAY_NS = 43_200 * 10**9
ONE = np.ones(1)


def test_drift_has_its_deviation_and_its_memory() -> None:
    drift = Drift(np.full(400, 2.0), np.full(400, 30.0))
    rng = np.random.default_rng(1)
    values = np.array([drift.step(1.0, rng.standard_normal(400)) for _ in range(600)])[200:]
    assert values.std() == pytest.approx(2.0, rel=0.05)
    lagged = np.mean(values[30:] * values[:-30]) / np.mean(values**2)
    assert lagged == pytest.approx(np.exp(-1), abs=0.06)


@pytest.mark.parametrize(
    ("t_ns", "latitude", "longitude", "degrees"),
    [
        (NOON_NS, 23.45, 0.0, 0.0),
        (NOON_NS, 50.0, 0.0, 26.55),
        (NOON_NS - 5 * 3600 * 10**9, 50.0, 75.0, 26.55),
        (NOON_NS + HALF_DAY_NS, 40.0, 0.0, 90.0),
    ],
)
def test_sun_stands_where_it_should(t_ns: int, latitude: float, longitude: float, degrees: float) -> None:
    cosine = cos_zenith(t_ns, latitude * ONE, longitude * ONE)
    assert np.degrees(np.arccos(cosine))[0] == pytest.approx(degrees, abs=0.3)


def test_clear_sky_is_dark_at_night_and_bright_at_noon() -> None:
    ghi = clear_sky_ghi(np.array([0.0, 0.5, 1.0]))
    assert ghi == pytest.approx([0.0, 1098 * 0.5 * np.exp(-0.114), 1098 * np.exp(-0.057)])


def test_temperature_peaks_on_a_summer_afternoon() -> None:
    afternoon = air_temperature(NOON_NS + 3 * 3600 * 10**9, 0 * ONE)[0]
    assert afternoon > air_temperature(NOON_NS - 9 * 3600 * 10**9, 0 * ONE)[0] + 8
    assert afternoon > air_temperature(NOON_NS + 365 * HALF_DAY_NS, 0 * ONE)[0] + 20


def test_power_curve_cuts_in_saturates_and_cuts_out() -> None:
    share = plants.wind_share(np.array([2.0, 3.0, 8.0, 12.0, 24.9, 25.0]))
    assert share == pytest.approx([0, 0, (512 - 27) / (1728 - 27), 1, 1, 0])
    assert plants.wind_share(plants.wind_for(np.array([0.1, 0.9]))) == pytest.approx([0.1, 0.9])


def test_solar_share_clips_at_the_inverter_and_suffers_from_heat() -> None:
    hot, cold = plants.solar_share(np.array([500.0, 500.0]), np.array([65.0, 5.0]))
    assert hot < cold < 1
    assert plants.solar_share(np.array([1100.0]), np.array([25.0]))[0] == 1.0


def test_fleet_starts_at_its_forecast_and_keeps_physical() -> None:
    fleet = Fleet(reference_plants(), np.random.default_rng(4))
    assert fleet.state(NOON_NS).p_mw == pytest.approx(fleet.forecast_mw(NOON_NS))
    for k in range(600):
        fleet.step(1.0)
        state = fleet.state(NOON_NS + k * 10**9)
        assert np.all((state.p_mw >= 0) & (state.p_mw <= fleet.rated_mw))
    solar = np.array([plant.kind is PlantKind.SOLAR for plant in fleet.plants])
    wind = np.array([plant.kind is PlantKind.WIND for plant in fleet.plants])
    assert np.array_equal(np.isnan(state.ghi_w_m2), ~solar)
    assert np.array_equal(np.isnan(state.wind_m_s), ~wind)
    night = fleet.state(NOON_NS + 7 * 3600 * 10**9)  # midnight at Saran
    assert not night.p_mw[[p.id == "saran-solar" for p in fleet.plants]].any()
    assert np.all(state.dark().p_mw == 0)
