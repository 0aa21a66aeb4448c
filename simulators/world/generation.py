"""Generation control: in each area one plant holds the area's exchange with its neighbours at schedule."""

from __future__ import annotations

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
    export_mw: float
    """Scheduled export [MW]."""
    ramp_mw_per_s: float


REFERENCE = (
    Regulation("KZ", "ekibastuz-thermal", (), "EKI", 0.0, 3.0),
    Regulation("UZ", "tashkent-thermal", (("SHY-TAS", "TAS"), ("KUN-AKT", "KUN")), "", 1112.0, 3.0),
    Regulation("AZ", "mingachevir-hydro", (), "SAM", 620.0, 7.0),
)
"""The corridor's three areas. The two AC ties of UZ close a ring, so that only their sum can be held."""


def setpoint(
    regulation: Regulation, setpoint_mw: float, rated_mw: float, export_mw: float, dt_s: float
) -> float:
    """The next set-point [MW]: integrates the deviation of the export, within ramp rate and rating."""
    wanted = (regulation.export_mw - export_mw) * dt_s / INTEGRATION_S
    ramp = regulation.ramp_mw_per_s * dt_s
    return min(max(setpoint_mw + min(max(wanted, -ramp), ramp), 0.0), rated_mw)
