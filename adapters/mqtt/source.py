"""Receives the payloads of a broker's devices and acknowledges them after their commit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import structlog

from adapters.mqtt.codec import Decoded, RejectedPayloadError, Rejection
from adapters.mqtt.config import BrokerSettings
from adapters.mqtt.plan import TopicPlan, Topics, left_over, plan_topics, shared, subscriptions
from adapters.mqtt.readings import Readings
from adapters.mqtt_client import ManualAckClient
from adapters.mqtt_session import Received, Session
from adapters.subscriber import Link, Opener, Subscriber
from ingest.ports import DeadLetter, Intake, ReinjectionError
from telemetry.batch import Columns
from telemetry.clock import Clock
from telemetry.quality import Quality
from telemetry.site import SitePoint

MAX_STRANGERS = 1000
"""Topics of no device whose subscriptions are ended."""

_log = structlog.get_logger(__name__)


class MqttSource(Subscriber[Link]):
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
        connect: Opener[Link] | None = None,
    ) -> None:
        opener = connect or partial(ManualAckClient, broker, clock)
        super().__init__("mqtt", broker, opener, intake, clock, environment=environment, uniform=uniform)
        self._broker = broker
        self._topics = plan_topics(points)
        self._unknown: dict[str, set[str]] = {}
        self._strangers: dict[str, bool] = {}
        """Topics that no device is on, and whether their subscriptions are ended."""
        self._stranger_seen = asyncio.Event()
        self._left: Topics | None = None
        """What was planned before, on this connection: messages of it may still be on their way."""
        self._again: set[str] = set()
        """Topics of changed devices: what the broker retains of them is asked for again."""
        self._replanned = asyncio.Event()

    @property
    def unknown_members(self) -> Mapping[str, frozenset[str]]:
        """Payload members that no point is mapped to, by device."""
        return {device: frozenset(names) for device, names in self._unknown.items()}

    async def run(self) -> None:
        """As :meth:`adapters.subscriber.Subscriber.run`; without devices there is nothing to do."""
        if self._topics.plans:
            await super().run()

    def prepared(self, points: Sequence[SitePoint], changed: AbstractSet[str]) -> Callable[[], None]:
        """Plans other points; what is returned brings them into effect, at once and without fail.

        The connection stays, and so do the subscriptions of the devices that are the same: only those that
        came, went or changed are told to the broker.

        Parameters
        ----------
        points
            Every point of every device that publishes to the broker.
        changed
            Devices that are reached or understood otherwise than before.

        Raises
        ------
        ConfigError
            A device cannot be planned; nothing has changed.

        """
        topics = plan_topics(points)

        def take_over() -> None:
            self._left, self._topics = self._topics, topics
            self._again |= {topic for topic, plan in topics.filters.items() if plan.device in changed}
            for device in changed:
                self._unknown.pop(device, None)
            self._lost = False  # what is new is out of reach too, if the broker is
            self._replanned.set()

        return take_over

    def _session_wanted(self) -> Session:
        return Session(self._broker.session_expiry_s)

    def _parts(self, client: Link) -> Mapping[str, Coroutine[Any, Any, None]]:
        return {"subscribe": self._subscribe_all(client), "unsubscribe": self._unsubscribe(client)}

    async def _subscribe_all(self, client: Link) -> None:
        """Subscribes, and follows every change of the plan while the connection stands."""
        self._left = None
        self._again.clear()
        self._replanned.clear()
        subscribed = dict(self._topics.filters)
        refused = await self._subscribe_to(client, subscribed)
        if len(refused) == len(subscribed):
            raise self._refused_all(refused, list(subscribed))
        self._connected(topics=len(subscribed) - len(refused))
        while True:
            await self._replanned.wait()
            self._replanned.clear()
            wanted = dict(self._topics.filters)
            for filter_ in subscribed.keys() - wanted.keys():
                await client.unsubscribe(shared(filter_, self._broker.share))
            again, self._again = self._again, set()
            fresh = {
                filter_: plan
                for filter_, plan in wanted.items()
                if filter_ not in subscribed or filter_ in again
            }
            await self._subscribe_to(client, fresh)
            subscribed = wanted

    async def _subscribe_to(self, client: Link, plans: Mapping[str, TopicPlan]) -> list[str]:
        """Subscribes to the topics of plans; those that the broker refuses are marked and returned."""
        by_topic = {shared(filter_, self._broker.share): plan for filter_, plan in plans.items()}
        topics = list(by_topic)
        answers = [await self._subscribe(client, part) for part in subscriptions(topics)]
        refused = list(chain.from_iterable(answers))
        if refused:
            self.state.failed(self._clock.now_ns(), self._refusal(refused, topics))
            await self._mark([by_topic[topic] for topic in refused], Quality.DEVICE_REFUSED)
        return refused

    async def _unsubscribe(self, client: Link) -> None:
        """Ends what an earlier configuration subscribed to and the persistent session still remembers."""
        while True:
            self._stranger_seen.clear()
            for topic in [topic for topic, ended in self._strangers.items() if not ended]:
                for filter_ in left_over(topic, self._broker.share):
                    await client.unsubscribe(filter_)
                self._strangers[topic] = True
            await self._stranger_seen.wait()

    async def _take(self, messages: Sequence[Received]) -> None:
        if again := sum(message.again for message in messages):
            self.state.count("redelivered", again)
        readings, letters = Readings(), list[DeadLetter]()
        for message in messages:
            try:
                decoded = self._decoded(message, readings)
            except RejectedPayloadError as rejected:
                if rejected.reason is Rejection.UNKNOWN_TOPIC and self._is_left(message.topic):
                    self.state.count("left_over")
                else:
                    letters.append(self._rejected(message, rejected))
                continue
            if decoded is None:
                continue
            if decoded.rejected:
                letters.append(self._rejected(message, decoded.rejected[0]))
            readings.put(Columns.of(decoded.point, decoded.t_source, decoded.value, decoded.quality))
        await self._commit(messages[-1].received_ns, readings.columns(), letters)
        self._lost = False

    async def reinject(self, letter: DeadLetter) -> None:
        """Decodes a dead letter again, as of its receipt: :class:`ingest.ports.Reinjectable`.

        Raises
        ------
        ReinjectionError
            It cannot become readings, or not all of it.
        StorageError
            The readings are not durable.

        """
        try:
            decoded = self._topics.route(letter.address).decode(letter.payload, letter.t_received)
        except RejectedPayloadError as rejected:
            raise ReinjectionError(f"{rejected.reason.value}: {rejected.detail}") from rejected
        columns = Columns.of(decoded.point, decoded.t_source, decoded.value, decoded.quality)
        await self._commit(self._clock.now_ns(), columns)
        if decoded.rejected:
            first = decoded.rejected[0]
            raise ReinjectionError(f"only in part: {first.reason.value}: {first.detail}")

    def _decoded(self, message: Received, readings: Readings) -> Decoded | None:
        """What a message says; None when it is of plain numbers and added to the readings."""
        route = self._topics.route(message.topic)
        size, limit = len(message.payload), self._broker.max_payload
        if size > limit:
            raise RejectedPayloadError(Rejection.OVERSIZED, f"{size} bytes, the limit is {limit}")
        if route.read(message.payload, message.received_ns, readings, retained=message.retained):
            return None
        decoded = route.decode(message.payload, message.received_ns, retained=message.retained)
        if decoded.unknown:
            self._note_unknown(route.plan.device, decoded.unknown)
        return decoded

    def _is_left(self, topic: str) -> bool:
        """Whether a device was on a topic until a change of the plan on this connection."""
        return self._left is not None and self._left.knows(topic)

    def _rejected(self, message: Received, why: RejectedPayloadError) -> DeadLetter:
        topic = message.topic
        if why.reason is Rejection.UNKNOWN_TOPIC and topic and len(self._strangers) < MAX_STRANGERS:
            self._strangers.setdefault(topic, False)
            self._stranger_seen.set()
        return self._letter(topic, message.payload, message.received_ns, why.reason, why.detail)

    async def _mark_lost(self) -> None:
        await self._mark(self._topics.plans, Quality.LINK_LOST)

    async def _mark(self, plans: Sequence[TopicPlan], quality: Quality) -> None:
        point = list(chain.from_iterable(plan.decoder.index for plan in plans))
        n, now_ns = len(point), self._clock.now_ns()
        await self._commit(now_ns, Columns.of(point, [now_ns] * n, np.full(n, np.nan), [quality] * n))

    def _note_unknown(self, device: str, names: Sequence[str]) -> None:
        known = self._unknown.setdefault(device, set())
        fresh = [name for name in names if name not in known][: 100 - len(known)]
        if fresh:
            known.update(fresh)
            self.state.count("unknown_members", len(fresh))
            _log.warning("mqtt_unknown_members", link=self.name, device=device, members=fresh)
