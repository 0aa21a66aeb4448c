"""R6: what leaves one end of a line and does not arrive at the other, beyond the losses of the line.

The expected loss comes from the exact two-port of the line with the voltage and power measured at one end
(:mod:`alerts.two_port`); a loss of the form r P^2 would be wrong by up to 4.5 MW on the corridor's lines. How
many circuits are in service is read off the reactive power at the far end: each circuit's charging power is
tens to hundreds of Mvar, which neither a tap nor a meter within its class can imitate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot

from alerts.alignment import Leg, Snapshot, first_fault, worst_quality
from alerts.config import TwoEndSettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing, level_of
from alerts.two_port import LineModels
from telemetry.grid import Grid, Line
from telemetry.profiles import DeviceProfile

_DEAD_PU = 0.5
"""Voltage below which a line is not energised [pu]."""
_DEAD_MVA = 1.0
"""Power below which a line is switched off: an energised one draws its charging power [MVA]."""
_WEATHER_SIGMAS = 4.0
"""Beyond so many times its own uncertainty the corona loss no longer explains a residual."""


@dataclass(frozen=True, slots=True)
class MeterAccuracy:
    """Standard uncertainty of a meter's power reading."""

    pct: float
    """[% of reading]."""
    floor_mw: float
    """Part that does not depend on the reading [MW]."""

    @classmethod
    def of(cls, profile: DeviceProfile) -> MeterAccuracy:
        """Accuracy that a device profile states."""
        return cls(profile.accuracy_pct, profile.accuracy_floor_mw)

    def sigma_mw(self, leg: Leg, clock_sigma_s: float) -> float:
        """Uncertainty of a reading [MW]; grows with its age and its clock's while the power changes."""
        return hypot(
            self.pct / 100 * leg.value, self.floor_mw, leg.slope * clock_sigma_s, leg.slope * leg.age_s
        )


@dataclass(frozen=True, slots=True)
class LineEnds:
    """Points of the two main meters of a line."""

    p_from: int
    q_from: int
    v_from: int
    p_to: int
    q_to: int
    accuracy_from: MeterAccuracy
    accuracy_to: MeterAccuracy
    checks: Mapping[str, int] = field(default_factory=dict)
    """Power points of the check meters by node; shown as evidence when they can be used."""


class TwoEndRule:
    """R6 on one line."""

    def __init__(self, grid: Grid, line: Line, area: str, ends: LineEnds, settings: TwoEndSettings) -> None:
        self.subject = Subject("R6", 1, line.id, area)
        needed = (ends.p_from, ends.q_from, ends.v_from, ends.p_to, ends.q_to)
        self.inputs: Sequence[int] = (*needed, *ends.checks.values())
        self.timing = Timing(
            tuple(Grade(limit.priority, limit.on_s) for limit in settings.limits), settings.off_s
        )
        self._line = line
        self._ends = ends
        self._settings = settings
        self._models = LineModels(grid, line)
        self._dead_kv = _DEAD_PU * grid.u_rated_kv
        sigma_kw = grid.parameters_of(line).corona_sigma_kw_per_km * line.km * line.circuits
        self._corona_sigma_mw = sigma_kw / 1000

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the residual of the two ends at the instant."""
        line, ends = self._line, self._ends
        p_from, q_from = snapshot.leg(ends.p_from), snapshot.leg(ends.q_from)
        v_from, p_to, q_to = (snapshot.leg(point) for point in (ends.v_from, ends.p_to, ends.q_to))
        here, there = f"{line.id} at {line.from_node}", f"{line.id} at {line.to_node}"
        fault = first_fault([(here, p_from), (here, q_from), (here, v_from), (there, p_to)])
        if fault:
            return self.subject.unknown(snapshot.instant, fault)
        off = max(abs(p_from.value), abs(q_from.value), abs(p_to.value)) < _DEAD_MVA
        if not off and v_from.value < self._dead_kv:
            reason = f"the meter of {here} reads {v_from.value:.0f} kV while power flows"
            return self.subject.unknown(snapshot.instant, reason)
        circuits, expected = self._line.circuits, 0.0
        if not off:
            q_far = q_to.value if q_to.usable else None
            circuits, expected = self._models.explained(v_from.value, p_from.value, q_from.value, q_far)
        residual = p_from.value + p_to.value - expected
        clock_sigma_s = self._settings.clock_sigma_s
        sigma = hypot(
            ends.accuracy_from.sigma_mw(p_from, clock_sigma_s),
            ends.accuracy_to.sigma_mw(p_to, clock_sigma_s),
            0.0 if off else self._corona_sigma_mw,
        )
        p_mw = max(abs(p_from.value), abs(p_to.value))
        limits = [max(limit.sigmas * sigma, limit.pct_p / 100 * p_mw) for limit in self._settings.limits]
        level, held = level_of(abs(residual), limits, self._settings.deadband_pct / 100)
        limit = limits[max(level, 1) - 1]
        figures = _Figures(
            line, circuits, residual, expected, sigma, limit, p_from.value, p_to.value, self._corona_sigma_mw
        )
        legs = (p_from, q_from, v_from, p_to)
        return Finding(
            self.subject,
            snapshot.instant,
            level,
            held,
            abs(residual),
            limit,
            "MW",
            worst_quality(legs),
            snapshot.instant,
            max(leg.t_received for leg in legs),
            texts=figures.texts(tuple(ends.checks), self._checks(snapshot)) if held else None,
        )

    def _checks(self, snapshot: Snapshot) -> dict[str, float]:
        """What the check meters read by node [MW], those left out that cannot be used."""
        legs = {node: snapshot.leg(point) for node, point in self._ends.checks.items()}
        return {node: leg.value for node, leg in legs.items() if leg.usable}


@dataclass(frozen=True, slots=True)
class _Figures:
    """What a dispatcher needs to know, and how it is put [MW]."""

    line: Line
    circuits: int
    """In service, as the reactive power tells."""
    residual: float
    expected: float
    sigma: float
    limit: float
    p_from: float
    p_to: float
    corona_sigma: float

    def texts(self, checked: Sequence[str], checks: Mapping[str, float]) -> Texts:
        """The figures in words.

        Parameters
        ----------
        checked
            Nodes that have a check meter.
        checks
            What those read that can be used [MW].

        """
        return Texts(
            self._title, self._cause, self._consequence, self._response(checked), self._evidence(checks)
        )

    @property
    def _multiple(self) -> float:
        """Residual in units of its uncertainty; that of a meter without a stated one counts as 10 kW."""
        return abs(self.residual) / max(self.sigma, 0.01)

    @property
    def _same_sense(self) -> str:
        """What both ends report if they contradict each other: ``sending`` or ``receiving``, or nothing."""
        if self.p_from * self.p_to <= 0 or min(abs(self.p_from), abs(self.p_to)) <= self.limit:
            return ""
        return "sending" if self.p_from > 0 else "receiving"

    @property
    def _title(self) -> str:
        line = self.line.id
        if self._same_sense:
            return f"{line}: both ends report {self._same_sense}, {_mw(self.p_from + self.p_to)} in all"
        if self.residual > 0:
            return f"{line}: {_mw(self.residual)} missing between the two ends"
        possible = "is sent" if self.p_from + self.p_to < 0 else "can"
        return f"{line}: {_mw(self.residual)} more arrives than {possible}"

    @property
    def _cause(self) -> str:
        flows = sorted(
            [(self.p_from, self.line.from_node), (self.p_to, self.line.to_node)], key=lambda flow: -flow[0]
        )
        ends = ", ".join(f"{node} {'sends' if p >= 0 else 'receives'} {abs(p):.1f} MW" for p, node in flows)
        if self._same_sense:
            between = "taken" if self._same_sense == "sending" else "fed in"
            return (
                f"{ends}: both ends report {self._same_sense}. One meter's polarity is reversed, or power is "
                f"{between} between them."
            )
        facts = (
            f"{ends}; the line itself should take {self.expected:.1f} MW, so that {abs(self.residual):.1f} MW"
        )
        if self.residual < 0:
            return (
                f"{facts} more arrive than can, {self._multiple:.0f} times the uncertainty. "
                "A meter is wrong, or something feeds into the line between the meters."
            )
        causes = ["power leaves the line between the meters", "a meter is wrong"]
        if self._weather_possible:
            causes.append("the weather raises the corona loss")
        return (
            f"{facts} are unaccounted for, {self._multiple:.0f} times the uncertainty. "
            f"Either {', '.join(causes)}, or the line's data are wrong."
        )

    @property
    def _weather_possible(self) -> bool:
        return 0 < self.residual <= _WEATHER_SIGMAS * self.corona_sigma

    @property
    def _consequence(self) -> str:
        return (
            "Energy is taken unmetered or billed wrongly; if it is a fault on the line, it may trip. "
            f"Balances that use the meters of {self.line.id} are off by the same amount."
        )

    def _response(self, checked: Sequence[str]) -> str:
        line, at = self.line, " and ".join(checked)
        steps = []
        if self._same_sense:
            steps.append(
                f"Check the polarity of the meters at {line.from_node} and {line.to_node}: wiring of the "
                "current transformers, sign in the meter"
            )
        if checked:
            steps.append(
                f"Compare main and check meter at {at}: one that disagrees with its neighbour is the cause"
            )
        else:
            steps.append(f"Ask {line.from_node} and {line.to_node} what their meters show on the spot")
        if line.circuits > 1:
            all_off = "all off means weather, one off" if self._weather_possible else "a single one off means"
            steps.append(f"Compare the parallel circuits: {all_off} a tap or a meter")
        patrol = "If the meters agree, ask the line's owner to patrol it"
        steps.append(f"{patrol}; settle from the check meter at {at}" if checked else patrol)
        return " ".join(f"{number}. {step}." for number, step in enumerate(steps, start=1))

    def _evidence(self, checks: Mapping[str, float]) -> dict[str, float | str]:
        line = self.line
        evidence: dict[str, float | str] = {
            f"P at {line.from_node} [MW]": round(self.p_from, 1),
            f"P at {line.to_node} [MW]": round(self.p_to, 1),
        }
        for node, p_check in checks.items():
            p_main = self.p_from if node == line.from_node else self.p_to
            evidence[f"Check P at {node} [MW]"] = round(p_check, 1)
            evidence[f"Check less main at {node} [MW]"] = round(p_check - p_main, 1)
        if line.circuits > 1:
            evidence["Circuits in service"] = f"{self.circuits} of {line.circuits}"
        return evidence | {
            "Expected loss [MW]": round(self.expected, 1),
            "Residual [MW]": round(self.residual, 1),
            "Uncertainty, one sigma [MW]": round(self.sigma, 2),
            "Limit [MW]": round(self.limit, 1),
        }


def _mw(power: float) -> str:
    """A magnitude for a title; tenths only where they can matter."""
    return f"{abs(power):.{0 if abs(power) >= 99.95 else 1}f} MW"
