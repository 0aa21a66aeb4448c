"""What weather is made of: drifts, fronts and air temperature."""

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


class Front:
    """Weather that is injected at some plants for a time: comes and goes with a lag."""

    def __init__(self, count: int, tau_s: float) -> None:
        self._tau_s = tau_s
        self._left_s = np.zeros(count)
        self.intensity: Array = np.zeros(count)
        """0 none to 1 full."""

    def start(self, plant: int, duration_s: float) -> None:
        """Begins, prolongs or (0) ends the front at a plant."""
        self._left_s[plant] = duration_s

    def step(self, dt_s: float) -> Array:
        """Advances by ``dt_s`` [s]; returns the intensity at each plant."""
        if self._left_s.any() or self.intensity.any():
            wanted = (self._left_s > 0).astype(np.float64)
            self.intensity = self.intensity + (wanted - self.intensity) * -math.expm1(-dt_s / self._tau_s)
            self.intensity[(wanted == 0) & (self.intensity < 1e-4)] = 0.0
            self._left_s = np.maximum(self._left_s - dt_s, 0.0)
        return self.intensity


def air_temperature(t_ns: int, longitude_deg: Array) -> Array:
    """Air temperature [degC]: a yearly and a daily wave, warmest in July at 15 h (illustrative)."""
    day_of_year = t_ns // _DAY_NS % 365.2425
    solar_h = t_ns % _DAY_NS / _DAY_NS * 24 + longitude_deg / 15
    yearly = 13.0 - 14.0 * math.cos(2 * math.pi * (day_of_year - 15) / 365)
    temperature: Array = yearly + 5.0 * np.cos(2 * math.pi * (solar_h - 15) / 24)
    return temperature
