"""Positions that wait until what they stand for is surely durable; pure."""

from __future__ import annotations

from collections import deque

from ingest.ports import Position


class HoldBack:
    """Releases a position a fixed time after it was reached."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._waiting: deque[tuple[float, Position]] = deque()

    def reached(self, now_s: float, position: Position) -> None:
        """Notes a position; ``now_s`` is monotonic time [s]."""
        self._waiting.append((now_s, position))

    def ripe(self, now_s: float) -> Position | None:
        """The newest position that has waited long enough, once; None if there is none."""
        found = None
        while self._waiting and self._waiting[0][0] <= now_s - self._after_s:
            found = self._waiting.popleft()[1]
        return found

    def clear(self) -> None:
        """Forgets what waits: it may be lost."""
        self._waiting.clear()
