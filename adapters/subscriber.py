"""The frame of every source that a broker feeds: attempts, commits, acknowledgements, complaints."""

from __future__ import annotations

import asyncio
import os
import random
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import structlog

from adapters.broker import BrokerConnection
from adapters.link import LinkState
from adapters.mqtt_session import BrokerLostError, Credentials, Received, Session, SubscriptionRefusedError
from ingest.ports import DeadLetter, Intake
from telemetry.backoff import Backoff
from telemetry.batch import Columns, ReadingBatch
from telemetry.clock import Clock

DRAIN = 500
"""Messages that become one batch at most."""
MAX_COMPLAINTS = 1000
"""Kinds of rejection, by topic and reason, that are logged; all are counted and kept as dead letters."""
SHOWN_BYTES = 16
"""Bytes of a rejected payload that the log shows."""

_log = structlog.get_logger(__name__)


class Link(Protocol):
    """What a source needs of a connection to a broker; see :class:`adapters.mqtt_client.ManualAckClient`."""

    @property
    def held(self) -> int:
        """Messages that are received and not acknowledged."""
        ...

    @property
    def ended(self) -> bool:
        """The connection is over; what is in memory can still be taken."""
        ...

    async def subscribe(self, topics: Sequence[str]) -> list[str]:
        """Subscribes with QoS 1; returns those topics that the broker refused."""
        ...

    async def unsubscribe(self, topic: str) -> None:
        """Ends a subscription that the session remembers."""
        ...

    async def take(self, limit: int) -> list[Received]:
        """Up to ``limit`` messages, in order of receipt, as soon as there is one."""
        ...

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """Acknowledges messages in the order of receipt."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


AnyLink = TypeVar("AnyLink", bound=Link)
AnyLink_co = TypeVar("AnyLink_co", bound=Link, covariant=True)


class Opener(Protocol[AnyLink_co]):
    """Makes a connection that entering opens; entering and all its calls raise BrokerLostError."""

    def __call__(self, credentials: Credentials, session: Session, /) -> AnyLink_co:
        """The connection."""
        ...


class Subscriber(ABC, Generic[AnyLink]):
    """A source on one broker: connects, does its parts while the connection stands, and connects again.

    Parameters
    ----------
    protocol
        First part of the link's name, and of the events in the log.
    connection
        Settings of the connection.
    opener
        Makes connections.
    intake
        Where batches and dead letters go; messages are acknowledged after both are durable.
    clock
        Time.
    environment
        Where ``password_env`` is looked up; the process environment if not given.
    uniform
        Numbers in [0, 1) for the jitter of pauses.

    """

    def __init__(
        self,
        protocol: str,
        connection: BrokerConnection,
        opener: Opener[AnyLink],
        intake: Intake,
        clock: Clock,
        *,
        environment: Mapping[str, str] | None = None,
        uniform: random.Random | None = None,
    ) -> None:
        self.name = f"{protocol}/{connection.id}"
        self.state = LinkState(self.name)
        self._protocol = protocol
        self._connection = connection
        self._opener = opener
        self._intake = intake
        self._clock = clock
        self._environment = os.environ if environment is None else environment
        chance = (uniform or random.Random()).random  # noqa: S311 - jitter, not a secret
        self._backoff = Backoff(connection.backoff_first_s, connection.backoff_max_s, chance)
        self._client: AnyLink | None = None
        self._complained: set[tuple[str, StrEnum]] = set()
        self._session = 0
        self._seq = 0
        self._lost = False
        """That the link is gone was told, durably."""

    @property
    def unacknowledged(self) -> int:
        """Messages that are received and not yet acknowledged; at most ``max_unacknowledged``."""
        return self._client.held if self._client is not None else 0

    async def run(self) -> None:
        """Receives until it is cancelled.

        Raises
        ------
        StorageError
            A batch or dead letter could not be made durable; its messages are not acknowledged. Run it again,
            and a link that is gone by then is told anew.
        SubscriptionRefusedError
            The broker refused every subscription.
        ConfigError
            The password, a key or a certificate cannot be read.

        """
        self._begin_session()
        self._backoff.reset()
        self._lost = False
        try:
            await self._begin()
            while True:
                try:
                    credentials, session = self._credentials(), self._session_wanted()
                    async with self._opener(credentials, session) as client:
                        self._client = client
                        self._begin_session()
                        await self._converse(client)
                except BrokerLostError as error:
                    await self._link_lost(error)
                    await self._clock.sleep(self._backoff.next())
        finally:
            self._ended()

    async def _begin(self) -> None:
        """Does what comes before the first attempt."""

    @abstractmethod
    def _session_wanted(self) -> Session:
        """What the broker is to keep when the connection that is about to be made ends."""

    @abstractmethod
    def _parts(self, client: AnyLink) -> Mapping[str, Coroutine[Any, Any, None]]:
        """What is done side by side, besides receiving, while the connection stands."""

    @abstractmethod
    async def _take(self, messages: Sequence[Received]) -> None:
        """Makes messages durable, as readings or dead letters."""

    @abstractmethod
    async def _mark_lost(self) -> None:
        """Makes durable that nothing is known of any point, because the broker cannot be reached."""

    async def _leave(self, client: AnyLink) -> None:
        """Says goodbye, before a connection is ended on purpose."""

    def _forget(self) -> None:
        """The connection is over, and with it what it meant."""

    def _credentials(self) -> Credentials:
        tls, where = self._connection.tls, f"{self._protocol} connection {self._connection.id}"
        password = self._connection.password(self._environment)
        return Credentials(password, None if tls is None else tls.context(where))

    async def _converse(self, client: AnyLink) -> None:
        """Does everything that a connection is for, until one part of it fails.

        Receiving must not wait for the broker's answers: after an outage the session's backlog comes before
        the answer to the subscription, and would fill the window that nobody empties.
        """
        receiving = asyncio.create_task(self._receive(client), name=f"{self.name} receive")
        parts = self._parts(client).items()
        tasks = [receiving, *(asyncio.create_task(run, name=f"{self.name} {name}") for name, run in parts)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            failed = [task for task in tasks if task.done() and task.exception() is not None]
            if client.ended and all(isinstance(task.exception(), BrokerLostError) for task in failed):
                # what has come is made durable first: at QoS 0 it would not come again
                await asyncio.wait({receiving})
            for task in [receiving, *failed]:
                if task.done():
                    task.result()
        except asyncio.CancelledError:
            await self._leave(client)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive(self, client: AnyLink) -> None:
        while True:
            messages = await client.take(DRAIN)
            self.state.count("messages", len(messages))
            await self._take(messages)
            client.acknowledge(messages)

    async def _subscribe(self, client: AnyLink, topics: Sequence[str]) -> list[str]:
        """Subscribes; reports and returns the topics that the broker refused."""
        refused = await client.subscribe(topics)
        if refused:
            self.state.count("subscriptions_refused", len(refused))
            self.state.failed(self._clock.now_ns(), self._refusal(refused, topics))
            _log.error(
                f"{self._protocol}_subscription_refused",
                link=self.name,
                topics=refused[:10],
                count=len(refused),
            )
        return refused

    def _refusal(self, refused: Sequence[str], topics: Sequence[str]) -> str:
        return f"{self.name}: the broker refused {len(refused)} of {len(topics)} topics, {refused[0]} first"

    def _refused_all(self, refused: Sequence[str], topics: Sequence[str]) -> SubscriptionRefusedError:
        fix = f"allow client {self._connection.client_id} to read them"
        return SubscriptionRefusedError(f"{self._refusal(refused, topics)}; {fix}")

    def _connected(self, **told: object) -> None:
        """Notes that the link is up."""
        self._lost = False
        self._backoff.reset()
        self.state.up(self._clock.now_ns())
        self.state.count("connects")
        _log.info(f"{self._protocol}_connected", link=self.name, **told)

    async def _commit(self, t_received: int, columns: Columns, letters: Sequence[DeadLetter] = ()) -> None:
        """Makes readings and dead letters durable; both are tried, whatever becomes of the other."""
        commits: list[Coroutine[Any, Any, object]] = [self._intake.reject(letters)] if letters else []
        if len(columns):
            self._seq += 1
            batch = ReadingBatch(
                self.name,
                self._session,
                self._seq,
                t_received,
                columns.point,
                columns.t_source,
                columns.value,
                columns.quality,
            )
            commits.append(self._intake.submit(batch))
        committed = 0
        try:
            for outcome in await asyncio.gather(*commits, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
                committed += 1
        finally:
            if committed < len(commits):
                self.state.count("batches_given_up", len(commits) - committed)

    def _letter(
        self, topic: str, payload: bytes, received_ns: int, reason: StrEnum, detail: str
    ) -> DeadLetter:
        """A dead letter, whole; the first of its topic and reason is logged too."""
        self.state.count(f"rejected_{reason.value}")
        complaint = (topic, reason)
        if complaint not in self._complained and len(self._complained) < MAX_COMPLAINTS:
            self._complained.add(complaint)
            _log.warning(
                f"{self._protocol}_message_rejected",
                link=self.name,
                topic=topic,
                reason=reason.value,
                error=detail,
                first_bytes=payload[:SHOWN_BYTES].hex(" "),
            )
        return DeadLetter(
            t_received=received_ns,
            source=self.name,
            address=topic,
            reason=reason.value,
            detail=detail,
            payload=payload,
            size=len(payload),
        )

    async def _link_lost(self, error: BrokerLostError) -> None:
        """Tells once, for each time that the link went away, that its points are out of reach."""
        self._client = None
        self._forget()
        self.state.down()
        self.state.count("connect_failures" if self._lost else "connections_lost")
        self.state.failed(self._clock.now_ns(), str(error))
        if not self._lost:
            _log.warning(f"{self._protocol}_link_lost", link=self.name, error=str(error))
            await self._mark_lost()
            self._lost = True

    def _ended(self) -> None:
        self._client = None
        self._forget()
        self.state.down()

    def _begin_session(self) -> None:
        self._session, self._seq = max(self._clock.now_ns(), self._session + 1), 0
