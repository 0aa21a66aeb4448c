"""A Sparkplug edge node on the broker in memory: the simulators' own state machine, driven in virtual time.

What :class:`simulators.devices.sparkplug.runner.EdgeNodeRunner` does with tasks and a connection is done here
in one call a second, so that its messages come at their own time and in their own order.
"""

from __future__ import annotations

from collections.abc import Iterable

from greenbridge.scenarios.broker import MemoryBroker
from simulators.devices.connection import FIRST_RETRY_S, LAST_RETRY_S
from simulators.devices.sparkplug.config import EdgeNodeSettings
from simulators.devices.sparkplug.edge_node import Action, Disconnect, EdgeNode, Publish
from simulators.devices.sparkplug.lifecycle import Phase
from simulators.devices.sparkplug.runner import Moment
from simulators.devices.sparkplug.sites import node_plan, readings
from simulators.devices.sparkplug.topics import is_data
from simulators.state import BenchState
from simulators.world.clocks import clock_of


class MemoryEdgeNode:
    """One edge node and its way to the broker.

    Parameters
    ----------
    settings
        Which one it is; all its devices are in the bench.
    state
        The bench.
    broker
        Where it publishes.
    offset_s
        Its moment after each step of the world [s].

    """

    def __init__(
        self, settings: EdgeNodeSettings, state: BenchState, broker: MemoryBroker, offset_s: float
    ) -> None:
        self.offset_s = offset_s
        self.node = EdgeNode(node_plan(settings, state.bench))
        self._readings = readings(settings, state)
        self._own = clock_of(settings.name)
        self._way = state.links[settings.name]
        self._faults = state.broker_link()
        self._broker = broker
        self._period_s = settings.period_s
        self._due_s = 0.0
        self._retry_s = 0.0
        self._pause_s = FIRST_RETRY_S
        self._now_ms = 0

    def look(self, true_ns: int, elapsed_s: float) -> None:
        """Minds the connection; then, if it is time, looks at the devices and publishes what is new."""
        moment = Moment(true_ns, self._own.at(true_ns) // 1_000_000)
        self._now_ms = moment.own_ms
        self.follow()
        if self.node.phase is Phase.OFFLINE and elapsed_s >= self._retry_s:
            self._connect(elapsed_s)
        if elapsed_s >= self._due_s:
            self._due_s = max(self._due_s + self._period_s, elapsed_s)
            self._act(self.node.looked(self._readings(moment), moment.own_ms))

    def follow(self) -> None:
        """Takes note of a connection that broke, at the broker or on the way to it."""
        if not self._way.accepts:
            self._broker.cut(self)
        if self.node.phase is not Phase.OFFLINE and not self._broker.has(self):
            self._ended()

    def hear(self, topic: str, payload: bytes) -> None:
        """Takes a message of the broker."""
        self._act(self.node.received(topic, payload, self._now_ms))

    def _connect(self, elapsed_s: float) -> None:
        if not (self._way.accepts and self._broker.accepts):
            self._pause_s = min(2 * self._pause_s, LAST_RETRY_S)
            self._retry_s = elapsed_s + self._pause_s
            return
        self._pause_s = FIRST_RETRY_S
        self._retry_s = elapsed_s + FIRST_RETRY_S
        will = self.node.connect(self._now_ms)
        self._broker.enter(self, (will.topic, will.payload))
        self._broker.ask(self, self.node.connected())
        self._act(self.node.subscribed(self._now_ms))

    def _act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Publish):
                for sent in self._faults.deliver([action]) if is_data(action.topic) else [action]:
                    self._broker.route(sent.topic, sent.payload, sent.qos)
            elif isinstance(action, Disconnect):
                self._broker.leave(self)
                self._ended()

    def _ended(self) -> None:
        self._faults.forget()
        self.node.disconnected(self._now_ms)
