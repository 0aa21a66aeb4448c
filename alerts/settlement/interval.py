"""A settled interval, as the ledger keeps it and the stores are told of it; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from ingest.ports import EventRecord

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
LENGTHS = (15, 60)
"""Lengths of intervals [min]; they begin at whole multiples since midnight UTC."""
RECORD = "settlement"
"""Kind of the event records."""


class AccountKind(StrEnum):
    """What an account is of."""

    TIE = "tie"
    AREA = "area"
    """Net position over the ties of an area, + for export."""
    CONTRACT = "contract"


class EnergyQuality(StrEnum):
    """Where the metered energy of an interval comes from, best first."""

    COUNTER = "counter"
    """Counters, read throughout."""
    BRIDGED = "bridged"
    """Counters, with a gap between readings that is split evenly over its time."""
    SUBSTITUTED = "substituted"
    """Counters, and where they say nothing the check meter or the integral of the power."""
    POWER = "power"
    """The integral of the power alone."""
    INCOMPLETE = "incomplete"
    """Part of the time is not known by any of them: the energy is of the rest."""
    MISSING = "missing"
    """Nothing is known."""

    @property
    def rank(self) -> int:
        """Place in the order, 0 for the best."""
        return list(EnergyQuality).index(self)


@dataclass(frozen=True, slots=True)
class Interval:
    """One interval of one account. Energies [MWh] have the sign of the schedule; None is not known.

    Of a tie: + away from the delivery node's busbar into the tie. Of an area: + for export. Of a contract the
    scheduled and metered energy is what leaves the transit area.
    """

    account: str
    """Tie, area or contract."""
    kind: AccountKind
    area: str
    """Area that is answerable: a tie's own, a contract's transit area."""
    minutes: int
    start: int
    """[ns, UTC]."""
    scheduled_mwh: float
    metered_mwh: float | None
    estimated_mwh: float | None
    """By the state estimate, where its points are stored."""
    inadvertent_mwh: float | None
    """Metered less scheduled; of a contract what came in less what left and the agreed losses."""
    wheeled_mwh: float | None
    """Carried for contracts; of an area the transit volume: the smaller of its imports and exports."""
    losses_mwh: float | None
    """Of a tie what both ends' meters differ by; of a contract the agreed share of what came in."""
    completeness_pct: float
    """Part of the time that was measured, without bridges [%]."""
    quality: EnergyQuality
    version: int = 0
    """Schedule version that held at its start; 0 for the standing schedule."""
    revision: int = 0
    """0 when it was closed; grows with every change afterwards."""
    closed_at: int = 0
    """When this revision was made [ns, UTC]; 0 while the interval is open."""
    reason: str = ""
    """Why this revision was made: ``closed``, ``late data`` ..."""

    @property
    def end(self) -> int:
        """[ns, UTC]; not part of it."""
        return self.start + self.minutes * MINUTE

    def says_as(self, other: Interval) -> bool:
        """Whether both say the same about the interval, whenever and why they were made."""
        return replace(self, revision=0, closed_at=0, reason="") == replace(
            other, revision=0, closed_at=0, reason=""
        )

    def record(self) -> EventRecord:
        """For the stores; each revision is a record of its own."""
        values = {
            "metered_mwh": self.metered_mwh,
            "estimated_mwh": self.estimated_mwh,
            "inadvertent_mwh": self.inadvertent_mwh,
            "wheeled_mwh": self.wheeled_mwh,
            "losses_mwh": self.losses_mwh,
        }
        return EventRecord(
            RECORD,
            f"{self.account}-{self.minutes}-{self.start}-{self.revision}",
            self.start,
            {
                "account": self.account,
                "kind": self.kind.value,
                "area": self.area,
                "minutes": str(self.minutes),
            },
            {
                "scheduled_mwh": self.scheduled_mwh,
                **{name: value for name, value in values.items() if value is not None},
                "completeness_pct": self.completeness_pct,
                "quality": self.quality.value,
                "version": self.version,
                "revision": self.revision,
                "closed_at": self.closed_at,
                "reason": self.reason,
            },
        )


def begin_of(instant: int, minutes: int) -> int:
    """Begin of the interval that an instant [ns, UTC] lies in."""
    length = minutes * MINUTE
    return instant // length * length
