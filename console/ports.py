"""What the console needs from the application, beside the alarm desk and the query port.

A fake of each with behaviour is in :mod:`console.fakes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from alerts.notify.links import MessageLinks
from alerts.ports import AlarmDesk, Ledger, ScheduleDesk
from console.insight import Insight
from ingest.ports import QueryPort, Totals
from telemetry.batch import Columns


class LiveValues(Protocol):
    """The newest reading of each point, held in memory."""

    def latest(self, points: Sequence[int]) -> Columns:
        """Newest reading of each point by index; points never received are left out.

        The quality is that of *now*: a reading that is older than its point allows is STALE, one behind a
        lost link is LINK_LOST. The console shows what it is told and adds no judgement of its own.
        """
        ...


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One connection to the field: a gateway or a broker."""

    link: str
    """``modbus/SHY``."""
    up: bool
    since: int
    """Since when it is up or down [ns, UTC]."""
    detail: str = ""
    """For people: why it is down, or what there is to do though it is up; empty for nothing."""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """One consumer of the journal and its conservation sum."""

    name: str
    received: int
    """Readings committed to the journal that this store is to account for."""
    totals: Totals
    """What became of those applied."""
    pending: int
    """Readings committed but not yet applied."""
    lag_s: float
    """Age of the oldest reading not yet applied [s]; 0 when none is pending."""
    detail: str = ""
    """For people, when something is wrong: ``InfluxDB does not answer``."""
    detached: int = 0
    """Readings that the journal deleted before this store had read them, and that it has not passed yet."""

    @property
    def unaccounted(self) -> int:
        """Received minus every term that accounts for it; anything but 0 is a defect."""
        return self.received - self.totals.accounted - self.pending - self.detached

    @property
    def holds(self) -> bool:
        """Whether received = stored + revised + pending + duplicates + suppressed + dead-lettered."""
        return self.unaccounted == 0


@dataclass(frozen=True, slots=True)
class Latency:
    """Durations of the recent past [s]; None where there were none."""

    p50_s: float | None = None
    p99_s: float | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """How the process itself is doing."""

    started_at: int
    """[ns, UTC]."""
    devices: int
    """Devices in use."""
    devices_seen: int
    """Devices in use that delivered at least one reading since the start."""
    readings_per_s: float
    """Committed readings, over the last seconds."""
    readings: int
    """Readings ever committed."""
    dead_letters: int
    """Dead letters ever kept."""
    read_to_durable: Latency
    """From the receipt of a reading to its commit."""
    links: Sequence[LinkStatus]
    stores: Sequence[StoreStatus]
    not_ready: str = ""
    """Why the process cannot serve yet, for people; empty when it can."""


class SystemStatus(Protocol):
    """The application's view of itself."""

    def status(self) -> Status:
        """The state now; cheap, called once per second."""
        ...


@dataclass(frozen=True, slots=True)
class Announcement:
    """A message for everybody at the console: an exercise begins, a simulated fault is active."""

    t: int
    """When it was made [ns, UTC]."""
    text: str


class Announcements(Protocol):
    """Messages to be shown in the banner."""

    def announcements(self) -> Sequence[Announcement]:
        """Those that hold now, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that the console asks."""

    live: LiveValues
    query: QueryPort
    desk: AlarmDesk
    status: SystemStatus
    announcements: Announcements
    schedules: ScheduleDesk
    ledger: Ledger
    insight: Insight
    links: Callable[[], MessageLinks | None] = lambda: None
    """Reads the links in messages; None while there are none to acknowledge by."""
