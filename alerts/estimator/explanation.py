"""A diagnosis in words, as evidence for an alarm about a branch, a node or an area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

from alerts.estimator.diagnosis import Diagnosis, Hypothesis, Kind
from alerts.estimator.measurements import Meter
from alerts.estimator.trend import Trend
from telemetry.grid import Grid, Hvdc, Line

HOARFROST_KW_PER_KM = 79.0
"""Corona loss of a 500 kV circuit in hoarfrost, the most that weather takes [kW/km]; illustrative."""
_NOTABLE_T = 9.0
"""Test value from which a hypothesis is worth a word."""

EXPLANATION, ESTIMATE, HOUR = "Explanation", "State estimate", "Over the last hour"
"""Names of the evidence."""


class Explainer:
    """Puts diagnoses of a site into words.

    Parameters
    ----------
    grid
        The network.
    meters
        Of the estimator.

    """

    def __init__(self, grid: Grid, meters: Sequence[Meter]) -> None:
        self._lines = {line.id: line for line in grid.line}
        self._fair = {line.id: grid.parameters_of(line).corona_kw_per_km for line in grid.line}
        self._meters = {meter.id: meter for meter in meters}
        self._about: dict[str, frozenset[str]] = {}
        """Branches and nodes that belong to an asset: itself, or all of an area."""
        for node in grid.node:
            self._about[node.id] = frozenset({node.id})
        branches: list[Line | Hvdc] = [*grid.line, *grid.hvdc]
        for branch in branches:
            self._about[branch.id] = frozenset({branch.id})
        for area in grid.area:
            nodes = {node.id for node in grid.node if node.area == area.id}
            touching = {branch.id for branch in branches if {branch.from_node, branch.to_node} & nodes}
            self._about[area.id] = frozenset(nodes | touching)

    def evidence(
        self, diagnosis: Diagnosis, trends: Mapping[str, Trend]
    ) -> dict[str, dict[str, float | str]]:
        """What a diagnosis says about each asset.

        Parameters
        ----------
        diagnosis
            The newest one.
        trends
            Of the meters in doubt.

        """
        told = {}
        for asset in self._about:
            evidence: dict[str, float | str] = {
                EXPLANATION: self.sentence(diagnosis, asset),
                ESTIMATE: self._verdict(diagnosis),
            }
            hours = [
                f"{meter}: {_moved(found)}"
                for meter, found in trends.items()
                if self._concerns(Hypothesis(Kind.METER, meter, 0, 0, 0), asset)
            ]
            if hours:
                evidence[HOUR] = "; ".join(hours)
            blind = [name for name in diagnosis.critical if self._is_at(self._meters[name], asset)]
            if blind:
                evidence["Errors of these meters cannot be detected"] = ", ".join(blind)
            told[asset] = evidence
        return told

    def sentence(self, diagnosis: Diagnosis, asset: str) -> str:
        """The ranked explanation of what is seen at an asset, for example ``SHY-TAS: tap or extra loss on the
        line, 29.6 MW, T = 210; next: meter SHY-TAS_TAS_main reads 22.1 MW too much, T = 38``."""
        mine = [h for h in diagnosis.accepted if self._concerns(h, asset)]
        if mine:
            best = mine[0]
            told = f"{self._described(best)}, {_test(best)}"
            rest = [h for h in diagnosis.ranking if (h.kind, h.subject) != (best.kind, best.subject)]
            told += f"; next: {self._described(rest[0])}, {_test(rest[0])}" if rest else ""
            return told + self._circumstances(best, diagnosis)
        if any(self._concerns(h, asset) for h in diagnosis.ambiguous):
            told = " or ".join(f"{self._described(h)} ({_test(h)})" for h in diagnosis.ambiguous)
            lines = [h for h in diagnosis.ambiguous if h.kind is Kind.LINE]
            why = (
                "the measurements cannot tell them apart"
                if diagnosis.inseparable
                else "none stands out enough"
            )
            return f"ambiguous: {told}; {why}" + self._circumstances(lines[0] if lines else None, diagnosis)
        elsewhere = [*diagnosis.accepted, *diagnosis.ambiguous]
        if elsewhere:
            told = " or ".join(self._described(h) for h in elsewhere[:2])
            return f"the measurements of {asset} agree with each other; elsewhere: {told}"
        return self._undecided(diagnosis, asset)

    def _undecided(self, diagnosis: Diagnosis, asset: str) -> str:
        """The same without any error that stands out anywhere."""
        likely = [h for h in diagnosis.ranking if h.t > _NOTABLE_T and self._concerns(h, asset)]
        if likely:
            return (
                f"most likely {self._described(likely[0])}, {_test(likely[0])}; too small to be told "
                "for sure from one scan"
            )
        if diagnosis.unexplained:
            return "the measurements contradict each other, and no single error explains it"
        if diagnosis.freedom <= 0:
            return "nothing can be said: no measurement is redundant now"
        return f"the measurements of {asset} agree with each other and with the network: what they show is so"

    def _described(self, hypothesis: Hypothesis) -> str:
        size, subject = hypothesis.size_mw, hypothesis.subject
        amount = f"{abs(size):.1f} MW"
        match hypothesis.kind:
            case Kind.LINE:
                what = (
                    "tap or extra loss on the line" if size > 0 else "infeed on the line or wrong line data"
                )
                return f"{subject}: {what}, {amount}"
            case Kind.LINK:
                what = "extra loss of the link" if size > 0 else "less loss than the link can have"
                return f"{subject}: {what}, {amount}"
            case Kind.BUS:
                what = "take-off" if size > 0 else "infeed"
                return f"{subject}: injection meter wrong or unmetered {what} at the bus, {amount}"
            case Kind.METER:
                return f"meter {subject} reads {amount} too {'much' if size > 0 else 'little'}"

    def _circumstances(self, hypothesis: Hypothesis | None, diagnosis: Diagnosis) -> str:
        """What else speaks for or against an extra loss of a line: circuits, weather, neighbours."""
        if hypothesis is None or hypothesis.kind is not Kind.LINE or hypothesis.size_mw <= 0:
            return ""
        line = self._lines[hypothesis.subject]
        circuits = diagnosis.branches[line.id].circuits
        told = f"; {circuits} of {line.circuits} circuits in service" if line.circuits > 1 else ""
        most = HOARFROST_KW_PER_KM - self._fair[line.id]
        per_km = 1000 * hypothesis.size_mw / (line.km * max(circuits, 1))
        if per_km > most:
            told += f"; {per_km:.0f} kW/km is more than any weather takes"
        else:
            told += f"; {per_km:.0f} kW/km could be weather (hoarfrost takes {most:.0f})"
        affected = [
            name
            for name, extra in diagnosis.extra_loss.items()
            if name != line.id
            and name in self._lines
            and _adjacent(self._lines[name], line)
            and extra.t > _NOTABLE_T
            and extra.size_mw > 0
            and not self._shares(extra, hypothesis)
        ]
        return told + (f"; extra loss also on {', '.join(affected)}" if affected else "")

    def _shares(self, extra: Hypothesis, main: Hypothesis) -> bool:
        """A neighbour's extra loss is no finding of its own when it is the shadow of the main one."""
        return extra.t * 2 < main.t

    def _verdict(self, diagnosis: Diagnosis) -> str:
        if diagnosis.freedom <= 0:
            return "no redundancy"
        verb = "within" if diagnosis.j <= diagnosis.limit else "above"
        stands_out = (
            f", largest test T = {diagnosis.largest:.0f} above its limit of {diagnosis.largest_limit:.0f}"
            if diagnosis.largest > diagnosis.largest_limit
            else ""
        )
        left_out = f", {len(diagnosis.unusable)} meters left out" if diagnosis.unusable else ""
        return (
            f"J = {diagnosis.j:.0f}, {verb} its limit of {diagnosis.limit:.0f} at {diagnosis.freedom} "
            f"degrees of freedom{stands_out}{left_out}"
        )

    def _concerns(self, hypothesis: Hypothesis, asset: str) -> bool:
        if hypothesis.kind is Kind.METER:
            return self._is_at(self._meters[hypothesis.subject], asset)
        return hypothesis.subject in self._about[asset]

    def _is_at(self, meter: Meter, asset: str) -> bool:
        about = self._about[asset]
        return meter.branch in about or meter.node in about


def _test(hypothesis: Hypothesis) -> str:
    return f"T = {hypothesis.t:.0f}"


def _adjacent(one: Line, other: Line) -> bool:
    return bool({one.from_node, one.to_node} & {other.from_node, other.to_node})


def _moved(trend: Trend) -> str:
    parts = []
    if isnan(trend.gain_pct):
        parts.append(f"off by {trend.offset_mw:+.1f} MW; the flow moved too little to tell gain from offset")
    else:
        parts.append(f"gain {trend.gain_pct:+.2f} +-{trend.gain_sigma_pct:.2f} %")
        parts.append(f"offset {trend.offset_mw:+.1f} +-{trend.offset_sigma_mw:.1f} MW")
    if not isnan(trend.skew_s):
        parts.append(f"clock {trend.skew_s:+.1f} s")
    return ", ".join(parts)
