"""What the HTTP API answers: typed JSON, built from the vocabulary. Pure.

Times are integers in milliseconds [ms, UTC], because a browser's numbers do not hold nanoseconds of today;
values that are not known are null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from alerts.alarms import Alarm, Indeterminate
from alerts.first_out import Place
from alerts.holds import Hold
from console.ports import Announcement, Status
from telemetry.batch import Columns
from telemetry.quality import reason_of


def ms(t_ns: int) -> int:
    """Nanoseconds as whole milliseconds."""
    return t_ns // 1_000_000


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


class ReadingView(msgspec.Struct, frozen=True, array_like=True):
    """A reading as an array, because many of them travel every second."""

    point: int
    value: float | None
    """In the unit of the point, to six significant digits."""
    quality: int
    """Code, see ``telemetry.quality``: 0 good, 64-127 uncertain, 128-255 bad."""
    reason: str
    """Of the quality: ``good``, ``stale``, ``link_lost`` ..."""
    t: int
    """Source time [ms, UTC]."""


def reading_views(columns: Columns) -> list[ReadingView]:
    """One view for each reading."""
    return [
        ReadingView(point, _number(float(f"{value:.6g}")), quality, reason_of(quality), ms(t))
        for point, t, value, quality in zip(
            columns.point.tolist(),
            columns.t_source.tolist(),
            columns.value.tolist(),
            columns.quality.tolist(),
            strict=True,
        )
    ]


class AlarmView(msgspec.Struct, frozen=True):
    """An alarm; the fields are those of ``alerts.alarms.Alarm``, times in milliseconds."""

    id: str
    key: str
    rule: str
    asset: str
    area: str
    title: str
    priority: str
    state: str
    value: float | None
    limit: float | None
    unit: str
    quality: str
    t_source: int
    raised_at: int
    updated_at: int
    cleared_at: int | None
    acknowledged_at: int | None
    acknowledged_by: str
    comment: str
    cause: str
    consequence: str
    response: str
    evidence: Mapping[str, float | str | None]
    occurrences: int
    began_at: int
    parent: str
    """Id of the alarm that explains this one, or empty."""
    chattering: bool
    held_reason: str
    """Why people are not told of it; empty while they are."""
    held_by: str
    held_until: int | None
    cascade: CascadeView | None = None
    """Where it stands among the alarms that one cause explains; None for one on its own."""


class CascadeView(msgspec.Struct, frozen=True):
    """First-out: the place of an alarm in its cascade."""

    id: str
    """Of the alarm that explains the others."""
    order: int
    """1 for the first; equal for those that began in the same second."""
    of: int
    """Alarms of the cascade."""
    after_first_ms: int
    after_previous_ms: int


def alarm_view(alarm: Alarm, place: Place | None = None) -> AlarmView:
    """View of an alarm, with its place in a cascade."""
    return AlarmView(
        id=alarm.id,
        key=alarm.key,
        rule=alarm.rule,
        asset=alarm.asset,
        area=alarm.area,
        title=alarm.title,
        priority=alarm.priority.value,
        state=alarm.state.value,
        value=_number(alarm.value),
        limit=_number(alarm.limit),
        unit=alarm.unit,
        quality=alarm.quality,
        t_source=ms(alarm.t_source),
        raised_at=ms(alarm.raised_at),
        updated_at=ms(alarm.updated_at),
        cleared_at=None if alarm.cleared_at is None else ms(alarm.cleared_at),
        acknowledged_at=None if alarm.acknowledged_at is None else ms(alarm.acknowledged_at),
        acknowledged_by=alarm.acknowledged_by,
        comment=alarm.comment,
        cause=alarm.cause,
        consequence=alarm.consequence,
        response=alarm.response,
        evidence={
            name: found if isinstance(found, str) else _number(found)
            for name, found in alarm.evidence.items()
        },
        occurrences=alarm.occurrences,
        began_at=ms(alarm.began_at),
        parent=alarm.parent,
        chattering=alarm.chattering,
        held_reason=alarm.held_reason,
        held_by=alarm.held_by,
        held_until=None if alarm.held_until is None else ms(alarm.held_until),
        cascade=None if place is None else _cascade(place),
    )


def _cascade(place: Place) -> CascadeView:
    return CascadeView(place.cascade, place.order, place.of, place.after_first_ms, place.after_previous_ms)


class OrderView(msgspec.Struct, frozen=True):
    """What a person holds back, also while it has no alarm."""

    condition: str
    kind: str
    who: str
    reason: str
    since: int
    until: int | None


def order_views(orders: Sequence[tuple[str, Hold]]) -> list[OrderView]:
    """Views in the order given."""
    return [
        OrderView(
            condition,
            hold.kind.value,
            hold.who,
            hold.reason,
            ms(hold.since),
            None if hold.until is None else ms(hold.until),
        )
        for condition, hold in orders
    ]


class IndeterminateView(msgspec.Struct, frozen=True):
    """A rule that cannot be judged now."""

    rule: str
    asset: str
    reason: str
    since: int


def indeterminate_views(rules: Sequence[Indeterminate]) -> list[IndeterminateView]:
    """Views, oldest first."""
    ordered = sorted(rules, key=lambda rule: (rule.since, rule.rule, rule.asset))
    return [IndeterminateView(rule.rule, rule.asset, rule.reason, ms(rule.since)) for rule in ordered]


class AlarmsView(msgspec.Struct, frozen=True):
    """Everything that the alarm desk shows."""

    version: int
    """Grows with every change."""
    alarms: list[AlarmView]
    held: list[AlarmView]
    orders: list[OrderView]
    indeterminate: list[IndeterminateView]


class AnnouncementView(msgspec.Struct, frozen=True):
    """A message for the banner."""

    t: int
    text: str


def announcement_views(announcements: Sequence[Announcement]) -> list[AnnouncementView]:
    """Views in the order given."""
    return [AnnouncementView(ms(a.t), a.text) for a in announcements]


class LinkView(msgspec.Struct, frozen=True):
    """One connection to the field."""

    link: str
    up: bool
    since: int
    detail: str


class StoreView(msgspec.Struct, frozen=True):
    """One store and its conservation sum."""

    name: str
    received: int
    stored: int
    revised: int
    duplicates: int
    suppressed: int
    dead_lettered: int
    expired: int
    pending: int
    unaccounted: int
    holds: bool
    lag_s: float
    detail: str


class LatencyView(msgspec.Struct, frozen=True):
    """Durations [s]; null where there were none."""

    p50_s: float | None
    p99_s: float | None


class StatusView(msgspec.Struct, frozen=True):
    """The state of the process, see ``console.ports.Status``."""

    started_at: int
    devices: int
    devices_seen: int
    readings_per_s: float
    readings: int
    dead_letters: int
    read_to_durable: LatencyView
    links: list[LinkView]
    stores: list[StoreView]
    not_ready: str


def status_view(status: Status) -> StatusView:
    """View of the state of the process."""
    return StatusView(
        started_at=ms(status.started_at),
        devices=status.devices,
        devices_seen=status.devices_seen,
        readings_per_s=round(status.readings_per_s, 1),
        readings=status.readings,
        dead_letters=status.dead_letters,
        read_to_durable=LatencyView(status.read_to_durable.p50_s, status.read_to_durable.p99_s),
        links=[LinkView(link.link, link.up, ms(link.since), link.detail) for link in status.links],
        stores=[
            StoreView(
                name=store.name,
                received=store.received,
                stored=store.totals.stored,
                revised=store.totals.revised,
                duplicates=store.totals.duplicates,
                suppressed=store.totals.suppressed,
                dead_lettered=store.totals.dead_lettered,
                expired=store.totals.expired,
                pending=store.pending,
                unaccounted=store.unaccounted,
                holds=store.holds,
                lag_s=round(store.lag_s, 3),
                detail=store.detail,
            )
            for store in status.stores
        ],
        not_ready=status.not_ready,
    )
