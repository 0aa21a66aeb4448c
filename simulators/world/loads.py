"""Loads: what each node consumes over day, week and year (illustrative shapes and amounts)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

_DAY_NS = 86_400_000_000_000
_HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class Country:
    """Habits of a country."""

    utc_offset_h: int
    weekend: tuple[int, ...]
    """Days of rest, Monday = 0."""
    summer_share: float
    """Part of the yearly swing that cooling makes: 0 winter peak alone, 1 both peaks equal."""


COUNTRIES: Mapping[str, Country] = {
    "KZ": Country(5, (5, 6), 0.2),
    "UZ": Country(5, (6,), 0.6),
    "AZ": Country(4, (5, 6), 0.9),
}
"""Clocks: Kazakhstan and Uzbekistan UTC+5, Azerbaijan UTC+4."""

DEMAND_MW: Mapping[str, float] = {
    "EKI": 600, "NUR": 400, "SHU": 150, "ALM": 1100, "ZHB": 150, "SHY": 600, "AKT": 250, "KRB": 150,
    "ULK": 300, "TAS": 1500, "NAV": 500, "BUK": 350, "KUN": 150, "ALT": 150, "ABS": 1100, "MGC": 200,
}  # fmt: skip
"""Mean consumption at a node [MW] (illustrative)."""


def shape(country: Country, t_ns: int) -> float:
    """Consumption now, relative to its yearly mean: morning and evening peaks, quiet nights and weekends."""
    local = t_ns + country.utc_offset_h * _HOUR_NS
    hour = local % _DAY_NS / _HOUR_NS
    night = math.cos(2 * math.pi * (hour - 3.5) / 24)
    morning = math.exp(-(((hour - 9.5) / 2.0) ** 2))
    evening = math.exp(-(((hour - 19.5) / 2.2) ** 2))
    daily = 1.0 - 0.10 * night + 0.04 * morning + 0.11 * evening - 0.028
    year = local / _DAY_NS % 365.2425 / 365.2425
    winter = math.cos(2 * math.pi * (year - 0.04))
    yearly = 1.0 + 0.08 * ((1 - country.summer_share) * winter + country.summer_share * (2 * winter**2 - 1))
    return daily * yearly * _weekly(country, local)


def _weekly(country: Country, local_ns: int) -> float:
    """Days of rest are lower; one day passes into the next over two hours around midnight."""
    day, part = divmod(local_ns, _DAY_NS)
    factors = [0.94 if (d + 3) % 7 in country.weekend else 1.0 for d in (day - 1, day, day + 1)]
    hour = part / _HOUR_NS
    before = max(0.0, 0.5 - hour / 2)
    after = max(0.0, 0.5 - (24 - hour) / 2)
    return factors[0] * before + factors[1] * (1 - before - after) + factors[2] * after
