"""Sun, clouds and inverters."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.world import inverters
from simulators.world.inverters import Inverters
from simulators.world.plants import Fleet, PlantKind, reference_plants
from simulators.world.sun import BROKEN, CLEAR, OVERCAST, Clouds, clear_sky_day
from simulators.world.units import UnitState
from simulators.world.weather import Drift, Front, air_temperature

NOON_NS = 1_782_043_200_000_000_000  # 2026-06-21 12:00 UTC
DAY_NS = 86_400 * 10**9
MINUTE_NS = 60 * 10**9
ONE = np.ones(1)


def test_drift_has_its_deviation_and_its_memory() -> None:
    drift = Drift(np.full(400, 2.0), np.full(400, 30.0))
    rng = np.random.default_rng(1)
    values = np.array([drift.step(1.0, rng.standard_normal(400)) for _ in range(600)])[200:]
    assert values.std() == pytest.approx(2.0, rel=0.05)
    lagged = np.mean(values[30:] * values[:-30]) / np.mean(values**2)
    assert lagged == pytest.approx(np.exp(-1), abs=0.06)


def test_front_comes_stays_and_goes() -> None:
    front = Front(2, 60.0)
    front.start(1, 600.0)
    rise = [front.step(1.0)[1] for _ in range(600)]
    assert rise[59] == pytest.approx(1 - np.exp(-1), abs=0.01)
    assert rise[-1] > 0.99
    for _ in range(600):
        front.step(1.0)
    assert front.intensity.tolist() == [0.0, 0.0]


def test_clear_sky_is_that_of_the_place_and_season() -> None:
    summer = clear_sky_day(NOON_NS // DAY_NS, 49.8, 72.8, 500.0)
    winter = clear_sky_day(NOON_NS // DAY_NS + 183, 49.8, 72.8, 500.0)
    assert summer.argmax() == pytest.approx(7.17 * 60, abs=5), "solar noon at 72.8 deg east is 07:11 UTC"
    assert 850 < summer.max() < 1000
    assert 250 < winter.max() < 420
    assert summer[20 * 60] == 0
    assert np.count_nonzero(summer) / 60 == pytest.approx(16.2, abs=0.4)


def test_temperature_peaks_on_a_summer_afternoon() -> None:
    afternoon = air_temperature(NOON_NS + 3 * 3600 * 10**9, 0 * ONE)[0]
    assert afternoon > air_temperature(NOON_NS - 9 * 3600 * 10**9, 0 * ONE)[0] + 8
    assert afternoon > air_temperature(NOON_NS + 365 * DAY_NS // 2, 0 * ONE)[0] + 20


def test_solar_share_clips_at_the_inverter_and_suffers_from_heat() -> None:
    hot, cold = inverters.solar_share(np.array([500.0, 500.0]), np.array([65.0, 5.0]))
    assert hot < cold < 1
    assert inverters.solar_share(np.array([1100.0]), np.array([25.0]))[0] == 1.0
    assert inverters.cell_temperature(20 * ONE, 800 * ONE)[0] == 45.0


def test_skies_keep_their_shares_and_pass_through_broken() -> None:
    places = np.array([20.0, 30.0, 40.0, 50.0, 60.0])
    clouds = Clouds(places, places, np.random.default_rng(1), 0)
    skies, clear = [], []
    for minute in range(1, 60_000):
        clear.append(clouds.step(60.0, minute * MINUTE_NS, np.zeros(5)))
        skies.append(clouds.sky)
    sky = np.array(skies)
    shares = [np.mean(sky == kind) for kind in (CLEAR, BROKEN, OVERCAST)]
    assert shares == pytest.approx([0.54, 0.22, 0.24], abs=0.05)
    jumps = np.abs(np.diff(sky, axis=0))
    assert jumps.max() == 1, "a clear sky does not turn overcast at once"
    assert np.mean(clear) == pytest.approx(0.54 * 0.99 + 0.22 * 0.70 + 0.24 * 0.30, abs=0.04)


def test_clearness_has_its_spread_and_memory() -> None:
    clouds = Clouds(np.linspace(0, 60, 40), np.zeros(40), np.random.default_rng(2), 0)
    clouds.sky = np.full(40, BROKEN)
    rng = np.random.default_rng(3)
    seen = np.array([clouds.step(1.0, 1, rng.standard_normal(40)) for _ in range(3000)])[300:]
    scatter = seen - 0.70
    assert scatter.std() == pytest.approx(0.12, rel=0.06)
    lagged = np.mean(scatter[90:] * scatter[:-90]) / np.mean(scatter**2)
    assert lagged == pytest.approx(np.exp(-1), abs=0.08)


def test_clouds_move_from_west_to_east() -> None:
    # 72 km at 12 m/s are 100 minutes
    degrees = 72 / (111.195 * np.cos(np.radians(40)))
    clouds = Clouds(np.array([40.0, 40.0]), np.array([50.0, 50.0 + degrees]), np.random.default_rng(4), 0)
    skies = []
    for minute in range(1, 3000):
        clouds.step(60.0, minute * MINUTE_NS, np.zeros(2))
        skies.append(clouds.sky)
    sky = np.array(skies)
    assert len(np.unique(sky)) == 3
    late = [np.mean(sky[delay:, 1] == sky[: len(sky) - delay, 0]) for delay in (99, 100)]
    assert max(late) > 0.999
    assert np.mean(sky[:, 0] == sky[:, 1]) < 0.9


def test_inverters_wake_run_throttle_and_sleep() -> None:
    plant = Inverters(np.array([100.0]), np.array([40], np.intp), np.random.default_rng(1))
    out = np.zeros(40, np.int8)
    out[0] = UnitState.FAULTED
    free, full, half, night = np.array([np.inf]), np.array([0.8]), np.array([40.0]), np.zeros(1)

    def run(share: np.ndarray, limit: np.ndarray, seconds: int) -> set[UnitState]:
        for _ in range(seconds):
            plant.step(1.0, share, share, out, limit)
        return {UnitState(code) for code in plant.state[1:]}

    assert run(night, free, 5) == {UnitState.WAITING}
    assert run(full, free, 60) == {UnitState.STARTING}
    assert not plant.p_mw.any()
    assert run(full, free, 120) == {UnitState.RUNNING}
    assert plant.p_mw.sum() == pytest.approx(0.8 * 0.985 * 97.5, rel=0.01)
    assert np.ptp(plant.p_mw[1:]) > 0.01, "inverters are not all alike"
    assert run(full, half, 30) == {UnitState.CURTAILED}
    assert plant.p_mw.sum() == pytest.approx(40.0)
    assert run(full * 2, free, 30) == {UnitState.RUNNING}
    assert plant.p_mw[1:] == pytest.approx(2.5), "clipped at the rating"
    run(full, np.zeros(1), 1)
    plant.sleep(np.array([True]))
    assert not plant.p_mw.any()
    assert run(full, free, 60) == {UnitState.STARTING}, "one that was off starts anew"
    assert run(night, free, 30) == {UnitState.WAITING}
    assert plant.state[0] == UnitState.FAULTED


def test_capacity_factor_of_every_solar_plant_over_the_year() -> None:
    plants = reference_plants()
    solar = [i for i, plant in enumerate(plants) if plant.kind is PlantKind.SOLAR]
    energy, hours = np.zeros(len(plants)), 0
    for day in range(0, 365, 23):
        start = NOON_NS - DAY_NS // 2 + day * DAY_NS
        fleet = Fleet(plants, np.random.default_rng(day), start)
        for hour in range(1, 24):
            fleet.step(60.0, start + hour * 3600 * 10**9)
            energy += fleet.state().p_mw
            hours += 1
    factor = energy / hours / [plant.rated_mw for plant in plants]
    for i in solar:
        assert 0.14 < factor[i] < 0.25, (plants[i].id, factor[i])
    night = Fleet(plants, np.random.default_rng(1), NOON_NS + 7 * 3600 * 10**9).state()
    saran = fleet.index["saran-solar"]
    assert night.p_mw[saran] == night.ghi_w_m2[saran] == 0
