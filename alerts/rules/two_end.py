"""R6: what leaves one end of a line and does not arrive at the other, beyond the losses of the line.

The expected loss comes from the exact two-port of the line with the voltage and power measured at one end
(:mod:`alerts.two_port`, :mod:`alerts.rules.line_state`); a loss of the form r P^2 would be wrong by up to
4.5 MW on the corridor's lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alerts.alignment import Snapshot, worst_quality
from alerts.config import TwoEndSettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing, level_of
from alerts.rules.line_state import LineWatch
from telemetry.grid import Line

_WEATHER_SIGMAS = 4.0
"""Beyond so many times its own uncertainty the corona loss no longer explains a residual."""


class TwoEndRule:
    """R6 on one line."""

    def __init__(self, watch: LineWatch, area: str, settings: TwoEndSettings) -> None:
        self.subject = Subject("R6", 1, watch.line.id, area)
        self.inputs: Sequence[int] = (*watch.inputs, *watch.ends.checks.values())
        self.timing = Timing(
            tuple(Grade(limit.priority, limit.on_s) for limit in settings.limits), settings.off_s
        )
        self._watch = watch
        self._settings = settings

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the residual of the two ends at the instant."""
        line, state = self._watch.line, self._watch.state(snapshot)
        if state.fault:
            return self.subject.unknown(snapshot.instant, state.fault)
        p_from, p_to = state.legs[0].value, state.legs[-1].value
        p_mw = max(abs(p_from), abs(p_to))
        grades = self._settings.limits
        limits = [max(grade.sigmas * state.sigma, grade.pct_p / 100 * p_mw) for grade in grades]
        level, held = level_of(abs(state.residual), limits, self._settings.deadband_pct / 100)
        limit = limits[max(level, 1) - 1]
        figures = _Figures(
            line,
            state.circuits,
            state.residual,
            state.expected,
            state.sigma,
            limit,
            p_from,
            p_to,
            self._watch.corona_sigma_mw,
        )
        return Finding(
            self.subject,
            snapshot.instant,
            level,
            held,
            abs(state.residual),
            limit,
            "MW",
            worst_quality(state.legs),
            snapshot.instant,
            max(leg.t_received for leg in state.legs),
            texts=figures.texts(tuple(self._watch.ends.checks), self._checks(snapshot)) if held else None,
        )

    def _checks(self, snapshot: Snapshot) -> dict[str, float]:
        """What the check meters read by node [MW], those left out that cannot be used."""
        legs = {node: snapshot.leg(point) for node, point in self._watch.ends.checks.items()}
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
