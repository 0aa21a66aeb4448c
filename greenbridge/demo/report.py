"""What a trial of the demonstration found: one document, and whether every promise was kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """One promise and whether it was kept."""

    name: str
    held: bool
    detail: str


@dataclass(frozen=True, slots=True)
class TrialReport:
    """The outcome of a trial."""

    seconds: float
    """Length of the trial [s]."""
    devices: Mapping[str, int]
    """``configured``, ``seen``."""
    conservation: Sequence[Mapping[str, Any]]
    """The terms of the sum, for each store."""
    rows_in_store: int
    """Readings that the store file holds, counted in it after the end."""
    gaps: Mapping[str, Any]
    """Pauses between readings longer than 2.5 periods, counted in the store file."""
    latency_ms: Mapping[str, Any]
    """Read to durable and read to alarm [ms], p50 and p99."""
    alarms: Sequence[Mapping[str, Any]]
    announcements: Sequence[Mapping[str, Any]]
    restarts: Mapping[str, int]
    checks: Sequence[Check] = field(default_factory=tuple)

    @property
    def held(self) -> bool:
        """True when every check held."""
        return bool(self.checks) and all(check.held for check in self.checks)

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "held": self.held,
            "seconds": self.seconds,
            "devices": dict(self.devices),
            "conservation": [dict(terms) for terms in self.conservation],
            "rows_in_store": self.rows_in_store,
            "gaps": dict(self.gaps),
            "latency_ms": dict(self.latency_ms),
            "alarms": [dict(alarm) for alarm in self.alarms],
            "announcements": [dict(entry) for entry in self.announcements],
            "restarts": dict(self.restarts),
            "checks": [{"name": c.name, "held": c.held, "detail": c.detail} for c in self.checks],
        }

    def text(self) -> str:
        """For people."""
        width = max((len(check.name) for check in self.checks), default=0)
        lines = [
            f"  {'ok ' if check.held else 'NO '} {check.name:<{width}}  {check.detail}"
            for check in self.checks
        ]
        return "\n".join([f"Trial of {self.seconds:.0f} s: {'held' if self.held else 'NOT held'}", *lines])
