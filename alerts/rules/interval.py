"""R3: an interval of a tie or an area will settle out of balance.

II = integral of (P - S) dt; II_end = II + mean over 5 min of (P - S) x time left. Ties of a meshed ring are
not judged, for their deviation includes loop flow; their areas are. The limits in proportion are of what is
scheduled; for an area of what is scheduled over all its ties, since its net may be small beside the errors of
its meters.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from alerts.ledger_config import IntervalSettings
from alerts.rules.finding import Finding, Subject, Texts, level_of
from alerts.settlement.running import Running
from alerts.settlement.view import LedgerView

SECOND = 1_000_000_000


class IntervalRule:
    """R3 on one tie or area: the worse of its open intervals of 15 and 60 minutes."""

    def __init__(self, asset: str, area: str, neighbours: Sequence[str], settings: IntervalSettings) -> None:
        self.subject = Subject("R3", 1, asset, area)
        self.timing = settings.timing
        self._settings = settings
        self._neighbours = " and ".join(neighbours)

    def judge(self, view: LedgerView) -> Finding | None:
        """What the open intervals say; None while they are too young to say anything."""
        least = self._settings.from_minute * 60 * SECOND
        open_ = [r for r in view.open if r.account == self.subject.asset and r.at - r.start >= least]
        known = [self._judged(view.at, r, r.projected_mwh) for r in open_ if r.projected_mwh is not None]
        if known:
            # where both are as far beyond their limits, the shorter one leaves less time
            return max(known, key=lambda finding: (finding.level, round(finding.value / finding.limit, 6)))
        return self.subject.unknown(view.at, open_[0].fault) if open_ else None

    def _judged(self, at: int, interval: Running, end_mwh: float) -> Finding:
        limits = self._settings.limits_of(interval.throughput_mwh)
        level, held = level_of(abs(end_mwh), limits, self._settings.deadband_pct / 100)
        limit = limits[max(level, 1) - 1]
        return Finding(
            self.subject,
            at,
            level,
            held,
            abs(end_mwh),
            limit,
            "MWh",
            t_source=interval.at,
            t_received=at,
            texts=self._texts(interval, end_mwh, limit) if held else None,
        )

    def _texts(self, interval: Running, end_mwh: float, limit: float) -> Texts:
        asset, more = self.subject.asset, "more" if end_mwh > 0 else "less"
        until = datetime.fromtimestamp(interval.end // SECOND, UTC).strftime("%H:%M")
        left = (interval.end - interval.at) / SECOND / 60
        so_far, mean = interval.inadvertent_mwh or 0.0, interval.mean_mw or 0.0
        counter_mw = -so_far / (left / 60) if left > 0 else 0.0
        what = "export" if interval.kind == "area" else "flow"
        return Texts(
            title=f"{asset}: the {interval.minutes} min to {until} UTC will settle {abs(end_mwh):.1f} MWh "
            f"{more} {what} than agreed",
            cause=f"{asset} is {so_far:+.1f} MWh off its schedule since the interval began, and over the "
            f"last five minutes {mean:+.0f} MW: if that goes on it ends at {end_mwh:+.1f} MWh.",
            consequence=f"Inadvertent energy of {abs(end_mwh):.1f} MWh is settled with {self._neighbours}.",
            response=f"1. {left:.0f} min are left: {counter_mw:+.0f} MW beside the schedule would settle it "
            f"to zero. 2. Redispatch, or agree a change of the schedule with {self._neighbours}. "
            "3. If power and counters disagree, check the billing meter (R16).",
            evidence={
                "Agreed in the interval [MWh]": round(interval.scheduled_mwh, 2),
                "Off so far [MWh]": round(so_far, 2),
                "Mean of the last 5 min [MW]": round(mean, 1),
                "Projected at the end [MWh]": round(end_mwh, 2),
                "Limit [MWh]": round(limit, 2),
                "Measured [%]": interval.completeness_pct,
            },
        )
