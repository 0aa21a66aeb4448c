"""The ledger: what the sources sent, what was acknowledged, and what must therefore be stored.

Every reading follows from (source, session, sequence number, version), so that the ledger needs to keep no
values, and no error can hide in both it and the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.config import EmbeddedSettings
from telemetry.batch import ReadingBatch

SOURCES = 4
POINTS = 25
"""Points of each source; every message has one reading of each."""
STORE = EmbeddedSettings(memory_mb=32, keep_days=3650, keep_10s_days=3650, keep_1min_days=3650)
"""Settings of the embedded store; the readings are of one fixed day, which must not age."""
LETTER_EVERY = 40
"""Every so many messages a source sends one that cannot become a reading."""
START = 1_767_225_600_000_000_000
"""Source time of the first message [ns, UTC]."""
SESSION = 10_000_000
"""Messages that a session has at most."""


class Message(NamedTuple):
    """One message of a source."""

    source: int
    session: int
    """Run of the subject that it was sent in."""
    seq: int
    version: int
    """0, or 1 for the revision that follows every seventh message."""

    @property
    def time(self) -> int:
        """Source time of its readings [ns, UTC], different for every message of a source."""
        return START + (self.session * SESSION + self.seq) * 1000

    def batch(self, t_received: int) -> ReadingBatch:
        """Its readings."""
        return ReadingBatch.of(
            f"prove/{self.source}",
            self.session,
            self.seq,
            t_received,
            point=range(self.source * POINTS, (self.source + 1) * POINTS),
            t_source=[self.time] * POINTS,
            value=values(np.full(POINTS, self.time), np.arange(POINTS), self.version),
            quality=[0] * POINTS,
        )


def values(time: NDArray[np.int64], offset: NDArray[np.int64], version: int) -> NDArray[np.float64]:
    """Values of readings by time [ns] and place within their source."""
    return np.asarray((time - START) // 1000 % 1_000_003 + offset / 100 + version / 7, np.float64)


def conversation(session: int, source: int) -> Iterable[Message]:
    """What a source sends in a session, without end: repetitions and revisions among it, on purpose."""
    seq = 0
    while True:
        yield Message(source, session, seq, 0)
        if seq % 5 == 4:
            yield Message(source, session, seq - 1, int((seq - 1) % 7 == 6))
        if seq % 7 == 6:
            yield Message(source, session, seq, 1)
        seq += 1


@dataclass(slots=True)
class Ledger:
    """What was acknowledged so far."""

    versions: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """Newest acknowledged version by (source, session, sequence number)."""
    newest: dict[tuple[int, int], int] = field(default_factory=dict)
    """Highest acknowledged sequence number by (source, session)."""
    letters: int = 0
    alarms: set[str] = field(default_factory=set)
    sessions: int = 0

    def acknowledge(self, message: Message) -> None:
        """Notes that the subject has confirmed a message."""
        key = message[:3]
        self.versions[key] = max(self.versions.get(key, 0), message.version)
        self.newest[key[:2]] = max(self.newest.get(key[:2], -1), message.seq)

    @property
    def readings(self) -> int:
        """Number of acknowledged readings with different keys."""
        return len(self.versions) * POINTS
