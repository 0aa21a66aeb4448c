"""R21: what the loss of one more circuit or pole would do, solved from what is measured now.

Each outage is solved with the operators' model (:mod:`alerts.power_flow`) in its turn, at most one of them in
a second, so that the cost of a second is bounded whatever the number of outages. What a line would carry is
what is measured on it and what the outage adds in the model. An HVDC run-back that is armed acts first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from alerts.alignment import SECOND, Snapshot, worst_quality
from alerts.operation_config import ContingencySettings
from alerts.power_flow import Flow, NoSolutionError
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing
from alerts.rules.grid_view import GridState, GridView
from alerts.two_port import hvdc_loss_mw
from telemetry.grid import Grid, Hvdc

_WORSE_PCT = 2.0
"""A line that is over its limit already counts if the outage adds so many percentage points."""


@dataclass(frozen=True, slots=True)
class Arming:
    """A run-back that the loss of a branch starts."""

    link: Hvdc
    to_mw: float
    point: int | None
    """Not 0 while it is armed; None for one that always is."""


@dataclass(frozen=True, slots=True)
class _Violation:
    pct: float
    """[% of its limit]."""
    text: str


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What would follow."""

    lost: str
    """For people: ``one circuit of SHY-TAS``."""
    violations: Sequence[_Violation]
    """Worst first."""
    collapse: str
    """Why the grid would not hold; empty when it would."""
    note: str
    """What the run-back does to it."""
    lowest_pu: float

    @property
    def pct(self) -> float:
        return max((v.pct for v in self.violations), default=0.0)


class ContingencyRule:
    """R21 on the loss of one branch.

    Parameters
    ----------
    subject
        Rule and branch.
    grid
        The model.
    view
        What is measured, shared by all outages.
    run_backs
        Those that this loss starts.
    turn
        Which outage it is, and of how many: (0, 18) is the first of 18.
    settings
        Limits and delays.

    """

    def __init__(
        self,
        subject: Subject,
        grid: Grid,
        view: GridView,
        run_backs: Sequence[Arming],
        *,
        turn: tuple[int, int],
        settings: ContingencySettings,
    ) -> None:
        self.subject = subject
        armed = [arming.point for arming in run_backs if arming.point is not None]
        self.inputs: Sequence[int] = tuple(dict.fromkeys([*view.inputs, *armed]))
        self.timing = Timing(
            (Grade(settings.priority, settings.on_s), Grade(settings.collapse_priority, settings.on_s)),
            settings.off_s,
        )
        self._lines = {line.id: line for line in grid.line}
        self._links = {link.id: link for link in grid.hvdc}
        self._view = view
        self._index = {node: i for i, node in enumerate(view.model.nodes)}
        self._run_backs = run_backs
        self._settings = settings
        self._every = max(round(settings.every_s), turn[1])
        self.slot = turn[0] * self._every // turn[1]
        """Second of its turn, of every so many."""
        self._turn: int | None = None
        self._latest: Finding | None = None

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Solves the outage when it is its turn; else says again what was found."""
        at = snapshot.instant
        turn = (at // SECOND - self.slot) // self._every
        if self._turn is None:
            self._turn = turn  # after a start too each waits for its second
        if turn != self._turn:
            self._turn, self._latest = turn, self._judge(snapshot)
        latest = self._latest
        if latest is None or not 0 <= at - latest.at <= 3 * self._every * SECOND:
            return self.subject.early(at, "the outage has not been solved yet")
        return latest if latest.at == at else replace(latest, at=at)

    def _judge(self, snapshot: Snapshot) -> Finding:
        at, settings = snapshot.instant, self._settings
        state = self._view.state(snapshot)
        if isinstance(state, str):
            return self.subject.unknown(at, state)
        outcomes = [
            self._solve(snapshot, state, whole)
            for whole in ([False, True] if self.subject.asset in settings.whole else [False])
        ]
        worst = max(outcomes, key=lambda outcome: (bool(outcome.collapse), outcome.pct))
        limit = settings.loading_pct
        level = 2 if worst.collapse else int(worst.pct > limit)
        held = max(level, int(worst.pct > limit - settings.deadband_pct))
        return Finding(
            self.subject,
            at,
            level,
            held,
            max(worst.pct, limit) if worst.collapse else worst.pct,
            limit,
            "%",
            worst_quality(state.legs),
            at,
            max(leg.t_received for leg in state.legs),
            texts=self._texts(worst) if held else None,
        )

    def _solve(self, snapshot: Snapshot, state: GridState, whole: bool) -> _Outcome:
        branch = self.subject.asset
        circuits, p_mw = dict(state.circuits), state.p_mw.copy()
        ends = dict(state.ends)
        if branch in self._links:
            lost = f"{branch}" if whole else f"one pole of {branch}"
            sent = max(abs(each) for each in ends[branch])
            self._run(p_mw, ends, self._links[branch], 0.0 if whole else sent / 2)
        else:
            closed = circuits[branch]
            if not closed:
                return _Outcome(f"{branch}, which is open already", (), "", "", state.flow.lowest_pu)
            lost = branch if whole or closed < 2 else f"one circuit of {branch}"
            circuits[branch] = 0 if whole else closed - 1
        note = ""
        for arming in self._run_backs:
            leg = snapshot.leg(arming.point) if arming.point is not None else None
            name = f"the run-back of {arming.link.id} to {arming.to_mw:.0f} MW"
            if leg is not None and not (leg.usable and leg.value):
                note = f"{name} is not armed"
                continue
            sent = max(abs(each) for each in ends[arming.link.id])
            self._run(p_mw, ends, arming.link, min(sent, arming.to_mw))
            note = f"with {name}"
        try:
            flow = self._view.model.solve(p_mw, state.v_kv, circuits, state.flow.state)
        except NoSolutionError:
            reason = "no state of the grid would carry the power"
            return _Outcome(lost, (), reason, note, state.flow.lowest_pu)
        dark = sorted(flow.dark - state.flow.dark)
        collapse = f"{', '.join(dark)} would have nothing that balances {_them(dark)}" if dark else ""
        found = self._violations(state, flow, circuits)
        return _Outcome(lost, found, collapse, note, flow.lowest_pu)

    def _run(
        self, p_mw: NDArray[np.float64], ends: dict[str, tuple[float, float]], link: Hvdc, sent_mw: float
    ) -> None:
        """Changes what a link sends; what it no longer takes or gives goes to its busbars' lines."""
        before = ends[link.id]
        forward = before[0] >= before[1]
        received = sent_mw - hvdc_loss_mw(link, sent_mw)
        after = (sent_mw, -received) if forward else (-received, sent_mw)
        ends[link.id] = after
        for node, was, now in zip((link.from_node, link.to_node), before, after, strict=True):
            p_mw[self._index[node]] += was - now

    def _violations(self, state: GridState, flow: Flow, circuits: Mapping[str, int]) -> list[_Violation]:
        """What would be beyond its limit, or is so and would become worse."""
        found = []
        for line, after in flow.lines.items():
            before = state.flow.lines.get(line)
            if before is None:
                continue
            near, far = state.ends[line]
            changes = (after.from_mw - before.from_mw, after.to_mw - before.to_mw)
            mw = max(abs(near + changes[0]), abs(far + changes[1]))
            limits = self._lines[line].limits_mw
            limit = limits[circuits[line] - 1]
            pct = 100 * mw / limit
            now = 100 * max(abs(near), abs(far)) / limits[max(state.circuits[line], 1) - 1]
            if pct > now + _WORSE_PCT:
                found.append(_Violation(pct, f"{line} {mw:.0f} MW, {pct:.0f} % of {limit:.0f} MW"))
            turned, widest = abs(after.angle_deg), self._settings.angle_deg
            if turned > abs(before.angle_deg) + 1:
                pct = self._settings.loading_pct * turned / widest
                found.append(_Violation(pct, f"{line} {turned:.0f} degrees, more than {widest:.0f}"))
        return sorted(found, key=lambda violation: -violation.pct)

    def _texts(self, outcome: _Outcome) -> Texts:
        limit = self._settings.loading_pct
        beyond = [v.text for v in outcome.violations if v.pct > limit - self._settings.deadband_pct]
        what = outcome.collapse or beyond[0]
        rest = "; ".join([outcome.collapse, *beyond] if outcome.collapse else beyond)
        note = f" ({outcome.note})" if outcome.note else ""
        arm = "Arm the run-back. " if outcome.note.endswith("not armed") else ""
        links = ", ".join(self._links) or "generation"
        return Texts(
            title=f"After the loss of {outcome.lost}: {what}",
            cause=f"Solved from what is measured now, the loss of {outcome.lost} would leave{note}: {rest}.",
            consequence="Nothing is overloaded yet, but the next outage would be followed by others within "
            "minutes or seconds.",
            response=f"1. {arm}Run {links} back, or redispatch generation, until the outage can be borne. "
            "2. Put circuits that are out back in service. 3. Agree with the neighbours what is done when "
            "it happens.",
            evidence={
                "Outage": outcome.lost,
                "Would follow": rest,
                "Run-back": outcome.note or "none is known",
                "Lowest voltage at a joint [pu]": round(outcome.lowest_pu, 3),
                "Limit [%]": limit,
            },
        )


def _them(nodes: Sequence[str]) -> str:
    return "it" if len(nodes) == 1 else "them"
