"""Errors that know when to try again."""

from __future__ import annotations

from telemetry.errors import UnavailableError


class RetryLaterError(UnavailableError):
    """A peer that refuses for a named reason and may say when to come back."""

    def __init__(self, message: str, state: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.state = state
        """Bounded label: ``overloaded``, ``unauthorized``, ``bucket_missing`` ..."""
        self.after_s = after_s
        """Shortest time before the next attempt [s], as the peer or the kind of fault demands."""
