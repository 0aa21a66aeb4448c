"""The alarm desk: what people see of the alarms and do about them."""

from __future__ import annotations

from collections.abc import Sequence

from alerts.alarms import Alarm, AlarmError, Indeterminate
from alerts.engine import AlarmEngine
from alerts.journal import AlarmJournal


class Desk:
    """:class:`alerts.ports.AlarmDesk` over a running engine and its journal; shows only what is durable."""

    def __init__(self, engine: AlarmEngine, journal: AlarmJournal) -> None:
        self._engine = engine
        self._journal = journal

    @property
    def version(self) -> int:
        """Grows with every change of any alarm."""
        return self._engine.version.value

    def active(self) -> Sequence[Alarm]:
        """Alarms that are not normal: unacknowledged, then returned unacknowledged, then acknowledged ones.

        Within each the most urgent come first, then the newest.
        """
        return self._engine.view.active

    def indeterminate(self) -> Sequence[Indeterminate]:
        """Rules that cannot be judged now."""
        return self._engine.view.indeterminate

    async def history(self, limit: int = 200) -> Sequence[Alarm]:
        """Latest state of past and present occurrences, newest first."""
        return await self._journal.history(limit)

    async def acknowledge(self, alarm_id: str, who: str, comment: str = "") -> Alarm:
        """Acknowledges an alarm, durably; acknowledging twice, or one that is over, changes nothing.

        Raises
        ------
        AlarmError
            There is no such alarm.
        StorageError
            It could not be made durable; the alarm is as it was.

        """
        try:
            return await self._engine.acknowledge(alarm_id, who, comment)
        except AlarmError:
            past = await self._journal.find(alarm_id)
            if past is None:
                raise AlarmError(f"there is no alarm {alarm_id}") from None
            return past

    async def wait(self, version: int) -> int:
        """Returns the new version as soon as it is above ``version``."""
        return await self._engine.version.past(version)
