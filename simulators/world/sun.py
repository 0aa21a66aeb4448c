"""Clear sky and clouds over the sites."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simulators.world.weather import Front
from simulators.world.wind import distances_km

Array = NDArray[np.float64]

CLEAR, BROKEN, OVERCAST = 0, 1, 2
MEAN_CLEARNESS = np.array([0.99, 0.70, 0.30])
CLEARNESS_SIGMA = np.array([0.005, 0.12, 0.04])
CLEARNESS_TAU_S = 90.0
DWELL_MIN = np.array([180.0, 45.0, 120.0])
"""Mean time in each state [min]; between clear and overcast lies broken (illustrative)."""
CLEARING = 0.6
"""Share of broken skies that become clear."""
CLOUD_SPEED_M_S = 12.0
GROUP_KM = 150.0
"""Sites closer than this see the same clouds one after the other, coming from the west."""
FRONT_CLEARNESS, FRONT_TAU_S = 0.25, 60.0
_MINUTE_NS, _DAY_NS = 60 * 10**9, 86_400 * 10**9


@lru_cache(maxsize=128)
def clear_sky_day(day: int, latitude: float, longitude: float, elevation_m: float) -> Array:
    """Clear-sky global horizontal irradiance [W/m2] at each minute of a UTC day, both ends included.

    ``day`` counts from 1970. Ineichen and Perez (2002) with the solar position of Reda and Andreas (2004) and
    the Linke turbidity of the month, as pvlib computes them.
    """
    import pandas as pd  # type: ignore[import-untyped] # noqa: PLC0415 - pvlib and what it brings take seconds to import
    from pvlib import atmosphere, clearsky, irradiance, spa  # type: ignore[import-untyped] # noqa: PLC0415

    seconds = day * 86_400.0 + 60.0 * np.arange(1441)
    pressure = atmosphere.alt2pres(elevation_m)
    delta_t, refraction_deg = 69.0, 0.5667
    position = spa.solar_position_numpy(
        seconds, latitude, longitude, elevation_m, pressure / 100, 12.0, delta_t, refraction_deg, 1
    )
    day_time = position[0] < 90.0
    zenith = position[0][day_time]
    airmass = atmosphere.get_relative_airmass(zenith)
    date = pd.DatetimeIndex([pd.Timestamp(day * _DAY_NS, tz="UTC")])
    turbidity = clearsky.lookup_linke_turbidity(date, latitude, longitude, interp_turbidity=False)
    sky = clearsky.ineichen(
        zenith,
        atmosphere.get_absolute_airmass(airmass, pressure),
        float(turbidity.iloc[0]),
        altitude=elevation_m,
        dni_extra=irradiance.get_extra_radiation(float(date[0].day_of_year)),
    )
    ghi: Array = np.zeros(1441)
    ghi[day_time] = sky["ghi"]
    ghi.setflags(write=False)
    return ghi


class ClearSky:
    """Clear-sky irradiance at each site, a day at a time."""

    def __init__(self, sites: Sequence[tuple[float, float, float]]) -> None:
        self._sites = tuple(sites)
        self._day = -1
        self._table: Array = np.zeros((1441, len(self._sites)))

    def at(self, t_ns: int) -> Array:
        """Irradiance now [W/m2]."""
        day, since = divmod(t_ns, _DAY_NS)
        if day != self._day:
            self._day = day
            self._table = np.column_stack([clear_sky_day(day, *site) for site in self._sites])
        minute, part = divmod(since, _MINUTE_NS)
        a, b = self._table[minute], self._table[minute + 1]
        ghi: Array = a + (b - a) * (part / _MINUTE_NS)
        return ghi


class Clouds:
    """Markov clouds that move over groups of sites, and the clearness under them."""

    def __init__(self, latitude: Array, longitude: Array, rng: np.random.Generator, start_ns: int) -> None:
        self._rng = rng
        self._group, self._delay_min = _groups(latitude, longitude)
        self._minute = start_ns // _MINUTE_NS
        groups = int(self._group.max(initial=-1)) + 1
        share = DWELL_MIN * np.array([CLEARING, 1.0, 1 - CLEARING])
        path = [rng.choice(3, groups, p=share / share.sum())]
        for _ in range(int(self._delay_min.max(initial=0))):
            path.append(self._following(path[-1]))
        self._path = path
        self.front = Front(len(latitude), FRONT_TAU_S)
        self.sky = self._overhead()
        """Clear, broken or overcast at each site."""
        self.natural: Array = MEAN_CLEARNESS[self.sky]
        """Clearness without injected fronts."""

    def step(self, dt_s: float, t_ns: int, noise: Array) -> Array:
        """Advances by ``dt_s`` [s]; returns the clearness at each site."""
        minute = t_ns // _MINUTE_NS
        if minute != self._minute:
            for _ in range(minute - self._minute):
                self._path = [*self._path[1:], self._following(self._path[-1])]
            self._minute = minute
            self.sky = self._overhead()
        mean = MEAN_CLEARNESS[self.sky]
        phi = np.exp(-dt_s / CLEARNESS_TAU_S)
        self.natural = mean + phi * (self.natural - mean)
        self.natural += CLEARNESS_SIGMA[self.sky] * np.sqrt(1 - phi**2) * noise
        self.natural = np.clip(self.natural, 0.05, 1.0)
        intensity = self.front.step(dt_s)
        clearness: Array = self.natural * (1 - intensity * (1 - FRONT_CLEARNESS))
        return clearness

    def _overhead(self) -> NDArray[np.intp]:
        now = len(self._path) - 1
        return np.array(
            [
                self._path[now - delay][group]
                for group, delay in zip(self._group, self._delay_min, strict=True)
            ],
            np.intp,
        )

    def _following(self, sky: NDArray[np.intp]) -> NDArray[np.intp]:
        leaves = self._rng.uniform(size=len(sky)) < 1 / DWELL_MIN[sky]
        clears = self._rng.uniform(size=len(sky)) < CLEARING
        after = np.where(sky == BROKEN, np.where(clears, CLEAR, OVERCAST), BROKEN)
        return np.where(leaves, after, sky)


def _groups(latitude: Array, longitude: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Group of each site, and how much later than its western edge a cloud reaches it [min]."""
    count = len(latitude)
    group = np.arange(count)
    if not count:
        return group, group
    near = distances_km(latitude, longitude) < GROUP_KM
    for i in range(count):
        for j in range(i):
            if near[i, j]:
                group[group == group[i]] = group[j]
    _, group = np.unique(group, return_inverse=True)
    east_m = np.radians(longitude) * 6371e3 * np.cos(np.radians(latitude))
    west = np.array([east_m[group == g].min() for g in group])
    return group, ((east_m - west) / CLOUD_SPEED_M_S / 60).astype(np.intp)
