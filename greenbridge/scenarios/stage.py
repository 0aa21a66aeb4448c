"""The simulated side of a play: the bench without its wires, behind gateways and a broker in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain

import msgspec

from greenbridge.scenarios.broker import MemoryBroker, Published
from greenbridge.scenarios.edge import MemoryEdgeNode
from greenbridge.scenarios.gateway import MemoryGateway
from simulators.bench import Bench
from simulators.faults.link import LinkFaults
from simulators.faults.model import BROKER
from simulators.scenario import Timed
from simulators.state import BenchState
from telemetry.clock import Clock

SECOND = 1_000_000_000


class Stage:
    """Steps the world and shows it on the devices.

    Parameters
    ----------
    bench
        The devices.
    known
        Ids of the devices that take part; the others are not read by anybody.
    timeline
        What goes wrong and when.
    behind
        Devices that take part by edge nodes, besides or instead, by the names of these.
    seed
        Of weather, loads and meters.
    start_ns
        Start of the world [ns, UTC].
    clock
        Time.

    """

    def __init__(
        self,
        bench: Bench,
        known: Collection[str],
        timeline: Sequence[Timed],
        *,
        behind: Mapping[str, Collection[str]] | None = None,
        seed: int,
        start_ns: int,
        clock: Clock,
    ) -> None:
        behind = behind or {}
        known = {*known, *chain.from_iterable(behind.values())}
        lines = {served.position for served in bench.served() if served.device.id in known}
        devices = tuple(device for i, device in enumerate(bench.device) if i in lines)
        nodes = tuple(
            node.model_copy(update={"devices": tuple(behind[node.name])})
            for node in bench.edge_node
            if node.name in behind
        )
        bench = bench.model_copy(update={"seed": seed, "device": devices, "tap": (), "edge_node": nodes})
        self._state = BenchState(bench, start_ns, timeline)
        self._start_ns = start_ns
        self.links: Mapping[str, LinkFaults] = self._state.links
        """What is wrong with each link."""
        self.gateways: Mapping[str, MemoryGateway] = {
            name: MemoryGateway(units, self._state.links[name]) for name, units in self._state.lines.items()
        }
        """What answers in place of each server."""
        self.broker = MemoryBroker(self._state.links[BROKER], clock)
        self._edges = [
            MemoryEdgeNode(node, self._state, self.broker, k / len(nodes)) for k, node in enumerate(nodes)
        ]
        self._encoder = msgspec.json.Encoder()

    @property
    def collapse(self) -> str:
        """Why the simulated grid is down; empty if it is not."""
        collapse = self._state.world.snapshot.collapse
        return "" if collapse is None else collapse.reason

    def step(self, elapsed_s: float, dt_s: float) -> None:
        """Advances to ``elapsed_s`` from the start by a step of ``dt_s`` [s]; links follow their faults."""
        self._state.step(elapsed_s, self._start_ns + round(elapsed_s * SECOND), dt_s)
        for gateway in self.gateways.values():
            gateway.follow()
        self.broker.follow()
        for edge in self._edges:
            edge.follow()

    def messages(self, from_s: float, until_s: float) -> Iterator[Published]:
        """What the publishing devices say between two times after a step [s], each at its own moment.

        The times are those from the step, of which the first second holds every device's moment.
        """
        state = self._state
        pause = 1.0 / max(1, len(state.publishing))
        for k, position in enumerate(state.publishing):
            moment_s = (k + 0.5) * pause
            if from_s <= moment_s < until_s:
                now_ns = state.world.t_ns + round(moment_s * SECOND)
                for message in state.messages(position, now_ns):
                    yield message.topic, self._encoder.encode(message.payload)

    def look(self, from_s: float, until_s: float) -> None:
        """Lets those edge nodes publish whose moment is between two times after a step [s]."""
        world = self._state.world
        for edge in self._edges:
            if from_s <= edge.offset_s < until_s:
                now_ns = world.t_ns + round(edge.offset_s * SECOND)
                edge.look(now_ns, (now_ns - self._start_ns) / SECOND)
