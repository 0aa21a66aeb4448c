"""R18: the state estimate's own alarm, and the evidence that it gives to others. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alerts.estimator.baselines import Baselines
from alerts.estimator.diagnosis import Diagnosis, Estimator, Hypothesis, Kind
from alerts.estimator.explanation import ESTIMATE, EXPLANATION, Explainer
from alerts.estimator.measurements import Meter, Scan
from alerts.estimator.plan import Plan
from alerts.estimator.trend import History, Trend, meter_trend
from alerts.rules.finding import Finding, Subject, Texts
from telemetry.site import Site

RULE, VERSION = "R18", 1
WHOLE = "network"
"""Asset of R18 when no single error stands out."""
LAST, OF_THEM = 5, 3
"""The condition holds when the test fails in so many of the last scans."""
_TRENDS = 3
"""Most meters whose last hour is looked at in one scan."""
_WORTH_T = 9.0


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a scan led to."""

    diagnosis: Diagnosis
    evidence: Mapping[str, Mapping[str, float | str]]
    """By asset."""
    findings: tuple[Finding, ...]
    """R18 on every asset that it is or was active on."""


@dataclass(slots=True)
class Judge:
    """The estimator with its memory: baselines, the last hour and the last verdicts.

    Parameters
    ----------
    site
        What is measured.
    plan
        Its meters.

    """

    site: Site
    plan: Plan
    _estimator: Estimator = field(init=False)
    _explainer: Explainer = field(init=False)
    _baselines: Baselines = field(init=False)
    _history: History = field(init=False)
    _last: deque[str] = field(init=False)
    """Asset of each of the last scans that failed the test; empty for one that passed."""
    _told: set[str] = field(default_factory=set)
    """Assets on which R18 may be active."""

    def __post_init__(self) -> None:
        meters = self.plan.meters
        self._estimator = Estimator(self.site.grid, meters)
        self._explainer = Explainer(self.site.grid, meters)
        self._baselines = Baselines(meters)
        self._history = History(len(meters))
        self._last = deque(maxlen=LAST)

    def keep(self, scan: Scan) -> None:
        """Keeps a scan for the comparison over an hour."""
        self._history.push(scan)

    def judge(self, scan: Scan, calm: bool, known: Sequence[str] = ()) -> Outcome:
        """Estimates the state from a scan.

        Parameters
        ----------
        scan
            What the meters read.
        calm
            No alarm that could come from a wrong meter is active: baselines may be learned.
        known
            Assets on which R18 is active, for example since before a restart.

        Raises
        ------
        NotSolvedError
            The measurements do not determine the state.

        """
        diagnosis = self._estimator.diagnose(scan, self._baselines.offsets(scan))
        if calm and diagnosis.consistent:
            self._baselines.learn(scan, diagnosis.residuals)
        self._last.append("" if diagnosis.consistent or diagnosis.freedom <= 0 else self._asset(diagnosis))
        evidence = self._explainer.evidence(diagnosis, self._trends(diagnosis, scan.instant))
        findings = self._findings(diagnosis, evidence, known)
        return Outcome(diagnosis, evidence, findings)

    def _findings(
        self,
        diagnosis: Diagnosis,
        evidence: Mapping[str, Mapping[str, float | str]],
        known: Sequence[str],
    ) -> tuple[Finding, ...]:
        failed = Counter(asset for asset in self._last if asset)
        # scans that fail without agreeing on an asset contradict each other all the same
        worst = failed.most_common(1)[0][0] if failed else ""
        firing = {worst} if failed.total() >= OF_THEM else set()
        self._told |= firing | set(known)
        findings = []
        for asset in sorted(self._told):
            active = asset in firing
            findings.append(
                Finding(
                    Subject(RULE, VERSION, asset, self._area(asset)),
                    diagnosis.instant,
                    level=int(active),
                    held_level=int(active or (asset == worst and bool(self._last[-1]))),
                    value=diagnosis.j,
                    limit=diagnosis.limit,
                    unit="1",
                    t_source=diagnosis.instant,
                    t_received=diagnosis.instant,
                    texts=_texts(asset, diagnosis, evidence) if active else None,
                )
            )
        # what stays is heard of until it is over; the book remembers from then on
        self._told = firing | {asset for asset in self._told if asset in failed}
        return tuple(findings)

    def _asset(self, diagnosis: Diagnosis) -> str:
        """Where the error that stands out is."""
        best: Sequence[Hypothesis] = (*diagnosis.accepted, *diagnosis.ambiguous)
        if not best:
            return WHOLE
        if best[0].kind is Kind.METER:
            return self._meter(best[0].subject).branch
        return best[0].subject

    def _area(self, asset: str) -> str:
        branches = {b.id: b.from_node for b in self.site.grid.line} | {
            b.id: b.from_node for b in self.site.grid.hvdc
        }
        return self.site.area_of(branches.get(asset, asset))

    def _meter(self, name: str) -> Meter:
        return next(meter for meter in self.plan.meters if meter.id == name)

    def _trends(self, diagnosis: Diagnosis, end: int) -> dict[str, Trend]:
        """The last hour of the branch meters in doubt."""
        doubted = [
            h.subject
            for h in (*diagnosis.accepted, *diagnosis.ambiguous, *diagnosis.ranking)
            if h.kind is Kind.METER and h.t > _WORTH_T
        ]
        trends = {}
        for name in list(dict.fromkeys(doubted))[:_TRENDS]:
            meters = self.plan.meters
            i = next(i for i, meter in enumerate(meters) if meter.id == name)
            others = [
                k
                for k, meter in enumerate(meters)
                if meter.branch == meters[i].branch and meter.node != meters[i].node
            ]
            found = meter_trend(self._estimator.model, self._history, i, others[0], end) if others else None
            if found is not None:
                trends[name] = found
        return trends


def _texts(asset: str, diagnosis: Diagnosis, evidence: Mapping[str, Mapping[str, float | str]]) -> Texts:
    about = dict(evidence.get(asset, {}))
    sentence = about.get(EXPLANATION, "the measurements contradict each other, no single error explains it")
    return Texts(
        f"{asset}: the measurements contradict each other "
        f"(J = {diagnosis.j:.0f}, T = {diagnosis.largest:.0f})",
        f"{about.get(ESTIMATE, '')}. Without an error that happens in one of 1000 scans. The explanation: "
        f"{sentence}.",
        "A meter, a line's data or the topology is wrong, or power is taken unmetered; balances that use "
        "these measurements are wrong by as much.",
        "1. Read the explanation: it names a meter to check or a line to patrol. 2. Where it is ambiguous, "
        "compare with the check meter, the counters and the plants' own totals. 3. Take a meter that lies "
        "out of service and settle from its check meter.",
        about,
    )
