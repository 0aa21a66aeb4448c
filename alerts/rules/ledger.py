"""Which rules watch the settlement of a site: R3, R5 and R22."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from alerts.config import AlertsSettings
from alerts.rules.finding import Finding, Subject, Timing
from alerts.rules.interval import IntervalRule
from alerts.rules.schedule import AgreementRule
from alerts.rules.wheeling import WheelingRule
from alerts.settlement.view import LedgerView
from telemetry.grid import TieKind
from telemetry.site import Site


class LedgerRule(Protocol):
    """A rule of the catalogue on one account, judged at each look of the ledger."""

    @property
    def subject(self) -> Subject:
        """What it is and what it watches."""
        ...

    @property
    def timing(self) -> Timing:
        """Grades and delays."""
        ...

    def judge(self, view: LedgerView) -> Finding | None:
        """Judges the account; None when nothing is to be said, and what was said holds."""
        ...


def ledger_rules_of(site: Site, settings: AlertsSettings) -> Sequence[LedgerRule]:
    """The rules on every tie, area and contract."""
    grid = site.grid
    rules: list[LedgerRule] = []
    for tie in grid.tie:
        interval, agreement = settings.interval.of(tie.id), settings.agreement.of(tie.id)
        if tie.kind is not TieKind.RING and interval.enabled:
            rules.append(IntervalRule(tie.id, tie.from_area, [tie.to_area], interval))
        if agreement.enabled:
            rules.append(AgreementRule(tie.id, tie.from_area, tie.to_area, agreement))
    for area in grid.area:
        ties = [tie for tie in grid.tie if area.id in {tie.from_area, tie.to_area}]
        interval = settings.interval.of(area.id)
        neighbours = sorted({tie.to_area if tie.from_area == area.id else tie.from_area for tie in ties})
        if ties and interval.enabled:
            rules.append(IntervalRule(area.id, area.id, neighbours, interval))
    for contract in grid.contract:
        wheeling, agreement = settings.wheeling.of(contract.id), settings.agreement.of(contract.id)
        if wheeling.enabled:
            rules.append(WheelingRule(contract, wheeling))
        if agreement.enabled:
            rules.append(AgreementRule(contract.id, contract.transit_area, "the other party", agreement))
    return rules
