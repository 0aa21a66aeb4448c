"""Settings of the settlement ledger, the ``[alerts.settlement]`` table, and of the rules on it: R3, R5, R22.

Thresholds are the catalogue's defaults; they are illustrative until they are tuned to a real grid.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any, TypeVar

from pydantic import Field, field_validator

from alerts.alarms import Priority
from alerts.rule_config import Deadband
from alerts.rules.finding import Grade, Timing
from telemetry.points import Identifier
from telemetry.settings import Settings

Seconds = Annotated[float, Field(ge=0, le=86400)]
Percent = Annotated[float, Field(ge=0, le=100)]
NotNegative = Annotated[float, Field(ge=0)]


class SettlementSettings(Settings):
    """When intervals are closed, and how long they can be revised."""

    close_after_s: Annotated[float, Field(ge=10, le=3600)] = 120.0
    """How long after its end an interval is closed, so that what was measured has come [s]."""
    every_s: Annotated[float, Field(ge=1, le=300)] = 30.0
    """Time between two looks at the open intervals, and at what has come late [s]."""
    revise_days: Annotated[float, Field(ge=0.1, le=60)] = 31.0
    """Age up to which an interval is settled again when late data or another schedule arrive [d]."""


class EnergyLimit(Settings):
    """One grade of R3 or R5: the larger of two limits."""

    priority: Priority
    mwh: NotNegative
    """[MWh]."""
    pct: Percent
    """Of what was scheduled (R3), or has come in (R5) [%]."""
    on_s: Seconds


class EnergySettings(Settings):
    """What the rules on energies have in common."""

    enabled: bool = True
    limits: Annotated[tuple[EnergyLimit, ...], Field(min_length=1)]
    off_s: Seconds
    deadband_pct: Deadband = 20.0
    """A condition is over below the limit less this part of it [%]."""

    @field_validator("limits")
    @classmethod
    def _ascending(cls, limits: tuple[EnergyLimit, ...]) -> tuple[EnergyLimit, ...]:
        for i, (milder, higher) in enumerate(pairwise(limits)):
            same = (milder.mwh, milder.pct) == (higher.mwh, higher.pct)
            if same or milder.mwh > higher.mwh or milder.pct > higher.pct:
                raise ValueError(
                    f"limit {i + 2} is not above limit {i + 1}: it could never make a difference"
                )
        return limits

    def limits_of(self, mwh: float) -> list[float]:
        """The limits for a scheduled energy [MWh]."""
        return [max(limit.mwh, limit.pct / 100 * abs(mwh)) for limit in self.limits]

    @property
    def timing(self) -> Timing:
        """Grades and delays."""
        return Timing(tuple(Grade(limit.priority, limit.on_s) for limit in self.limits), self.off_s)


class IntervalSettings(EnergySettings):
    """R3: an interval will settle out of balance."""

    limits: Annotated[tuple[EnergyLimit, ...], Field(min_length=1)] = (
        EnergyLimit(priority=Priority.LOW, mwh=5, pct=2, on_s=0),
        EnergyLimit(priority=Priority.MEDIUM, mwh=10, pct=5, on_s=0),
    )
    off_s: Seconds = 0.0
    from_minute: Annotated[float, Field(ge=0, le=14)] = 5.0
    """Minute of an interval from which on its end is projected [min]."""


class WheelingSettings(EnergySettings):
    """R5: what a contract brought in was not delivered."""

    limits: Annotated[tuple[EnergyLimit, ...], Field(min_length=1)] = (
        EnergyLimit(priority=Priority.LOW, mwh=5, pct=2, on_s=0),
        EnergyLimit(priority=Priority.MEDIUM, mwh=10, pct=5, on_s=0),
    )
    off_s: Seconds = 0.0


class AgreementSettings(Settings):
    """R22: the parties' schedules differ, end or are old."""

    enabled: bool = True
    priority: Priority = Priority.MEDIUM
    """When they differ, or the next interval has none."""
    old_priority: Priority = Priority.LOW
    """When the version that holds is old."""
    off_s: Seconds = 0.0
    tolerance_mw: NotNegative = 0.5
    """Difference that is none [MW]."""
    horizon_h: Annotated[float, Field(gt=0, le=168)] = 24.0
    """How far ahead schedules are compared [h]."""
    before_s: Seconds = 900.0
    """How long before an interval its schedule must be there [s]."""
    fresh_h: Annotated[float, Field(gt=0, le=8784)] = 48.0
    """Age of a version from which on it is old; versions that ended longer ago are no longer in use [h]."""


class IntervalOverride(Settings):
    """R3 for one tie or area; what is not given is as for all."""

    asset: Identifier
    enabled: bool | None = None
    limits: Annotated[tuple[EnergyLimit, ...], Field(min_length=1)] | None = None
    off_s: Seconds | None = None
    deadband_pct: Deadband | None = None
    from_minute: Annotated[float, Field(ge=0, le=14)] | None = None


class WheelingOverride(Settings):
    """R5 for one contract; what is not given is as for all."""

    asset: Identifier
    enabled: bool | None = None
    limits: Annotated[tuple[EnergyLimit, ...], Field(min_length=1)] | None = None
    off_s: Seconds | None = None
    deadband_pct: Deadband | None = None


class AgreementOverride(Settings):
    """R22 for one tie or contract; what is not given is as for all."""

    asset: Identifier
    enabled: bool | None = None
    priority: Priority | None = None
    old_priority: Priority | None = None
    off_s: Seconds | None = None
    tolerance_mw: NotNegative | None = None
    horizon_h: Annotated[float, Field(gt=0, le=168)] | None = None
    before_s: Seconds | None = None
    fresh_h: Annotated[float, Field(gt=0, le=8784)] | None = None


class IntervalRules(IntervalSettings):
    """R3 with its overrides."""

    override: tuple[IntervalOverride, ...] = ()

    def of(self, asset: str) -> IntervalSettings:
        """Settings of one tie or area."""
        return overridden(self, asset, self.override)


class WheelingRules(WheelingSettings):
    """R5 with its overrides."""

    override: tuple[WheelingOverride, ...] = ()

    def of(self, asset: str) -> WheelingSettings:
        """Settings of one contract."""
        return overridden(self, asset, self.override)


class AgreementRules(AgreementSettings):
    """R22 with its overrides."""

    override: tuple[AgreementOverride, ...] = ()

    def of(self, asset: str) -> AgreementSettings:
        """Settings of one tie or contract."""
        return overridden(self, asset, self.override)


Model = TypeVar("Model", bound=Settings)


def overridden(base: Model, asset: str, overrides: Iterable[Any]) -> Model:
    """Settings with what the override of an asset gives."""
    for override in overrides:
        if override.asset == asset:
            given = {
                name: getattr(override, name)
                for name in override.model_fields_set - {"asset"}
                if getattr(override, name) is not None
            }
            return base.model_copy(update=given)
    return base
