"""The alarm desk: what people see of the alarms and do about them."""

from __future__ import annotations

from collections.abc import Sequence

from alerts import orders
from alerts.alarms import Alarm, AlarmError, AlarmState, Indeterminate, NotAllowedError
from alerts.engine import AlarmEngine
from alerts.holds import Hold
from alerts.journal import AlarmJournal, Delivery, Step
from alerts.kpi import ALL, Indicators


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
        """Alarms that people are told of: unacknowledged ones first, those that are acknowledged last.

        Within each state the most urgent come first, then the newest.
        """
        return self._engine.view.active

    def held(self) -> Sequence[Alarm]:
        """Alarms that are shelved, suppressed or out of service."""
        return self._engine.view.held

    def orders(self) -> Sequence[tuple[str, Hold]]:
        """What people hold back, by condition, also while there is no alarm."""
        return self._engine.view.orders

    def indeterminate(self) -> Sequence[Indeterminate]:
        """Rules that cannot be judged now."""
        return self._engine.view.indeterminate

    async def history(self, limit: int = 200) -> Sequence[Alarm]:
        """Latest state of past and present occurrences, newest first."""
        return await self._journal.history(limit)

    async def steps(self, alarm_id: str) -> Sequence[Step]:
        """Every step of an occurrence, oldest first; none for one that is not known."""
        return await self._journal.steps(alarm_id)

    async def find(self, alarm_id: str) -> Alarm | None:
        """Latest state of an occurrence, also of one that is over; None when there is no such alarm."""
        there = (*self._engine.view.active, *self._engine.view.held)
        return next((alarm for alarm in there if alarm.id == alarm_id), None) or await self._journal.find(
            alarm_id
        )

    async def deliveries(self, alarm_id: str) -> Sequence[Delivery]:
        """What people were told of an occurrence, oldest first, as far as that is still known."""
        return await self._journal.deliveries(alarm_id)

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
            alarm = await self._engine.order(orders.acknowledge(alarm_id, who, comment))
        except NotAllowedError:
            raise
        except AlarmError:
            alarm = None
        if alarm is None:
            alarm = await self._journal.find(alarm_id)
        if alarm is None:
            raise AlarmError(f"there is no alarm {alarm_id}")
        return alarm

    async def reset(self, alarm_id: str, who: str) -> Alarm | None:
        """Resets a latched alarm, durably.

        Raises
        ------
        AlarmError
            There is no such open alarm, it is not latched, or not acknowledged.
        StorageError
            It could not be made durable; the alarm is as it was.

        """
        return await self._engine.order(orders.reset(alarm_id, who))

    async def hold(
        self, name: str, kind: AlarmState, who: str, reason: str, for_s: float | None
    ) -> Alarm | None:
        """Shelves a condition, suppresses it or takes it out of service, durably.

        Parameters
        ----------
        name
            Id of an open alarm, or key of a condition: ``R6/SHY-TAS``.
        kind
            One of the held states.
        who, reason
            For the list, the history and the audit.
        for_s
            For how long [s]; None until :meth:`unhold`, for what may last so long.

        Raises
        ------
        AlarmError
            There is no such condition, or its state, the time or the reason does not allow it.
        StorageError
            It could not be made durable; the condition is as it was.

        """
        return await self._engine.order(orders.hold(name, kind, who, reason, for_s))

    async def unhold(self, name: str, kind: AlarmState, who: str) -> Alarm | None:
        """Ends what :meth:`hold` began, durably; the condition is judged anew.

        Raises
        ------
        AlarmError
            There is no such condition, or it is not held in this way.
        StorageError
            It could not be made durable; the condition is as it was.

        """
        return await self._engine.order(orders.unhold(name, kind, who))

    def kpi(self, position: str = ALL) -> Indicators:
        """The indicators of the alarms now, for an area or for all."""
        return self._engine.kpi(position)

    async def wait(self, version: int) -> int:
        """Returns the new version as soon as it is above ``version``."""
        return await self._engine.version.past(version)
