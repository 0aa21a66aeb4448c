"""Runs one edge node on one connection: samples its devices, comes back after every loss of the broker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import aiomqtt
import structlog
from paho.mqtt.reasoncodes import ReasonCode

from simulators.bench import Broker
from simulators.devices.connection import FIRST_RETRY_S, LAST_RETRY_S, Address, connection, knock
from simulators.devices.sparkplug.births import BirthMemory
from simulators.devices.sparkplug.edge_node import Action, Disconnect, EdgeNode, Ignored, Publish
from simulators.devices.sparkplug.history import Sample
from simulators.devices.sparkplug.lifecycle import Phase
from simulators.devices.sparkplug.metrics import BORN, DROPPED, IGNORED, PUBLISHED, WAITING
from simulators.devices.sparkplug.plan import NodePlan
from simulators.devices.sparkplug.topics import is_data
from simulators.faults.link import LinkFaults
from simulators.world.clocks import clock_of
from telemetry.clock import Clock
from telemetry.errors import UnavailableError

_log = structlog.get_logger(__name__)

OUTBOX = 10_000
"""Messages that may wait for the broker; more end the session, and their samples are kept for the next."""
GOODBYE_S = 2.0
"""Time that the broker has to take the NDEATH of an intended end [s]."""
_REFUSED = 0x80


class Moment(NamedTuple):
    """When an edge node looks at its devices."""

    true_ns: int
    """[ns since 1970, UTC]."""
    own_ms: int
    """The same by the clock of the edge node [ms]."""


Readings = Callable[[Moment], Mapping[str, Mapping[str, Sample] | None]]
"""What each device shows at a moment; None for one that cannot be reached."""


class SubscriptionRefusedError(UnavailableError):
    """The broker does not let the edge node hear its commands."""


class EdgeNodeRunner:
    """An edge node at work; its plan must keep the node's own metrics that every plan has.

    ``start_after_s`` staggers edge nodes that start together; ``link`` doubles and reorders data, ``via`` is
    the relay, if there is one, through which it goes to the broker.
    """

    def __init__(
        self,
        plan: NodePlan,
        broker: Broker,
        clock: Clock,
        readings: Readings,
        *,
        memory: BirthMemory | None = None,
        period_s: float = 1.0,
        start_after_s: float = 0.0,
        link: LinkFaults | None = None,
        via: Address | None = None,
    ) -> None:
        self._broker = broker
        self._via = via
        self._link = link or LinkFaults()
        self._clock = clock
        self._readings = readings
        self._memory = memory or BirthMemory()
        self._own = clock_of(f"{plan.group}/{plan.id}")
        self._period_s = period_s
        self._start_after_s = start_after_s
        self._outbox: deque[Publish | Disconnect] = deque()
        self._filled = asyncio.Event()
        self._log = _log.bind(edge_node=f"{plan.group}/{plan.id}")
        self.node = EdgeNode(plan, self._memory.last())

    async def run(self) -> None:
        """Samples and publishes until cancelled; says goodbye then.

        Raises
        ------
        StorageError
            The birth-death sequence number cannot be kept (in a group).

        """
        await self._clock.sleep(self._start_after_s)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sample(), name=f"sim-edge-sample-{self.node.plan.id}")
            group.create_task(self._stay_connected(), name=f"sim-edge-{self.node.plan.id}")

    async def _sample(self) -> None:
        due = self._clock.monotonic()
        while True:
            moment = self._now()
            self._act(self.node.looked(self._readings(moment), moment.own_ms))
            WAITING.labels(self.node.plan.id).set(self.node.waiting)
            DROPPED.labels(self.node.plan.id).set(self.node.dropped)
            # after a stall it goes on from now: nobody measured in the meantime
            due = max(due + self._period_s, self._clock.monotonic())
            await self._clock.sleep(due - self._clock.monotonic())

    async def _stay_connected(self) -> None:
        delay_s = FIRST_RETRY_S
        while True:
            accepted = False
            try:
                # bdSeq counts CONNECTs, and where nobody listens none is sent
                await knock(self._broker, self._via)
                try:
                    accepted = await self._session()
                finally:
                    accepted = accepted or self.node.phase is Phase.BORN
                    self._outbox.clear()
                    self._link.forget()
                    self.node.disconnected(self._now_ms())
                    BORN.labels(self.node.plan.id).set(0)
            except* (aiomqtt.MqttError, SubscriptionRefusedError, TimeoutError) as errors:
                self._log.warning("edge_node_lost", reason=str(errors.exceptions[0]) or "no answer in time")
            delay_s = FIRST_RETRY_S if accepted else min(2 * delay_s, LAST_RETRY_S)
            await self._clock.sleep(delay_s)

    async def _session(self) -> bool:
        will = self.node.connect(self._now_ms())
        self._memory.remember(self.node.bd_seq)
        testament = aiomqtt.Will(will.topic, will.payload, will.qos, retain=False)
        async with connection(self._broker, testament, self._via) as client:
            wanted = [(topic, 1) for topic in self.node.connected()]
            async with asyncio.timeout(self._broker.ack_timeout_s):
                granted: Sequence[int | ReasonCode] = await client.subscribe(wanted)
            for (topic, _), code in zip(wanted, granted, strict=True):
                if code.is_failure if isinstance(code, ReasonCode) else code >= _REFUSED:
                    raise SubscriptionRefusedError(f"{topic}: the broker refuses it; let the user read it")
            self._act(self.node.subscribed(self._now_ms()))
            self._log.info("edge_node_connected", bd_seq=self.node.bd_seq, phase=self.node.phase.value)
            try:
                async with asyncio.TaskGroup() as group:
                    hearing = group.create_task(self._hear(client))
                    reason = await self._send(client)
                    hearing.cancel()
            except asyncio.CancelledError:
                await self._say_goodbye(client)
                raise
            self._log.info("edge_node_left", reason=reason)
        return True

    async def _hear(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            self._act(self.node.received(message.topic.value, message.payload, self._now_ms()))

    async def _send(self, client: aiomqtt.Client) -> str:
        while True:
            while not self._outbox:
                self._filled.clear()
                await self._filled.wait()
            action = self._outbox.popleft()
            if isinstance(action, Disconnect):
                return action.reason
            for sent in self._link.deliver([action]) if is_data(action.topic) else [action]:
                await self._publish(client, sent)

    async def _publish(self, client: aiomqtt.Client, message: Publish) -> None:
        async with asyncio.timeout(self._broker.ack_timeout_s):
            await client.publish(message.topic, message.payload, qos=message.qos, retain=False)
        verb = message.topic.split("/")[2]
        PUBLISHED.labels(self.node.plan.id, verb).inc()
        if verb == "NBIRTH":
            BORN.labels(self.node.plan.id).set(1)

    async def _say_goodbye(self, client: aiomqtt.Client) -> None:
        if self.node.phase is Phase.LEAVING:
            return
        with suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                for action in self.node.leave(self._now_ms()):
                    if isinstance(action, Publish):
                        await self._publish(client, action)

    def _act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Ignored):
                IGNORED.labels(self.node.plan.id).inc()
                self._log.info("message_ignored", topic=action.topic, reason=action.reason)
            else:
                self._outbox.append(action)
        if len(self._outbox) > OUTBOX and self.node.phase is Phase.BORN:
            self._outbox.clear()
            leaving = self.node.leave(self._now_ms(), "the broker takes too long")
            self._outbox.extend(action for action in leaving if not isinstance(action, Ignored))
        if self._outbox:
            self._filled.set()

    def _now_ms(self) -> int:
        return self._now().own_ms

    def _now(self) -> Moment:
        true_ns = self._clock.now_ns()
        return Moment(true_ns, self._own.at(true_ns) // 1_000_000)
