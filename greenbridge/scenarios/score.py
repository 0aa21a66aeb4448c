"""How well scenarios hold over many seeds: detection rate and false alarms a week."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from greenbridge.scenarios.report import Report
from greenbridge.scenarios.verdict import Outcome, Result

_WEEK_S = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Score:
    """One scenario over several seeds."""

    name: str
    seeds: int
    passed: int
    expected: int
    """Alarms that had to rise, over all seeds."""
    detected: int
    """Of those, how many rose in their window and ended as they should."""
    false_alarms: int
    played_s: float
    """Time played, over all seeds [s]."""
    failed_seeds: tuple[int, ...]

    @property
    def false_alarms_per_week(self) -> float:
        """Alarms that were not expected, per week of play."""
        return self.false_alarms / self.played_s * _WEEK_S

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "seeds": self.seeds,
            "passed": self.passed,
            "expected": self.expected,
            "detected": self.detected,
            "false_alarms": self.false_alarms,
            "false_alarms_per_week": round(self.false_alarms_per_week, 3),
            "played_s": self.played_s,
            "failed_seeds": list(self.failed_seeds),
        }

    def text(self) -> str:
        """For people."""
        detected = f"{self.detected} of {self.expected} detected" if self.expected else "nothing expected"
        failed = f", failed with seed {', '.join(map(str, self.failed_seeds))}" if self.failed_seeds else ""
        return (
            f"{self.name:<34} {self.passed} of {self.seeds} passed, {detected}, "
            f"{self.false_alarms} false alarms in {self.played_s / 3600:.1f} h{failed}"
        )


def scored(name: str, reports: Iterable[Report]) -> Score | None:
    """The score of one scenario; None when its rules are not built, so that nothing can be judged."""
    played: Sequence[Report] = [r for r in reports if r.verdict.result is not Result.NEEDS]
    if not played:
        return None
    expected = [judged for report in played for judged in report.verdict.expected]
    return Score(
        name,
        len(played),
        sum(report.verdict.result is Result.PASSED for report in played),
        len(expected),
        sum(judged.outcome is Outcome.SEEN for judged in expected),
        sum(len(report.verdict.forbidden) for report in played),
        sum(report.play.duration_s for report in played),
        tuple(report.seed for report in played if report.verdict.result is Result.FAILED),
    )
