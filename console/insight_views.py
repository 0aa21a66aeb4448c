"""What the HTTP API answers about the machinery; times in milliseconds [ms, UTC]. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from alerts.kpi import Indicators
from console.insight import AuditPage, Machinery, QualityReport
from console.views import ms


class DeviceQualityView(msgspec.Struct, frozen=True):
    """One device over the last hour."""

    device: str
    link: str
    points: int
    good: int
    t_source: int | None
    t_received: int | None
    delay_s: float | None
    """Source time to receipt of the newest reading [s]: latency and clock error together."""
    period_s: float
    minutes: Sequence[int]
    expected_per_minute: float
    completeness_pct: float | None
    gaps: int


class LetterCountView(msgspec.Struct, frozen=True):
    """Dead letters of one source and reason."""

    source: str
    reason: str
    count: int


class LetterView(msgspec.Struct, frozen=True):
    """One dead letter."""

    number: int
    t_received: int
    source: str
    address: str
    reason: str
    detail: str


class RoundTripView(msgspec.Struct, frozen=True):
    """Round trips of one link since the start."""

    link: str
    polls: int
    mean_s: float
    p95_s: float | None


class QualityView(msgspec.Struct, frozen=True):
    """The last hour."""

    at: int
    start: int
    devices: list[DeviceQualityView]
    letters: list[LetterCountView]
    newest_letters: list[LetterView]
    letters_dropped: int
    round_trips: list[RoundTripView]


def quality_view(report: QualityReport) -> QualityView:
    """View of a report."""
    return QualityView(
        ms(report.at),
        ms(report.start),
        [
            DeviceQualityView(
                d.device,
                d.link,
                d.points,
                d.good,
                None if d.t_source is None else ms(d.t_source),
                None if d.t_received is None else ms(d.t_received),
                None
                if d.t_source is None or d.t_received is None
                else round((d.t_received - d.t_source) / 1e9, 3),
                d.period_s,
                d.minutes,
                round(d.expected_per_minute, 3),
                None if d.completeness_pct is None else round(d.completeness_pct, 2),
                d.gaps,
            )
            for d in report.devices
        ],
        [LetterCountView(c.source, c.reason, c.count) for c in report.letters],
        [
            LetterView(each.number, ms(each.t_received), each.source, each.address, each.reason, each.detail)
            for each in report.newest_letters
        ],
        report.letters_dropped,
        [RoundTripView(r.link, r.polls, round(r.mean_s, 6), r.p95_s) for r in report.round_trips],
    )


class PartView(msgspec.Struct, frozen=True):
    """One supervised task."""

    name: str
    state: str
    restarts: int
    error: str
    since: int


class CursorView(msgspec.Struct, frozen=True):
    """One consumer of the journal."""

    name: str
    offset: int
    behind: int


class FileView(msgspec.Struct, frozen=True):
    """One file of the state directory [B]."""

    name: str
    size: int


class MachineryView(msgspec.Struct, frozen=True):
    """Parts, journal and disk."""

    version: str
    head: int
    first: int
    queued: int
    damaged: int
    trouble: str
    disk_total: int
    disk_free: int
    parts: list[PartView]
    cursors: list[CursorView]
    files: list[FileView]


def machinery_view(found: Machinery) -> MachineryView:
    """View of the machinery."""
    return MachineryView(
        found.version,
        found.head,
        found.first,
        found.queued,
        found.damaged,
        found.trouble,
        found.disk_total,
        found.disk_free,
        [PartView(p.name, p.state, p.restarts, p.error, ms(p.since)) for p in found.parts],
        [CursorView(c.name, c.offset, c.behind) for c in found.cursors],
        [FileView(f.name, f.size) for f in found.files],
    )


class AuditedView(msgspec.Struct, frozen=True):
    """One entry of the audit."""

    number: int
    t: int
    who: str
    action: str
    subject: str
    outcome: str
    details: Mapping[str, str]
    digest: str


class AuditView(msgspec.Struct, frozen=True):
    """Entries, newest first."""

    entries: list[AuditedView]
    total: int
    fault: str
    """Where the chain of digests is broken; empty when it is not."""


def audit_view(page: AuditPage) -> AuditView:
    """View of a part of the audit."""
    return AuditView(
        [
            AuditedView(e.number, ms(e.t), e.who, e.action, e.subject, e.outcome, e.details, e.digest)
            for e in page.entries
        ],
        page.total,
        page.fault,
    )


class AgreedPoint(msgspec.Struct, frozen=True, array_like=True):
    """A corner of a schedule: time [ms, UTC] and value [MW], as an array."""

    t: int
    mw: float


class AgreedView(msgspec.Struct, frozen=True):
    """What was agreed, and from which deviation on the mildest alarm comes."""

    schedules: dict[str, list[AgreedPoint]]
    """By tie and contract."""
    tolerances: Mapping[str, float]
    """By tie and area [MW], by synchronous area [Hz]; of those that a rule judges."""


def agreed_view(
    agreed: Mapping[str, Sequence[tuple[int, float]]], tolerances: Mapping[str, float]
) -> AgreedView:
    """View of schedules."""
    lines = {subject: [AgreedPoint(ms(t), mw) for t, mw in line] for subject, line in agreed.items()}
    return AgreedView(lines, tolerances)


class TalkerView(msgspec.Struct, frozen=True):
    """A condition that is raised often."""

    key: str
    count: int
    share_pct: float


class IndicatorsView(msgspec.Struct, frozen=True):
    """How well the alarms serve people, over the last day; see ``alerts.kpi.Indicators``."""

    position: str
    at: int
    last_10_min: int
    last_hour: int
    last_day: int
    peak_10_min: int
    in_flood: bool
    flood_pct: float
    standing: int
    unacknowledged: int
    stale: int
    held: int
    chattering: int
    fleeting: int
    acknowledge_median_s: float | None
    acknowledge_p90_s: float | None
    priority_pct: Mapping[str, float]
    top: list[TalkerView]


def indicators_view(found: Indicators) -> IndicatorsView:
    """View of the indicators of a position."""
    return IndicatorsView(
        found.position,
        ms(found.at),
        found.last_10_min,
        found.last_hour,
        found.last_day,
        found.peak_10_min,
        found.in_flood,
        found.flood_pct,
        found.standing,
        found.unacknowledged,
        found.stale,
        found.held,
        found.chattering,
        found.fleeting,
        found.acknowledge_median_s,
        found.acknowledge_p90_s,
        found.priority_pct,
        [TalkerView(t.key, t.count, t.share_pct) for t in found.top],
    )
