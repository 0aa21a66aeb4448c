"""A Sparkplug host application: its certificate, the messages of the edge nodes, requests for births."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import aiomqtt
import structlog

from adapters import metrics
from adapters.mqtt_client import ManualAckClient
from adapters.mqtt_session import BrokerLostError, Received, Session
from adapters.sparkplug import certificate, codec
from adapters.sparkplug.allowance import Allowance
from adapters.sparkplug.config import HostSettings
from adapters.sparkplug.directory import Directory
from adapters.sparkplug.node import EdgeNode
from adapters.sparkplug.outcome import Outcome
from adapters.sparkplug.plan import NodeKey, UnitPlan, plan_host
from adapters.sparkplug.readings import LAST_MS, Readings
from adapters.sparkplug.rebirth import Rebirths
from adapters.sparkplug.rejection import RejectedPayloadError, Rejection
from adapters.sparkplug.topics import NAMESPACE, STATE, Topic, command_topic, parse_topic, state_topic
from adapters.subscriber import Link, Opener, Subscriber
from ingest.ports import DeadLetter, Intake
from telemetry.clock import Clock
from telemetry.quality import Quality
from telemetry.site import SitePoint

DIRECTORY_EVERY_S = 2.0
"""Shortest time between two writes of the directory [s]."""

CLOCK_STEP_NS = 5_000_000_000
"""A wall clock that goes back by more than this was set [ns]."""

_log = structlog.get_logger(__name__)


class HostLink(Link, Protocol):
    """What a host application needs of a connection; see :class:`adapters.mqtt_client.ManualAckClient`."""

    async def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Publishes; with QoS 1 it returns when the broker has the message."""
        ...


class SparkplugSource(Subscriber[HostLink]):
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
    connect
        Makes connections in place of real ones.

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
        connect: Opener[HostLink] | None = None,
    ) -> None:
        opener = connect or partial(ManualAckClient, host, clock)
        super().__init__("sparkplug", host, opener, intake, clock, environment=environment, uniform=uniform)
        self.directory = Directory(host.max_metrics)
        """What was born since the start."""
        self._host = host
        self._directory_file = directory_file
        plan = plan_host(points)
        self._rows = plan.rows
        self._readings = Readings(plan.rows)
        self._strangers = Allowance(host.max_metrics)
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
        self._state_topic = state_topic(host.host_id)
        self._state_again = asyncio.Event()
        self._connected_ms = 0
        self._certified_ms = 0
        """Latest time that a certificate of this host bears [ms]: edge nodes pass over earlier ones, so that
        it must not follow a wall clock that is set back."""
        self._newest_ns = 0

    @property
    def online(self) -> int:
        """Edge nodes that are born and not dead."""
        return sum(node.online for node in self._nodes.values())

    def ask_for_births(self) -> None:
        """Asks every configured edge node for its births, for example when a consumer begins anew.

        Without a connection nothing is asked: births come with the next one anyway.
        """
        if not self.state.connected:
            return
        for key in self._configured:
            self._rebirths.want(key, self._clock.monotonic())
        self._attend.set()

    def prepared(self, points: Sequence[SitePoint], changed: AbstractSet[str]) -> Callable[[], None]:
        """Plans other points; what is returned brings them into effect, at once and without fail.

        The connection stays, every edge node stays born, and no message of any is missed. Points of changed
        devices are stale until the births that their edge nodes are asked for.

        Parameters
        ----------
        points
            Every point of every device behind the host.
        changed
            Devices that are reached or understood otherwise than before.

        Raises
        ------
        ConfigError
            A device cannot be planned; nothing has changed.

        """
        plan = plan_host(points)

        def take_over() -> None:
            now_ns = self._clock.now_ns()
            nodes = {key for key, node in self._nodes.items() if node.devices & changed}
            plan.rows.carry(self._rows)
            self._rows = plan.rows
            self._readings.follow(plan.rows, now_ns)
            for key in plan.nodes.keys() - self._nodes.keys():
                self._nodes[key] = self._node(key, {})
            for key, node in self._nodes.items():
                node.configure(plan.nodes.get(key, {}))
            nodes |= {key for key, node in self._nodes.items() if node.devices & changed}
            self._configured = list(plan.nodes)
            rows = [row for row, point in enumerate(points) if point.key.device in changed]
            self._readings.mark(rows, now_ns // 1_000_000, Quality.STALE, now_ns)
            self._lost = False  # what is new is out of reach too, if the broker is
            if self.state.connected:
                for key in nodes:
                    self._rebirths.want(key, self._clock.monotonic())
            self._attend.set()

        return take_over

    async def _begin(self) -> None:
        """Nothing is known of any edge node before its births.

        What an earlier run stored last would otherwise hold for ever: silence ends nothing here.
        """
        await self._mark_all(Quality.STALE)

    def _session_wanted(self) -> Session:
        """tck-id-operational-behavior-host-application-connect-will and its parts."""
        # tck-id-host-topic-phid-death-payload-timestamp-connect
        self._connected_ms = max(self._clock.now_ns() // 1_000_000, self._certified_ms + 1)
        self._certified_ms = self._connected_ms
        death = certificate.state(False, self._connected_ms)
        return Session(0, aiomqtt.Will(self._state_topic, death, qos=1, retain=True))

    def _node(self, key: NodeKey, units: Mapping[str | None, UnitPlan]) -> EdgeNode:
        host = self._host
        return EdgeNode(
            key,
            units,
            self._readings,
            reorder_s=host.reorder_timeout_s,
            birth_wait_s=host.birth_wait_s,
            # what is configured is remembered in any case
            allowance=Allowance(host.max_node_metrics, None if units else self._strangers),
        )

    def _parts(self, client: HostLink) -> Mapping[str, Coroutine[Any, Any, None]]:
        return {
            "state": self._certify(client),
            "attend": self._attend_to_nodes(client),
            "directory": self._keep_directory(),
        }

    async def _certify(self, client: HostLink) -> None:
        """Subscribes, then says that the host is there: again when somebody says that it is not, and to nodes
        that are asked for births and are not there, as they may wait for it and have missed it.

        tck-id-message-flow-phid-sparkplug-subscription, -state-publish, -state-publish-payload-timestamp,
        tck-id-message-flow-hid-sparkplug-state-message-delivered.
        """
        groups = self._host.groups
        topics = [self._state_topic]
        topics += [f"{NAMESPACE}/{group}/#" for group in groups] or [f"{NAMESPACE}/#"]
        refused = await self._subscribe(client, topics)
        if self._state_topic in refused or len(refused) == len(topics) - 1:
            raise self._refused_all(refused, topics)
        self._state_again.set()
        first = True
        while True:
            await self._state_again.wait()
            self._state_again.clear()
            if self._certified_ms > self._connected_ms:
                # the Will bears the time of the connection, and a birth must bear the same
                raise BrokerLostError("a certificate of this host bears a later time; connecting anew")
            birth = certificate.state(True, self._connected_ms)
            await client.publish(self._state_topic, birth, qos=1, retain=True)
            if first:
                first = False
                self._connected(host_id=self._host.host_id, topics=len(topics) - len(refused))
            else:
                self.state.count("state_repeated")
                _log.info("sparkplug_state_repeated", link=self.name, host_id=self._host.host_id)

    async def _take(self, messages: Sequence[Received]) -> None:
        letters: list[DeadLetter] = []
        self._follow_clock()
        for received in messages:
            self._hear(received, letters)
        await self._commit_readings(letters)

    def _hear(self, received: Received, letters: list[DeadLetter]) -> None:
        """Hands a message to its edge node."""
        try:
            topic = self._topic(received)
            if topic is None:
                return
            message = codec.parse(topic, received.payload, received.received_ns)
            node = self._node_of((topic.group, topic.edge))
        except RejectedPayloadError as rejected:
            where = (received.topic, received.payload, received.received_ns)
            letters.append(self._letter(*where, rejected.reason, rejected.detail))
            return
        outcome = Outcome()
        node.receive(message, self._clock.monotonic(), outcome)
        self._digest(node, outcome, letters)

    def _topic(self, received: Received) -> Topic | None:
        if received.topic.startswith(f"{NAMESPACE}/{STATE}/"):
            if received.topic == self._state_topic:
                self._own_state(received)
            return None
        topic = parse_topic(received.topic)
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
        """tck-id-message-flow-hid-sparkplug-state-message-delivered.

        A retained one that is dated later is of an earlier run whose clock was ahead.
        """
        told = certificate.read_state(received.payload)
        if received.retained and self._certified_ms < told.timestamp < LAST_MS:
            self._certified_ms = told.timestamp
            _log.warning("sparkplug_state_of_later", link=self.name, host_id=self._host.host_id)
            self._state_again.set()
            return
        if not told.online and self.state.connected:
            _log.warning("sparkplug_state_contradicted", link=self.name, host_id=self._host.host_id)
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
            where = (message.topic.text, message.raw, message.received_ns)
            letters.append(self._letter(*where, rejected.reason, rejected.detail))
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

    def _proposal(self) -> str:
        devices, found = self.directory.proposed
        if not found:
            return ""
        where = f", see {self._directory_file}" if self._directory_file is not None else ""
        return f"{found} metrics of {devices} devices could be configured{where}"

    async def _attend_to_nodes(self, client: HostLink) -> None:
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
            await self._commit_readings(letters)
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

    async def _ask(self, client: HostLink, now_s: float) -> None:
        """tck-id-topics-ncmd-mqtt: at QoS 0, not retained."""
        for group, edge in self._rebirths.due(now_s):
            now_ms = self._clock.now_ns() // 1_000_000
            await client.publish(command_topic(group, edge), codec.rebirth_request(now_ms))
            self.state.count("rebirths_requested")
            _log.info("sparkplug_rebirth_requested", link=self.name, node=f"{group}/{edge}")
            if not self._nodes[group, edge].online:
                self._state_again.set()

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
        noted = -1
        while True:
            if noted != self.directory.version:
                noted = self.directory.version
                self.state.note = self._proposal()
                if self._directory_file is not None:
                    document = self.directory.document()
                    await asyncio.to_thread(self._write_directory, self._directory_file, document)
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

    def _follow_clock(self) -> None:
        """When the wall clock was stepped back, what is current must be said again in the time of now."""
        now_ns = self._clock.now_ns()
        if now_ns < self._newest_ns - CLOCK_STEP_NS:
            _log.warning("sparkplug_clock_stepped_back", link=self.name)
            self._rows.step_back(now_ns // 1_000_000)
            self.ask_for_births()
            self._newest_ns = now_ns
        self._newest_ns = max(self._newest_ns, now_ns)

    async def _commit_readings(self, letters: Sequence[DeadLetter]) -> None:
        now_ns = self._clock.now_ns()
        await self._commit(now_ns, self._readings.columns(now_ns), letters)

    async def _mark_lost(self) -> None:
        await self._mark_all(Quality.LINK_LOST)

    async def _mark_all(self, quality: Quality) -> None:
        now_ns = self._clock.now_ns()
        self._readings.mark(range(len(self._rows)), now_ns // 1_000_000, quality, now_ns)
        await self._commit_readings([])

    def _forget(self) -> None:
        """Births, orders and wishes end with the connection."""
        for node in self._nodes.values():
            node.lost()
        self._watched.clear()
        self._rebirths.forget()
        self._state_again.clear()
        metrics.NODES_ONLINE.labels(self.name).set(0)

    async def _leave(self, client: HostLink) -> None:
        """Says goodbye (tck-id-operational-behavior-host-application-termination and its parts)."""
        # the broker sends it back: from here on nobody must answer that the host is there
        self.state.down()
        with suppress(BrokerLostError):
            self._certified_ms = max(self._clock.now_ns() // 1_000_000, self._certified_ms)
            death = certificate.state(False, self._certified_ms)
            await client.publish(self._state_topic, death, qos=1, retain=True)
