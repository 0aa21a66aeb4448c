"""What alarm desk, schedules and ledger offer to the console and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from alerts.alarms import Alarm, AlarmState, Indeterminate
from alerts.holds import Hold
from alerts.kpi import ALL, Indicators
from alerts.schedule_table import Row
from alerts.schedules import Party, Version
from alerts.settlement.interval import Interval
from alerts.settlement.running import Running


class AlarmDesk(Protocol):
    """The alarms as people see and act on them."""

    @property
    def version(self) -> int:
        """Grows with every change of any alarm."""
        ...

    def active(self) -> Sequence[Alarm]:
        """Alarms that people are told of: unacknowledged ones first, those that are acknowledged last.

        Within each state the most urgent come first, then the newest.
        """
        ...

    def held(self) -> Sequence[Alarm]:
        """Alarms that are shelved, suppressed or out of service."""
        ...

    def orders(self) -> Sequence[tuple[str, Hold]]:
        """What people hold back, by condition, also while there is no alarm."""
        ...

    def indeterminate(self) -> Sequence[Indeterminate]:
        """Rules that cannot be judged now."""
        ...

    def kpi(self, position: str = ALL) -> Indicators:
        """The indicators of the alarms now, for an area or for all.

        Raises
        ------
        AlarmError
            There is no such area.

        """
        ...

    async def history(self, limit: int = 200) -> Sequence[Alarm]:
        """Latest state of past and present occurrences, newest first."""
        ...

    async def find(self, alarm_id: str) -> Alarm | None:
        """Latest state of an occurrence, also of one that is over; None when there is no such alarm."""
        ...

    async def acknowledge(self, alarm_id: str, who: str, comment: str = "") -> Alarm:
        """Acknowledges an alarm, durably; acknowledging twice changes nothing.

        Raises
        ------
        AlarmError
            There is no such alarm.

        """
        ...

    async def reset(self, alarm_id: str, who: str) -> Alarm | None:
        """Resets a latched alarm, durably.

        Raises
        ------
        AlarmError
            There is no such open alarm, it is not latched, or not acknowledged.

        """
        ...

    async def hold(
        self, name: str, kind: AlarmState, who: str, reason: str, for_s: float | None
    ) -> Alarm | None:
        """Shelves a condition, suppresses it or takes it out of service, for so long [s], durably.

        Raises
        ------
        AlarmError
            There is no such condition, or its state, the time or the reason does not allow it.

        """
        ...

    async def unhold(self, name: str, kind: AlarmState, who: str) -> Alarm | None:
        """Ends what :meth:`hold` began, durably; the condition is judged anew.

        Raises
        ------
        AlarmError
            There is no such condition, or it is not held in this way.

        """
        ...

    async def wait(self, version: int) -> int:
        """Returns the new version as soon as it is above ``version``."""
        ...


class ScheduleDesk(Protocol):
    """Schedule versions as people and programs send them in."""

    async def post(
        self, rows: Sequence[Row], file: str, *, party: Party, who: str, author: str = "", source: str = ""
    ) -> Sequence[Version]:
        """Takes in the schedules that rows make, all or none, durably.

        Raises
        ------
        ScheduleError
            With every fault of the rows.

        """
        ...

    async def versions(self, subject: str = "") -> Sequence[Version]:
        """Every version, newest first; of one tie or contract, or of all."""
        ...


class Ledger(Protocol):
    """What was settled, and what is open."""

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
        """Intervals that begin in start <= t < end [ns, UTC], the newest first."""
        ...

    def running(self) -> Sequence[Running]:
        """The open intervals with their projection."""
        ...
