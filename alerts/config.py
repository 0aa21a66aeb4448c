"""Settings of rules, alarms and notifications: the ``[alerts]`` table of the configuration.

Thresholds are the catalogue's defaults; they are illustrative until they are tuned to a real grid. A rule
takes overrides for single assets::

    [alerts]
    watermark_s = 3.0

    [alerts.R6]
    off_s = 30

    [[alerts.R6.override]]
    asset = "KUN-AKT"
    deadband_pct = 40

    [[alerts.webhook]]
    id = "control-room"
    url = "https://example.org/greenbridge"
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator

from alerts.alarms import Priority
from alerts.custom_config import CustomRule
from alerts.desk_config import DeskSettings, Outage, RelationSettings, desk_problems
from alerts.ledger_config import AgreementRules, IntervalRules, SettlementSettings, WheelingRules
from alerts.notify import checks
from alerts.notify.catalogue import languages
from alerts.notify.config import HttpUrl, NotifySettings
from alerts.operation_config import (
    ContingencyRules,
    DynamicsRules,
    FrequencyRules,
    LoadingRules,
    VoltageRules,
)
from alerts.rule_config import (
    AreaBalanceRules,
    BlindRules,
    CheckMeterRules,
    ControlErrorRules,
    ConverterRules,
    CounterRules,
    Deadband,
    FlatlineRules,
    NetPositionRules,
    NodeRules,
    PlausibilityRules,
    RampRules,
    SkewRules,
    escalating,
)
from telemetry.devices import Device, Role
from telemetry.errors import Problem
from telemetry.grid import Grid, TieKind
from telemetry.points import Identifier
from telemetry.settings import Settings, nearest

Seconds = Annotated[float, Field(ge=0, le=86400)]
Percent = Annotated[float, Field(ge=0, le=100)]
NotNegative = Annotated[float, Field(ge=0)]


class ExchangeLimit(Settings):
    """One grade of R1: the larger of two limits."""

    priority: Priority
    mw: NotNegative
    """[MW]."""
    pct_ntc: Percent
    """[% of the tie's net transfer capacity]."""
    on_s: Seconds


class TwoEndLimit(Settings):
    """One grade of R6: the larger of two limits."""

    priority: Priority
    sigmas: NotNegative
    """Multiple of the standard uncertainty of the residual."""
    pct_p: Percent
    """[% of the larger end's power]."""
    on_s: Seconds


class ExchangeSettings(Settings):
    """R1: a radial or HVDC tie is off its schedule."""

    enabled: bool = True
    mean_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    """Window over which the difference to the schedule is averaged [s]."""
    limits: Annotated[tuple[ExchangeLimit, ...], Field(min_length=1)] = (
        ExchangeLimit(priority=Priority.LOW, mw=25, pct_ntc=5, on_s=120),
        ExchangeLimit(priority=Priority.MEDIUM, mw=50, pct_ntc=10, on_s=60),
        ExchangeLimit(priority=Priority.HIGH, mw=100, pct_ntc=25, on_s=30),
    )
    off_s: Seconds = 60.0
    deadband_pct: Deadband = 20.0
    """A condition is over below the limit less this part of it [%]."""

    @field_validator("limits")
    @classmethod
    def _ascending(cls, limits: tuple[ExchangeLimit, ...]) -> tuple[ExchangeLimit, ...]:
        _check_ascending([(limit.mw, limit.pct_ntc) for limit in limits])
        escalating([limit.priority for limit in limits])
        return limits


class TwoEndSettings(Settings):
    """R6: the two ends of a line do not agree with its losses."""

    enabled: bool = True
    limits: Annotated[tuple[TwoEndLimit, ...], Field(min_length=1)] = (
        TwoEndLimit(priority=Priority.MEDIUM, sigmas=3, pct_p=0.5, on_s=60),
        TwoEndLimit(priority=Priority.HIGH, sigmas=6, pct_p=2, on_s=60),
    )
    off_s: Seconds = 30.0
    deadband_pct: Deadband = 30.0
    clock_sigma_s: Seconds = 0.2
    """Standard uncertainty of the source times at the two ends [s]; counts while power ramps."""

    @field_validator("limits")
    @classmethod
    def _ascending(cls, limits: tuple[TwoEndLimit, ...]) -> tuple[TwoEndLimit, ...]:
        _check_ascending([(limit.sigmas, limit.pct_p) for limit in limits])
        escalating([limit.priority for limit in limits])
        return limits


class HealthSettings(Settings):
    """R13: devices and links that no longer deliver. The age limit is max(3 x period, 5 s)."""

    enabled: bool = True
    on_s: Seconds = 30.0
    """How long something must be stale before it is an alarm [s]."""
    off_s: Seconds = 10.0
    link_priority: Priority = Priority.HIGH
    device_priority: Priority = Priority.MEDIUM
    point_priority: Priority = Priority.LOW
    """Some points of a device are stale, or its clock stands still."""


class StateEstimateSettings(Settings):
    """R18: the measurements contradict each other and the network; also explains other alarms."""

    enabled: bool = True
    alarm: bool = False
    """Raise R18 itself; without it the estimate explains the alarms of other rules only."""
    every_s: Annotated[float, Field(ge=1, le=60)] = 3.0
    """Time between two estimates [s]."""
    priority: Priority = Priority.MEDIUM
    on_s: Seconds = 0.0
    """Beyond the three scans of five that must fail [s]."""
    off_s: Seconds = 30.0
    clock_sigma_s: Seconds = 0.2
    """Standard uncertainty of the meters' source times [s]; counts while power ramps."""
    points_at: str = ""
    """Node at which the estimates are shown as points of a device, and stored; empty for none."""


class ExchangeOverride(Settings):
    """R1 for one tie; what is not given is as for all."""

    asset: Identifier
    enabled: bool | None = None
    mean_s: Annotated[float, Field(ge=1, le=3600)] | None = None
    limits: Annotated[tuple[ExchangeLimit, ...], Field(min_length=1)] | None = None
    off_s: Seconds | None = None
    deadband_pct: Deadband | None = None


class TwoEndOverride(Settings):
    """R6 for one line; what is not given is as for all."""

    asset: Identifier
    enabled: bool | None = None
    limits: Annotated[tuple[TwoEndLimit, ...], Field(min_length=1)] | None = None
    off_s: Seconds | None = None
    deadband_pct: Deadband | None = None
    clock_sigma_s: Seconds | None = None


class HealthOverride(Settings):
    """R13 for one device or link; what is not given is as for all."""

    asset: str
    """Device id or link, for example ``modbus/SHY``."""
    enabled: bool | None = None
    on_s: Seconds | None = None
    off_s: Seconds | None = None
    link_priority: Priority | None = None
    device_priority: Priority | None = None
    point_priority: Priority | None = None


class ExchangeRules(ExchangeSettings):
    """R1 with its overrides."""

    override: tuple[ExchangeOverride, ...] = ()

    def of(self, asset: str) -> ExchangeSettings:
        """Settings of one tie."""
        return _overridden(self, asset, self.override)


class TwoEndRules(TwoEndSettings):
    """R6 with its overrides."""

    override: tuple[TwoEndOverride, ...] = ()

    def of(self, asset: str) -> TwoEndSettings:
        """Settings of one line."""
        return _overridden(self, asset, self.override)


class HealthRules(HealthSettings):
    """R13 with its overrides."""

    override: tuple[HealthOverride, ...] = ()

    def of(self, asset: str) -> HealthSettings:
        """Settings of one device or link."""
        return _overridden(self, asset, self.override)


class Occasion(StrEnum):
    """What people can be told of."""

    RAISED = "raised"
    ESCALATED = "escalated"
    RETURNED = "returned"
    """The condition is over."""
    ACKNOWLEDGED = "acknowledged"
    UNANSWERED = "unanswered"
    """Nobody has acknowledged it in the time of its route; only for people."""
    HANDED_OVER = "handed_over"
    """Nobody has acknowledged it, and somebody else is on call now; only for people."""
    TEST = "test"
    """Nothing happened: somebody tries whether messages arrive."""


FeedOccasion = Literal[Occasion.RAISED, Occasion.ESCALATED, Occasion.RETURNED, Occasion.ACKNOWLEDGED]
"""What feeds can be told of."""


class Webhook(Settings):
    """A feed: an address that receives each notification as a JSON document, whoever is on call."""

    id: Identifier
    url: HttpUrl
    enabled: bool = True
    secret_file: Path | None = None
    """File with the key that requests are signed with."""
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0


class Alertmanager(Settings):
    """A feed: a Prometheus Alertmanager, which does the routing itself.

    Several processes with the same alarms reach people once through it. Of a cluster of Alertmanagers each
    is to be named.
    """

    id: Identifier
    url: HttpUrl
    """``http://127.0.0.1:9093``, with the path prefix if it has one."""
    enabled: bool = True
    every_s: Annotated[float, Field(ge=5, le=3600)] = 60.0
    """Time between two posts of all that is active, and of the heartbeat [s]."""
    heartbeat: bool = True
    """Post an alert that always fires, for a receiver that pages when it is missing."""
    labels: Mapping[Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")], str] = {}
    """Added to every alert."""
    bearer_file: Path | None = None
    """File with a token for a proxy in front of it."""
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0


class AlertsSettings(Settings):
    """The ``[alerts]`` table."""

    watermark_s: Annotated[float, Field(ge=0.5, le=60)] = 3.0
    """How far rules stay behind the newest receipt, so that slower inputs can catch up [s]."""
    notify_on: tuple[FeedOccasion, ...] = (Occasion.RAISED, Occasion.ESCALATED, Occasion.RETURNED)
    """What feeds are told of; people: ``notify``."""
    max_pending_notifications: Annotated[int, Field(ge=10, le=1_000_000)] = 1000
    """For each channel; beyond it the oldest undelivered one is given up and counted."""
    give_up_after_s: Annotated[float, Field(gt=0)] = 86400.0
    """Age at which an undelivered notification is given up [s]."""
    exchange: Annotated[ExchangeRules, Field(alias="R1")] = ExchangeRules()
    net_position: Annotated[NetPositionRules, Field(alias="R2")] = NetPositionRules()
    area_balance: Annotated[AreaBalanceRules, Field(alias="R4")] = AreaBalanceRules()
    interval: Annotated[IntervalRules, Field(alias="R3")] = IntervalRules()
    wheeling: Annotated[WheelingRules, Field(alias="R5")] = WheelingRules()
    two_end: Annotated[TwoEndRules, Field(alias="R6")] = TwoEndRules()
    node: Annotated[NodeRules, Field(alias="R7")] = NodeRules()
    converter: Annotated[ConverterRules, Field(alias="R8")] = ConverterRules()
    control_error: Annotated[ControlErrorRules, Field(alias="R9")] = ControlErrorRules()
    frequency: Annotated[FrequencyRules, Field(alias="R10")] = FrequencyRules()
    ramp: Annotated[RampRules, Field(alias="R11")] = RampRules()
    loading: Annotated[LoadingRules, Field(alias="R12")] = LoadingRules()
    health: Annotated[HealthRules, Field(alias="R13")] = HealthRules()
    state_estimate: Annotated[StateEstimateSettings, Field(alias="R18")] = StateEstimateSettings()
    flatline: Annotated[FlatlineRules, Field(alias="R14")] = FlatlineRules()
    check_meter: Annotated[CheckMeterRules, Field(alias="R15")] = CheckMeterRules()
    counter: Annotated[CounterRules, Field(alias="R16")] = CounterRules()
    skew: Annotated[SkewRules, Field(alias="R17")] = SkewRules()
    plausibility: Annotated[PlausibilityRules, Field(alias="R19")] = PlausibilityRules()
    voltage: Annotated[VoltageRules, Field(alias="R20")] = VoltageRules()
    contingency: Annotated[ContingencyRules, Field(alias="R21")] = ContingencyRules()
    dynamics: Annotated[DynamicsRules, Field(alias="R23")] = DynamicsRules()
    blind: Annotated[BlindRules, Field(alias="R24")] = BlindRules()
    agreement: Annotated[AgreementRules, Field(alias="R22")] = AgreementRules()
    settlement: SettlementSettings = SettlementSettings()
    webhook: tuple[Webhook, ...] = ()
    alertmanager: tuple[Alertmanager, ...] = ()
    notify: NotifySettings = NotifySettings()
    desk: DeskSettings = DeskSettings()
    outage: tuple[Outage, ...] = ()
    rule: tuple[CustomRule, ...] = ()
    """Rules of the site's own, beside the catalogue."""
    relation: tuple[RelationSettings, ...] = ()
    """Further relations between rules, beside those of :data:`alerts.kinship.RELATIONS`."""

    def rules(self) -> dict[str, Any]:
        """The table of each rule of the catalogue, by the rule's name."""
        fields = type(self).model_fields
        return {
            info.alias: getattr(self, name)
            for name, info in fields.items()
            if info.alias is not None and re.fullmatch(r"R\d+", info.alias)
        }

    def problems(
        self, file: str, grid: Grid, devices: Iterable[Device], prefix: str = "alerts"
    ) -> Iterator[Problem]:
        """Faults that only the whole model shows: overrides of assets that do not exist, ids used twice."""
        devices = list(devices)
        agreed = {tie.id for tie in grid.tie} | {contract.id for contract in grid.contract}
        lines = {line.id for line in grid.line}
        pageable = {tie.id for tie in grid.tie if tie.kind is not TieKind.RING}
        health = {device.id for device in devices} | {device.link for device in devices if device.link}
        valid: dict[str, tuple[Collection[str], str]] = {
            "R1": (pageable, "radial or HVDC tie"),
            "R2": ({area.id for area in grid.area}, "area"),
            "R4": ({area.id for area in grid.area}, "area"),
            "R3": (pageable | {area.id for area in grid.area}, "tie or area"),
            "R5": ({contract.id for contract in grid.contract}, "contract"),
            "R6": (lines, "line"),
            "R7": ({node.id for node in grid.node}, "node"),
            "R8": ({link.id for link in grid.hvdc}, "HVDC link"),
            "R9": ({area.id for area in grid.area}, "area"),
            "R10": ({area.sync_area for area in grid.area}, "synchronous area"),
            "R11": ({area.id for area in grid.area}, "area"),
            "R12": (lines | {link.id for link in grid.hvdc}, "line or HVDC link"),
            "R13": (health, "device or link"),
            "R14": ({device.id for device in devices}, "device"),
            "R15": (lines | {link.id for link in grid.hvdc}, "line or HVDC link"),
            "R16": ({device.id for device in devices}, "device"),
            "R17": ({device.id for device in devices}, "device"),
            "R18": ((), "asset"),
            "R19": ({device.id for device in devices if device.role is Role.PLANT}, "plant"),
            "R21": (lines | {link.id for link in grid.hvdc}, "line or HVDC link"),
            "R22": (agreed, "tie or contract"),
            "R20": ({node.id for node in grid.node}, "node"),
        }
        meshed = {tie.id for tie in grid.tie if tie.id in lines}
        sync_areas = {area.sync_area for area in grid.area}
        valid["R23"] = (
            sync_areas | {area.id for area in grid.area} | meshed,
            "synchronous area, area or AC tie",
        )
        valid["R24"] = ({area.id for area in grid.area} | {tie.id for tie in grid.tie}, "area or tie")
        for rule, table in self.rules().items():
            assets = [override.asset for override in getattr(table, "override", ())]
            yield from _asset_problems(file, f"{prefix}.{rule}.override", assets, *valid[rule])
        places = health | pageable | lines | {node.id for node in grid.node} | {link.id for link in grid.hvdc}
        yield from desk_problems(file, prefix, self.outage, self.relation, places)
        feeds = [("webhook", [feed.id for feed in self.webhook])]
        feeds.append(("alertmanager", [feed.id for feed in self.alertmanager]))
        taken = [LOG_CHANNEL]
        for table, ids in feeds:
            for i, name in enumerate(ids):
                if name in taken:
                    reason = "reserved for the structured log" if name == LOG_CHANNEL else "used twice"
                    key = f"{prefix}.{table}[{i}].id"
                    yield Problem(file, key, f'"{name}"', reason, "give it another id")
                taken.append(name)
        yield from checks.problems(
            file,
            self.notify,
            areas=[area.id for area in grid.area],
            assets=places,
            languages=languages(),
            taken=taken,
            prefix=f"{prefix}.notify",
        )


LOG_CHANNEL = "log"
"""Id of the channel that writes notifications to the structured log."""


def _asset_problems(
    file: str, key: str, assets: list[str], valid: Collection[str], what: str
) -> Iterator[Problem]:
    for i, asset in enumerate(assets):
        if asset not in valid:
            yield Problem(file, f"{key}[{i}].asset", f'"{asset}"', f"no such {what}", nearest(asset, valid))
        elif asset in assets[:i]:
            yield Problem(file, f"{key}[{i}].asset", f'"{asset}"', "overridden twice", "join the two tables")


def _check_ascending(limits: list[tuple[float, float]]) -> None:
    for i, (milder, higher) in enumerate(pairwise(limits)):
        if milder == higher or any(a > b for a, b in zip(milder, higher, strict=True)):
            raise ValueError(f"limit {i + 2} is not above limit {i + 1}: it could never make a difference")


Model = TypeVar("Model", bound=Settings)


def _overridden(base: Model, asset: str, overrides: Iterable[Any]) -> Model:
    for override in overrides:
        if override.asset == asset:
            given: Mapping[str, Any] = {
                name: getattr(override, name)
                for name in override.model_fields_set - {"asset"}
                if getattr(override, name) is not None
            }
            return base.model_copy(update=dict(given))
    return base
