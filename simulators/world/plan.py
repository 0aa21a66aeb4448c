"""What defines a world besides its seed and its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simulators.world import generation, loads
from simulators.world.corridor import Corridor
from simulators.world.generation import Regulation
from simulators.world.plants import Plant
from simulators.world.schedules import REFERENCE_CONTRACTS, Contract

REFERENCE_SYNC_AREAS: Mapping[str, str] = {"KZ": "IPS/UPS", "UZ": "IPS/UPS", "AZ": "IPS/UPS"}
"""All three areas run synchronously with IPS/UPS (general knowledge, so kept as configuration)."""
REFERENCE_STANDBY: Mapping[str, str] = {"SAM": "MGC"}
"""When the line to Georgia is lost, the hydro plant at MGC holds the island of Azerbaijan."""
REFERENCE_RUNBACKS: Mapping[str, float] = {"BUK-KUN": 670.0, "ULK-EKI": 700.0, "KUN-AKT": 0.0}
"""HVDC power at which the loss of a line leaves the corridor within its limits [MW] (illustrative)."""


@dataclass(frozen=True, slots=True)
class WorldPlan:
    """Everything that defines a world besides its seed and its start."""

    corridor: Corridor
    plants: tuple[Plant, ...]
    regulations: tuple[Regulation, ...] = generation.REFERENCE
    contracts: tuple[Contract, ...] = REFERENCE_CONTRACTS
    sync_areas: Mapping[str, str] = field(default_factory=lambda: REFERENCE_SYNC_AREAS)
    standby: Mapping[str, str] = field(default_factory=lambda: REFERENCE_STANDBY)
    """By slack bus, the bus that takes over when an island has lost it."""
    runbacks: Mapping[str, float] = field(default_factory=lambda: REFERENCE_RUNBACKS)
    """By line, the HVDC power when it is lost and the run-back is armed [MW]."""
    demand_mw: Mapping[str, float] = field(default_factory=lambda: loads.DEMAND_MW)
    injection_scale: float = 1.0
    """Factor on base injections, schedules and the HVDC order, to visit other loadings."""
    switch_reactors: bool = True
