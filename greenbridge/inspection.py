"""The process's inside for the console: quality by device, parts, cursors, disk, audit, schedules."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from adapters.metrics import ROUND_TRIP
from alerts.alignment import SECOND
from alerts.config import AlertsSettings
from alerts.schedules import RAMP_S, ScheduleBook
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
from ingest.audit import entries
from ingest.audit_chain import AuditEntry, verify
from ingest.deadletters import DeadLetters, StoredLetter
from ingest.journal.journal import Journal
from ingest.live import LiveTable
from ingest.ports import QueryPort
from ingest.supervision import Supervisor
from telemetry.clock import Clock
from telemetry.errors import StorageError
from telemetry.grid import TieKind
from telemetry.quality import usable
from telemetry.site import Site

_MINUTE = 60 * SECOND
_MINUTES = 60
_KEEP_S = 15.0
"""A report is shown again for so long: it costs a query for each device [s]."""
_LETTERS = 50
_BEFORE, _WITNESSES = 7 * 24 * 60 * _MINUTE, 3
"""How far back, and at how many points, it is looked whether a site had readings before."""
_ROWS = 150_000
"""Readings that one question is to bring."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """The parts that are looked into."""

    state: Path
    journal: Journal
    letters: DeadLetters
    table: LiveTable
    query: QueryPort
    supervisor: Supervisor
    schedules: ScheduleBook
    alerts: Callable[[], AlertsSettings]
    explained: Callable[[str], Mapping[str, float | str]]


class Inspection:
    """:class:`console.insight.Insight` over the parts of a running site.

    Parameters
    ----------
    site
        Gives the site as it is now.
    parts
        What is looked into.
    clock
        Time.

    """

    def __init__(self, site: Callable[[], Site], parts: Inspected, clock: Clock) -> None:
        self._site = site
        self._parts = parts
        self._clock = clock
        self._turn = asyncio.Lock()
        self._report: tuple[float, QualityReport] | None = None

    async def quality(self) -> QualityReport:
        """The last hour of every device in use."""
        async with self._turn:
            now = self._clock.monotonic()
            if self._report is None or now - self._report[0] > _KEEP_S:
                self._report = (now, await self._looked())
            return self._report[1]

    async def _looked(self) -> QualityReport:
        site, at = self._site(), self._clock.now_ns()
        end = at // _MINUTE * _MINUTE
        start = end - _MINUTES * _MINUTE
        newest = self._parts.table.snapshot()
        good = usable(newest.quality)
        devices = []
        for device in site.devices.values():
            points = [point.index for point in site.points_of(device.id)]
            if not (device.enabled and points):
                continue
            mine = np.isin(newest.point, points)
            received = newest.t_received[mine]
            at_all = int(received.argmax()) if len(received) else None
            t_received = int(received[at_all]) if at_all is not None else 0
            profile = site.profiles[device.profile]
            period_s = 0.0 if profile.by_exception else profile.period_s
            first = site.points[points[0]]
            due = period_s > 0 and first.spec.deadband is None
            devices.append(
                DeviceQuality(
                    device.id,
                    device.link,
                    len(points),
                    int((mine & good).sum()),
                    int(newest.t_source[mine][at_all]) if at_all is not None else None,
                    t_received or None,
                    period_s,
                    (),
                    60.0 / profile.period_of(first.key.name) if due else 0.0,
                )
            )
        heads = {d.device: next(iter(site.points_of(d.device))).index for d in devices}
        expected = {heads[d.device]: d.expected_per_minute for d in devices if d.expected_per_minute > 0}
        minutes = await self._minutes(expected, start, end)
        due_from = await self._first_due(minutes, start)
        devices = [replace(d, minutes=minutes.get(heads[d.device], [])[due_from:]) for d in devices]
        letters = self._parts.letters
        return QualityReport(
            at,
            start,
            devices,
            [LetterCount(*row) for row in await letters.counts()],
            [_letter(stored) for stored in await letters.newest(limit=_LETTERS)],
            letters.dropped,
            round_trips(),
        )

    async def _minutes(self, due: Mapping[int, float], start: int, end: int) -> dict[int, list[int]]:
        """Usable readings of points in each minute; few questions for many points."""
        found: dict[int, list[int]] = {}
        for points in _chunks(due):
            # a point that tells more than twice what it must is asked for alone
            most = round(2 * _MINUTES * sum(due[point] for point in points)) + _MINUTES
            readings = await self._parts.query.range(points, start, end, most)
            if len(readings) == most:
                for point in points:
                    found[point] = await self._one(point, start, end)
                continue
            good = usable(readings.quality)
            row = np.searchsorted(np.array(points), readings.point[good])
            cell = row * _MINUTES + (readings.t_source[good] - start) // _MINUTE
            counts = np.bincount(cell, minlength=len(points) * _MINUTES).reshape(len(points), _MINUTES)
            found |= dict(zip(points, counts.tolist(), strict=True))
        return found

    async def _first_due(self, minutes: Mapping[int, Sequence[int]], start: int) -> int:
        """The first minute of the hour in which readings were due: none before a new site's first."""
        empty = min(
            (next((i for i, n in enumerate(row) if n), _MINUTES) for row in minutes.values()), default=0
        )
        if empty == 0:
            return 0
        for point in list(minutes)[:_WITNESSES]:
            before = await self._parts.query.series(point, start - _BEFORE, start, _BEFORE)
            if before.count.any():
                return 0
        return empty + 1

    async def _one(self, point: int, start: int, end: int) -> list[int]:
        found = await self._parts.query.series(point, start, end, _MINUTE)
        counts = np.zeros(_MINUTES, np.int64)
        counts[(found.t - start) // _MINUTE] = found.count
        return [int(count) for count in counts]

    async def machinery(self) -> Machinery:
        """Parts, cursors, queue and disk now."""
        journal, state = self._parts.journal, self._parts.state
        usage, files = await asyncio.to_thread(_disk, state)
        head = journal.head
        return Machinery(
            version("greenbridge"),
            head,
            journal.first,
            journal.queued,
            journal.damaged,
            journal.trouble.detail if journal.trouble is not None else "",
            usage.total,
            usage.free,
            [Part(s.name, s.state, s.restarts, s.error, s.since_ns) for s in self._parts.supervisor.status],
            [
                Cursor(name, position.offset, head - position.offset)
                for name, position in journal.cursors.behind(head + 1)
            ],
            files,
        )

    async def audit(self, limit: int, before: int | None = None) -> AuditPage:
        """Entries, newest first, and whether the chain holds."""
        return await asyncio.to_thread(_audit, self._parts.state / "audit.sqlite", limit, before)

    def agreed(self, start: int, end: int) -> Mapping[str, Sequence[tuple[int, float]]]:
        """Schedules as polylines: their corners are the ends of the ramps."""
        book, half = self._parts.schedules, round(RAMP_S * SECOND)
        found = {}
        for subject in book.subjects:
            corners = {
                corner
                for step in book.steps(subject)
                for corner in (step.start - half, step.start + half)
                if start < corner < end
            }
            agreed = book.of(subject)
            found[subject] = [(t, round(agreed.at(t), 6)) for t in sorted({start, end, *corners})]
        return found

    def tolerances(self) -> Mapping[str, float]:
        """The lowest limits of rules R1, R2 and R10, by what they judge."""
        return tolerances(self._site(), self._parts.alerts())

    def explained(self, asset: str) -> Mapping[str, float | str]:
        """What the newest state estimate says of an asset."""
        return self._parts.explained(asset)


def tolerances(site: Site, alerts: AlertsSettings) -> dict[str, float]:
    """From which deviation on there is an alarm; ring ties are judged by their areas only."""
    found: dict[str, float] = {}
    for tie in site.grid.tie:
        exchange = alerts.exchange.of(tie.id)
        if tie.kind is not TieKind.RING and exchange.enabled:
            found[tie.id] = min(max(each.mw, each.pct_ntc / 100 * tie.ntc_mw) for each in exchange.limits)
    for area in site.grid.area:
        position, frequency = alerts.net_position.of(area.id), alerts.frequency.of(area.sync_area)
        if position.enabled:
            found[area.id] = min(limit.above for limit in position.limits)
        if frequency.enabled:
            found[area.sync_area] = min(limit.above for limit in frequency.limits)
    return found


def _chunks(due: Mapping[int, float]) -> Iterator[list[int]]:
    """Points in groups that are due so many readings in an hour that one answer holds them."""
    group: list[int] = []
    rows = 0.0
    for point in sorted(due):
        group.append(point)
        rows += due[point] * _MINUTES
        if rows >= _ROWS:
            yield group
            group, rows = [], 0.0
    if group:
        yield group


def round_trips() -> list[RoundTrip]:
    """Round trips of every Modbus link, from the process's own metrics."""
    sums: dict[str, float] = {}
    buckets: dict[str, list[tuple[float, float]]] = {}
    for metric in ROUND_TRIP.collect():
        for sample in metric.samples:
            link = sample.labels["link"]
            if sample.name.endswith("_sum"):
                sums[link] = sample.value
            elif sample.name.endswith("_bucket"):
                buckets.setdefault(link, []).append((float(sample.labels["le"]), sample.value))
    found = []
    for link, counted in sorted(buckets.items()):
        polls = max(count for _, count in counted)
        if polls:
            bound = next(le for le, count in counted if count >= 0.95 * polls)
            found.append(
                RoundTrip(link, int(polls), sums[link] / polls, bound if np.isfinite(bound) else None)
            )
    return found


def _disk(state: Path) -> tuple[shutil._ntuple_diskusage, list[KeptFile]]:
    files = []
    for path in sorted(state.iterdir()):
        try:
            each = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
            files.append(KeptFile(path.name, sum(p.stat().st_size for p in each)))
        except FileNotFoundError:
            continue  # it went while it was looked at, as segments do
    return shutil.disk_usage(state), files


def _audit(path: Path, limit: int, before: int | None) -> AuditPage:
    found = entries(path)
    fault = ""
    try:
        verify(found)
    except StorageError as error:
        fault = str(error)
    chosen = [entry for entry in reversed(found) if before is None or entry.number < before][:limit]
    return AuditPage([_audited(entry) for entry in chosen], len(found), fault)


def _audited(entry: AuditEntry) -> Audited:
    act = entry.act
    return Audited(
        entry.number, entry.t, act.who, act.action, act.subject, act.outcome, act.details, entry.digest
    )


def _letter(stored: StoredLetter) -> Letter:
    letter = stored.letter
    return Letter(stored.id, letter.t_received, letter.source, letter.address, letter.reason, letter.detail)
