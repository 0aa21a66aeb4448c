"""Settings of the rules: one table each, with grades, delays, deadband and overrides for single assets.

Every threshold is the catalogue's default and illustrative until it is tuned to a real grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from alerts.alarms import Priority
from telemetry.settings import Settings

Seconds = Annotated[float, Field(ge=0, le=86400)]
Window = Annotated[float, Field(ge=1, le=86400)]
Percent = Annotated[float, Field(ge=0, le=100)]
Deadband = Annotated[float, Field(ge=0, lt=100)]
"""Part of a limit [%]: at all of it nothing could be over."""
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class Limit(Settings):
    """One grade of a rule."""

    priority: Priority
    above: NotNegative
    """What the magnitude must exceed [unit of the rule]."""
    on_s: Seconds


def ascending(limits: Sequence[Limit]) -> None:
    """Refuses grades of which one could never make a difference.

    Raises
    ------
    ValueError
        A limit is not above the one before it.

    """
    for i, (milder, higher) in enumerate(pairwise(limits)):
        if higher.above <= milder.above:
            raise ValueError(f"limit {i + 2} is not above limit {i + 1}: it could never make a difference")
    escalating([limit.priority for limit in limits])


def escalating(priorities: Sequence[Priority]) -> None:
    """Refuses grades that become less urgent as the condition becomes worse.

    Raises
    ------
    ValueError
        The priority of a grade is below that of the one before it.

    """
    ranks = [list(Priority).index(priority) for priority in priorities]
    for i, (milder, higher) in enumerate(pairwise(ranks)):
        if higher < milder:
            raise ValueError(
                f"limit {i + 2} is {priorities[i + 1]} and limit {i + 1}, which is passed before it, is "
                f"{priorities[i]}: give it at least that priority"
            )


def returning(limits: Sequence[Limit], deadband: float, name: str) -> None:
    """Refuses a deadband that no value could ever be below.

    Raises
    ------
    ValueError
        The deadband is not below the first limit.

    """
    if deadband >= limits[0].above:
        raise ValueError(
            f"{name} is not below limit 1, {limits[0].above:g}: an alarm could never return to normal"
        )


class RuleSettings(Settings):
    """What every rule has."""

    enabled: bool = True
    off_s: Seconds = 60.0
    """How long the condition must be over before the alarm returns to normal [s]."""


class GradedSettings(RuleSettings):
    """A rule with grades on one magnitude."""

    limits: Annotated[tuple[Limit, ...], Field(min_length=1)]
    deadband_pct: Deadband = 20.0
    """A condition is over below the limit less this part of it [%]."""

    @field_validator("limits")
    @classmethod
    def _ascending(cls, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
        ascending(limits)
        return limits


class Overridable(Settings):
    """The table of a rule, with overrides for single assets."""

    override: tuple[Any, ...] = ()

    def of(self, asset: str) -> Self:
        """Settings of one asset; what its override does not give is as for all."""
        for override in self.override:
            if override.asset == asset:
                given = override.model_fields_set - {"asset"}
                return self.model_copy(update={name: getattr(override, name) for name in given})
        return self


class NetPositionSettings(GradedSettings):
    """R2: the sum of an area's exchanges is off its schedule [MW]."""

    mean_s: Window = 60.0
    limits: Annotated[tuple[Limit, ...], Field(min_length=1)] = (
        Limit(priority=Priority.LOW, above=50, on_s=120),
        Limit(priority=Priority.MEDIUM, above=150, on_s=60),
        Limit(priority=Priority.HIGH, above=250, on_s=30),
    )
    deadband_pct: Deadband = 0.0
    deadband_mw: NotNegative = 15.0

    @model_validator(mode="after")
    def _returns(self) -> Self:
        returning(self.limits, self.deadband_mw, "deadband_mw")
        return self


class NetPositionOverride(NetPositionSettings):
    """R2 for one area; what is not given is as for all."""

    asset: str


class NetPositionRules(NetPositionSettings, Overridable):
    """R2 with its overrides."""

    override: tuple[NetPositionOverride, ...] = ()


class ControlErrorSettings(GradedSettings):
    """R9: the area control error dP + K df is large, or does not cross zero for long [MW]."""

    limits: Annotated[tuple[Limit, ...], Field(min_length=1)] = (
        Limit(priority=Priority.LOW, above=25, on_s=900),
        Limit(priority=Priority.MEDIUM, above=100, on_s=300),
        Limit(priority=Priority.HIGH, above=250, on_s=60),
    )
    deadband_pct: Deadband = 20.0


class ControlErrorOverride(ControlErrorSettings):
    """R9 for one area; what is not given is as for all."""

    asset: str


class ControlErrorRules(ControlErrorSettings, Overridable):
    """R9 with its overrides."""

    override: tuple[ControlErrorOverride, ...] = ()


class AreaBalanceLimit(Settings):
    """One grade of R4: the larger of two limits."""

    priority: Priority
    sigmas: NotNegative
    """Multiple of the standard uncertainty of the balance."""
    pct: Percent
    """[% of what flows into the area]."""
    on_s: Seconds


class AreaBalanceSettings(RuleSettings):
    """R4: what flows into an area is neither consumed, nor flows out, nor is lost on its lines."""

    mean_s: Window = 300.0
    limits: Annotated[tuple[AreaBalanceLimit, ...], Field(min_length=1)] = (
        AreaBalanceLimit(priority=Priority.MEDIUM, sigmas=3, pct=1, on_s=300),
        AreaBalanceLimit(priority=Priority.HIGH, sigmas=6, pct=2, on_s=300),
    )
    deadband_pct: Deadband = 20.0
    clock_sigma_s: Seconds = 0.5
    """Standard uncertainty of the source times against each other [s]; counts while power ramps."""

    @field_validator("limits")
    @classmethod
    def _ascending(cls, limits: tuple[AreaBalanceLimit, ...]) -> tuple[AreaBalanceLimit, ...]:
        for i, (milder, higher) in enumerate(pairwise(limits)):
            if higher.sigmas <= milder.sigmas or higher.pct <= milder.pct:
                raise ValueError(
                    f"limit {i + 2} is not above limit {i + 1}: it could never make a difference"
                )
        escalating([limit.priority for limit in limits])
        return limits


class AreaBalanceOverride(AreaBalanceSettings):
    """R4 for one area; what is not given is as for all."""

    asset: str


class AreaBalanceRules(AreaBalanceSettings, Overridable):
    """R4 with its overrides."""

    override: tuple[AreaBalanceOverride, ...] = ()


class NodeSettings(RuleSettings):
    """R7: a busbar's branches and its injection do not add up."""

    sigmas: NotNegative = 4.0
    mw: NotNegative = 5.0
    deadband_pct: Deadband = 30.0
    clock_sigma_s: Seconds = 0.5
    """Standard uncertainty of the source times against each other [s]; counts while power ramps."""
    priority: Priority = Priority.MEDIUM
    on_s: Seconds = 60.0


class NodeOverride(NodeSettings):
    """R7 for one node; what is not given is as for all."""

    asset: str


class NodeRules(NodeSettings, Overridable):
    """R7 with its overrides."""

    override: tuple[NodeOverride, ...] = ()


class ConverterSettings(RuleSettings):
    """R8: an HVDC link's loss is off its model, a pole has tripped, or the link is blocked."""

    sigmas: NotNegative = 4.0
    pct_p: Percent = 1.0
    clock_sigma_s: Seconds = 0.2
    loss_priority: Priority = Priority.MEDIUM
    loss_on_s: Seconds = 60.0
    fall_pct: Percent = 25.0
    """A fall by more than this part of the rating within ``fall_s`` is a trip [%]; illustrative."""
    fall_s: Window = 10.0
    pole_priority: Priority = Priority.HIGH
    block_priority: Priority = Priority.URGENT
    trip_on_s: Seconds = 0.0
    deadband_pct: Deadband = 30.0


class ConverterOverride(ConverterSettings):
    """R8 for one link; what is not given is as for all."""

    asset: str


class ConverterRules(ConverterSettings, Overridable):
    """R8 with its overrides."""

    override: tuple[ConverterOverride, ...] = ()


class RampLimit(Settings):
    """One grade of R11: passed by a loss or by a slope, in parts of what is installed in the area."""

    priority: Priority
    loss_pct: Positive
    slope_pct_per_min: Positive
    on_s: Seconds


class RampSettings(RuleSettings):
    """R11: wind and sun of an area change faster than reserve follows."""

    loss_s: Window = 900.0
    slope_s: Window = 60.0
    limits: Annotated[tuple[RampLimit, ...], Field(min_length=1)] = (
        RampLimit(priority=Priority.MEDIUM, loss_pct=20, slope_pct_per_min=10, on_s=10),
    )
    deadband_pct: Deadband = 20.0

    @field_validator("limits")
    @classmethod
    def _ascending(cls, limits: tuple[RampLimit, ...]) -> tuple[RampLimit, ...]:
        for i, (milder, higher) in enumerate(pairwise(limits)):
            if higher.loss_pct <= milder.loss_pct or higher.slope_pct_per_min <= milder.slope_pct_per_min:
                raise ValueError(
                    f"limit {i + 2} is not above limit {i + 1}: it could never make a difference"
                )
        escalating([limit.priority for limit in limits])
        return limits


class RampOverride(RampSettings):
    """R11 for one area; what is not given is as for all."""

    asset: str


class RampRules(RampSettings, Overridable):
    """R11 with its overrides."""

    override: tuple[RampOverride, ...] = ()


class FlatlineSettings(RuleSettings):
    """R14: a meter stands still while its neighbour moves."""

    range_s: Window = 300.0
    lsb_pct: Percent = 0.05
    """Smallest step that counts, if the device's resolution is not coarser [% of the branch's limit]."""
    moved_lsb: Positive = 5.0
    """How far the neighbour must have moved [steps]."""
    deadband_pct: Deadband = 40.0
    priority: Priority = Priority.MEDIUM
    on_s: Seconds = 300.0


class FlatlineOverride(FlatlineSettings):
    """R14 for one meter; what is not given is as for all."""

    asset: str


class FlatlineRules(FlatlineSettings, Overridable):
    """R14 with its overrides."""

    override: tuple[FlatlineOverride, ...] = ()


class CheckMeterSettings(GradedSettings):
    """R15: main and check meter differ over an hour [%]; for separate transformers 0.8 and 1.5 %."""

    limits: Annotated[tuple[Limit, ...], Field(min_length=1)] = (
        Limit(priority=Priority.LOW, above=0.4, on_s=60),
        Limit(priority=Priority.MEDIUM, above=1.0, on_s=60),
    )
    load_pct: Percent = 20.0
    """Least mean load at which they are compared [% of the branch's limit]."""


class CheckMeterOverride(CheckMeterSettings):
    """R15 for one tie; what is not given is as for all."""

    asset: str


class CheckMeterRules(CheckMeterSettings, Overridable):
    """R15 with its overrides."""

    override: tuple[CheckMeterOverride, ...] = ()


class CounterSettings(RuleSettings):
    """R16: counters and the integral of power differ, or a counter went back."""

    span_s: Window = 900.0
    pct: Percent = 0.5
    """[% of the energy of the window]; two steps of each counter come on top."""
    least_mwh: NotNegative = 0.1
    """Limit of a branch that carries next to nothing [MWh]."""
    deadband_pct: Deadband = 20.0
    priority: Priority = Priority.LOW
    on_s: Seconds = 60.0


class CounterOverride(CounterSettings):
    """R16 for one meter; what is not given is as for all."""

    asset: str


class CounterRules(CounterSettings, Overridable):
    """R16 with its overrides."""

    override: tuple[CounterOverride, ...] = ()


class SkewSettings(GradedSettings):
    """R17: a device's clock differs from its peers' [s]; 2 s where stamps are whole seconds."""

    limits: Annotated[tuple[Limit, ...], Field(min_length=1)] = (
        Limit(priority=Priority.LOW, above=1.0, on_s=60),
        Limit(priority=Priority.HIGH, above=5.0, on_s=60),
    )
    latency_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """Time under way where too few devices of the link stamp by themselves to tell [s]."""
    off_s: Seconds = 30.0


class SkewOverride(SkewSettings):
    """R17 for one device; what is not given is as for all."""

    asset: str


class SkewRules(SkewSettings, Overridable):
    """R17 with its overrides."""

    override: tuple[SkewOverride, ...] = ()


class PlausibilitySettings(RuleSettings):
    """R19: a plant reports what cannot be."""

    mean_s: Window = 600.0
    rated_pct: Positive = 110.0
    """[% of the rating]."""
    night_deg: Annotated[float, Field(ge=-90, le=0)] = -6.0
    """Elevation of the sun below which it is night [degrees]."""
    night_pct: Positive = 1.0
    """What a solar plant may show at night [% of the rating]."""
    curve_pct: Percent = 20.0
    """[% of the power that wind or sun would allow]."""
    curve_rated_pct: Positive = 5.0
    """Or, if that is more, [% of the rating]."""
    deadband_pct: Deadband = 10.0
    priority: Priority = Priority.LOW
    on_s: Seconds = 600.0


class PlausibilityOverride(PlausibilitySettings):
    """R19 for one plant; what is not given is as for all."""

    asset: str


class PlausibilityRules(PlausibilitySettings, Overridable):
    """R19 with its overrides."""

    override: tuple[PlausibilityOverride, ...] = ()


class BlindSettings(RuleSettings):
    """R24: an exchange or a balance cannot be judged for too long."""

    after_s: Seconds = 300.0
    priority: Priority = Priority.MEDIUM
    off_s: Seconds = 10.0


class BlindOverride(BlindSettings):
    """R24 for one area or tie; what is not given is as for all."""

    asset: str


class BlindRules(BlindSettings, Overridable):
    """R24 with its overrides."""

    override: tuple[BlindOverride, ...] = ()
