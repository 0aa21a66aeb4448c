"""The channel that always works: the structured log."""

from __future__ import annotations

import structlog

from alerts.config import LOG_CHANNEL
from alerts.notify.channel import Notification

_log = structlog.get_logger(__name__)


class LogChannel:
    """Writes each notification as one line of the structured log."""

    id = LOG_CHANNEL

    async def deliver(self, notification: Notification) -> None:
        """Writes the line."""
        alarm = notification.alarm
        _log.warning(
            "alarm_notification",
            occasion=notification.occasion.value,
            key=notification.key,
            alarm=alarm.id,
            rule=alarm.rule,
            asset=alarm.asset,
            area=alarm.area,
            priority=alarm.priority.value,
            state=alarm.state.value,
            title=alarm.title,
            value=alarm.value,
            limit=alarm.limit,
            unit=alarm.unit,
            evidence=dict(alarm.evidence),
            response=alarm.response,
        )
