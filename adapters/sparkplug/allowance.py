"""How much may be remembered of what births say: a birth costs its sender little and the host memory."""

from __future__ import annotations

_BYTES = 256
"""Bytes of a birth that weigh as much as one metric: long names and properties take memory too."""


class Allowance:
    """Metrics that may be remembered.

    Parameters
    ----------
    most
        How many.
    within
        Where they are taken from as well: what is not configured of a host shares one allowance.

    """

    def __init__(self, most: int, within: Allowance | None = None) -> None:
        self._most = most
        self._within = within
        self.used = 0
        """Metrics that are remembered."""

    def exceeded(self, weight: int) -> str:
        """What a birth would exceed, in words; empty when it is remembered from now on."""
        if self.used + weight > self._most:
            return f"{self.used + weight} metrics where {self._most} may be remembered"
        if self._within is not None and (text := self._within.exceeded(weight)):
            return f"{text}, of all edge nodes that are not configured"
        self.used += weight
        return ""

    def leave(self) -> None:
        """Takes nothing from the shared allowance any more."""
        if self._within is not None:
            self._within.give_back(self.used)
            self._within = None

    def give_back(self, weight: int) -> None:
        """A birth is forgotten."""
        self.used -= weight
        if self._within is not None:
            self._within.give_back(weight)


def weight(metrics: int, size: int) -> int:
    """What a birth weighs: its metrics, and as many for its bytes where those are uncommonly many."""
    return max(1, metrics, size // _BYTES)
