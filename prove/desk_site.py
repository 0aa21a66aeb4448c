"""The site of the desk's proofs: one station with conditions that are a point above a limit each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from alerts.config import AlertsSettings
from telemetry.devices import Device
from telemetry.grid import Grid
from telemetry.profiles import DeviceProfile, parse_profile
from telemetry.registry import PointRegistry
from telemetry.settings import parse
from telemetry.site import Site, point_keys

DEVICE = "panel"
CALM, HIGH, HIGHER = 0.0, 15.0, 25.0
"""Values below the limits, above the first and above the second."""
_LIMITS = [
    {"priority": "medium", "above": 10.0, "on_s": 0.0},
    {"priority": "high", "above": 20.0, "on_s": 0.0},
]
_GRID = """
u_rated_kv = 500.0
line_parameters = { r_ohm_per_km = 0.025, x_ohm_per_km = 0.306, b_us_per_km = 3.6, corona_kw_per_km = 2.4, \
corona_sigma_kw_per_km = 1.0 }
area = [{ id = "KZ", name = "Kazakhstan", utc_offset_h = 5, sync_area = "IPS" }]
node = [{ id = "SHY", name = "Shymkent", area = "KZ", latitude = 42, longitude = 69 }]
"""


def panel(conditions: Sequence[str]) -> Site:
    """A site with a device that measures one point for each condition, in their order."""
    grid = parse(_GRID, "grid.toml", Grid)
    device = Device.model_validate(
        {
            "id": DEVICE,
            "profile": "panel",
            "node": "SHY",
            "role": "injection",
            "mqtt": {"broker": "east", "topic": "panel"},
        },
        strict=False,
    )
    lines = ['id = "panel"', 'title = "Panel"', 'source = "illustrative"', "[points]"]
    lines += [f'P{i} = {{ title = "{name}", unit = "MW" }}' for i, name in enumerate(conditions)]
    lines += ["[json.fields]", *(f'P{i} = {{ field = "p{i}" }}' for i in range(len(conditions)))]
    profiles: dict[str, DeviceProfile] = {"panel": parse_profile("\n".join(lines), "panel.toml")}
    registry = PointRegistry(point_keys([device], profiles))
    return Site.of("prove", grid, [device], profiles, registry)


def settings(
    conditions: Sequence[str], desk: dict[str, Any], outages: Iterable[dict[str, Any]]
) -> AlertsSettings:
    """Rules that judge each point at once, and nothing else that could speak."""
    rules = [
        {
            "id": name, "kind": "threshold", "title": f"{name} is high", "point": f"{DEVICE}/P{i}",
            "unit": "MW", "limits": _LIMITS, "off_s": 0.0,
        }
        for i, name in enumerate(conditions)
    ]  # fmt: skip
    document = {
        "watermark_s": 0.5,
        "max_pending_notifications": 100_000,
        "R13": {"enabled": False},
        "R17": {"enabled": False},
        "R18": {"enabled": False},
        "desk": desk,
        "outage": list(outages),
        "rule": rules,
    }
    return AlertsSettings.model_validate_json(msgspec.json.encode(document))
