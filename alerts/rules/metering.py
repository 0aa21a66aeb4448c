"""R14, R15 and R16: meters that stand still, that differ from their neighbour, or from their own counters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alerts.alignment import Leg, Snapshot, first_fault
from alerts.rule_config import CheckMeterSettings, CounterSettings, FlatlineSettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing, graded
from alerts.rules.window import RangeWindow, Window
from telemetry.profiles import RegisterType
from telemetry.site import SitePoint

HOUR_S = 3600.0
_ENOUGH = 0.5
"""Part of an hour after which main and check meter are compared."""


def quantum_of(point: SitePoint, value: float) -> float:
    """Smallest step that a register can show at a value [unit of the point].

    A float32 energy counter steps by 8 kWh at 100 GWh (IEEE 754: 24 bits of significand).
    """
    if point.spec.resolution:
        return point.spec.resolution
    modbus = point.profile.modbus
    register = modbus.registers.get(point.key.name) if modbus is not None else None
    if register is None:
        return 0.0
    scale = abs(register.scale) or 1.0
    if register.type is RegisterType.FLOAT32:
        return float(np.spacing(np.float32(abs(value) / scale))) * scale
    return scale


class FlatlineRule:
    """R14 on one meter: its power stands still while a neighbour's moves."""

    def __init__(
        self,
        subject: Subject,
        power: int,
        neighbour: tuple[str, int],
        lsb_mw: float,
        settings: FlatlineSettings,
    ) -> None:
        """Takes the neighbour (check meter or other end) by name and power point, and the step [MW]."""
        self.subject = subject
        self.inputs: Sequence[int] = (power, neighbour[1])
        self.timing = Timing((Grade(settings.priority, settings.on_s),), settings.off_s)
        self._neighbour = neighbour[0]
        self._lsb = lsb_mw
        self._settings = settings
        self._own, self._other = RangeWindow(settings.range_s), RangeWindow(settings.range_s)

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the ranges of both over the window that ends at the instant."""
        at, device = snapshot.instant, self.subject.asset
        own, other = (snapshot.leg(point) for point in self.inputs)
        if fault := first_fault([(device, own), (self._neighbour, other)]):
            return self.subject.unknown(at, fault)
        self._own.add(at, own.value)
        self._other.add(at, other.value)
        if not self._own.full:
            span = self._settings.range_s
            return self.subject.early(at, f"the range of {span:.0f} s has too few data yet")
        flat = self._own.range < self._lsb
        return graded(
            self.subject,
            at,
            self._other.range if flat else 0.0,
            [self._settings.moved_lsb * self._lsb],
            unit="MW",
            legs=(own, other),
            texts=lambda limit: self._texts(own.value, limit),
            deadband=self._settings.deadband_pct / 100,
        )

    def _texts(self, value: float, limit: float) -> Texts:
        device, minutes = self.subject.asset, self._settings.range_s / 60
        return Texts(
            f"{device}: stands at {value:.1f} MW while {self._neighbour} moves",
            f"For {minutes:.0f} min {device} has moved by {self._own.range:.2f} MW, {self._neighbour} by "
            f"{self._other.range:.1f} MW: a stuck measurement, or a gateway that repeats its last value.",
            "What is computed from it is wrong as soon as the flow changes, and nobody sees that.",
            f"1. Use {self._neighbour} meanwhile. 2. Restart the gateway of {device}. 3. Have its current "
            "transformers and the meter checked on the spot.",
            {
                "Range here [MW]": round(self._own.range, 2),
                f"Range of {self._neighbour} [MW]": round(self._other.range, 1),
                "Limit [MW]": round(limit, 1),
            },
        )


@dataclass(frozen=True, slots=True)
class MeterPair:
    """Main and check meter of one end."""

    node: str
    main: int
    check: int
    """Power points."""
    quantum_mwh: float = 0.0
    """Step of the coarser of their counters."""


class CheckMeterRule:
    """R15 on one tie: energy by main and by check meter over an hour, at the end where they differ most."""

    def __init__(
        self, subject: Subject, pairs: Sequence[MeterPair], rated_mw: float, settings: CheckMeterSettings
    ) -> None:
        self.subject = subject
        self.inputs: Sequence[int] = tuple(point for pair in pairs for point in (pair.main, pair.check))
        self.timing = Timing(
            tuple(Grade(limit.priority, limit.on_s) for limit in settings.limits), settings.off_s
        )
        self._pairs = pairs
        self._least_mw = settings.load_pct / 100 * rated_mw
        self._settings = settings
        self._windows = [(Window(HOUR_S), Window(HOUR_S)) for _ in pairs]

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the hour that ends at the instant, from half an hour on."""
        at, tie = snapshot.instant, self.subject.asset
        worst, chosen = -1.0, 0
        legs: list[Leg] = []
        fault = ""
        for i, (pair, (main, check)) in enumerate(zip(self._pairs, self._windows, strict=True)):
            a, b = snapshot.leg(pair.main), snapshot.leg(pair.check)
            found = first_fault([(f"{tie} at {pair.node}", a), (f"check meter of {tie} at {pair.node}", b)])
            if found:
                fault = fault or found
                continue
            main.add(at, a.value)
            check.add(at, b.value)
            legs += [a, b]
            if main.covered_s >= _ENOUGH * HOUR_S and abs(main.mean) > self._least_mw:
                energy = abs(main.mean) * main.covered_s / HOUR_S
                quanta = 2 * pair.quantum_mwh / energy
                pct = max(100 * (abs(main.mean - check.mean) / abs(main.mean) - quanta), 0.0)
                if pct > worst:
                    worst, chosen = pct, i
        if worst < 0:
            if fault:
                return self.subject.unknown(at, fault)
            return self.subject.early(at, "less than half an hour of data, or too little load")
        return graded(
            self.subject,
            at,
            worst,
            [limit.above for limit in self._settings.limits],
            unit="%",
            legs=legs,
            texts=lambda limit: self._texts(chosen, worst, limit),
            deadband=self._settings.deadband_pct / 100,
        )

    def _texts(self, chosen: int, pct: float, limit: float) -> Texts:
        tie, pair = self.subject.asset, self._pairs[chosen]
        main, check = self._windows[chosen]
        return Texts(
            f"{tie} at {pair.node}: main and check meter differ by {pct:.2f} %",
            f"Over the last {main.covered_s / 60:.0f} min the main meter of {tie} at {pair.node} averaged "
            f"{main.mean:.2f} MW and its check meter {check.mean:.2f} MW: one of them is outside its class.",
            "What is billed is wrong by as much.",
            f"1. Settle {tie} from the meter that agrees with the other end and its counters. 2. Have both "
            "meters tested, and exchange the one that fails.",
            {
                "Main, mean [MW]": round(main.mean, 2),
                "Check, mean [MW]": round(check.mean, 2),
                "Difference [%]": round(pct, 2),
                "Limit [%]": round(limit, 2),
            },
        )


class CounterRule:
    """R16 on one meter: its energy counters against the integral of its power; a counter that went back."""

    def __init__(
        self, subject: Subject, power: int, export: SitePoint, imported: SitePoint, settings: CounterSettings
    ) -> None:
        self.subject = subject
        self.inputs: Sequence[int] = (power, export.index, imported.index)
        self.timing = Timing((Grade(settings.priority, settings.on_s),), settings.off_s)
        self._counters = (export, imported)
        self._period_s = export.profile.period_s
        self._settings = settings
        self._power = RangeWindow(settings.span_s)
        self._gross, self._net = Window(settings.span_s), Window(settings.span_s)
        self._last: tuple[float, float] | None = None
        self._set_back_at = 0

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the window that ends at the instant."""
        at, device = snapshot.instant, self.subject.asset
        power, export, imported = (snapshot.leg(point) for point in self.inputs)
        legs = (power, export, imported)
        if fault := first_fault([(device, leg) for leg in legs]):
            return self.subject.unknown(at, fault)
        now = (export.value, imported.value)
        last, self._last = self._last, now
        settings = self._settings
        quanta = [quantum_of(point, value) for point, value in zip(self._counters, now, strict=True)]
        if last is not None and any(b < a - 2 * q for a, b, q in zip(last, now, quanta, strict=True)):
            self._set_back_at = at
            self._power.clear()
            self._gross.clear()
            self._net.clear()
        self._power.add(at, power.value)
        self._gross.add(at, abs(power.value))
        self._net.add(at, export.value - imported.value)
        if self._set_back_at and at - self._set_back_at < settings.span_s * 1e9:
            return graded(
                self.subject,
                at,
                1.0,
                [0.0],
                unit="1",
                legs=legs,
                texts=lambda _: self._set_back(now),
            )
        if not self._power.full:
            return self.subject.early(at, f"the sum over {settings.span_s / 60:.0f} min has too few data yet")
        energy = self._power.integral / HOUR_S
        share = settings.pct / 100 * self._gross.integral / HOUR_S
        # between two readings power may have taken any way from the one to the other
        steps = self._period_s * self._power.range / HOUR_S
        limit = max(share, settings.least_mwh) + steps + 2 * sum(quanta)
        return graded(
            self.subject,
            at,
            abs(self._net.change - energy),
            [limit],
            unit="MWh",
            legs=legs,
            texts=lambda _: self._differs(energy, limit),
            deadband=settings.deadband_pct / 100,
        )

    def _differs(self, energy: float, limit: float) -> Texts:
        device, counted = self.subject.asset, self._net.change
        minutes = self._settings.span_s / 60
        return Texts(
            f"{device}: counters say {counted:.2f} MWh, power says {energy:.2f} MWh",
            f"Over {minutes:.0f} min the counters of {device} moved by {counted:.2f} MWh, its power adds up "
            f"to {energy:.2f} MWh: a drifting gain, a wrong ratio, or gaps in what was read.",
            "What is billed (counters) and what is operated on (power) are not the same.",
            f"1. Compare both with the check meter or the other end. 2. Check ratio and scale of {device}. "
            "3. Have the meter tested.",
            {
                "By counters [MWh]": round(counted, 3),
                "By power [MWh]": round(energy, 3),
                "Limit [MWh]": round(limit, 3),
            },
        )

    def _set_back(self, now: tuple[float, float]) -> Texts:
        device = self.subject.asset
        return Texts(
            f"{device}: an energy counter went back",
            f"A counter of {device} is lower than it was: it was reset, has rolled over, or the meter was "
            "exchanged.",
            "Energy of the interval cannot be taken from the difference of two readings.",
            f"1. Ask whether {device} was reset or exchanged, and for its last reading. 2. Settle the "
            "interval from the check meter.",
            {"Export counter [MWh]": round(now[0], 3), "Import counter [MWh]": round(now[1], 3)},
        )
