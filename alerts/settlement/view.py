"""What the rules on settlement see at an instant; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alerts.schedules import ScheduleBook
from alerts.settlement.interval import Interval
from alerts.settlement.running import Running


@dataclass(frozen=True, slots=True)
class LedgerView:
    """The ledger as of its latest look."""

    at: int
    """When that was [ns, UTC]."""
    open: Sequence[Running]
    """The open intervals."""
    latest: Mapping[str, Interval]
    """The newest closed quarter of an hour of each account."""
    schedules: ScheduleBook
