"""Fakes of what the console asks, with behaviour; for tests and for playing with the page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from alerts.alarms import HELD, OPEN, Alarm, AlarmError, AlarmState, Indeterminate, NotAllowedError, Priority
from alerts.holds import Hold
from alerts.kpi import ALL, AlarmKpis, Indicators
from alerts.lifecycle import Event
from alerts.schedule_table import Row, drafts
from alerts.schedules import Party, ScheduleBook, Version
from alerts.settlement.interval import Interval
from alerts.settlement.running import Running
from console.insight import (
    Audited,
    AuditPage,
    Cursor,
    DeviceQuality,
    KeptFile,
    Letter,
    LetterCount,
    Machinery,
    Part,
    QualityReport,
    RoundTrip,
)
from console.ports import Announcement, Latency, LinkStatus, Status, StoreStatus
from ingest.ports import Totals
from telemetry.batch import Columns
from telemetry.clock import Clock
from telemetry.grid import Grid
from telemetry.quality import Quality
from telemetry.site import Site


@dataclass(frozen=True, slots=True)
class _Reading:
    t_source: int
    t_received: int
    value: float
    quality: int


class FakeLiveValues:
    """Remembers what it is given and lets it go stale."""

    def __init__(self, clock: Clock, stale_after_s: float = 5.0) -> None:
        self._clock = clock
        self.stale_after_s = stale_after_s
        self._readings: dict[int, _Reading] = {}

    def put(self, point: int, value: float, quality: int = Quality.GOOD, t_source: int | None = None) -> None:
        """Takes a reading as just received; without a source time it is the time of receipt [ns, UTC]."""
        now = self._clock.now_ns()
        self._readings[point] = _Reading(now if t_source is None else t_source, now, value, quality)

    def latest(self, points: Sequence[int]) -> Columns:
        """Newest readings, with the quality of now."""
        now = self._clock.now_ns()
        known = [(p, self._readings[p]) for p in points if p in self._readings]
        return Columns.of(
            [p for p, _ in known],
            [r.t_source for _, r in known],
            [r.value for _, r in known],
            [
                max(r.quality, Quality.STALE) if now - r.t_received > self.stale_after_s * 1e9 else r.quality
                for _, r in known
            ],
        )


class FakeSystemStatus:
    """A status that is set by hand."""

    def __init__(self, clock: Clock, devices: int = 0, links: Iterable[str] = ()) -> None:
        now = clock.now_ns()
        self.current = Status(
            started_at=now,
            devices=devices,
            devices_seen=0,
            readings_per_s=0.0,
            readings=0,
            dead_letters=0,
            read_to_durable=Latency(),
            links=[LinkStatus(link, True, now) for link in links],
            stores=[StoreStatus("embedded", 0, Totals(), 0, 0.0)],
        )

    def committed(self, readings: int, per_s: float, devices_seen: int) -> None:
        """Counts readings as received and stored at once."""
        total = self.current.readings + readings
        self.current = replace(
            self.current,
            readings=total,
            readings_per_s=per_s,
            devices_seen=devices_seen,
            read_to_durable=Latency(0.012, 0.048),
            stores=[StoreStatus(s.name, total, Totals(stored=total), 0, 0.0) for s in self.current.stores],
        )

    def link_down(self, link: str, since: int, detail: str) -> None:
        """Reports a link as down [since: ns, UTC]."""
        links = [
            LinkStatus(s.link, False, since, detail) if s.link == link else s for s in self.current.links
        ]
        self.current = replace(self.current, links=links)

    def status(self) -> Status:
        """The status that was set."""
        return self.current


class FakeAnnouncements:
    """Announcements that are made by hand."""

    def __init__(self) -> None:
        self.made: list[Announcement] = []

    def announcements(self) -> Sequence[Announcement]:
        """All that were made."""
        return list(self.made)


_URGENCY = [Priority.URGENT, Priority.HIGH, Priority.MEDIUM, Priority.LOW]


class FakeAlarmDesk:
    """An alarm desk without rules: alarms are raised and cleared by hand, acknowledged as usual."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._alarms: dict[str, Alarm] = {}
        self._version = 0
        self._changed = asyncio.Condition()
        self._orders: dict[str, Hold] = {}
        self.unjudged: list[Indeterminate] = []

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._version

    async def put(self, alarm: Alarm) -> None:
        """Adds or replaces an alarm."""
        async with self._changed:
            self._alarms[alarm.id] = alarm
            self._version += 1
            self._changed.notify_all()

    async def clear(self, alarm_id: str) -> None:
        """Ends the condition of an alarm."""
        alarm = self._alarms[alarm_id]
        acknowledged = alarm.state is AlarmState.ACKNOWLEDGED
        state = AlarmState.NORMAL if acknowledged else AlarmState.RETURNED
        now = self._clock.now_ns()
        await self.put(replace(alarm, state=state, cleared_at=now, updated_at=now))

    def active(self) -> Sequence[Alarm]:
        """Alarms that are not normal, most urgent first, then newest first."""
        return sorted(
            (alarm for alarm in self._alarms.values() if alarm.state in OPEN),
            key=lambda alarm: (_URGENCY.index(alarm.priority), -alarm.raised_at),
        )

    def held(self) -> Sequence[Alarm]:
        """Alarms that are shelved, suppressed or out of service."""
        return [alarm for alarm in self._alarms.values() if alarm.state in HELD]

    def orders(self) -> Sequence[tuple[str, Hold]]:
        """What people hold back."""
        return list(self._orders.items())

    def indeterminate(self) -> Sequence[Indeterminate]:
        """What was put into ``unjudged``."""
        return list(self.unjudged)

    def kpi(self, position: str = ALL) -> Indicators:
        """Counts every alarm that was put as raised."""
        if position not in {ALL, *(alarm.area for alarm in self._alarms.values())}:
            raise AlarmError(f"there is no area {position}")
        kpis = AlarmKpis()
        for alarm in self._alarms.values():
            kpis.take(Event.RAISE, AlarmState.NORMAL, replace(alarm, updated_at=alarm.raised_at))
        return kpis.indicators(self._clock.now_ns(), self.active(), self.held(), position)

    async def history(self, limit: int = 200) -> Sequence[Alarm]:
        """Every alarm, newest first."""
        return sorted(self._alarms.values(), key=lambda alarm: -alarm.raised_at)[:limit]

    async def find(self, alarm_id: str) -> Alarm | None:
        """An alarm, also one that is over."""
        return self._alarms.get(alarm_id)

    async def acknowledge(self, alarm_id: str, who: str, comment: str = "") -> Alarm:
        """Acknowledges; twice changes nothing."""
        alarm = self._alarms.get(alarm_id)
        if alarm is None:
            raise AlarmError(f"there is no alarm {alarm_id}")
        if alarm.state in {AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED}:
            returned = alarm.state is AlarmState.RETURNED
            now = self._clock.now_ns()
            alarm = replace(
                alarm,
                state=AlarmState.NORMAL if returned else AlarmState.ACKNOWLEDGED,
                acknowledged_at=now,
                acknowledged_by=who,
                comment=comment,
                updated_at=now,
            )
            await self.put(alarm)
        return alarm

    async def reset(self, alarm_id: str, who: str) -> Alarm | None:
        """Resets an acknowledged latched alarm."""
        alarm = self._found(alarm_id)
        if alarm.state is not AlarmState.LATCHED_ACKNOWLEDGED:
            raise NotAllowedError(f"{alarm_id} is not latched, or not acknowledged")
        await self.put(replace(alarm, state=AlarmState.NORMAL, updated_at=self._clock.now_ns()))
        return self._alarms[alarm_id]

    async def hold(
        self, name: str, kind: AlarmState, who: str, reason: str, for_s: float | None
    ) -> Alarm | None:
        """Holds an alarm back; urgent ones cannot be shelved."""
        alarm, now = self._found(name), self._clock.now_ns()
        if kind is AlarmState.SHELVED and alarm.priority is Priority.URGENT:
            raise NotAllowedError(f"{name} is urgent and cannot be shelved; acknowledge it and act")
        until = None if for_s is None else now + round(for_s * 1e9)
        self._orders[alarm.key] = Hold(kind, who, reason, now, until)
        held = replace(alarm, state=kind, held_by=who, held_reason=reason, held_at=now, held_until=until)
        await self.put(held)
        return held

    async def unhold(self, name: str, kind: AlarmState, who: str) -> Alarm | None:
        """Ends that; the alarm is raised again."""
        alarm = self._found(name)
        if alarm.state is not kind:
            raise NotAllowedError(f"{name} is not {kind}")
        self._orders.pop(alarm.key, None)
        await self.put(replace(alarm, state=AlarmState.UNACKNOWLEDGED, held_by="", held_reason=""))
        return self._alarms[name]

    def _found(self, alarm_id: str) -> Alarm:
        if alarm_id not in self._alarms:
            raise AlarmError(f"there is no alarm {alarm_id}")
        return self._alarms[alarm_id]

    async def wait(self, version: int) -> int:
        """Returns the new version as soon as it is above ``version``."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._version > version)
            return self._version


class FakeScheduleDesk:
    """Checks rows as the real desk does, and keeps versions in memory."""

    def __init__(self, grid: Grid, clock: Clock) -> None:
        self._grid = grid
        self._clock = clock
        self._versions: list[Version] = []

    async def post(
        self, rows: Sequence[Row], file: str, *, party: Party, who: str, author: str = "", source: str = ""
    ) -> Sequence[Version]:
        """Takes in the schedules that rows make."""
        now, first = self._clock.now_ns(), len(self._versions) + 1
        taken = [
            Version(i, draft.subject, party, author or who, source or file, now, draft.pieces)
            for i, draft in enumerate(drafts(rows, file, self._grid), first)
        ]
        self._versions += taken
        return taken

    async def versions(self, subject: str = "") -> Sequence[Version]:
        """Every version, newest first."""
        return [version for version in reversed(self._versions) if subject in {"", version.subject}]


class FakeLedger:
    """Shows what it is given."""

    def __init__(self) -> None:
        self.settled: list[Interval] = []
        self.open: list[Running] = []

    async def intervals(
        self,
        start: int,
        end: int,
        *,
        account: str = "",
        minutes: int = 0,
        revisions: bool = True,
        limit: int = 1000,
    ) -> Sequence[Interval]:
        """Intervals of the time, the newest first."""
        newest = {(i.account, i.minutes, i.start): i.revision for i in self.settled}
        found = [
            i
            for i in self.settled
            if start <= i.start < end
            and account in {"", i.account}
            and minutes in {0, i.minutes}
            and (revisions or i.revision == newest[i.account, i.minutes, i.start])
        ]
        return sorted(found, key=lambda i: -i.start)[:limit]

    def running(self) -> Sequence[Running]:
        """The open intervals."""
        return self.open


class FakeInsight:
    """A process in good order around a site; what is wrong is put in by hand."""

    def __init__(self, clock: Clock, site: Site) -> None:
        self._clock = clock
        self._schedules = ScheduleBook(site.grid)
        now = clock.now_ns()
        self.devices = [
            DeviceQuality(device.id, device.link, 4, 4, now, now + 40_000_000, 1.0, (60,) * 60, 60.0)
            for device in site.devices.values()
        ]
        self.letters = [Letter(1, now, "mqtt/main", "corridor/x", "not_json", "no JSON at character 0")]
        self.trips = [RoundTrip(link, 1000, 0.004, 0.01) for link in site.links if link.startswith("modbus")]
        self.machine = Machinery(
            "0",
            1000,
            1,
            0,
            0,
            "",
            100 << 30,
            60 << 30,
            [Part("pump/embedded", "running", 0, "", now)],
            [Cursor("embedded", 990, 10)],
            [KeptFile("journal", 5 << 20)],
        )
        self.entries: list[Audited] = []
        self.fault = ""
        self.words: dict[str, dict[str, float | str]] = {}

    async def quality(self) -> QualityReport:
        """What is in ``devices``, ``letters`` and ``trips``."""
        now = self._clock.now_ns()
        counts = [LetterCount(each.source, each.reason, 1) for each in self.letters]
        return QualityReport(now, now - 3600 * 10**9, self.devices, counts, self.letters, 0, self.trips)

    async def machinery(self) -> Machinery:
        """What is in ``machine``."""
        return self.machine

    async def audit(self, limit: int, before: int | None = None) -> AuditPage:
        """What is in ``entries``, newest first."""
        chosen = [entry for entry in reversed(self.entries) if before is None or entry.number < before]
        return AuditPage(chosen[:limit], len(self.entries), self.fault)

    def agreed(self, start: int, end: int) -> Mapping[str, Sequence[tuple[int, float]]]:
        """The standing schedules, at both ends of the time."""
        book = self._schedules
        return {s: [(t, book.of(s).at(t)) for t in (start, end)] for s in book.subjects}

    def tolerances(self) -> Mapping[str, float]:
        """20 MW for every schedule."""
        return dict.fromkeys(self._schedules.subjects, 20.0)

    def explained(self, asset: str) -> Mapping[str, float | str]:
        """What is in ``words``."""
        return self.words.get(asset, {})
