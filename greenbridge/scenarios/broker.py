"""An MQTT broker in memory: sessions of sources, edge nodes, wills, what is retained.

A persistent session gets again what it did not acknowledge. What the broker holds outlives its restarts, as
with a store on disk; no will is published then, for nobody is there to do it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from adapters.mqtt_session import BrokerLostError, Credentials, Received, Session
from simulators.faults.link import LinkFaults
from telemetry.clock import Clock

MAX_WAITING = 20_000
"""Messages that the devices keep while the broker is away; then the oldest are dropped and counted."""
MAX_TOPICS = 100_000
"""Topics of which a set of filters remembers whether it takes them."""

Published = tuple[str, bytes]
"""Topic and payload."""


class Visitor(Protocol):
    """A client that is told what happens, in place of a task that waits for it."""

    def hear(self, topic: str, payload: bytes) -> None:
        """A message of a subscription arrived."""
        ...


class Filters:
    """The topic filters of one client (MQTT 3.1.1, 4.7)."""

    def __init__(self, filters: Iterable[str] = ()) -> None:
        self._filters = set(filters)
        self._taken: dict[str, bool] = {}

    def add(self, filters: Iterable[str]) -> None:
        """Adds some."""
        self._filters.update(filters)
        self._taken.clear()

    def discard(self, filter_: str) -> None:
        """Takes one away."""
        self._filters.discard(filter_)
        self._taken.clear()

    def take(self, topic: str) -> bool:
        """Whether one of them takes a topic."""
        taken = self._taken.get(topic)
        if taken is None:
            if len(self._taken) >= MAX_TOPICS:
                self._taken.clear()
            levels = topic.split("/")
            taken = topic in self._filters or any(_fits(levels, f.split("/")) for f in self._filters)
            self._taken[topic] = taken
        return taken


class _Session:
    """What the broker keeps of one source."""

    def __init__(self) -> None:
        self.filters = Filters()
        self.queue: deque[Received] = deque()
        self.unacknowledged: dict[int, Received] = {}
        self.news = asyncio.Event()
        self.link: MemoryBrokerLink | None = None


@dataclass(frozen=True, slots=True)
class _Visit:
    """The connection of one visitor."""

    will: Published
    filters: Filters


class MemoryBroker:
    """Carries what devices publish to the sources, and what sources publish to edge nodes.

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
        self._sessions: dict[str, _Session] = {}
        self._visits: dict[Visitor, _Visit] = {}
        self._retained: dict[str, bytes] = {}
        self._number = 0
        self.dropped = 0
        """Messages that the devices could not keep any more."""

    @property
    def accepts(self) -> bool:
        """Whether it can be reached."""
        return self._faults.accepts

    def publish(self, messages: Iterable[Published]) -> None:
        """Takes what devices publish now at QoS 1; while it cannot be reached, they keep it."""
        if not self.accepts:
            for message in messages:
                self.dropped += len(self._kept) == MAX_WAITING
                self._kept.append(message)
            return
        arriving = [*self._kept, *messages]
        self._kept.clear()
        for topic, payload in arriving if self._faults.healthy else self._faults.deliver(arriving):
            self.route(topic, payload, 1)

    def route(self, topic: str, payload: bytes, qos: int = 0, *, retain: bool = False) -> None:
        """Delivers one message to everybody who has subscribed to it."""
        if retain:
            self._retained[topic] = payload
        now_ns = self._clock.now_ns()
        for session in self._sessions.values():
            if (qos or session.link is not None) and session.filters.take(topic):
                self._queue(session, topic, payload, qos, now_ns)
        for visitor, visit in list(self._visits.items()):
            if visit.filters.take(topic):
                visitor.hear(topic, payload)

    def follow(self) -> None:
        """Breaks every connection off if it went down; what was not acknowledged goes back to the queue."""
        if self.accepts:
            return
        self._visits.clear()
        for session in self._sessions.values():
            session.link = None
            session.news.set()

    def opener(self, client_id: str) -> Callable[[Credentials, Session], MemoryBrokerLink]:
        """Makes the connections of one source, which entering opens."""
        return partial(MemoryBrokerLink, self, client_id)

    def opened(self, link: MemoryBrokerLink, client_id: str, *, keep: bool) -> _Session:
        """Resumes the session of a client over a new connection, or begins a clean one.

        Raises
        ------
        BrokerLostError
            It cannot be reached.

        """
        if not self.accepts:
            raise BrokerLostError("connection refused")
        session = self._sessions.get(client_id)
        if session is None or not keep:
            session = self._sessions[client_id] = _Session()
        session.link = link
        now_ns = self._clock.now_ns()
        again = [replace(message, again=True) for message in session.unacknowledged.values()]
        session.unacknowledged.clear()
        # what waits here is received when there is somebody to receive it
        session.queue = deque(replace(message, received_ns=now_ns) for message in (*again, *session.queue))
        return session

    def subscribe(self, session: _Session, filters: Sequence[str]) -> None:
        """Remembers subscriptions for a session, and delivers what is retained."""
        session.filters.add(filters)
        now_ns = self._clock.now_ns()
        for topic, payload in self._kept_for(filters):
            self._queue(session, topic, payload, 1, now_ns, retained=True)

    def enter(self, visitor: Visitor, will: Published) -> None:
        """Lets a visitor in, with what is to be published if its connection breaks."""
        self._visits[visitor] = _Visit(will, Filters())

    def ask(self, visitor: Visitor, filters: Collection[str]) -> None:
        """Subscribes a visitor, and tells it what is retained."""
        self._visits[visitor].filters.add(filters)
        for topic, payload in self._kept_for(filters):
            visitor.hear(topic, payload)

    def has(self, visitor: Visitor) -> bool:
        """Whether the connection of a visitor stands."""
        return visitor in self._visits

    def leave(self, visitor: Visitor) -> None:
        """A visitor has said DISCONNECT: its will is forgotten (MQTT 3.1.1, 3.14.4)."""
        self._visits.pop(visitor, None)

    def cut(self, visitor: Visitor) -> None:
        """The connection of a visitor broke: its will is published (MQTT 3.1.1, 3.1.2.5)."""
        visit = self._visits.pop(visitor, None)
        if visit is not None:
            self.route(*visit.will, 1)

    def _kept_for(self, filters: Iterable[str]) -> list[Published]:
        wanted = Filters(filters)
        return [(topic, payload) for topic, payload in self._retained.items() if wanted.take(topic)]

    def _queue(
        self,
        session: _Session,
        topic: str,
        payload: bytes,
        qos: int,
        now_ns: int,
        *,
        retained: bool = False,
    ) -> None:
        self._number += 1
        session.queue.append(Received(topic, payload, qos, self._number, retained, now_ns))
        session.news.set()


class MemoryBrokerLink:
    """One connection of a source, as :class:`adapters.sparkplug.source.HostLink` has it.

    Parameters
    ----------
    broker
        The broker.
    client_id
        Whose session it is.
    credentials
        Not asked for.
    session
        What the broker is to keep.

    """

    def __init__(
        self, broker: MemoryBroker, client_id: str, credentials: Credentials, session: Session
    ) -> None:
        del credentials
        self._broker = broker
        self._client_id = client_id
        self._keep = session.keep_s > 0
        self._session = _Session()

    @property
    def held(self) -> int:
        """Messages received and not acknowledged."""
        return len(self._session.unacknowledged)

    @property
    def ended(self) -> bool:
        """The connection is over."""
        return self._session.link is not self

    async def subscribe(self, topics: Sequence[str]) -> list[str]:
        """Subscribes; nothing is refused.

        Raises
        ------
        BrokerLostError
            The connection ended.

        """
        self._require("subscribe")
        self._broker.subscribe(self._session, topics)
        return []

    async def unsubscribe(self, topic: str) -> None:
        """Ends a subscription."""
        self._session.filters.discard(topic)

    async def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Publishes.

        Raises
        ------
        BrokerLostError
            The connection ended.

        """
        self._require("publish")
        self._broker.route(topic, payload, qos, retain=retain)

    async def take(self, limit: int) -> list[Received]:
        """Messages, as soon as there is one.

        Raises
        ------
        BrokerLostError
            The connection ended.

        """
        session = self._session
        while True:
            self._require("take")
            if session.queue:
                break
            session.news.clear()
            await session.news.wait()
        taken = [session.queue.popleft() for _ in range(min(limit, len(session.queue)))]
        session.unacknowledged.update((message.mid, message) for message in taken if message.qos)
        return taken

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """Acknowledges messages; without effect after the end of the connection."""
        if not self.ended:
            for message in messages:
                self._session.unacknowledged.pop(message.mid, None)

    def _require(self, what: str) -> None:
        if self.ended:
            raise BrokerLostError(f"{what}: the connection was closed")

    async def __aenter__(self) -> Self:
        self._session = self._broker.opened(self, self._client_id, keep=self._keep)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.ended:
            self._session.link = None


def _fits(topic: Sequence[str], filter_: Sequence[str]) -> bool:
    """Whether a filter takes a topic, both by their levels: ``+`` is any level, ``#`` at the end any rest."""
    if filter_[-1] == "#":
        # the parent itself is taken too (MQTT 3.1.1, 4.7.1.2)
        filter_ = filter_[:-1]
        topic = topic[: len(filter_)]
    return len(topic) == len(filter_) and all(
        wanted in {"+", level} for wanted, level in zip(filter_, topic, strict=True)
    )
