"""R4: what flows into an area is neither consumed, nor flows out, nor is lost on its lines.

The balance is that of the busbars' injections (generation less consumption), of the ends of the branches that
leave the area, and of the losses that its own lines should have. Many take-offs that are each too small for
a line's (R6) or a busbar's (R7) rule add up here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from alerts.alignment import Leg, Snapshot, first_fault
from alerts.rule_config import AreaBalanceSettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing, graded
from alerts.rules.line_state import LineWatch, MeterAccuracy
from alerts.rules.window import Window

_COVERAGE = 0.8
"""Part of the window that must have been measured."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A power and how exactly it is measured."""

    name: str
    point: int
    accuracy: MeterAccuracy


class AreaBalanceRule:
    """R4 on one area: mean over a window of injections - border flows - losses.

    Parameters
    ----------
    subject
        The area.
    injections
        Of every busbar, + into the busbar.
    borders
        Ends of the branches that leave the area, + out of the busbar.
    lines
        Lines with both ends in the area.
    settings
        Grades and delays.

    """

    def __init__(
        self,
        subject: Subject,
        injections: Sequence[Measured],
        borders: Sequence[Measured],
        lines: Sequence[LineWatch],
        settings: AreaBalanceSettings,
    ) -> None:
        self.subject = subject
        of_lines = (point for line in lines for point in line.inputs)
        self.inputs: Sequence[int] = tuple(
            dict.fromkeys([*(m.point for m in (*injections, *borders)), *of_lines])
        )
        self.timing = Timing(
            tuple(Grade(limit.priority, limit.on_s) for limit in settings.limits), settings.off_s
        )
        self._injections = injections
        self._borders = borders
        self._lines = lines
        self._settings = settings
        self._window = Window(settings.mean_s)

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the mean over the window that ends at the instant."""
        at, settings = snapshot.instant, self._settings
        injected = [(m.name, snapshot.leg(m.point)) for m in self._injections]
        leaving = [(m.name, snapshot.leg(m.point)) for m in self._borders]
        if fault := first_fault([*injected, *leaving]):
            return self.subject.unknown(at, fault)
        states = [line.state(snapshot) for line in self._lines]
        if fault := next((state.fault for state in states if state.fault), ""):
            return self.subject.unknown(at, fault)
        given, sent = ([leg for _, leg in legs] for legs in (injected, leaving))
        lost = sum(state.expected for state in states)
        self._window.add(at, sum(leg.value for leg in given) - sum(leg.value for leg in sent) - lost)
        if self._window.covered_s < _COVERAGE * settings.mean_s:
            return self.subject.early(at, f"the mean of {settings.mean_s:.0f} s has too few data yet")
        inflow = sum(max(leg.value, 0.0) for leg in given) + sum(max(-leg.value, 0.0) for leg in sent)
        sigma = self._sigma_mw([*given, *sent])
        limits = [max(g.sigmas * sigma, g.pct / 100 * inflow) for g in settings.limits]
        off = self._window.mean
        return graded(
            self.subject,
            at,
            abs(off),
            limits,
            unit="MW",
            legs=[*given, *sent],
            texts=lambda limit: self._texts(off, inflow, lost, sigma, limit),
            deadband=settings.deadband_pct / 100,
        )

    def _sigma_mw(self, legs: Sequence[Leg]) -> float:
        """Standard uncertainty of the balance: meters and the corona of the lines [MW]."""
        clock = self._settings.clock_sigma_s
        meters = (m.accuracy for m in (*self._injections, *self._borders))
        return sqrt(
            sum(accuracy.sigma_mw(leg, clock) ** 2 for accuracy, leg in zip(meters, legs, strict=True))
            + sum(line.corona_sigma_mw**2 for line in self._lines)
        )

    def _texts(self, off: float, inflow: float, lost: float, sigma: float, limit: float) -> Texts:
        area, minutes = self.subject.asset, self._settings.mean_s / 60
        what = "flow in and are not accounted for" if off > 0 else "leave it that never came in"
        return Texts(
            title=f"{area}: {abs(off):.0f} MW {what}",
            cause=f"Over {minutes:.0f} min injections, borders and losses of {area} do not add up "
            f"by {off:+.1f} MW, while no single line, busbar or cable contradicts itself enough to be named: "
            "several small take-offs, a meter that drifts, or weather that costs more than the model knows.",
            consequence="Energy is lost or taken unmetered, and its price falls on everybody.",
            response="1. Look at the state estimate: which residuals of the area lean the same way. "
            "2. Compare weather and losses of the long lines. 3. Compare the stations' counters over a day.",
            evidence={
                "Unaccounted for [MW]": round(off, 1),
                "Flows in [MW]": round(inflow, 1),
                "Expected losses [MW]": round(lost, 1),
                "Standard uncertainty [MW]": round(sigma, 1),
                "Limit [MW]": round(limit, 1),
            },
        )
