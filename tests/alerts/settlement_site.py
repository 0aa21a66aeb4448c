"""The small site with counters and a contract, and what its meters read when all goes as agreed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from alerts.settlement.curve import Readings
from telemetry.devices import Device
from telemetry.grid import Grid
from telemetry.profiles import parse_profile
from telemetry.registry import PointRegistry
from telemetry.settings import parse
from telemetry.site import Site, point_keys
from tests.alerts.conftest import ENDS, GRID

SECOND = 1_000_000_000
T0 = 1_700_006_400 * SECOND
"""A full hour [ns, UTC]."""

CONTRACT = """
[[contract]]
id = "UZ-AZ"
transit_area = "KZ"
entry = ["SHY-TAS"]
exit = ["AKT-ALT"]
loss_share = 0.03
schedule = [{ start = 2023-01-01T00:00:00Z, mw = 300.0 }]
"""

COUNTING = """
id = "meter"
title = "Line meter with counters"
source = "test"
period_s = 20.0
accuracy_pct = 0.2
accuracy_floor_mw = 0.3

[points]
TotW = { title = "Active power", unit = "MW" }
TotWhExp = { title = "Exported", unit = "MWh", kind = "counter" }
TotWhImp = { title = "Imported", unit = "MWh", kind = "counter" }

[json.fields]
TotW = { field = "p" }
TotWhExp = { field = "e" }
TotWhImp = { field = "i" }
"""

AGREED = {"SHY-TAS": 323.0, "MGC-SAM": -620.0, "AKT-ALT": 800.0}
LOSS = {"SHY-TAS": 1.3, "MGC-SAM": 2.6, "AKT-ALT": 20.0}


def settled_site() -> Site:
    """Three ties with counters at each end, and a contract from UZ to AZ."""
    grid = parse(GRID + CONTRACT, "grid.toml", Grid)
    devices = [
        Device.model_validate(
            {
                "id": f"{branch}_{node}_main",
                "profile": "meter",
                "node": node,
                "branch": branch,
                "role": "main",
                "mqtt": {"broker": "east", "topic": f"{branch}/{node}"},
            },
            strict=False,
        )
        for branch, node in ENDS
    ]
    profiles = {"meter": parse_profile(COUNTING, "meter.toml")}
    return Site.of("test", grid, devices, profiles, PointRegistry(point_keys(devices, profiles)))


def points(site: Site, branch: str, node: str) -> tuple[int, int, int]:
    """Power, exported and imported energy at an end."""
    power, exported, imported = (point.index for point in site.points_of(f"{branch}_{node}_main"))
    return power, exported, imported


def flows(site: Site, changed: Mapping[tuple[str, str], float] | None = None) -> dict[tuple[str, str], float]:
    """Power at each end [MW]: as agreed at the delivery nodes, but for what is changed there."""
    found = {}
    for tie in site.grid.tie:
        mw = (changed or {}).get((tie.id, tie.delivery_node), AGREED[tie.id])
        away = next(node for branch, node in ENDS if branch == tie.id and node != tie.delivery_node)
        found[tie.id, tie.delivery_node] = mw
        found[tie.id, away] = LOSS[tie.id] - mw
    return found


def meters(mw: float, seconds: float) -> tuple[float, float, float]:
    """Power [MW] and both counters [MWh] of a meter after so many seconds at a steady power."""
    energy = mw * seconds / 3600
    return mw, 1000 + max(energy, 0.0), 2000 + max(-energy, 0.0)


def ends(site: Site) -> Iterator[tuple[str, str]]:
    """Every end of every tie."""
    for tie in site.grid.tie:
        branch = site.grid.branch_of(tie)
        yield tie.id, branch.from_node
        yield tie.id, branch.to_node


def steady(site: Site, changed: Mapping[tuple[str, str], float] | None = None) -> dict[int, Readings]:
    """Readings once a second from a quarter of an hour before T0 to 75 min after it."""
    seconds = np.arange(-900, 4500, dtype=np.float64)
    t = T0 + (seconds * SECOND).astype(np.int64)
    quality = np.zeros(len(t), np.uint8)
    found = {}
    for end, mw in flows(site, changed).items():
        power, exported, imported = points(site, *end)
        energy = mw * (seconds + 900) / 3600
        found[power] = Readings(t, np.full(len(t), mw), quality)
        found[exported] = Readings(t, 1000 + np.maximum(energy, 0), quality)
        found[imported] = Readings(t, 2000 + np.maximum(-energy, 0), quality)
    return found
