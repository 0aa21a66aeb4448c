"""Expected losses as expressions that InfluxQL can compute.

The loss of a linear two-port is a quadratic form of voltage and current at one end, so with P, Q and V
measured there it is a sum of V^2, P, Q and (P^2 + Q^2) / V^2 with constant factors: exact for every line
whose joints hold fixed reactors. Where a joint holds a voltage controller the sum is a fit. The factors are
fitted to the two-port of :mod:`alerts.two_port`, the one that rule R6 uses; a test bounds the difference.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from alerts.two_port import LineModel, hvdc_loss_mw
from grafana.influxql import number
from telemetry.grid import Grid, Hvdc, Line

Column = NDArray[np.float64]

_TERMS = ("", '"v" * "v"', '"p"', '"q"', '"p" * "p" / ("v" * "v")', '"q" * "q" / ("v" * "v")')
_NEGLIGIBLE_MW = 1e-6
"""A term of less than this, at rated voltage and 100 MW or Mvar, is rounding."""
_VOLTAGES_PU = np.linspace(0.96, 1.04, 5)
_FAR_PU = (0.95, 1.06)
"""Voltages at the far end that operation allows [pu]."""


def line_expression(grid: Grid, line: Line) -> str:
    """Expected loss of a line [MW] in p [MW], q [Mvar] and v [kV] of its ``from`` end."""
    factors, scales = _fit(grid, line)
    text = ""
    for factor, scale, term in zip(factors, scales, _TERMS, strict=True):
        if abs(factor) > _NEGLIGIBLE_MW:
            sign = " - " if factor < 0 else " + "
            text += sign + number(abs(factor) / scale) + (f" * {term}" if term else "")
    return text.removeprefix(" + ")


def hvdc_expression(link: Hvdc) -> str:
    """Expected loss of an HVDC link [MW] in p [MW] of its ``from`` end, while that end sends.

    :func:`alerts.two_port.hvdc_loss_mw` is a polynomial of the second degree in the power sent.
    """
    sent = np.linspace(0.2, 1.0, 3) * link.limit_mw
    square, slope, constant = np.polyfit(sent, [hvdc_loss_mw(link, float(p)) for p in sent], 2)
    return f'{number(constant)} + {number(slope)} * "p" + {number(square)} * "p" * "p"'


def _terms(u_kv: float, v: Column, p: Column, q: Column) -> tuple[Column, Column]:
    """Terms as columns, of order 1 in operation, and the scale of each in the units of the expression."""
    u = v / u_kv
    one = np.ones_like(v)
    columns = np.stack([one, u * u, p / 100, q / 100, (p / u / 100) ** 2, (q / u / 100) ** 2], axis=1)
    scales = np.array([1.0, u_kv**2, 100.0, 100.0, (100.0 / u_kv) ** 2, (100.0 / u_kv) ** 2])
    return columns, scales


def _fit(grid: Grid, line: Line) -> tuple[Column, Column]:
    model = LineModel(grid, line)
    powers = np.linspace(-1.0, 1.0, 13) * line.limit_mw
    reactive = np.linspace(-0.6, 0.6, 25) * line.limit_mw
    low, high = (bound * grid.u_rated_kv for bound in _FAR_PU)
    samples = []
    for v, p, q in product(_VOLTAGES_PU * grid.u_rated_kv, powers, reactive):
        far = model.far_end(float(v), float(p), float(q))
        if low <= far.v_kv <= high:
            samples.append((v, p, q, far.loss_mw))
    v_kv, p_mw, q_mvar, loss = np.array(samples).T
    columns, scales = _terms(grid.u_rated_kv, v_kv, p_mw, q_mvar)
    factors: Column = np.linalg.lstsq(columns, loss, rcond=None)[0]
    return factors, scales
