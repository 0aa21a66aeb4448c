"""R9: the area control error ACE = dP + K df: what an area has to correct by itself.

A control that works brings the error back through zero within minutes. One that stays on one side, or is
large, means that the control is faulty or that no reserve is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from alerts.alignment import Snapshot, first_fault
from alerts.rule_config import ControlErrorSettings
from alerts.rules.balance import Exchange, NetPosition, net_position
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing, graded

_NOMINAL_HZ = 50.0


class ControlErrorRule:
    """R9 on one area: |dP + K df|; a change of sign ends every delay that is running.

    Parameters
    ----------
    area
        Control area.
    exchanges
        Its ties.
    meters
        Meters in the area by name with their frequency points.
    bias_mw_per_hz
        K [MW/Hz]: what the area's own governors give for a deviation.
    settings
        Grades and delays.

    """

    def __init__(
        self,
        area: str,
        exchanges: Sequence[Exchange],
        meters: Sequence[tuple[str, int]],
        bias_mw_per_hz: float,
        settings: ControlErrorSettings,
    ) -> None:
        self.subject = Subject("R9", 1, area, area)
        self.inputs: Sequence[int] = (*(e.power for e in exchanges), *(point for _, point in meters))
        self.timing = Timing(
            tuple(Grade(limit.priority, limit.on_s) for limit in settings.limits), settings.off_s
        )
        self._exchanges = exchanges
        self._meters = meters
        self._bias = bias_mw_per_hz
        self._settings = settings
        self._limits = [limit.above for limit in settings.limits]
        self._error_mw = 0.0

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the error at the instant."""
        at, position = snapshot.instant, net_position(self._exchanges, snapshot)
        if position.fault:
            return self.subject.unknown(at, position.fault)
        legs = [(name, snapshot.leg(point)) for name, point in self._meters]
        usable = [leg for _, leg in legs if leg.usable]
        if not usable:
            return self.subject.unknown(at, first_fault(legs))
        frequency = median(leg.value for leg in usable)
        before = self._error_mw
        error = self._error_mw = position.delta_mw + self._bias * (frequency - _NOMINAL_HZ)
        return graded(
            self.subject,
            at,
            0.0 if error * before < 0 else abs(error),
            self._limits,
            unit="MW",
            legs=[*position.legs, *usable],
            texts=lambda limit: self._texts(position, frequency, error, limit),
            deadband=self._settings.deadband_pct / 100,
        )

    def _texts(self, position: NetPosition, frequency: float, error: float, limit: float) -> Texts:
        area, much = self.subject.asset, "much" if error > 0 else "little"
        off = position.delta_mw
        return Texts(
            title=f"{area}: control error {error:+.0f} MW, too {much} is generated",
            cause=f"{area} is {abs(off):.0f} MW {'above' if off > 0 else 'below'} its agreed net position at "
            f"{frequency:.3f} Hz, and its control does not bring the error back through zero: the control is "
            "faulty or switched off, or no reserve is left.",
            consequence="The neighbours and the frequency carry what is missing; it is settled afterwards, "
            "and reserves that are used for it are not there for the next outage.",
            response=f"1. See whether the automatic control of {area} is on and follows. "
            f"2. {'Reduce' if error > 0 else 'Activate'} reserve by hand. "
            "3. If none is left, agree another schedule with the neighbours.",
            evidence={
                "Control error [MW]": round(error, 1),
                "Off the net position [MW]": round(off, 1),
                "Frequency [Hz]": round(frequency, 3),
                "Frequency bias [MW/Hz]": round(self._bias),
                "Limit [MW]": round(limit, 1),
            },
        )
