"""A Sparkplug host application: its certificate, the messages of the edge nodes, requests for births."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiomqtt
import structlog

from adapters import metrics
from adapters.backoff import Backoff
from adapters.link import LinkState
from adapters.mqtt_client import (
    BrokerLostError,
    Credentials,
    ManualAckClient,
    Received,
    Session,
    SubscriptionRefusedError,
)
from adapters.sparkplug import codec
from adapters.sparkplug.codec import RejectedPayloadError, Rejection
from adapters.sparkplug.config import HostSettings
from adapters.sparkplug.directory import Directory
from adapters.sparkplug.node import EdgeNode, Outcome
from adapters.sparkplug.plan import NodeKey, UnitPlan, plan_host
from adapters.sparkplug.readings import Readings
from adapters.sparkplug.rebirth import Rebirths
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
DIRECTORY_EVERY_S = 2.0
"""Shortest time between two writes of the directory [s]."""

_log = structlog.get_logger(__name__)


class SparkplugSource:
    """A host application on one broker.

    Parameters
    ----------
    host
        Settings of the host.
    points
        Every point of every device behind it; the device and its profile come with the point.
    intake
        Where batches and dead letters go.
    clock
        Time.
    environment
        Where ``password_env`` is looked up; the process environment if not given.
    uniform
        Numbers in [0, 1) for the jitter of pauses.
    directory_file
        Where what the births say is kept for people, as JSON; nowhere if not given.

    Raises
    ------
    ConfigError
        A device cannot be planned.

    """

    def __init__(
        self,
        host: HostSettings,
        points: Sequence[SitePoint],
        intake: Intake,
        clock: Clock,
        *,
        environment: Mapping[str, str] | None = None,
        uniform: random.Random | None = None,
        directory_file: Path | None = None,
    ) -> None:
        self.name = f"sparkplug/{host.id}"
        self.state = LinkState(self.name)
        self.directory = Directory()
        """What was born since the start."""
        self._host = host
        self._intake = intake
        self._clock = clock
        self._environment = os.environ if environment is None else environment
        self._directory_file = directory_file
        chance = (uniform or random.Random()).random  # noqa: S311 - jitter, not a secret
        self._backoff = Backoff(host.backoff_first_s, host.backoff_max_s, chance)
        plan = plan_host(points)
        self._rows = plan.rows
        self._readings = Readings(plan.rows)
        self._nodes: dict[NodeKey, EdgeNode] = {}
        for key, units in plan.nodes.items():
            self._nodes[key] = self._node(key, units)
        self._configured = list(plan.nodes)
        self._watched: set[NodeKey] = set()
        self._rebirths: Rebirths[NodeKey] = Rebirths(
            host.rebirth_pause_s, host.rebirth_max_pause_s, host.rebirths_per_s
        )
        self._attend = asyncio.Event()
        self._news = asyncio.Event()
        self._complained: set[tuple[str, Rejection]] = set()
        self._session = 0
        self._seq = 0
        self._lost = False
        self._state_topic = codec.state_topic(host.host_id)
        self._state_again = asyncio.Event()

    @property
    def online(self) -> int:
        """Edge nodes that are born and not dead."""
        return sum(node.online for node in self._nodes.values())

    def ask_for_births(self) -> None:
        """Asks every configured edge node for its births, for example when a consumer begins anew."""
        for key in self._configured:
            self._rebirths.want(key, self._clock.monotonic())
        self._attend.set()

    async def run(self) -> None:
        """Receives until it is cancelled.

        Raises
        ------
        StorageError
            A batch or dead letter could not be made durable.
        SubscriptionRefusedError
            The broker refused every subscription.
        ConfigError
            The password, a key or a certificate cannot be read.

        """
        self._begin_session()
        self._backoff.reset()
        try:
            while True:
                credentials = self._credentials()
                # tck-id-host-topic-phid-death-payload-timestamp-connect
                connected_ms = self._clock.now_ns() // 1_000_000
                session = Session(0, self._will(connected_ms))
                try:
                    async with ManualAckClient(self._host, credentials, self._clock, session) as client:
                        self._begin_session()
                        await self._converse(client, connected_ms)
                except BrokerLostError as error:
                    await self._link_lost(error)
                    await self._clock.sleep(self._backoff.next())
        finally:
            self._forget()
            self.state.down()

    def _credentials(self) -> Credentials:
        tls = self._host.tls
        return Credentials(
            self._host.password(self._environment),
            None if tls is None else tls.context(f"host {self._host.id}"),
        )

    def _will(self, now_ms: int) -> aiomqtt.Will:
        """tck-id-operational-behavior-host-application-connect-will and its parts."""
        return aiomqtt.Will(self._state_topic, codec.state(False, now_ms), qos=1, retain=True)

    def _node(self, key: NodeKey, units: Mapping[str | None, UnitPlan]) -> EdgeNode:
        host = self._host
        return EdgeNode(
            key,
            units,
            self._readings,
            reorder_s=host.reorder_timeout_s,
            birth_wait_s=host.birth_wait_s,
        )

    async def _converse(self, client: ManualAckClient, connected_ms: int) -> None:
        """Does everything that a connection is for, until one part of it fails."""
        parts: dict[str, Coroutine[Any, Any, None]] = {
            "state": self._certify(client, connected_ms),
            "receive": self._receive(client),
            "attend": self._attend_to_nodes(client),
            "directory": self._keep_directory(),
        }
        tasks = [asyncio.create_task(part, name=f"{self.name} {name}") for name, part in parts.items()]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
        except asyncio.CancelledError:
            await self._leave(client)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _certify(self, client: ManualAckClient, connected_ms: int) -> None:
        """Subscribes, then says that the host is there, as often as somebody says that it is not.

        tck-id-message-flow-phid-sparkplug-subscription, -state-publish, -state-publish-payload-timestamp,
        tck-id-message-flow-hid-sparkplug-state-message-delivered.
        """
        groups = self._host.groups
        topics = [self._state_topic]
        topics += [f"{codec.NAMESPACE}/{group}/#" for group in groups] or [f"{codec.NAMESPACE}/#"]
        refused = await client.subscribe(topics)
        if refused:
            text = (
                f"{self.name}: the broker refused {len(refused)} of {len(topics)} topics, {refused[0]} first"
            )
            self.state.count("subscriptions_refused", len(refused))
            self.state.failed(self._clock.now_ns(), text)
            _log.error("sparkplug_subscription_refused", link=self.name, topics=refused)
            if self._state_topic in refused or len(refused) == len(topics) - 1:
                raise SubscriptionRefusedError(f"{text}; allow client {self._host.client_id} to read them")
        self._state_again.set()
        first = True
        while True:
            await self._state_again.wait()
            self._state_again.clear()
            await client.publish(self._state_topic, codec.state(True, connected_ms), qos=1, retain=True)
            if first:
                first = False
                self._connected(len(topics) - len(refused))
            else:
                self.state.count("state_repeated")
                _log.warning("sparkplug_state_repeated", link=self.name, host_id=self._host.host_id)

    def _connected(self, topics: int) -> None:
        self._lost = False
        self._backoff.reset()
        self.state.up(self._clock.now_ns())
        self.state.count("connects")
        _log.info("sparkplug_connected", link=self.name, host_id=self._host.host_id, topics=topics)

    async def _receive(self, client: ManualAckClient) -> None:
        while True:
            messages = await client.take(DRAIN)
            self.state.count("messages", len(messages))
            letters: list[DeadLetter] = []
            for received in messages:
                self._take(received, letters)
            await self._commit(letters)
            client.acknowledge(messages)

    def _take(self, received: Received, letters: list[DeadLetter]) -> None:
        """Hands a message to its edge node."""
        try:
            topic = self._topic(received)
            if topic is None:
                return
            message = codec.parse(topic, received.payload, received.received_ns)
            node = self._node_of((topic.group, topic.edge))
        except RejectedPayloadError as rejected:
            where = (received.topic, received.payload, received.received_ns)
            letters.append(self._letter(*where, rejected))
            return
        outcome = Outcome()
        node.receive(message, self._clock.monotonic(), outcome)
        self._digest(node, outcome, letters)

    def _topic(self, received: Received) -> codec.Topic | None:
        if received.topic.startswith(f"{codec.NAMESPACE}/{codec.STATE}/"):
            if received.topic == self._state_topic:
                self._own_state(received)
            return None
        topic = codec.parse_topic(received.topic)
        if topic is None:
            return None
        size, limit = len(received.payload), self._host.max_payload
        if size > limit:
            raise RejectedPayloadError(Rejection.OVERSIZED, f"{size} bytes, the limit is {limit}")
        if received.retained:
            # tck-id-topics-nbirth-mqtt and its like: a broker has kept what is of the moment only
            raise RejectedPayloadError(
                Rejection.RETAINED, f"a retained {topic.verb.value} tells of no known time"
            )
        return topic

    def _own_state(self, received: Received) -> None:
        """tck-id-message-flow-hid-sparkplug-state-message-delivered."""
        if not codec.read_state(received.payload).online and self.state.connected:
            self._state_again.set()

    def _node_of(self, key: NodeKey) -> EdgeNode:
        node = self._nodes.get(key)
        if node is None:
            if len(self._nodes) >= self._host.max_nodes:
                reason = f"{self._host.max_nodes} edge nodes are known; raise max_nodes"
                raise RejectedPayloadError(Rejection.TOO_MANY_NODES, reason)
            node = self._nodes[key] = self._node(key, {})
        return node

    def _digest(self, node: EdgeNode, outcome: Outcome, letters: list[DeadLetter]) -> None:
        """Does what follows from messages, besides readings."""
        for event, n in outcome.counts.items():
            self.state.count(event, n)
        for message, rejected in outcome.rejected:
            letters.append(self._letter(message.topic.text, message.raw, message.received_ns, rejected))
        for device, entry in outcome.born:
            self.directory.born(node.key, device, entry)
            self._news.set()
            if device is None:
                self._rebirths.born(node.key)
                metrics.NODES_ONLINE.labels(self.name).set(self.online)
                _log.info("sparkplug_node_born", link=self.name, node="/".join(node.key))
        if "node_deaths" in outcome.counts:
            metrics.NODES_ONLINE.labels(self.name).set(self.online)
            _log.warning("sparkplug_node_died", link=self.name, node="/".join(node.key))
        if outcome.unborn:
            names = [name or "the node" for name in outcome.unborn]
            _log.warning("sparkplug_devices_unborn", link=self.name, node="/".join(node.key), devices=names)
            self.state.count("unborn_devices", len(names))
            node.mark_unborn(outcome.unborn, self._clock.now_ns())
        if outcome.rebirth:
            self._rebirths.want(node.key, self._clock.monotonic())
            self._attend.set()
        if node.deadline_s is not None and node.key not in self._watched:
            self._watched.add(node.key)
            self._attend.set()

    async def _attend_to_nodes(self, client: ManualAckClient) -> None:
        """Does what is due: gives up on missing messages, asks for births."""
        wait_s = self._host.birth_wait_s
        first_look_s: float | None = self._clock.monotonic() + wait_s
        while True:
            now_s = self._clock.monotonic()
            if first_look_s is not None and now_s >= first_look_s:
                first_look_s = None
                for key in self._configured:
                    if not self._nodes[key].online:
                        self._rebirths.want(key, now_s)
            letters: list[DeadLetter] = []
            self._expire(now_s, letters)
            await self._commit(letters)
            if self._host.request_rebirths:
                await self._ask(client, now_s)
            else:
                self._rebirths.forget()
            await self._until_due(first_look_s)

    def _expire(self, now_s: float, letters: list[DeadLetter]) -> None:
        for key in list(self._watched):
            node = self._nodes[key]
            deadline_s = node.deadline_s
            if deadline_s is None:
                self._watched.discard(key)
            elif deadline_s <= now_s:
                outcome = Outcome()
                node.expire(now_s, outcome)
                self._digest(node, outcome, letters)

    async def _ask(self, client: ManualAckClient, now_s: float) -> None:
        """tck-id-topics-ncmd-mqtt: at QoS 0, not retained."""
        for group, edge in self._rebirths.due(now_s):
            now_ms = self._clock.now_ns() // 1_000_000
            await client.publish(codec.command_topic(group, edge), codec.rebirth_request(now_ms))
            self.state.count("rebirths_requested")
            _log.info("sparkplug_rebirth_requested", link=self.name, node=f"{group}/{edge}")

    async def _until_due(self, first_look_s: float | None) -> None:
        """Returns when something is due, or when there is something new to attend to."""
        times = [self._nodes[key].deadline_s for key in self._watched]
        times += [first_look_s, self._rebirths.next_s()]
        due = [at for at in times if at is not None]
        alarm = asyncio.create_task(self._attend.wait(), name=f"{self.name} attention")
        waits: set[asyncio.Task[Any]] = {alarm}
        if due:
            pause_s = max(0.0, min(due) - self._clock.monotonic())
            waits.add(asyncio.create_task(self._clock.sleep(pause_s), name=f"{self.name} alarm clock"))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        self._attend.clear()

    async def _keep_directory(self) -> None:
        """Writes the directory when it has changed, with pauses: births come in storms."""
        written = -1
        while True:
            if self._directory_file is not None and written != self.directory.version:
                written = self.directory.version
                await asyncio.to_thread(
                    self._write_directory, self._directory_file, self.directory.document()
                )
            await self._clock.sleep(DIRECTORY_EVERY_S)
            await self._news.wait()
            self._news.clear()

    @staticmethod
    def _write_directory(path: Path, document: Mapping[str, Any]) -> None:
        fresh = path.with_name(f"{path.name}.new")
        try:
            fresh.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
            fresh.replace(path)
        except OSError as error:
            # it is for people; readings do not depend on it
            _log.error("sparkplug_directory_not_written", file=str(path), error=str(error))

    async def _commit(self, letters: list[DeadLetter]) -> None:
        """Makes readings and dead letters durable."""
        now_ns = self._clock.now_ns()
        columns = self._readings.columns(now_ns)
        commits: list[Coroutine[Any, Any, object]] = [self._intake.reject(letters)] if letters else []
        if len(columns):
            self._seq += 1
            commits.append(
                self._intake.submit(
                    ReadingBatch(
                        self.name,
                        self._session,
                        self._seq,
                        now_ns,
                        columns.point,
                        columns.t_source,
                        columns.value,
                        columns.quality,
                    )
                )
            )
        for outcome in await asyncio.gather(*commits, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def _letter(
        self, topic: str, payload: bytes, received_ns: int, rejected: RejectedPayloadError
    ) -> DeadLetter:
        self.state.count(f"rejected_{rejected.reason.value}")
        self._tell(topic, payload, rejected)
        return DeadLetter(
            t_received=received_ns,
            source=self.name,
            address=topic,
            reason=rejected.reason.value,
            detail=rejected.detail,
            payload=payload[:LETTER_BYTES],
            size=len(payload),
        )

    def _tell(self, topic: str, payload: bytes, rejected: RejectedPayloadError) -> None:
        """Logs a rejection; one like an earlier one is counted but not told again."""
        complaint = (topic, rejected.reason)
        if complaint in self._complained or len(self._complained) >= MAX_COMPLAINTS:
            return
        self._complained.add(complaint)
        start = payload[:SHOWN_BYTES].hex(" ")
        _log.warning(
            "sparkplug_message_rejected", link=self.name, topic=topic, error=str(rejected), first_bytes=start
        )

    async def _link_lost(self, error: BrokerLostError) -> None:
        """Without the broker nothing is known of any edge node: everything is stale, once."""
        self._forget()
        self.state.down()
        self.state.count("connect_failures" if self._lost else "connections_lost")
        self.state.failed(self._clock.now_ns(), str(error))
        if not self._lost:
            self._lost = True
            _log.warning("sparkplug_link_lost", link=self.name, error=str(error))
            now_ns = self._clock.now_ns()
            everything = range(len(self._rows))
            self._readings.mark(everything, now_ns // 1_000_000, Quality.LINK_LOST, now_ns)
            await self._commit([])

    def _forget(self) -> None:
        """The session is over: births, orders and wishes with it."""
        for node in self._nodes.values():
            node.lost()
        self._watched.clear()
        self._rebirths.forget()
        self._state_again.clear()
        metrics.NODES_ONLINE.labels(self.name).set(0)

    def _begin_session(self) -> None:
        self._session, self._seq = max(self._clock.now_ns(), self._session + 1), 0

    async def _leave(self, client: ManualAckClient) -> None:
        """Says goodbye (tck-id-operational-behavior-host-application-termination and its parts)."""
        # the broker sends it back: from here on nobody must answer that the host is there
        self.state.down()
        with suppress(BrokerLostError):
            death = codec.state(False, self._clock.now_ns() // 1_000_000)
            await client.publish(self._state_topic, death, qos=1, retain=True)
