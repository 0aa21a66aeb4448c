"""How long a device takes to answer; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Times from requests to their sound replies [ms], exception replies included."""

    answers: int
    min_ms: float
    median_ms: float
    p95_ms: float
    max_ms: float
    exceptions: int
    """Replies that were exceptions."""
    unanswered: int
    """Requests without a sound reply."""

    @property
    def sound(self) -> bool:
        """True when every request had a sound reply."""
        return self.unanswered == 0

    def document(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def text(self) -> str:
        """For people."""
        times = (
            f"min {self.min_ms:.1f}, median {self.median_ms:.1f}, "
            f"p95 {self.p95_ms:.1f}, max {self.max_ms:.1f} ms"
            if self.answers
            else "none"
        )
        others = f"{self.exceptions} exceptions, {self.unanswered} unanswered"
        return f"Round trips: {self.answers} answers, {times}; {others}"


def statistics(took_s: Sequence[float], exceptions: int, unanswered: int) -> RoundTrips:
    """Statistics of round trips [s]; percentiles are nearest ranks."""
    if not took_s:
        return RoundTrips(0, 0.0, 0.0, 0.0, 0.0, exceptions, unanswered)
    times = 1e3 * np.asarray(took_s)
    median, p95 = np.percentile(times, [50, 95], method="inverted_cdf")
    return RoundTrips(
        len(took_s),
        round(float(times.min()), 3),
        round(float(median), 3),
        round(float(p95), 3),
        round(float(times.max()), 3),
        exceptions,
        unanswered,
    )
