"""Alarms as alerts of a Prometheus Alertmanager, which routes and joins them itself.

API v2, ``POST /api/v2/alerts``. An alert is known by its labels, which name the condition and not the
occurrence: processes that see the same alarm post the same alert, and people are told once. An alert ends
when it is said to have ended, or when nobody has posted it for some time; so all that is active is posted
again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from alerts.alarms import Alarm, AlarmState
from alerts.config import Alertmanager
from alerts.notify.channel import Notification
from alerts.notify.heartbeat import Beat
from alerts.notify.posting import post
from telemetry.clock import Clock

_log = structlog.get_logger(__name__)

_SECOND = 1_000_000_000
_MISSED = 3
"""Posts that may be missing before an alert ends by itself."""
_RESOLVED = 15 * 60 * _SECOND
"""How long the end of an alert is posted again [ns]."""
HEARTBEAT = "GreenbridgeHeartbeat"
"""Name of the alert that always fires."""
_HOLDS = frozenset({AlarmState.UNACKNOWLEDGED, AlarmState.ACKNOWLEDGED})

Labels = tuple[tuple[str, str], ...]


class AlertmanagerFeed:
    """A channel for what happens, and a beat for what is active.

    Parameters
    ----------
    settings
        The table.
    site
        Name of the site, a label of every alert.
    console
        Address of the console; empty if it is not known.
    bearer
        Token for a proxy in front; empty for none.
    clock
        Time.
    active
        Alarms that people are told of now.
    judging
        Whether alarms are judged; otherwise the heartbeat is withheld.

    """

    def __init__(
        self,
        settings: Alertmanager,
        site: str,
        *,
        console: str,
        bearer: str,
        clock: Clock,
        active: Callable[[], Sequence[Alarm]],
        judging: Callable[[], bool],
    ) -> None:
        self.id = settings.id
        self._settings = settings
        self._site = site
        self._console = console
        self._headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        self._clock = clock
        self._active = active
        self._judging = judging
        self._fired: dict[Labels, Alarm] = {}
        self._ended: dict[Labels, tuple[Alarm, int]] = {}
        self.beat = Beat(settings.id, settings.every_s, self._refresh, clock)
        """Posts all that is active."""

    async def deliver(self, notification: Notification) -> None:
        """Posts what has happened to an alarm.

        Raises
        ------
        UnavailableError
            It is to be posted again later.
        RefusedError
            It is not taken.

        """
        alarm, now = notification.alarm, self._clock.now_ns()
        if alarm.state in _HOLDS:
            self._fired[_key(self._labels(alarm))] = alarm
        await self._post([self._alert(alarm, now, ended_at=None if alarm.state in _HOLDS else now)])

    async def _refresh(self, now: int) -> None:
        """Posts what is active, what has ended lately, and the heartbeat."""
        active = {_key(self._labels(alarm)): alarm for alarm in self._active() if alarm.state in _HOLDS}
        for key in self._fired.keys() - active.keys():
            self._ended[key] = self._fired[key], now
        self._fired = dict(active)
        for key, (_, at) in list(self._ended.items()):
            if key in active or now - at > _RESOLVED:
                del self._ended[key]
        alerts = [self._alert(alarm, now) for alarm in active.values()]
        alerts += [self._alert(alarm, now, ended_at=at) for alarm, at in self._ended.values()]
        if self._settings.heartbeat:
            if self._judging():
                alerts.append(self._heartbeat(now))
            else:
                _log.error("heartbeat_withheld", reason="alarms are not judged")
        if alerts:
            await self._post(alerts)

    async def _post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        settings = self._settings
        url = f"{settings.url.rstrip('/')}/api/v2/alerts"
        body = msgspec.json.encode(alerts)
        await post(f"Alertmanager {self.id}", url, body, self._headers, settings.timeout_s)

    def _labels(self, alarm: Alarm) -> dict[str, str]:
        return {
            **self._common,
            "alertname": alarm.rule,
            "asset": alarm.asset,
            "severity": alarm.priority.value,
            # an empty label is none (Alertmanager, API v2)
            **({"area": alarm.area} if alarm.area else {}),
        }

    @property
    def _common(self) -> dict[str, str]:
        return {**self._settings.labels, "source": "greenbridge", "site": self._site}

    def _alert(self, alarm: Alarm, now: int, *, ended_at: int | None = None) -> dict[str, Any]:
        annotations = {
            "summary": alarm.title,
            "description": alarm.cause,
            "consequence": alarm.consequence,
            "response": alarm.response,
            "value": f"{alarm.value:.4g} {alarm.unit}, limit {alarm.limit:.4g} {alarm.unit}",
            "acknowledged_by": alarm.acknowledged_by,
        }
        return self._document(
            self._labels(alarm),
            annotations,
            alarm.raised_at,
            self._until(now) if ended_at is None else ended_at,
        )

    def _heartbeat(self, now: int) -> dict[str, Any]:
        summary = "Alarms are judged. Page when this alert is missing; it is no trouble itself."
        labels = {**self._common, "alertname": HEARTBEAT, "severity": "none"}
        return self._document(labels, {"summary": summary}, now, self._until(now))

    def _document(
        self, labels: Mapping[str, str], annotations: Mapping[str, str], starts_at: int, ends_at: int
    ) -> dict[str, Any]:
        return {
            "labels": labels,
            "annotations": {name: text for name, text in annotations.items() if text},
            # an alert that ends before it starts is refused
            "startsAt": _moment(min(starts_at, ends_at)),
            "endsAt": _moment(ends_at),
            **({"generatorURL": self._console} if self._console else {}),
        }

    def _until(self, now: int) -> int:
        return now + round(_MISSED * self._settings.every_s * _SECOND)


def _key(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _moment(t_ns: int) -> str:
    """RFC 3339, to the millisecond."""
    return datetime.fromtimestamp(t_ns // 1_000_000 / 1000, UTC).isoformat(timespec="milliseconds")
