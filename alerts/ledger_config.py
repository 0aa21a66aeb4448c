"""Settings of the settlement ledger: the ``[alerts.settlement]`` table."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from telemetry.settings import Settings


class SettlementSettings(Settings):
    """When intervals are closed, and how long they can be revised."""

    close_after_s: Annotated[float, Field(ge=10, le=3600)] = 120.0
    """How long after its end an interval is closed, so that what was measured has come [s]."""
    every_s: Annotated[float, Field(ge=1, le=300)] = 30.0
    """Time between two looks at the open intervals, and at what has come late [s]."""
    revise_days: Annotated[float, Field(ge=0.1, le=60)] = 31.0
    """Age up to which an interval is settled again when late data or another schedule arrive [d]."""
