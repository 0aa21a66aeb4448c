"""What the console asks about the machinery behind the values: quality, parts, audit, agreements.

A fake with behaviour is :class:`console.fakes.FakeInsight`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DeviceQuality:
    """How well one device delivered over the last hour."""

    device: str
    link: str
    points: int
    good: int
    """Points whose newest reading is good now."""
    t_source: int | None
    """Newest source time [ns, UTC]; None when nothing ever came."""
    t_received: int | None
    """When it was received [ns, UTC]; None when it is of an earlier run."""
    period_s: float
    """Expected between two readings [s]; 0 for what is reported by exception."""
    minutes: Sequence[int] = ()
    """Usable readings of its first point in each minute, oldest first; empty where none are due."""
    expected_per_minute: float = 0.0
    """[1/min]."""

    @property
    def completeness_pct(self) -> float | None:
        """Part of the hour's expected readings that came [%]; None where none are due."""
        if not self.minutes or self.expected_per_minute <= 0:
            return None
        due = self.expected_per_minute * len(self.minutes)
        return min(100.0, 100.0 * sum(self.minutes) / due)

    @property
    def gaps(self) -> int:
        """Runs of minutes without any usable reading."""
        return sum(count == 0 and (i == 0 or self.minutes[i - 1] > 0) for i, count in enumerate(self.minutes))


@dataclass(frozen=True, slots=True)
class LetterCount:
    """Dead letters that are held, of one source and reason."""

    source: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, without its payload."""

    number: int
    t_received: int
    """[ns, UTC]."""
    source: str
    address: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Time between question and verified answer on one link, since the start."""

    link: str
    polls: int
    mean_s: float
    """[s]."""
    p95_s: float | None
    """Upper bound of the bucket that holds the 95th percentile [s]; None above all buckets."""


@dataclass(frozen=True, slots=True)
class QualityReport:
    """What came, what did not, and how late."""

    at: int
    """When it was put together [ns, UTC]."""
    start: int
    """Begin of the hour [ns, UTC]."""
    devices: Sequence[DeviceQuality] = ()
    letters: Sequence[LetterCount] = ()
    newest_letters: Sequence[Letter] = ()
    letters_dropped: int = 0
    """Dead letters dropped for space."""
    round_trips: Sequence[RoundTrip] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A supervised task of the process."""

    name: str
    state: str
    """``running``, ``failed`` ..."""
    restarts: int
    error: str
    since: int
    """[ns, UTC]."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a consumer of the journal has come."""

    name: str
    offset: int
    behind: int
    """Records that it has not read yet."""


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file or directory of the state directory."""

    name: str
    size: int
    """[B]."""


@dataclass(frozen=True, slots=True)
class Machinery:
    """The parts of the process, its journal and its disk."""

    version: str
    head: int
    """Newest record of the journal."""
    first: int
    """Oldest record that the journal holds."""
    queued: int
    """Batches that wait to be made durable."""
    damaged: int
    """Damaged records passed over since the start."""
    trouble: str
    """Why the journal takes nothing; empty when it does."""
    disk_total: int
    """Of the volume of the state directory [B]."""
    disk_free: int
    """[B]."""
    parts: Sequence[Part] = ()
    cursors: Sequence[Cursor] = ()
    files: Sequence[KeptFile] = ()


@dataclass(frozen=True, slots=True)
class Audited:
    """An entry of the audit."""

    number: int
    t: int
    """[ns, UTC]."""
    who: str
    action: str
    subject: str
    outcome: str
    details: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Newest entries of the audit, and whether the whole chain is unbroken."""

    entries: Sequence[Audited] = ()
    total: int = 0
    fault: str = ""
    """Where the chain is broken; empty when it is not."""


class Insight(Protocol):
    """The application's view of its own inside; each call may read files."""

    async def quality(self) -> QualityReport:
        """The last hour of every device; at most every few seconds anew."""
        ...

    async def machinery(self) -> Machinery:
        """Parts, cursors, queue and disk now."""
        ...

    async def audit(self, limit: int, before: int | None = None) -> AuditPage:
        """Entries, newest first; with numbers below ``before`` if it is given."""
        ...

    def agreed(self, start: int, end: int) -> Mapping[str, Sequence[tuple[int, float]]]:
        """The schedule of each tie and contract as a polyline of times [ns, UTC] and values [MW]."""
        ...

    def tolerances(self) -> Mapping[str, float]:
        """From which deviation the mildest alarm comes: ties and areas [MW], synchronous areas [Hz]."""
        ...

    def explained(self, asset: str) -> Mapping[str, float | str]:
        """What the newest state estimate says of a branch, node or area; empty without one."""
        ...
