"""Settings of the rules on how the grid is operated: frequency, loading and voltage.

Every threshold is the catalogue's default and illustrative until it is tuned to a real grid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from alerts.alarms import Priority
from alerts.rule_config import (
    GradedSettings,
    Limit,
    NotNegative,
    Overridable,
    Percent,
    Positive,
    RuleSettings,
    Seconds,
    escalating,
    returning,
)
from telemetry.errors import Problem
from telemetry.grid import Grid
from telemetry.settings import Settings, nearest


class FrequencySettings(GradedSettings):
    """R10: frequency is off its nominal value [Hz]."""

    nominal_hz: Positive = 50.0
    limits: Annotated[tuple[Limit, ...], Field(min_length=1)] = (
        Limit(priority=Priority.LOW, above=0.05, on_s=30),
        Limit(priority=Priority.MEDIUM, above=0.2, on_s=10),
        Limit(priority=Priority.URGENT, above=0.4, on_s=1),
    )
    deadband_pct: Percent = 0.0
    deadband_hz: NotNegative = 0.02
    off_s: Seconds = 30.0

    @model_validator(mode="after")
    def _returns(self) -> Self:
        returning(self.limits, self.deadband_hz, "deadband_hz")
        return self


class FrequencyOverride(FrequencySettings):
    """R10 for one synchronous area; what is not given is as for all."""

    asset: str


class FrequencyRules(FrequencySettings, Overridable):
    """R10 with its overrides."""

    override: tuple[FrequencyOverride, ...] = ()


class LoadingLimit(Settings):
    """One grade of R12: passed by power or by current."""

    priority: Priority
    pct_p: Positive
    """[% of the transfer limit of the circuits in service]."""
    pct_i: Positive
    """[% of the thermal current of the circuits in service]."""
    on_s: Seconds


class LoadingSettings(RuleSettings):
    """R12: a line or link carries more than it should; a full transfer capacity is normal trade."""

    limits: Annotated[tuple[LoadingLimit, ...], Field(min_length=1)] = (
        LoadingLimit(priority=Priority.LOW, pct_p=95, pct_i=80, on_s=300),
        LoadingLimit(priority=Priority.MEDIUM, pct_p=100, pct_i=90, on_s=60),
        LoadingLimit(priority=Priority.HIGH, pct_p=105, pct_i=100, on_s=10),
        LoadingLimit(priority=Priority.URGENT, pct_p=120, pct_i=110, on_s=3),
    )
    deadband_pct: Percent = 3.0
    """A condition is over below the limit less so many percentage points."""

    @field_validator("limits")
    @classmethod
    def _ascending(cls, limits: tuple[LoadingLimit, ...]) -> tuple[LoadingLimit, ...]:
        for i, (milder, higher) in enumerate(pairwise(limits)):
            if higher.pct_p <= milder.pct_p or higher.pct_i <= milder.pct_i:
                raise ValueError(
                    f"limit {i + 2} is not above limit {i + 1}: it could never make a difference"
                )
        escalating([limit.priority for limit in limits])
        return limits


class LoadingOverride(LoadingSettings):
    """R12 for one line or link; what is not given is as for all."""

    asset: str


class LoadingRules(LoadingSettings, Overridable):
    """R12 with its overrides."""

    override: tuple[LoadingOverride, ...] = ()


class VoltageSettings(RuleSettings):
    """R20: the voltage of a busbar leaves its band [% of the rated voltage]."""

    low_pct: Percent = 95.0
    high_pct: Annotated[float, Field(ge=0, le=200)] = 105.0
    dead_pct: Percent = 10.0
    """Below this a busbar is switched off or dark, which is not a matter of voltage [%]."""
    deadband_pct: Percent = 0.5
    """Part of the rated voltage that it must be back inside the band [%]."""
    priority: Priority = Priority.HIGH
    on_s: Seconds = 60.0

    @model_validator(mode="after")
    def _above(self) -> Self:
        if not self.dead_pct < self.low_pct < self.high_pct:
            raise ValueError("dead_pct, low_pct and high_pct must ascend: every voltage would be outside")
        return self


class VoltageOverride(VoltageSettings):
    """R20 for one node; what is not given is as for all."""

    asset: str


class VoltageRules(VoltageSettings, Overridable):
    """R20 with its overrides."""

    override: tuple[VoltageOverride, ...] = ()


class DynamicsSettings(RuleSettings):
    """R23: frequency changes fast, an area has separated, or a tie's flow oscillates with little damping."""

    rate_hz_per_s: Positive = 0.1
    """Rate of change of a synchronous area's frequency [Hz/s]."""
    fast_hz_per_s: Positive = 0.5
    """Rate of change at which plants begin to disconnect by themselves [Hz/s]."""
    rate_s: Annotated[float, Field(ge=1, le=60)] = 3.0
    """Window of the rate of change [s]."""
    rate_priority: Priority = Priority.MEDIUM
    fast_priority: Priority = Priority.HIGH
    rate_on_s: Seconds = 0.0
    apart_hz: Positive = 0.05
    """Difference between the frequency of a control area and that of the rest [Hz]."""
    apart_priority: Priority = Priority.HIGH
    apart_on_s: Seconds = 5.0
    damping_pct: Annotated[float, Field(gt=0, le=50)] = 3.0
    """Damping ratio below which a mode is poorly damped [%]; below 0 it grows."""
    damping_deadband_pct: Percent = 1.0
    """Damping must exceed ``damping_pct`` by so many percentage points for the condition to be over."""
    damping_priority: Priority = Priority.MEDIUM
    growing_priority: Priority = Priority.HIGH
    damping_on_s: Seconds = 30.0
    growing_on_s: Seconds = 10.0
    lowest_hz: Positive = 0.2
    highest_hz: Positive = 0.8
    """Band of the modes between areas [Hz]."""
    least_pct: Positive = 1.0
    """Smallest amplitude that is judged [% of the tie's limit]."""
    window_s: Annotated[float, Field(ge=10, le=120)] = 20.0
    """Length of flow from which damping is estimated [s]."""
    samples_per_cycle: Annotated[float, Field(gt=2, le=50)] = 4.0
    """Readings for each cycle of ``highest_hz``; two or fewer would alias (Nyquist)."""
    deadband_pct: Percent = 20.0
    """A rate or a difference is over below its limit less this part of it [%]."""

    @property
    def longest_period_s(self) -> float:
        """Longest time between two readings of a flow whose damping can be told [s]."""
        return 1 / (self.samples_per_cycle * self.highest_hz)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.fast_hz_per_s <= self.rate_hz_per_s:
            raise ValueError("fast_hz_per_s is not above rate_hz_per_s: it could never make a difference")
        if self.highest_hz <= self.lowest_hz:
            raise ValueError("highest_hz is not above lowest_hz: no mode lies between them")
        if self.window_s * self.lowest_hz < _CYCLES:
            raise ValueError(
                f"window_s holds fewer than {_CYCLES} cycles of lowest_hz: give at least "
                f"{_CYCLES / self.lowest_hz:.0f} s"
            )
        return self


class DynamicsOverride(DynamicsSettings):
    """R23 for one synchronous area, control area or tie; what is not given is as for all."""

    asset: str


class DynamicsRules(DynamicsSettings, Overridable):
    """R23 with its overrides."""

    override: tuple[DynamicsOverride, ...] = ()


_CYCLES = 3
"""Fewest cycles of the slowest mode from which its damping can be told."""


class RunBack(Settings):
    """An HVDC link is run back by itself when a branch is lost."""

    outage: str
    """Line or link whose loss starts it."""
    link: str
    """HVDC link that is run back."""
    to_mw: Positive
    """Power that it is run back to [MW]."""
    armed: str = ""
    """Point that is not 0 while it is armed, ``device/point``; empty for one that always is."""


class ContingencySettings(RuleSettings):
    """R21: the loss of one more circuit or pole would overload a line, or the grid would not hold.

    Off until it is enabled and ``balanced_at`` is given: where a grid is not secure every day, the alarm
    would stand.
    """

    enabled: bool = False
    balanced_at: tuple[str, ...] = ()
    """Nodes at which the grid beyond the model balances it."""
    every_s: Annotated[float, Field(ge=1, le=300)] = 20.0
    """Time between two looks at each outage; of many outages one is looked at each second [s]."""
    loading_pct: Positive = 100.0
    """[% of the transfer limit of the circuits that would be left]."""
    angle_deg: Annotated[float, Field(gt=0, le=90)] = 40.0
    """Angle across a line [degrees]."""
    whole: tuple[str, ...] = ()
    """Lines and links of which also the loss of all circuits or poles at once is looked at."""
    run_back: tuple[RunBack, ...] = ()
    deadband_pct: Percent = 3.0
    """A condition is over below the limit less so many percentage points."""
    priority: Priority = Priority.MEDIUM
    collapse_priority: Priority = Priority.HIGH
    """No state would carry the power, or a part of the grid would go dark."""
    on_s: Seconds = 300.0


class ContingencyOverride(ContingencySettings):
    """R21 for the loss of one line or link; what is not given is as for all."""

    asset: str


class ContingencyRules(ContingencySettings, Overridable):
    """R21 with its overrides."""

    override: tuple[ContingencyOverride, ...] = ()


def contingency_problems(
    file: str, rules: ContingencyRules, grid: Grid, points: Collection[str], key: str = "alerts.R21"
) -> Iterator[Problem]:
    """Faults of R21 that only the whole model shows.

    Parameters
    ----------
    file
        Where it is written.
    rules
        To be checked.
    grid
        The model.
    points
        Every point of the site by path.
    key
        Of its table.

    """
    nodes, lines = {node.id for node in grid.node}, {line.id for line in grid.line}
    links = {link.id for link in grid.hvdc}
    enabled = rules.enabled or any(override.enabled for override in rules.override)
    if enabled and not rules.balanced_at:
        reason = "is missing: without it no outage can be solved"
        yield Problem(file, f"{key}.balanced_at", "", reason, "name the nodes where the grid is balanced")
    for i, node in enumerate(rules.balanced_at):
        if node not in nodes:
            fix = nearest(node, nodes)
            yield Problem(file, f"{key}.balanced_at[{i}]", f'"{node}"', "no such node", fix)
    for i, branch in enumerate(rules.whole):
        if branch not in lines | links:
            fix = nearest(branch, lines | links)
            yield Problem(file, f"{key}.whole[{i}]", f'"{branch}"', "no such line or HVDC link", fix)
    for i, run_back in enumerate(rules.run_back):
        where = f"{key}.run_back[{i}]"
        for name, value, valid, what in (
            ("outage", run_back.outage, lines | links, "line or HVDC link"),
            ("link", run_back.link, links, "HVDC link"),
            ("armed", run_back.armed, {*points, ""}, "point"),
        ):
            if value not in valid:
                yield Problem(file, f"{where}.{name}", f'"{value}"', f"no such {what}", nearest(value, valid))
        if run_back.outage == run_back.link:
            reason = "is the link that is run back: it cannot be run back when it is lost"
            yield Problem(file, f"{where}.outage", f'"{run_back.outage}"', reason, "name another branch")
