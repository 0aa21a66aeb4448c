"""Wind, sun and temperature at the plants: simple, seeded and steppable."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_DAY_NS = 86_400_000_000_000


class Drift:
    """Independent first-order autoregressive deviations around zero, all starting at zero.

    x(t + dt) = phi x(t) + sigma sqrt(1 - phi^2) e with phi = exp(-dt / tau); stationary deviation sigma.
    """

    def __init__(self, sigma: Array, tau_s: Array) -> None:
        self._sigma = sigma
        self._tau_s = tau_s
        self.value: Array = np.zeros(len(sigma))

    def step(self, dt_s: float, noise: Array) -> Array:
        """Advances by ``dt_s`` with standard normal ``noise`` and returns the new deviations."""
        phi = np.exp(-dt_s / self._tau_s)
        self.value = phi * self.value + self._sigma * np.sqrt(1 - phi**2) * noise
        return self.value


def cos_zenith(t_ns: int, latitude_deg: Array, longitude_deg: Array) -> Array:
    """Cosine of the sun's zenith angle, 0 below the horizon.

    Declination after Cooper (1969), solar time from the longitude alone (no equation of time: up to 16 min).
    """
    day_of_year = (t_ns // _DAY_NS + 0.5) % 365.2425
    utc_h = t_ns % _DAY_NS / _DAY_NS * 24
    declination = math.radians(23.45) * math.sin(2 * math.pi * (284 + day_of_year) / 365)
    hour_angle = np.radians((utc_h - 12) * 15 + longitude_deg)
    latitude = np.radians(latitude_deg)
    cosine = np.sin(latitude) * math.sin(declination) + np.cos(latitude) * math.cos(declination) * np.cos(
        hour_angle
    )
    return np.maximum(cosine, 0.0)


def clear_sky_ghi(cosine: Array) -> Array:
    """Clear-sky global horizontal irradiance [W/m2] by Haurwitz (1945): 1098 cos z exp(-0.057 / cos z)."""
    safe = np.maximum(cosine, 1e-3)
    ghi: Array = np.where(cosine > 1e-3, 1098.0 * cosine * np.exp(-0.057 / safe), 0.0)
    return ghi


def air_temperature(t_ns: int, longitude_deg: Array) -> Array:
    """Air temperature [degC]: a yearly and a daily wave, warmest in July at 15 h (illustrative)."""
    day_of_year = t_ns // _DAY_NS % 365.2425
    solar_h = t_ns % _DAY_NS / _DAY_NS * 24 + longitude_deg / 15
    yearly = 13.0 - 14.0 * math.cos(2 * math.pi * (day_of_year - 15) / 365)
    temperature: Array = yearly + 5.0 * np.cos(2 * math.pi * (solar_h - 15) / 24)
    return temperature
