"""Generation control: in each area one plant holds the area's exchange with its neighbours at schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass

INTEGRATION_S = 12.0
"""Time constant of the integrating controller [s]."""


@dataclass(frozen=True, slots=True)
class Regulation:
    """What one area holds, and with which plant."""

    area: str
    plant: str
    """Plant that follows the controller."""
    meters: tuple[tuple[str, str], ...]
    """(branch, node) of the ends whose sum is the export, + out of the area; empty: the tie of a slack."""
    slack: str
    """Slack bus whose supply is the area's import, where ``meters`` is empty."""
    ties: tuple[str, ...]
    """Names of the schedules whose sum is the export to hold."""
    ramp_mw_per_s: float
    bias_mw_per_hz: float
    """What governors and loads of the area give for each hertz of deviation; the controller leaves it."""


REFERENCE = (
    Regulation("KZ", "ekibastuz-thermal", (), "EKI", ("RU",), 3.0, 1500.0),
    Regulation(
        "UZ",
        "tashkent-thermal",
        (("SHY-TAS", "TAS"), ("KUN-AKT", "KUN")),
        "",
        ("SHY-TAS", "KUN-AKT"),
        3.0,
        1000.0,
    ),
    Regulation("AZ", "mingachevir-hydro", (), "SAM", ("MGC-SAM",), 7.0, 400.0),
)
"""The corridor's three areas. The two AC ties of UZ close a ring, so that only their sum can be held.

Plants, ramps and biases are illustrative.
"""


def setpoint(
    regulation: Regulation, setpoint_mw: float, rated_mw: float, wanted_mw: float, dt_s: float
) -> float:
    """The next set-point [MW]: integrates what the area lacks, within ramp rate and rating."""
    wanted = wanted_mw * (1 - math.exp(-dt_s / INTEGRATION_S))
    ramp = regulation.ramp_mw_per_s * dt_s
    return min(max(setpoint_mw + min(max(wanted, -ramp), ramp), 0.0), rated_mw)
