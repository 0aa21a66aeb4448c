"""What an alarm is. The lifecycle that moves it is in :mod:`alerts.lifecycle`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from telemetry.errors import GreenbridgeError


class AlarmError(GreenbridgeError):
    """An action on an alarm that cannot be taken: there is no such alarm, or as its subclass says."""


class NotAllowedError(AlarmError):
    """An action that the state of an alarm does not allow."""


class Priority(StrEnum):
    """Priority of an alarm, by consequence and time to respond (ISA-18.2)."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    URGENT = "urgent"


class AlarmState(StrEnum):
    """State of an alarm (ISA-18.2 / IEC 62682)."""

    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED = "returned_unacknowledged"
    """The condition is over, but nobody has acknowledged it."""
    LATCHED_UNACKNOWLEDGED = "latched_unacknowledged"
    """The condition is over, nobody has acknowledged it, and it stays until a person resets it."""
    LATCHED_ACKNOWLEDGED = "latched_acknowledged"
    """The condition is over and acknowledged; a person has to reset it."""
    SHELVED = "shelved"
    """An operator set it aside for a while, with a reason."""
    SUPPRESSED = "suppressed"
    """Suppressed by design: another alarm explains it, or an outage was planned."""
    OUT_OF_SERVICE = "out_of_service"
    """Taken out of service, for example for maintenance of its instruments."""


HELD = frozenset({AlarmState.SHELVED, AlarmState.SUPPRESSED, AlarmState.OUT_OF_SERVICE})
"""States in which nobody is told of the condition."""

OPEN = frozenset(AlarmState) - HELD - {AlarmState.NORMAL}
"""States that ask something of the operator, or have just done so."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One occurrence of an alarm condition: everything that an operator needs to act."""

    id: str
    """Unique for each occurrence, for example ``R6-SHY-TAS-17``; safe in an address."""
    key: str
    """Identity of the condition, the same for every occurrence: ``R6/SHY-TAS``."""
    rule: str
    """Rule of the catalogue: ``R6``."""
    rule_version: int
    asset: str
    """Line, link or device: ``SHY-TAS``."""
    area: str
    title: str
    """One line for a list or a pager: ``SHY-TAS: 29.8 MW missing between the two ends``."""
    priority: Priority
    state: AlarmState
    value: float
    """What was measured, when last evaluated [unit]."""
    limit: float
    """The threshold that it passed [unit]."""
    unit: str
    quality: str
    """Worst quality of the inputs: ``good`` or a reason."""
    t_source: int
    """Source time of the data that raised it [ns, UTC]."""
    t_received: int
    """Receipt of the data that raised it [ns, UTC]."""
    raised_at: int
    """When the alarm was raised, after the on-delay [ns, UTC]."""
    updated_at: int
    """Last change of state or priority [ns, UTC]."""
    cleared_at: int | None = None
    acknowledged_at: int | None = None
    acknowledged_by: str = ""
    comment: str = ""
    cause: str = ""
    consequence: str = ""
    response: str = ""
    evidence: Mapping[str, float | str] = field(default_factory=dict)
    """Input values and findings by name, for example ``{"P at SHY [MW]": -322.1}``, rounded for people."""
    occurrences: int = 1
    """How often the condition was raised since it was last normal."""
    began_at: int = 0
    """When the condition began to hold, before the on-delay [ns, UTC]; orders the alarms of a cascade."""
    parent: str = ""
    """Id of the alarm that explains this one; empty for one that stands for itself."""
    chattering: bool = False
    """It was raised so often within a short time that it now returns only after a longer calm."""
    held_reason: str = ""
    """Why nobody is told of it, while it is shelved, suppressed or out of service."""
    held_by: str = ""
    """Who shelved it, suppressed it or took it out of service; empty for what follows by design."""
    held_at: int | None = None
    """Since when [ns, UTC]."""
    held_until: int | None = None
    """Until when, if that is known [ns, UTC]."""


@dataclass(frozen=True, slots=True)
class Indeterminate:
    """A rule that cannot be judged now: neither an alarm nor an all-clear."""

    rule: str
    asset: str
    reason: str
    """For people: ``leg SHY-TAS at TAS is stale``."""
    since: int
    """[ns, UTC]."""
