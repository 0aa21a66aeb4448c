"""Positions that wait until what they stand for is surely durable; pure."""

from __future__ import annotations

from collections import deque

from ingest.ports import Position


class HoldBack:
    """Releases a position a fixed time after it was reached."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._waiting: deque[tuple[float, tuple[Position, bytes]]] = deque()

    def reached(self, now_s: float, position: Position, references: bytes = b"") -> None:
        """Notes a position and the references of deadbands there; ``now_s`` is monotonic time [s]."""
        self._waiting.append((now_s, (position, references)))

    def ripe(self, now_s: float) -> tuple[Position, bytes] | None:
        """The newest position that has waited long enough, with its references, once; None without one."""
        found = None
        while self._waiting and self._waiting[0][0] <= now_s - self._after_s:
            found = self._waiting.popleft()[1]
        return found

    def clear(self) -> None:
        """Forgets what waits: it may be lost."""
        self._waiting.clear()
