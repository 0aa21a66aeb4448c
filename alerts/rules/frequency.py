"""R10: the frequency of a synchronous area is off its nominal value.

Every meter of an area measures the same frequency, so that their median is what is judged: a meter that lies,
or a busbar that is cut off, does not move it.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from alerts.alignment import Snapshot, first_fault
from alerts.rule_config import FrequencySettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing, graded


class FrequencyRule:
    """R10 on one synchronous area: |median(f) - nominal|."""

    def __init__(self, area: str, meters: Sequence[tuple[str, int]], settings: FrequencySettings) -> None:
        """Takes the meters of the area by name with their frequency points."""
        self.subject = Subject("R10", 1, area, "")
        self.inputs: Sequence[int] = tuple(point for _, point in meters)
        self.timing = Timing(
            tuple(Grade(limit.priority, limit.on_s) for limit in settings.limits), settings.off_s
        )
        self._meters = meters
        self._settings = settings
        self._limits = [limit.above for limit in settings.limits]

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the median of the meters that can be used at the instant."""
        legs = [(name, snapshot.leg(point)) for name, point in self._meters]
        usable = [leg for _, leg in legs if leg.usable]
        if not usable:
            return self.subject.unknown(snapshot.instant, first_fault(legs))
        settings = self._settings
        frequency = median(leg.value for leg in usable)
        return graded(
            self.subject,
            snapshot.instant,
            abs(frequency - settings.nominal_hz),
            self._limits,
            unit="Hz",
            legs=usable,
            texts=lambda limit: self._texts(frequency, limit, len(usable)),
            deadband=settings.deadband_pct / 100,
            less=settings.deadband_hz,
        )

    def _texts(self, frequency: float, limit: float, meters: int) -> Texts:
        off = frequency - self._settings.nominal_hz
        missing = "too little" if off < 0 else "too much"
        return Texts(
            title=f"{self.subject.asset}: frequency {frequency:.3f} Hz, {abs(off) * 1000:.0f} mHz "
            f"{'low' if off < 0 else 'high'}",
            cause=f"{missing.capitalize()} is generated in {self.subject.asset} for what is consumed: a "
            "plant, a link or a large load was lost, or reserve does not follow.",
            consequence="Plants and loads disconnect by themselves when the frequency goes on; exchanges are "
            "off their schedules because every governor acts.",
            response="1. See which area is off its net position and which plant or link changed. "
            f"2. {'Activate' if off < 0 else 'Reduce'} reserve as agreed. "
            "3. Call the coordinating control centre; do not change exchanges before it is understood.",
            evidence={
                "Median frequency [Hz]": round(frequency, 3),
                "Deviation [mHz]": round(off * 1000),
                "Limit [mHz]": round(limit * 1000),
                "Meters used": meters,
            },
        )
