"""R11: wind and sun of an area change faster than reserve follows.

Only the sum over an area's plants is judged: a single plant's ramp is a matter of course.
"""

from __future__ import annotations

from collections.abc import Sequence

from alerts.alignment import Snapshot, first_fault
from alerts.rule_config import RampSettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing
from alerts.rules.window import RangeWindow, Window


class RampRule:
    """R11 on one area: fall of the sum within a window, in parts of what is installed."""

    def __init__(
        self, area: str, plants: Sequence[tuple[str, int]], rated_mw: float, settings: RampSettings
    ) -> None:
        """Takes the area's wind and solar plants by name with their power points, and their rating [MW]."""
        self.subject = Subject("R11", 1, area, area)
        self.inputs: Sequence[int] = tuple(point for _, point in plants)
        self.timing = Timing(
            tuple(Grade(limit.priority, limit.on_s) for limit in settings.limits), settings.off_s
        )
        self._plants = plants
        self._rated_mw = rated_mw
        self._settings = settings
        self._long, self._short = RangeWindow(settings.loss_s), Window(settings.slope_s)
        self._powers = {name: RangeWindow(settings.loss_s) for name, _ in plants}

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the sum at the instant against the most that it was within the window."""
        at = snapshot.instant
        legs = [(name, snapshot.leg(point)) for name, point in self._plants]
        if fault := first_fault(legs):
            return self.subject.unknown(at, fault)
        total = sum(leg.value for _, leg in legs)
        self._long.add(at, total)
        self._short.add(at, total)
        for name, leg in legs:
            self._powers[name].add(at, leg.value)
        lost = self._long.most - total
        slope = self._short.slope() * 60 if self._short.full else 0.0
        pct, pct_per_min = 100 * lost / self._rated_mw, 100 * abs(slope) / self._rated_mw
        limits = self._settings.limits
        level = sum(pct > g.loss_pct or pct_per_min > g.slope_pct_per_min for g in limits)
        less = 1 - self._settings.deadband_pct / 100
        held = sum(pct > g.loss_pct * less or pct_per_min > g.slope_pct_per_min * less for g in limits)
        limit = limits[max(level, 1) - 1].loss_pct
        return Finding(
            self.subject,
            at,
            level,
            held,
            pct,
            limit,
            "%",
            max((leg for _, leg in legs), key=lambda leg: leg.quality).label,
            at,
            max(leg.t_received for _, leg in legs),
            texts=self._texts(total, lost, slope) if held else None,
        )

    def _texts(self, total: float, lost: float, slope: float) -> Texts:
        area = self.subject.asset
        falls = {name: window.most - window.least for name, window in self._powers.items()}
        most = max(falls, key=lambda name: falls[name])
        minutes = self._settings.loss_s / 60
        moves = "risen" if slope > 0 and lost < abs(slope) else "lost"
        amount = max(lost, abs(slope)) if moves == "risen" else lost
        return Texts(
            f"{area}: wind and sun have {moves} {amount:.0f} MW of {self._rated_mw:.0f} within minutes",
            f"The plants of {area} give {total:.0f} MW, {lost:.0f} MW less than at their best in the last "
            f"{minutes:.0f} min; {most} changed most: a front, a storm cut-out, curtailment or a trip.",
            "Reserve is used up and exchanges leave their schedules if nothing follows.",
            f"1. Activate reserve in {area} ahead of the fall. 2. Ask {most} what happened and when it "
            "returns. 3. Tell the neighbours, and agree another schedule if it lasts.",
            {
                "Wind and solar now [MW]": round(total, 1),
                f"Lost within {minutes:.0f} min [MW]": round(lost, 1),
                "Slope [MW/min]": round(slope, 1),
                "Most changed": most,
            },
        )
