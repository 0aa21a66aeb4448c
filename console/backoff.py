"""Waiting time after wrong sign-in tokens. Pure: the caller brings the time."""

from __future__ import annotations

from collections import OrderedDict


class Backoff:
    """Counts failures per client: some are free, then the wait doubles up to a ceiling.

    The number of clients remembered is bounded; the one that failed longest ago is forgotten first.
    """

    def __init__(
        self, free: int = 5, first_s: float = 1.0, ceiling_s: float = 60.0, max_clients: int = 1024
    ) -> None:
        self._free = free
        self._first_s = first_s
        self._ceiling_s = ceiling_s
        self._max_clients = max_clients
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, client: str, now: float) -> float:
        """How long a client must still wait before its next attempt [s]; ``now`` is monotonic [s]."""
        count, failed_at = self._failures.get(client, (0, now))
        if count < self._free:
            return 0.0
        # the exponent is bounded so that the power cannot overflow after weeks of failures
        pause = min(self._first_s * 2.0 ** min(count - self._free, 32), self._ceiling_s)
        return max(0.0, failed_at + pause - now)

    def failed(self, client: str, now: float) -> None:
        """Notes a wrong token."""
        count, _ = self._failures.pop(client, (0, now))
        self._failures[client] = (count + 1, now)
        while len(self._failures) > self._max_clients:
            self._failures.popitem(last=False)

    def succeeded(self, client: str) -> None:
        """Forgets the failures of a client."""
        self._failures.pop(client, None)
