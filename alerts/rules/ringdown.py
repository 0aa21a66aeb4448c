"""The dominant oscillation of a signal and its damping, by the matrix pencil.

A sum of exponentially damped sinusoids satisfies y(k) = sum R_i z_i^k; the z_i are the eigenvalues of a
pencil of two Hankel matrices of the samples (Hua and Sarkar, Matrix pencil method for estimating parameters
of exponentially damped/undamped sinusoids in noise, IEEE Trans. ASSP 38(5), 1990, 814-824), with noise
removed by the truncation of singular values. A mode s = sigma + j omega = ln(z) / dt has the damping ratio
-sigma / |s| (Kundur, Power System Stability and Control, 1994, section 12.2).

Sampling faster than twice the mode's frequency is the caller's duty: an alias cannot be told from a mode, and
its damping ratio is wrong, since its decay is kept and its frequency is not.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FEWEST = 16
"""Samples without which nothing is estimated."""
_MOST_POLES = 10
_SIGNIFICANT = 0.05
"""Singular values below this part of the largest one are noise."""
_SHARE = 0.5
"""Part of the signal's energy that a mode must explain: less is a step, a ramp or noise."""


class Mode(NamedTuple):
    """One damped sinusoid."""

    frequency_hz: float
    damping: float
    """Damping ratio: 1 for what does not swing, 0 for what lasts, below 0 for what grows."""
    amplitude: float
    """At the end of the signal [unit of the signal]."""
    share: float
    """Part of the energy of the signal, less its trend, that it explains: 0 to 1."""


def detrended(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Samples less their least-squares line: what a schedule's ramp does to a flow is no oscillation."""
    k = np.arange(len(samples)) - (len(samples) - 1) / 2
    slope = float(k @ samples) / float(k @ k)
    found: NDArray[np.float64] = samples - samples.mean() - slope * k
    return found


def dominant_mode(
    samples: NDArray[np.float64], period_s: float, lowest_hz: float, highest_hz: float
) -> Mode | None:
    """The strongest mode of a band, or None when no mode of the band explains most of the signal.

    Parameters
    ----------
    samples
        Equidistant, finite.
    period_s
        Time between two of them [s]; below 1 / (2 ``highest_hz``).
    lowest_hz, highest_hz
        Band [Hz].

    """
    y = detrended(samples)
    energy = float(y @ y)
    if len(y) < _FEWEST or energy <= 0.0:
        return None
    poles = _poles(y)
    if not len(poles):
        return None
    powers = poles[None, :] ** np.arange(len(y))[:, None]
    if not np.isfinite(powers).all():
        return None
    residues = np.linalg.lstsq(powers, y.astype(complex), rcond=None)[0]
    best: Mode | None = None
    for pole, residue, each in zip(poles, residues, powers.T, strict=True):
        if pole.imag <= 0:
            continue  # of each pair of poles one is enough
        s = np.log(pole) / period_s
        frequency = float(s.imag) / (2 * math.pi)
        swing = 2 * (residue * each).real
        share = float(swing @ swing) / energy
        if lowest_hz <= frequency <= highest_hz and (best is None or share > best.share):
            amplitude = 2 * abs(residue) * abs(each[-1])
            best = Mode(frequency, float(-s.real / abs(s)), float(amplitude), min(share, 1.0))
    return best if best is not None and best.share >= _SHARE else None


def _poles(y: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Poles of the signal per sample, as many as stand out of its noise."""
    pencil = len(y) // 2
    hankel = np.lib.stride_tricks.sliding_window_view(y, pencil + 1)
    _, sizes, right = np.linalg.svd(hankel, full_matrices=False)
    count = min(int(np.count_nonzero(sizes > _SIGNIFICANT * sizes[0])), _MOST_POLES)
    basis = right[:count].T
    poles: NDArray[np.complex128] = np.linalg.eigvals(np.linalg.pinv(basis[:-1]) @ basis[1:]).astype(complex)
    return poles[np.abs(poles) > 0]
