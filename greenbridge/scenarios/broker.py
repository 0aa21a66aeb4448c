"""An MQTT broker in memory, with one persistent session: what is not acknowledged is delivered again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from adapters.mqtt_session import BrokerLostError, Credentials, Received, Session
from simulators.faults.link import LinkFaults
from telemetry.clock import Clock

MAX_WAITING = 20_000
"""Messages that the devices keep while the broker is away; then the oldest are dropped and counted."""

Published = tuple[str, bytes]
"""Topic and payload."""


class MemoryBroker:
    """Carries what devices publish to the one client of it.

    Parameters
    ----------
    faults
        What is wrong with it and with the way to it.
    clock
        Time.

    """

    def __init__(self, faults: LinkFaults, clock: Clock) -> None:
        self._faults = faults
        self._clock = clock
        self._kept: deque[Published] = deque(maxlen=MAX_WAITING)
        self._queue: deque[Received] = deque()
        self._unacknowledged: dict[int, Received] = {}
        self._number = 0
        self._news = asyncio.Event()
        self._connection: MemoryBrokerLink | None = None
        self._filters: set[str] = set()
        self.dropped = 0
        """Messages that the devices could not keep any more."""

    @property
    def accepts(self) -> bool:
        """Whether it can be reached."""
        return self._faults.accepts

    def publish(self, messages: Iterable[Published]) -> None:
        """Takes what devices publish now; while it cannot be reached, they keep it."""
        if not self.accepts:
            for message in messages:
                self.dropped += len(self._kept) == MAX_WAITING
                self._kept.append(message)
            return
        arriving = [*self._kept, *messages]
        self._kept.clear()
        now_ns = self._clock.now_ns()
        for topic, payload in arriving if self._faults.healthy else self._faults.deliver(arriving):
            if _matches(topic, self._filters):
                self._number += 1
                self._queue.append(Received(topic, payload, 1, self._number, False, now_ns))
        self._news.set()

    def follow(self) -> None:
        """Breaks the connection off if it went down; what was not acknowledged goes back to the queue."""
        if not self.accepts and self._connection is not None:
            self._connection = None
            self._news.set()

    def connect(self, credentials: Credentials, session: Session) -> MemoryBrokerLink:
        """A connection, which entering opens."""
        del credentials, session
        return MemoryBrokerLink(self)

    def opened(self, link: MemoryBrokerLink) -> None:
        """Resumes the session over a new connection.

        Raises
        ------
        BrokerLostError
            It cannot be reached.

        """
        if not self.accepts:
            raise BrokerLostError("connection refused")
        self._connection = link
        now_ns = self._clock.now_ns()
        again = [replace(message, again=True) for message in self._unacknowledged.values()]
        self._unacknowledged.clear()
        # what waits here is received when there is somebody to receive it
        self._queue = deque(replace(message, received_ns=now_ns) for message in (*again, *self._queue))

    def closed(self, link: MemoryBrokerLink) -> None:
        """Ends a connection."""
        if self._connection is link:
            self._connection = None

    def ended(self, link: MemoryBrokerLink) -> bool:
        """Whether a connection is over."""
        return self._connection is not link

    def subscribe(self, filters: Iterable[str]) -> None:
        """Remembers subscriptions for the session."""
        self._filters.update(filters)

    def unsubscribe(self, filter_: str) -> None:
        """Forgets one."""
        self._filters.discard(filter_)

    async def take(self, link: MemoryBrokerLink, limit: int) -> list[Received]:
        """Messages for a connection, as soon as there is one.

        Raises
        ------
        BrokerLostError
            The connection ended.

        """
        while True:
            if self._connection is not link:
                raise BrokerLostError("the connection was closed")
            if self._queue:
                break
            self._news.clear()
            await self._news.wait()
        taken = [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]
        self._unacknowledged.update((message.mid, message) for message in taken)
        return taken

    def acknowledge(self, link: MemoryBrokerLink, messages: Sequence[Received]) -> None:
        """Forgets messages; without effect after the end of the connection."""
        if self._connection is link:
            for message in messages:
                self._unacknowledged.pop(message.mid, None)

    @property
    def unacknowledged(self) -> int:
        """Messages delivered and not acknowledged."""
        return len(self._unacknowledged)


class MemoryBrokerLink:
    """One connection to a :class:`MemoryBroker`, as :class:`adapters.mqtt.source.Link` has it."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    @property
    def held(self) -> int:
        """Messages received and not acknowledged."""
        return self._broker.unacknowledged

    @property
    def ended(self) -> bool:
        """The connection is over."""
        return self._broker.ended(self)

    async def subscribe(self, topics: Sequence[str]) -> list[str]:
        """Subscribes; nothing is refused."""
        self._broker.subscribe(topics)
        return []

    async def unsubscribe(self, topic: str) -> None:
        """Ends a subscription."""
        self._broker.unsubscribe(topic)

    async def take(self, limit: int) -> list[Received]:
        """Messages, as soon as there is one."""
        return await self._broker.take(self, limit)

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """Acknowledges messages."""
        self._broker.acknowledge(self, messages)

    async def __aenter__(self) -> Self:
        self._broker.opened(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._broker.closed(self)


def _matches(topic: str, filters: set[str]) -> bool:
    """Whether a subscription takes a topic: exactly, or with ``+`` for one of its levels."""
    if topic in filters:
        return True
    levels = topic.split("/")
    return any("/".join([*levels[:i], "+", *levels[i + 1 :]]) in filters for i in range(len(levels)))
