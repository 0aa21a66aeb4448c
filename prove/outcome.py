"""What comes of a fault, and how often each strikes."""

from __future__ import annotations

from dataclasses import dataclass, field

from prove.audit import Audit

FRESH_WITHIN_S = 30.0
"""A fresh reading must be durable so soon after the fault [s]."""
MIN_MESSAGES = 20
"""Messages that a round must see acknowledged to say anything."""

MOST_REPEATED = 20
"""One round may be played again, and one more for each so many rounds."""


@dataclass(frozen=True, slots=True)
class Size:
    """How often each fault strikes."""

    name: str
    kills: int
    cuts: int
    fills: int
    corruptions: int
    skews: int
    backlog: int
    """Readings that pile up."""
    refusals: int
    """Rounds of each answer of InfluxDB."""
    refused_s: float
    """Time for which it answers so [s]."""
    broker_faults: int
    """How often the broker fails in each way."""
    broker_s: float
    """Longest time for which it does [s]."""
    outage_s: float
    """Time for which it is stopped [s]."""
    desk_kills: int
    """How often the alarm desk is killed."""
    days: int
    """Of the simulated year [d]."""
    longest_s: float
    """A fault strikes at a random time up to this after the first message [s]."""


FULL = Size(
    "full",
    kills=200,
    cuts=50,
    fills=5,
    corruptions=20,
    skews=20,
    backlog=10_000_000,
    longest_s=2.0,
    refusals=5,
    refused_s=20.0,
    outage_s=600.0,
    broker_faults=20,
    broker_s=15.0,
    desk_kills=1000,
    days=365,
)
SMOKE = Size(
    "smoke",
    kills=20,
    cuts=1,
    fills=1,
    corruptions=2,
    skews=3,
    backlog=200_000,
    longest_s=0.4,
    refusals=1,
    refused_s=0.5,
    outage_s=1.0,
    broker_faults=1,
    broker_s=0.5,
    desk_kills=20,
    days=4,
)


@dataclass(slots=True)
class Outcome:
    """What came of a fault."""

    fault: str
    rounds: int = 0
    repeated: int = 0
    """Rounds that saw too little traffic to say anything and were played again."""
    messages: int = 0
    replayed: int = 0
    """Records that were replayed into the store, in all."""
    slowest_fresh_s: float = 0.0
    destroyed: int = 0
    """Readings that were lost with what the fault destroyed, as they must be."""
    problems: list[str] = field(default_factory=list)
    void: str = ""
    """Why the run proves nothing, if it does not."""
    figures: dict[str, float] = field(default_factory=dict)
    """What was measured beside."""
    last: Audit | None = None

    @property
    def holds(self) -> bool:
        """True if everything was found as it must be, in a run that proves something."""
        return not self.problems and not self.void

    def judge(self, result: Audit, where: str = "") -> None:
        """Takes the audit of a round over."""
        self.last = result
        self.replayed += max(0, result.replayed)  # without flushing, a store can be ahead of its journal
        for name, count in result.faults.items():
            self.problems.append(f"round {self.rounds}{where}: {name} {count}")

    def wants(self, rounds: int) -> bool:
        """Whether another round is due; one that says nothing does not count, unless there are too many."""
        return self.rounds < rounds and not self.void

    def seen(self, messages: int, fresh_s: float, *, again: bool = False) -> None:
        """Takes the traffic of a round over; ``again`` if one with too little of it can be played again."""
        self.messages += messages
        self.slowest_fresh_s = max(self.slowest_fresh_s, fresh_s)
        if fresh_s > FRESH_WITHIN_S:
            self.problems.append(f"round {self.rounds + 1}: a fresh reading took {fresh_s:.1f} s")
        elif again and messages < MIN_MESSAGES and self.repeated <= self.rounds // MOST_REPEATED:
            self.repeated += 1
            return
        self.rounds += 1
        if messages < MIN_MESSAGES and not self.void:
            self.void = f"round {self.rounds}: only {messages} messages"

    def end(self, replay_needed: bool = True) -> Outcome:
        """Closes the account."""
        if replay_needed and not self.replayed and not self.void:
            self.void = "nothing was ever replayed"
        return self
