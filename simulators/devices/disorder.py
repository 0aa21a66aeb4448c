"""Disorder on the way to a broker: messages that come twice, or after a later one."""

from __future__ import annotations

import random

from simulators.devices.payloads import Message


class Disorder:
    """Doubles and reorders messages with given probabilities, drawn from a seed; at rest it does nothing."""

    def __init__(self, seed: int = 0) -> None:
        self.duplicate = 0.0
        """Share of messages that are sent twice."""
        self.reorder = 0.0
        """Share of messages that are sent after the next one of their topic."""
        self._random = random.Random(seed)  # noqa: S311 (a simulation)
        self._held: dict[str, Message] = {}

    def applied(self, message: Message) -> list[Message]:
        """What is sent now."""
        sent = [message]
        held = self._held.pop(message.topic, None)
        if held is not None:
            sent.append(held)
        elif self.reorder > 0 and self._random.random() < self.reorder:
            self._held[message.topic] = message
            return []
        if self.duplicate > 0:
            sent = [copy for one in sent for copy in [one] * (1 + (self._random.random() < self.duplicate))]
        return sent
