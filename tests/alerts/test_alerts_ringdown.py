"""Damping by the matrix pencil: known modes in noise, and what is no oscillation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alerts.rules.ringdown import dominant_mode

PERIOD_S, SECONDS = 0.25, 20.0
T = np.arange(0.0, SECONDS, PERIOD_S)


def swing(hz: float, damping: float, amplitude: float, phase: float = 0.0) -> NDArray[np.float64]:
    """A damped sinusoid with a damping ratio."""
    omega = 2 * math.pi * hz
    sigma = omega * damping / math.sqrt(1 - damping**2)
    found: NDArray[np.float64] = amplitude * np.exp(-sigma * T) * np.cos(omega * T + phase)
    return found


@given(
    hz=st.floats(0.22, 0.78),
    damping=st.floats(-0.02, 0.08),
    phase=st.floats(0, 2 * math.pi),
    ramp=st.floats(-1, 1),
    seed=st.integers(0, 1000),
)
def test_a_mode_is_found_in_the_noise_of_a_meter(
    hz: float, damping: float, phase: float, ramp: float, seed: int
) -> None:
    noise = np.random.default_rng(seed).normal(0.0, 0.15, len(T))
    flow = 320 + ramp * T + swing(hz, damping, 20.0, phase) + noise
    mode = dominant_mode(flow, PERIOD_S, 0.2, 0.8)
    assert mode is not None
    assert mode.frequency_hz == pytest.approx(hz, abs=0.02)
    assert mode.damping == pytest.approx(damping, abs=0.01)
    assert mode.share > 0.5


@pytest.mark.parametrize(
    "flow",
    [
        np.full(len(T), 300.0),
        300 + 2 * T,
        np.where(T > 8, 500.0, 300.0),
        300 + 0.3 * T**2,
        np.random.default_rng(7).normal(300, 5, len(T)),
        300 + np.cumsum(np.random.default_rng(8).normal(0, 2, len(T))),
        300 + 20 * np.cos(2 * math.pi * 0.08 * T),
        np.array([1.0, 2.0]),
    ],
    ids=["flat", "ramp", "step", "bend", "white", "walk", "slow", "short"],
)
def test_what_is_no_oscillation_has_no_mode(flow: NDArray[np.float64]) -> None:
    mode = dominant_mode(np.asarray(flow, float), PERIOD_S, 0.2, 0.8)
    assert mode is None or mode.damping > 0.1


def test_the_stronger_of_two_modes_counts() -> None:
    flow = swing(0.3, 0.02, 20.0) + swing(0.65, 0.1, 8.0)
    mode = dominant_mode(flow, PERIOD_S, 0.2, 0.8)
    assert mode is not None
    assert mode.frequency_hz == pytest.approx(0.3, abs=0.005)
    assert mode.damping == pytest.approx(0.02, abs=0.002)


def test_once_a_second_shows_an_alias() -> None:
    """Why a tie that is read once a second is not judged."""
    t = np.arange(0.0, 60.0)
    flow = 20 * np.exp(-0.13 * t) * np.cos(2 * math.pi * 0.7 * t)  # damping 3 %
    mode = dominant_mode(flow, 1.0, 0.2, 0.8)
    assert mode is not None
    assert mode.frequency_hz == pytest.approx(0.3, abs=0.01)
    assert mode.damping > 0.06
