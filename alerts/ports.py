"""What the alarm desk offers to the console and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from alerts.alarms import Alarm, Indeterminate


class AlarmDesk(Protocol):
    """The alarms as people see and act on them."""

    @property
    def version(self) -> int:
        """Grows with every change of any alarm."""
        ...

    def active(self) -> Sequence[Alarm]:
        """Alarms that are not normal: unacknowledged, then returned unacknowledged, then acknowledged ones.

        Within each the most urgent come first, then the newest.
        """
        ...

    def indeterminate(self) -> Sequence[Indeterminate]:
        """Rules that cannot be judged now."""
        ...

    async def history(self, limit: int = 200) -> Sequence[Alarm]:
        """Latest state of past and present occurrences, newest first."""
        ...

    async def acknowledge(self, alarm_id: str, who: str, comment: str = "") -> Alarm:
        """Acknowledges an alarm, durably; acknowledging twice changes nothing.

        Raises
        ------
        AlarmError
            There is no such alarm.

        """
        ...

    async def wait(self, version: int) -> int:
        """Returns the new version as soon as it is above ``version``."""
        ...
