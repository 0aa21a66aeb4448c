"""R7: at a busbar, what its branches carry away differs from what is injected.

A branch meter that lies shows in its line (R6) and at its busbar by the same amount; that is the line's
alarm, and the busbar's rule stays silent. What is left is the meter of the injection, or a take-off past it:
one snapshot cannot tell the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

from alerts.alignment import Snapshot, first_fault
from alerts.rule_config import NodeSettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing, graded
from alerts.rules.line_state import MeterAccuracy

_SAME = 0.2
"""Part by which what a line and what a busbar lack may differ and still be one fault: the line's losses are
computed from the meter that lies."""

Residual = Callable[[Snapshot], float | None]
"""What is unaccounted for between the two ends of a branch [MW]; None when that is not known."""


@dataclass(frozen=True, slots=True)
class NodeBranch:
    """A branch as its busbar sees it."""

    id: str
    power: int
    """Power point of the main meter here."""
    accuracy: MeterAccuracy
    inputs: Sequence[int]
    """Points that ``residual`` reads."""
    residual: Residual


class NodeRule:
    """R7 on one busbar: |sum of the branches - injection|."""

    def __init__(
        self,
        subject: Subject,
        injection: tuple[int, MeterAccuracy],
        branches: Sequence[NodeBranch],
        settings: NodeSettings,
    ) -> None:
        self.subject = subject
        read = [point for branch in branches for point in (branch.power, *branch.inputs)]
        self.inputs: Sequence[int] = tuple(dict.fromkeys([injection[0], *read]))
        self.timing = Timing((Grade(settings.priority, settings.on_s),), settings.off_s)
        self._injection = injection
        self._branches = branches
        self._settings = settings

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the busbar's sum at the instant."""
        node, settings = self.subject.asset, self._settings
        point, accuracy = self._injection
        injected = snapshot.leg(point)
        legs = [(f"{branch.id} at {node}", snapshot.leg(branch.power)) for branch in self._branches]
        if fault := first_fault([(f"injection at {node}", injected), *legs]):
            return self.subject.unknown(snapshot.instant, fault)
        clock = settings.clock_sigma_s
        variance = accuracy.sigma_mw(injected, clock) ** 2 + sum(
            branch.accuracy.sigma_mw(leg, clock) ** 2
            for branch, (_, leg) in zip(self._branches, legs, strict=True)
        )
        limit = max(settings.sigmas * sqrt(variance), settings.mw)
        off = sum(leg.value for _, leg in legs) - injected.value
        blamed = self._explained(snapshot, off, limit)
        return graded(
            self.subject,
            snapshot.instant,
            0.0 if blamed else abs(off),
            [limit],
            unit="MW",
            legs=[injected, *(leg for _, leg in legs)],
            texts=lambda _: self._texts(off, injected.value, limit),
            deadband=settings.deadband_pct / 100,
        )

    def _explained(self, snapshot: Snapshot, off: float, limit: float) -> str:
        """The branch whose own contradiction explains the busbar's; empty when none does."""
        for branch in self._branches:
            residual = branch.residual(snapshot)
            if (
                residual is not None
                and abs(residual) > limit / 2
                and abs(off - residual) <= max(limit, _SAME * abs(off))
            ):
                return branch.id
        return ""

    def _texts(self, off: float, injected: float, limit: float) -> Texts:
        node = self.subject.asset
        return Texts(
            f"{node}: {abs(off):.1f} MW {'more' if off > 0 else 'less'} leaves than its meter says",
            f"The branches at {node} carry {injected + off:.1f} MW away, its meter says {injected:.1f} MW; "
            "no branch contradicts its other end. Either the busbar's meter is wrong, or power is "
            f"{'fed in' if off > 0 else 'taken'} past it: one snapshot cannot tell.",
            "Energy is taken unmetered or billed wrongly; balances of the area are off by the same amount.",
            f"1. Compare the busbar's meter at {node} with its check meter, its counters, and the plants "
            "behind it. 2. If it is right, look for a connection past the meter.",
            {
                "Branches [MW]": round(injected + off, 1),
                "Injection [MW]": round(injected, 1),
                "Difference [MW]": round(off, 1),
                "Limit [MW]": round(limit, 1),
            },
        )
