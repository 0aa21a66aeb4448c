"""What an edge node keeps for later: values that nobody may have received (store and forward)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from simulators.devices.sparkplug.payloads import Quality, Value


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of a metric at one moment."""

    value: Value | None
    timestamp_ms: int
    """When it was captured [ms since 1970, UTC]."""
    quality: Quality = Quality.GOOD


@dataclass(frozen=True, slots=True)
class Stored:
    """A sample of a named metric."""

    metric: str
    sample: Sample


class History:
    """Samples of one device: those that wait, and those sent so lately that they may have been lost.

    Messages have QoS 0 (tck-id-topics-ddata-mqtt): one sent between the end of the connection and its
    discovery is gone without a sign. What was sent within ``replay_ms`` before a session ended therefore
    waits again; a receiver knows a sample by its metric and timestamp. When ``limit`` samples wait, the
    oldest is dropped and counted.
    """

    def __init__(self, limit: int, replay_ms: int) -> None:
        self._limit = limit
        self._replay_ms = replay_ms
        self._waiting: deque[Stored] = deque()
        self._sent: deque[tuple[int, Stored]] = deque()
        self.dropped = 0
        """Samples dropped because too many waited."""

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, stored: Stored) -> None:
        """Lets a sample wait."""
        self._waiting.append(stored)
        self._trim()

    def sent(self, stored: Stored, now_ms: int) -> None:
        """Notes that a sample was sent."""
        self._sent.append((now_ms, stored))
        while self._sent[0][0] < now_ms - self._replay_ms or len(self._sent) > self._limit:
            self._sent.popleft()

    def take(self, count: int, now_ms: int) -> list[Stored]:
        """The ``count`` oldest waiting samples, sent now."""
        taken = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
        for stored in taken:
            self.sent(stored, now_ms)
        return taken

    def recall(self, now_ms: int) -> None:
        """The session ended: whatever was sent lately waits again, before the rest."""
        lately = [stored for sent_ms, stored in self._sent if sent_ms >= now_ms - self._replay_ms]
        self._sent.clear()
        self._waiting.extendleft(reversed(lately))
        self._trim()

    def _trim(self) -> None:
        while len(self._waiting) > self._limit:
            self._waiting.popleft()
            self.dropped += 1
