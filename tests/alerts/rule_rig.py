"""A rule on its own, fed with readings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alerts.alignment import SECOND, Alignment, Snapshot
from alerts.rules.finding import Finding, Rule
from telemetry.batch import ReadingBatch
from telemetry.quality import Quality

T0 = 1_700_000_100 * SECOND
Values = Mapping[int, float | None]
"""By point; None is a reading that says the link is lost."""


def judged(
    rule: Rule,
    values: Callable[[int], Values],
    seconds: int,
    held: int = 0,
    *,
    step: int = 1,
    start: int = T0,
) -> list[Finding]:
    """Findings at every step [s]; ``held`` seconds after the last reading too."""
    alignment, found = Alignment(dict.fromkeys(rule.inputs, float(step)), 3.0), []
    for second in range(0, seconds + held, step):
        now = start + second * SECOND
        if second < seconds:
            row = values(second)
            alignment.push(
                ReadingBatch.of(
                    "test",
                    1,
                    second,
                    now,
                    point=list(row),
                    t_source=[now] * len(row),
                    value=[float("nan") if v is None else v for v in row.values()],
                    quality=[int(Quality.LINK_LOST) if v is None else 0 for v in row.values()],
                )
            )
        found.append(rule.evaluate(Snapshot(now, alignment)))
    return found
