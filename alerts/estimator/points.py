"""Names of the points as which state estimates are stored; pure."""

from __future__ import annotations

DEVICE = "state-estimate"
"""Device that estimates appear under."""


def power_of(branch: str) -> str:
    """Name of the point of a branch's estimated power at its first end."""
    return f"P_{branch.replace('-', '_')}"[:48]


def arrival_of(branch: str) -> str:
    """Name of the point of a branch's estimated power at its second end."""
    return f"Pto_{branch.replace('-', '_')}"[:48]


def extra_of(branch: str) -> str:
    """Name of the point of what a branch takes beyond its losses."""
    return f"Extra_{branch.replace('-', '_')}"[:48]
