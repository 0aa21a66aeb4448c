"""What a channel is and what it delivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from alerts.alarms import Alarm
from alerts.config import Occasion
from telemetry.errors import GreenbridgeError


class RefusedError(GreenbridgeError):
    """A channel that will never accept this notification; a retry does not help."""


@dataclass(frozen=True, slots=True)
class Also:
    """A further alarm of a notification."""

    occasion: Occasion
    alarm: Alarm


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing that people are told, once for each channel."""

    key: str
    """The same at every attempt: a receiver that has seen it can drop the repetition."""
    occasion: Occasion
    at: int
    """When it happened [ns, UTC]."""
    alarm: Alarm
    """The alarm as it was then; of several the gravest."""
    also: tuple[Also, ...] = ()
    """Further alarms that are told with it, gravest first; at most :data:`MOST_TOLD`."""
    total: int = 1
    """Alarms that it stands for, also those that are not named."""
    tally: Mapping[str, int] = field(default_factory=dict)
    """Of those their number by priority, when there are several."""


MOST_TOLD = 20
"""Further alarms that one notification names."""


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
