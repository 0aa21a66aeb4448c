"""What comes of an edge node's messages besides readings."""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.sparkplug.codec import Message
from adapters.sparkplug.directory import Entry
from adapters.sparkplug.rejection import RejectedPayloadError, Rejection


@dataclass(slots=True)
class Outcome:
    """What came of messages, besides readings."""

    rejected: list[tuple[Message, RejectedPayloadError]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    born: list[tuple[str | None, Entry]] = field(default_factory=list)
    """Devices (None for the node) that were born."""
    unborn: list[str | None] = field(default_factory=list)
    """Configured devices that their node was born without."""
    rebirth: str = ""
    """Why births are needed; empty when they are not."""

    def count(self, event: str, n: int = 1) -> None:
        """Counts something by a bounded word."""
        if n:
            self.counts[event] = self.counts.get(event, 0) + n

    def reject(self, message: Message, reason: Rejection, detail: str) -> None:
        """Keeps a message as a dead letter."""
        self.rejected.append((message, RejectedPayloadError(reason, detail)))
