"""Growing pauses between attempts, with jitter, so that many clients do not return in step."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Doubles a pause from ``first_s`` up to ``longest_s`` [s]; ``uniform`` gives numbers in [0, 1).

    Each pause is drawn from the upper half of its step: never more than ``longest_s``, never less than half
    of what the step asks for.
    """

    def __init__(
        self,
        first_s: float = 0.5,
        longest_s: float = 30.0,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._uniform = uniform
        self._step_s = first_s

    def next(self) -> float:
        """The pause before the next attempt [s]."""
        pause = self._step_s * (0.5 + 0.5 * self._uniform())
        self._step_s = min(2 * self._step_s, self._longest_s)
        return pause

    def reset(self) -> None:
        """Begins again at the first pause, after a success."""
        self._step_s = self._first_s
