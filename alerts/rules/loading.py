"""R12: a line or HVDC link carries more than it should.

Limits hold for the circuits in service. How many these are is read off the reactive power at the far end, as
the two-end rule does (:mod:`alerts.rules.line_state`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alerts.alignment import Leg, Snapshot, first_fault, worst_quality
from alerts.operation_config import LoadingSettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing

CircuitCount = Callable[[Snapshot], int]
"""Circuits in service at an instant."""


@dataclass(frozen=True, slots=True)
class LoadedBranch:
    """What is measured of a branch, and what it may carry."""

    id: str
    circuits: int
    limits_mw: Sequence[float]
    """Transfer limit with one circuit in service, with two, ... [MW]."""
    thermal_a: float | None
    """Thermal current of one circuit [A]; None when it is not given."""
    ends: Sequence[tuple[str, int, int | None]]
    """Node, power point and current point of each metered end."""


class LoadingRule:
    """R12 on one branch: |P| against the transfer limit, I against the thermal current."""

    def __init__(
        self,
        branch: LoadedBranch,
        area: str,
        settings: LoadingSettings,
        counted_from: Sequence[int],
        in_service: CircuitCount,
    ) -> None:
        """Takes the points that ``in_service`` reads as ``counted_from``."""
        self.subject = Subject("R12", 1, branch.id, area)
        currents = [c for _, _, c in branch.ends if c is not None and branch.thermal_a is not None]
        powers = [power for _, power, _ in branch.ends]
        self.inputs: Sequence[int] = tuple(dict.fromkeys([*powers, *currents, *counted_from]))
        self.timing = Timing(
            tuple(Grade(limit.priority, limit.on_s) for limit in settings.limits), settings.off_s
        )
        self._branch = branch
        self._in_service = in_service
        self._settings = settings

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the end that carries most at the instant.

        Ends that contradict each other by more than a grade say nothing.
        """
        branch, at = self._branch, snapshot.instant
        legs = [(f"{branch.id} at {node}", snapshot.leg(power)) for node, power, _ in branch.ends]
        usable = [leg for _, leg in legs if leg.usable]
        if not usable:
            return self.subject.unknown(at, first_fault(legs))
        circuits = self._in_service(snapshot)
        limit_mw = branch.limits_mw[circuits - 1]
        powers = [100 * abs(leg.value) / limit_mw for leg in usable]
        by_p = [limit.pct_p for limit in self._settings.limits]
        by_i = [limit.pct_i for limit in self._settings.limits]
        if abs(_passed(max(powers), by_p) - _passed(min(powers), by_p)) > 1:
            return self.subject.unknown(at, f"the two ends of {branch.id} contradict each other")
        currents = self._currents(snapshot)
        amperes = max((leg.value for leg in currents), default=0.0)
        pct_i = 100 * amperes / (circuits * branch.thermal_a) if branch.thermal_a is not None else 0.0
        thermal = _passed(pct_i, by_i) > _passed(max(powers), by_p)
        pct, steps = (pct_i, by_i) if thermal else (max(powers), by_p)
        level, less = _passed(pct, steps), self._settings.deadband_pct
        held = max(_passed(max(powers) + less, by_p), _passed(pct_i + less, by_i))
        limit = steps[max(level, 1) - 1]
        used = [*usable, *currents]
        load = _Load(circuits, max(abs(leg.value) for leg in usable), limit_mw, pct, limit, thermal)
        return Finding(
            self.subject,
            at,
            level,
            held,
            pct,
            limit,
            "%",
            worst_quality(used),
            at,
            max(leg.t_received for leg in used),
            texts=self._texts(load) if held else None,
        )

    def _currents(self, snapshot: Snapshot) -> list[Leg]:
        if self._branch.thermal_a is None:
            return []
        legs = [snapshot.leg(point) for _, _, point in self._branch.ends if point is not None]
        return [leg for leg in legs if leg.usable]

    def _texts(self, load: _Load) -> Texts:
        branch = self._branch
        of = "thermal current" if load.thermal else f"{load.limit_mw:.0f} MW transfer limit"
        some = f", {load.circuits} of {branch.circuits} circuits in service" if branch.circuits > 1 else ""
        return Texts(
            title=f"{branch.id}: {load.p_mw:.0f} MW, {load.pct:.0f} % of its {of}{some}",
            cause=f"{branch.id} carries {load.pct:.0f} % of its {of}{some}: a parallel path was lost, a "
            "plant or link changed, or consumption beyond it rose.",
            consequence="Its protection trips it, or stability is lost, when the flow goes on; what it "
            "carries would then seek other lines.",
            response=f"1. Redispatch generation on both sides of {branch.id}, or run the HVDC link back. "
            "2. Ask for parallel circuits to be put back in service. 3. Above the limit, prepare to shed "
            "what the operating instruction names.",
            evidence={
                "Power [MW]": round(load.p_mw, 1),
                "Transfer limit [MW]": round(load.limit_mw),
                "Loading [%]": round(load.pct, 1),
                "Limit [%]": round(load.limit, 1),
                "Circuits in service": f"{load.circuits} of {branch.circuits}",
            },
        )


@dataclass(frozen=True, slots=True)
class _Load:
    circuits: int
    p_mw: float
    limit_mw: float
    pct: float
    limit: float
    """[%]."""
    thermal: bool
    """The current counts, not the power."""


def _passed(pct: float, limits: Sequence[float]) -> int:
    return sum(pct > limit for limit in limits)
