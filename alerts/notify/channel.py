"""What a channel is and what it delivers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from alerts.alarms import Alarm
from alerts.config import Occasion
from telemetry.errors import GreenbridgeError


class RefusedError(GreenbridgeError):
    """A channel that will never accept this notification; a retry does not help."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing that people are told, once for each channel."""

    key: str
    """The same at every attempt: a receiver that has seen it can drop the repetition."""
    occasion: Occasion
    at: int
    """When it happened [ns, UTC]."""
    alarm: Alarm
    """The alarm as it was then."""


class Channel(Protocol):
    """A way to reach people."""

    @property
    def id(self) -> str:
        """Name of the channel, unique in the configuration."""
        ...

    async def deliver(self, notification: Notification) -> None:
        """Hands a notification over; returns when the receiver has confirmed it.

        Raises
        ------
        UnavailableError
            Not delivered; to be tried again later.
        RefusedError
            Not delivered, and never will be.

        """
        ...
