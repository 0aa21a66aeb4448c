"""Weather stations: model 307. Its wind speed is in whole metres per second, as the standard has it."""

from __future__ import annotations

from collections.abc import Sequence

from simulators.devices.generation import Generation
from simulators.devices.sunspec.chain import Content
from simulators.devices.wind_maps import pressure_hpa

MODELS = (307,)


def contents(wanted: Sequence[int]) -> dict[int, Content[Generation]]:
    """What a station implements of each wanted model.

    Raises
    ------
    KeyError
        A station has no such model.

    """
    base_met: Content[Generation] = Content(
        {
            "TmpAmb": lambda u: u.air_c,
            "Pres": lambda u: pressure_hpa(u.air_c),
            "WndSpd": lambda u: u.wind_m_s,
            "WndDir": lambda u: u.wind_dir_deg,
        }
    )
    return {number: {307: base_met}[number] for number in wanted}
