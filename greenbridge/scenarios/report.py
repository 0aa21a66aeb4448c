"""What is told of plays: as text for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from greenbridge.scenarios.player import Counts, Play
from greenbridge.scenarios.verdict import Judged, Result, Seen, Verdict

_MARKS = {Result.PASSED: "passed", Result.FAILED: "FAILED", Result.NEEDS: "needs"}


@dataclass(frozen=True, slots=True)
class Report:
    """One scenario, played and judged."""

    name: str
    title: str
    seed: int
    play: Play
    verdict: Verdict
    wall_s: float
    """How long the play took [s]."""

    def document(self) -> dict[str, Any]:
        """For JSON."""
        verdict, play = self.verdict, self.play
        return {
            "name": self.name,
            "title": self.title,
            "result": verdict.result.value,
            "needs": list(verdict.needs),
            "seed": self.seed,
            "duration_s": play.duration_s,
            "step_s": play.step_s,
            "wall_s": round(self.wall_s, 2),
            "counts": None if play.counts is None else asdict(play.counts),
            "collapse": play.collapsed,
            "broken": list(play.broken),
            "expected": [_expected(judged) for judged in verdict.expected],
            "forbidden_seen": [_seen(seen) for seen in verdict.forbidden],
            "tolerated_seen": [_seen(seen) for seen in verdict.tolerated],
            "seen": [_seen(seen) for seen in play.seen],
        }

    def text(self) -> str:
        """For people: the result, then a line for each alarm that was expected or raised."""
        verdict, play = self.verdict, self.play
        needs = f" {', '.join(verdict.needs)}" if verdict.needs else ""
        size = f"{play.duration_s:g} s at {play.step_s:g} s in {self.wall_s:.1f} s"
        lines = [f"{_MARKS[verdict.result]}{needs}  {self.name}: {self.title} ({size})"]
        if play.collapsed:
            lines.append(f"    the simulated grid collapsed at {play.collapsed}")
        for judged in verdict.expected:
            e = judged.expected
            at = "" if judged.raised_s is None else f", raised at {judged.raised_s:g} s"
            at += "" if judged.cleared_s is None else f", over at {judged.cleared_s:g} s"
            window = f"{e.within[0]:g}-{e.within[1]:g} s"
            lines.append(f"    expected   {e.rule} {e.asset} within {window}: {judged.outcome.value}{at}")
        lines.append(f"    readings   {_counted(play.counts)}")
        lines += [f"    broken     {promise}" for promise in play.broken]
        lines += [f"    forbidden  {_line(seen)}" for seen in verdict.forbidden]
        lines += [f"    besides    {_line(seen)}" for seen in verdict.tolerated]
        return "\n".join(lines)


def summary(reports: Sequence[Report]) -> dict[str, int]:
    """Number of scenarios by result."""
    counts = Counter(report.verdict.result for report in reports)
    return {result.value: counts[result] for result in Result}


def summary_text(reports: Sequence[Report]) -> str:
    """One line for people; scenarios that need rules count apart, never as passed."""
    counts = summary(reports)
    return (
        f"{len(reports)} scenarios: {counts[Result.PASSED.value]} passed, "
        f"{counts[Result.FAILED.value]} failed, {counts[Result.NEEDS.value]} need rules that are not built"
    )


def _counted(counts: Counts | None) -> str:
    if counts is None:
        return "not counted"
    return (
        f"{counts.readings} in {counts.records} records: {counts.stored} stored, {counts.revised} revised, "
        f"{counts.duplicates} duplicates; {counts.dead_letters} dead letters, "
        f"{counts.wrong_replies} replies refused, {counts.notifications} notifications delivered"
    )


def _expected(judged: Judged) -> dict[str, Any]:
    expected = judged.expected
    return {
        "rule": expected.rule,
        "asset": expected.asset,
        "within": list(expected.within),
        "priority": expected.priority,
        "clears_by": expected.clears_by,
        "outcome": judged.outcome.value,
        "raised_s": judged.raised_s,
        "cleared_s": judged.cleared_s,
    }


def _seen(seen: Seen) -> dict[str, Any]:
    return {
        "t_s": seen.t_s,
        "event": seen.event.value,
        "rule": seen.rule,
        "asset": seen.asset,
        "priority": seen.priority.value,
        "title": seen.title,
    }


def _line(seen: Seen) -> str:
    return f"{seen.rule} {seen.asset} at {seen.t_s:g} s, {seen.priority.value}: {seen.title}"
