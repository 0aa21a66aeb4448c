"""R10: the frequency of a synchronous area is off its nominal value; R23: it changes fast, or one of its
control areas has separated from the rest.

Every meter of an area measures the same frequency, so that their median is what is judged: a meter that lies,
or a busbar that is cut off, does not move it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from alerts.alignment import Leg, Snapshot, first_fault
from alerts.operation_config import DynamicsSettings, FrequencySettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing, graded
from alerts.rules.window import Window

_Meters = Sequence[tuple[str, int]]

_DARK_HZ = 10.0
"""Frequency below which a meter measures none: its busbar is dark [Hz]."""


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


class RateOfChangeRule:
    """R23 on one synchronous area: |df/dt| of the median."""

    def __init__(self, area: str, meters: _Meters, settings: DynamicsSettings) -> None:
        """Takes the meters of the area by name with their frequency points."""
        self.subject = Subject("R23", 1, area, "")
        self.inputs: Sequence[int] = tuple(point for _, point in meters)
        self.timing = Timing(
            (
                Grade(settings.rate_priority, settings.rate_on_s),
                Grade(settings.fast_priority, settings.rate_on_s),
            ),
            settings.off_s,
        )
        self._meters = meters
        self._settings = settings
        self._window = Window(settings.rate_s, longest_gap_s=settings.rate_s)

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the slope of the median over the window that ends at the instant."""
        settings, at = self._settings, snapshot.instant
        usable = _energised(snapshot, self._meters)
        if not usable:
            return self.subject.unknown(at, _no_frequency(snapshot, self._meters))
        frequency = median(leg.value for leg in usable)
        self._window.add(at, frequency)
        if not self._window.full:
            return self.subject.early(at, "its window is not filled yet")
        rate = self._window.slope()
        return graded(
            self.subject,
            at,
            abs(rate),
            [settings.rate_hz_per_s, settings.fast_hz_per_s],
            unit="Hz/s",
            legs=usable,
            texts=lambda limit: self._texts(frequency, rate, limit),
            deadband=settings.deadband_pct / 100,
        )

    def _texts(self, frequency: float, rate: float, limit: float) -> Texts:
        area, falls = self.subject.asset, rate < 0
        return Texts(
            title=f"{area}: frequency {'falls' if falls else 'rises'} by {abs(rate):.2f} Hz/s",
            cause=f"A large {'plant or import' if falls else 'load or export'} of {area} was lost at once, "
            "or a part of the grid has separated and is short of inertia.",
            consequence="Protection against the loss of mains disconnects plants at such rates, which makes "
            "it worse; load is shed by frequency within seconds.",
            response="1. See which plant, link or line has tripped. 2. "
            f"{'Activate' if falls else 'Reduce'} reserve; see whether the HVDC links help. "
            "3. See whether the areas still have one frequency.",
            evidence={
                "Rate of change [Hz/s]": round(rate, 3),
                "Limit [Hz/s]": limit,
                "Window [s]": self._settings.rate_s,
                "Median frequency [Hz]": round(frequency, 3),
            },
        )


class SeparationRule:
    """R23 on one control area: its frequency against that of the bulk of its synchronous area.

    The bulk is the largest group of areas that share a frequency; of groups of one size, the one with more
    meters.
    """

    def __init__(self, area: str, meters: Mapping[str, _Meters], settings: DynamicsSettings) -> None:
        """Takes the meters of every control area of the synchronous area, by name with their points."""
        self.subject = Subject("R23", 1, area, area)
        self.inputs: Sequence[int] = tuple(point for each in meters.values() for _, point in each)
        self.timing = Timing((Grade(settings.apart_priority, settings.apart_on_s),), settings.off_s)
        self._meters = meters
        self._settings = settings

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the difference of the medians at the instant."""
        at, area, apart = snapshot.instant, self.subject.asset, self._settings.apart_hz
        legs = {name: _energised(snapshot, meters) for name, meters in self._meters.items()}
        found = {name: median(leg.value for leg in each) for name, each in legs.items() if each}
        if area not in found:
            return self.subject.unknown(at, _no_frequency(snapshot, self._meters[area]))
        if len(found) < 2:
            return self.subject.unknown(at, f"no area but {area} has a frequency")

        near = apart * (1 - self._settings.deadband_pct / 100)

        def size(name: str) -> tuple[int, int]:
            alike = [other for other in found if abs(found[other] - found[name]) <= near]
            return len(alike), sum(len(self._meters[other]) for other in alike)

        bulk = found[max(found, key=size)]
        return graded(
            self.subject,
            at,
            abs(found[area] - bulk),
            [apart],
            unit="Hz",
            legs=[leg for each in legs.values() for leg in each],
            texts=lambda limit: self._texts(found[area], bulk, limit),
            deadband=self._settings.deadband_pct / 100,
        )

    def _texts(self, here: float, there: float, limit: float) -> Texts:
        area, off = self.subject.asset, here - there
        return Texts(
            title=f"{area}: runs at {here:.3f} Hz, {abs(off) * 1000:.0f} mHz "
            f"{'below' if off < 0 else 'above'} the rest: it has separated",
            cause=f"{area} and the rest of its synchronous area do not have one frequency any more: "
            "every alternating-current line between them is open.",
            consequence="The smaller part has little inertia and reserve, and may collapse; lines must not "
            "be closed again without synchronising.",
            response=f"1. See which lines of {area} are open. 2. Balance {area} on its own: "
            f"{'raise generation or HVDC import, or shed load' if off < 0 else 'lower generation'}. "
            "3. Close lines only with synchro-check, in agreement with the neighbour.",
            evidence={
                f"Frequency of {area} [Hz]": round(here, 3),
                "Frequency of the rest [Hz]": round(there, 3),
                "Difference [mHz]": round(off * 1000),
                "Limit [mHz]": round(limit * 1000),
            },
        )


def _energised(snapshot: Snapshot, meters: _Meters) -> list[Leg]:
    """Inputs of the meters whose busbar has a frequency."""
    legs = [snapshot.leg(point) for _, point in meters]
    return [leg for leg in legs if leg.usable and leg.value > _DARK_HZ]


def _no_frequency(snapshot: Snapshot, meters: _Meters) -> str:
    """Why no meter gives a frequency."""
    fault = first_fault((name, snapshot.leg(point)) for name, point in meters)
    return fault or f"no meter has a frequency: the busbar of {meters[0][0]} is dark"
