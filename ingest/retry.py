"""When to try again: errors that know it, and a jittered backoff for those that do not; pure."""

from __future__ import annotations

import random

from telemetry.errors import UnavailableError


class RetryLaterError(UnavailableError):
    """A peer that refuses for a named reason and may say when to come back."""

    def __init__(self, message: str, state: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.state = state
        """Bounded label: ``overloaded``, ``unauthorized``, ``bucket_missing`` ..."""
        self.after_s = after_s
        """Shortest time before the next attempt [s], as the peer or the kind of fault demands."""


class Backoff:
    """Waiting times that double from ``first_s`` to ``longest_s``, each shortened at random by up to half.

    The jitter keeps many clients from coming back at the same moment.
    """

    def __init__(
        self, first_s: float = 0.5, longest_s: float = 30.0, rng: random.Random | None = None
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._rng = rng or random.Random()  # noqa: S311  jitter, not a secret
        self._attempt = 0

    def reset(self) -> None:
        """Begins again with the shortest time, after a success."""
        self._attempt = 0

    def next(self) -> float:
        """Time to wait before the next attempt [s]."""
        ceiling = min(self._longest_s, self._first_s * 2.0 ** min(self._attempt, 32))
        self._attempt += 1
        return ceiling * (0.5 + 0.5 * self._rng.random())
