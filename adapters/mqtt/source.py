"""Receives the payloads of a broker's devices and acknowledges them after their commit."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import chain
from types import TracebackType
from typing import Any, Protocol, Self

import structlog

from adapters.backoff import Backoff
from adapters.link import LinkState
from adapters.mqtt.codec import Decoded, RejectedPayloadError, Rejection
from adapters.mqtt.config import BrokerSettings
from adapters.mqtt.plan import TopicPlan, left_over, plan_topics, shared, subscriptions
from adapters.mqtt_client import (
    BrokerLostError,
    Credentials,
    ManualAckClient,
    Received,
    Session,
    SubscriptionRefusedError,
)
from ingest.ports import DeadLetter, Intake
from telemetry.batch import ReadingBatch
from telemetry.clock import Clock
from telemetry.quality import Quality
from telemetry.site import SitePoint

DRAIN = 500
"""Messages that become one batch at most."""
MAX_COMPLAINTS = 1000
"""Kinds of rejection, by topic and reason, that are logged; all are counted and kept as dead letters."""
LETTER_BYTES = 512
"""Bytes of a rejected payload that are kept."""
SHOWN_BYTES = 16
"""Bytes of a rejected payload that the log shows."""

_log = structlog.get_logger(__name__)


class Link(Protocol):
    """What a source needs of a connection to a broker; see :class:`adapters.mqtt_client.ManualAckClient`."""

    @property
    def held(self) -> int:
        """Messages that are received and not acknowledged."""
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


Opener = Callable[[Credentials, Session], Link]
"""Makes a connection that entering opens; entering and all its calls raise BrokerLostError."""


class MqttSource:
    """The devices that publish to one broker.

    Parameters
    ----------
    broker
        Settings of the broker.
    points
        Every point of every device that publishes there; the device and its profile come with the point.
    intake
        Where batches and dead letters go; a message is acknowledged after both are durable.
    clock
        Time.
    environment
        Where ``password_env`` is looked up; the process environment if not given.
    uniform
        Numbers in [0, 1) for the jitter of pauses.
    connect
        Connects in place of a client of the broker that the settings name.

    Raises
    ------
    ConfigError
        A device cannot be planned.

    """

    def __init__(
        self,
        broker: BrokerSettings,
        points: Sequence[SitePoint],
        intake: Intake,
        clock: Clock,
        *,
        environment: Mapping[str, str] | None = None,
        uniform: random.Random | None = None,
        connect: Opener | None = None,
    ) -> None:
        self.name = f"mqtt/{broker.id}"
        self.state = LinkState(self.name)
        self._broker = broker
        self._intake = intake
        self._clock = clock
        self._environment = os.environ if environment is None else environment
        chance = (uniform or random.Random()).random  # noqa: S311 - jitter, not a secret
        self._backoff = Backoff(broker.backoff_first_s, broker.backoff_max_s, chance)
        self._connect = connect or self._client_of_broker
        self._topics = plan_topics(points)
        self._unknown: dict[str, set[str]] = {}
        self._strangers: asyncio.Queue[str] = asyncio.Queue(MAX_COMPLAINTS)  # each is put there once
        self._complained: set[tuple[str, Rejection]] = set()
        self._session = 0
        self._seq = 0
        self._lost = False
        self._client: Link | None = None

    @property
    def unknown_members(self) -> Mapping[str, frozenset[str]]:
        """Payload members that no point is mapped to, by device."""
        return {device: frozenset(names) for device, names in self._unknown.items()}

    @property
    def unacknowledged(self) -> int:
        """Messages that are received and not yet acknowledged; at most ``max_unacknowledged``."""
        return self._client.held if self._client is not None else 0

    async def run(self) -> None:
        """Receives until it is cancelled.

        Raises
        ------
        StorageError
            A batch or dead letter could not be made durable; its messages are not acknowledged.
        SubscriptionRefusedError
            The broker refused every subscription.
        ConfigError
            The password, a key or a certificate cannot be read.

        """
        if not self._topics.plans:
            return
        self._begin_session()
        self._backoff.reset()
        try:
            while True:
                credentials, session = self._credentials(), Session(self._broker.session_expiry_s)
                try:
                    async with self._connect(credentials, session) as client:
                        self._client = client
                        self._begin_session()
                        await self._converse(client)
                except BrokerLostError as error:
                    await self._link_lost(error)
                    await self._clock.sleep(self._backoff.next())
        finally:
            self._client = None
            self.state.down()

    def _client_of_broker(self, credentials: Credentials, session: Session) -> Link:
        return ManualAckClient(self._broker, credentials, self._clock, session)

    def _credentials(self) -> Credentials:
        tls = self._broker.tls
        return Credentials(
            self._broker.password(self._environment),
            None if tls is None else tls.context(f"broker {self._broker.id}"),
        )

    async def _converse(self, client: Link) -> None:
        """Does everything that a connection is for, until one part of it fails.

        Receiving must not wait for the broker's answers: after an outage the session's backlog comes before
        the answer to the subscription, and would fill the window that nobody empties.
        """
        tasks = [
            asyncio.create_task(self._subscribe(client), name=f"{self.name} subscribe"),
            asyncio.create_task(self._receive(client), name=f"{self.name} receive"),
            asyncio.create_task(self._unsubscribe(client), name=f"{self.name} unsubscribe"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _subscribe(self, client: Link) -> None:
        plans = {shared(filter_, self._broker.share): plan for filter_, plan in self._topics.filters.items()}
        topics = list(plans)
        refused = list(chain.from_iterable([await client.subscribe(part) for part in subscriptions(topics)]))
        if refused:
            text = (
                f"{self.name}: the broker refused {len(refused)} of {len(topics)} topics, {refused[0]} first"
            )
            self.state.count("subscriptions_refused", len(refused))
            self.state.failed(self._clock.now_ns(), text)
            _log.error("mqtt_subscription_refused", link=self.name, topics=refused[:10], count=len(refused))
            await self._mark_bad([plans[topic] for topic in refused], Quality.DEVICE_REFUSED)
            if len(refused) == len(topics):
                raise SubscriptionRefusedError(f"{text}; allow client {self._broker.client_id} to read them")
        self._lost = False
        self._backoff.reset()
        self.state.up(self._clock.now_ns())
        self.state.count("connects")
        _log.info("mqtt_connected", link=self.name, topics=len(topics) - len(refused))

    async def _receive(self, client: Link) -> None:
        while True:
            messages = await client.take(DRAIN)
            await self._store(messages)
            client.acknowledge(messages)
            self._lost = False

    async def _unsubscribe(self, client: Link) -> None:
        """Ends what an earlier configuration subscribed to and the persistent session still remembers."""
        while True:
            for filter_ in left_over(await self._strangers.get(), self._broker.share):
                await client.unsubscribe(filter_)

    async def _store(self, messages: Sequence[Received]) -> None:
        """Makes messages durable, as readings or dead letters."""
        point: list[int] = []
        t_source: list[int] = []
        value: list[float] = []
        quality: list[int] = []
        letters: list[DeadLetter] = []
        self.state.count("messages", len(messages))
        if again := sum(message.again for message in messages):
            self.state.count("redelivered", again)
        for message in messages:
            try:
                decoded = self._decoded(message)
            except RejectedPayloadError as rejected:
                letters.append(self._letter(message, rejected))
                self._tell(message, rejected)
                continue
            if decoded.rejected:
                letters.append(self._letter(message, decoded.rejected[0]))
                self._tell(message, decoded.rejected[0])
            point += decoded.point
            t_source += decoded.t_source
            value += decoded.value
            quality += decoded.quality
        commits: list[Coroutine[Any, Any, object]] = [self._intake.reject(letters)] if letters else []
        if point:
            commits.append(self._submit(messages[-1].received_ns, point, t_source, value, quality))
        for outcome in await asyncio.gather(*commits, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def _decoded(self, message: Received) -> Decoded:
        route = self._topics.route(message.topic)
        size, limit = len(message.payload), self._broker.max_payload
        if size > limit:
            raise RejectedPayloadError(Rejection.OVERSIZED, f"{size} bytes, the limit is {limit}")
        decoded = route.decode(message.payload, message.received_ns, retained=message.retained)
        if decoded.unknown:
            self._note_unknown(route.plan.device, decoded.unknown)
        return decoded

    async def _submit(
        self, t_received: int, point: list[int], t_source: list[int], value: list[float], quality: list[int]
    ) -> None:
        self._seq += 1
        batch = ReadingBatch.of(
            self.name,
            self._session,
            self._seq,
            t_received,
            point=point,
            t_source=t_source,
            value=value,
            quality=quality,
        )
        await self._intake.submit(batch)

    def _letter(self, message: Received, rejected: RejectedPayloadError) -> DeadLetter:
        self.state.count(f"rejected_{rejected.reason.value}")
        return DeadLetter(
            t_received=message.received_ns,
            source=self.name,
            address=message.topic,
            reason=rejected.reason.value,
            detail=rejected.detail,
            payload=message.payload[:LETTER_BYTES],
            size=len(message.payload),
        )

    def _tell(self, message: Received, rejected: RejectedPayloadError) -> None:
        """Logs a rejection; one like an earlier one is counted but not told again."""
        complaint = (message.topic, rejected.reason)
        if complaint in self._complained or len(self._complained) >= MAX_COMPLAINTS:
            return
        self._complained.add(complaint)
        start = message.payload[:SHOWN_BYTES].hex(" ")
        _log.warning(
            "mqtt_message_rejected",
            link=self.name,
            topic=message.topic,
            error=str(rejected),
            first_bytes=start,
        )
        if rejected.reason is Rejection.UNKNOWN_TOPIC and message.topic:
            self._strangers.put_nowait(message.topic)

    async def _link_lost(self, error: BrokerLostError) -> None:
        """Tells once, for each time that the link went away, that its points are out of reach."""
        self._client = None
        self.state.down()
        self.state.count("connect_failures" if self._lost else "connections_lost")
        self.state.failed(self._clock.now_ns(), str(error))
        if not self._lost:
            self._lost = True
            _log.warning("mqtt_link_lost", link=self.name, error=str(error))
            await self._mark_bad(self._topics.plans, Quality.LINK_LOST)

    async def _mark_bad(self, plans: Sequence[TopicPlan], quality: Quality) -> None:
        point = list(chain.from_iterable(plan.decoder.index for plan in plans))
        if point:
            n, now_ns = len(point), self._clock.now_ns()
            await self._submit(now_ns, point, [now_ns] * n, [float("nan")] * n, [quality] * n)

    def _note_unknown(self, device: str, names: Sequence[str]) -> None:
        known = self._unknown.setdefault(device, set())
        fresh = [name for name in names if name not in known][: 100 - len(known)]
        if fresh:
            known.update(fresh)
            self.state.count("unknown_members", len(fresh))
            _log.warning("mqtt_unknown_members", link=self.name, device=device, members=fresh)

    def _begin_session(self) -> None:
        self._session, self._seq = max(self._clock.now_ns(), self._session + 1), 0
