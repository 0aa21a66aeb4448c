"""What edge nodes say of themselves: nodes, devices and metrics from their births; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.sparkplug import codec, topics
from adapters.sparkplug.allowance import Allowance
from adapters.sparkplug.directory import Directory
from adapters.sparkplug.node import EdgeNode
from adapters.sparkplug.outcome import Outcome
from adapters.sparkplug.plan import NodeKey
from adapters.sparkplug.readings import Readings, Rows
from adapters.sparkplug.rejection import RejectedPayloadError
from adapters.sparkplug.topics import Verb
from commissioning.tables import aligned, number

MAX_NODES = 2000
"""Edge nodes that are listened to."""
MAX_METRICS = 1_000_000
"""Metrics that are remembered, of all together."""


class Births:
    """Everything that was born while a probe listened.

    ``ask`` lets :meth:`hear` ask edge nodes for their births, once each.
    """

    def __init__(self, *, ask: bool = False) -> None:
        self.directory = Directory(MAX_METRICS)
        self.unborn: set[NodeKey] = set()
        """Edge nodes that were heard, but not their births."""
        self.rejected = 0
        """Messages that are none of the protocol's."""
        self.left_out = 0
        """Messages of edge nodes beyond the limit."""
        self.asked = 0
        self._ask = ask
        self._nodes: dict[NodeKey, EdgeNode] = {}
        self._asked: set[NodeKey] = set()
        self._allowance = Allowance(MAX_METRICS)

    @property
    def sound(self) -> bool:
        """Something was born, and nothing is missing."""
        return len(self.directory) > 0 and not (self.unborn or self.rejected or self.left_out)

    def hear(self, topic: str, payload: bytes, received_ns: int) -> Mapping[str, bytes]:
        """Takes a message; returns the requests for births that follow, payloads by topic."""
        if topic.startswith(f"{topics.NAMESPACE}/{topics.STATE}/"):
            return {}
        try:
            parsed = topics.parse_topic(topic)
            if parsed is None:
                return {}
            message = codec.parse(parsed, payload, received_ns)
        except RejectedPayloadError:
            self.rejected += 1
            return {}
        key = (parsed.group, parsed.edge)
        node = self._nodes.get(key)
        if node is None:
            if len(self._nodes) >= MAX_NODES:
                self.left_out += 1
                return {}
            node = self._nodes[key] = _node(key, self._allowance)
        outcome = Outcome()
        node.receive(message, received_ns / 1e9, outcome)
        node.readings.columns(received_ns)
        for device, entry in outcome.born:
            self.directory.born(key, device, entry)
        if node.online:
            self.unborn.discard(key)
        elif parsed.verb is not Verb.NDEATH:
            self.unborn.add(key)
        if not self._ask or node.online or key in self._asked or parsed.verb is Verb.NDEATH:
            return {}
        self._asked.add(key)
        self.asked += 1
        return {topics.command_topic(*key): codec.rebirth_request(received_ns // 1_000_000)}

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "nodes": len({key for key, _, _ in self.directory.entries()}),
            "unborn": sorted("/".join(key) for key in self.unborn),
            "rejected": self.rejected,
            "left_out": self.left_out,
            "asked": self.asked,
            "devices": self.directory.document()["devices"],
        }

    def text(self) -> str:
        """For people: nodes, their devices and metrics, indented."""
        document = self.document()
        rows = []
        shown: NodeKey | None = None
        for device in document["devices"]:
            key = (device["group"], device["edge"])
            if key != shown:
                rows.append(("/".join(key), "", "", ""))
                shown = key
            rows.append((f"  {device['device'] or '(the node itself)'}", "", "", ""))
            for metric in device["metrics"]:
                value = metric["value"]
                told = "" if value is None else number(value)
                kind = str(metric["datatype"]).lower()
                refused = metric["refused"]
                rows.append(
                    (f"    {metric['name']}", kind, metric["unit"], (refused and f"({refused})") or told)
                )
        lines = [f"edge nodes born: {document['nodes']}, with {len(document['devices'])} devices"]
        if rows:
            lines.append(aligned(("edge node, device, metric", "type", "unit", "value"), rows, {3}))
        if self.unborn:
            lines.append(f"heard without a birth: {', '.join(document['unborn'])}")
            if not self._ask:
                lines.append(
                    "--ask-births makes them say what they have, which asks them to publish it again"
                )
        if not rows and not self.unborn:
            lines.append(
                "nothing was heard: births come at the start of a session, and when they are asked for"
            )
        if self.rejected:
            lines.append(f"{self.rejected} messages are not of the protocol")
        return "\n".join(lines)


def _node(key: NodeKey, allowance: Allowance) -> EdgeNode:
    nothing = Readings(Rows([], [], [], [], []))
    return EdgeNode(key, {}, nothing, reorder_s=2.0, birth_wait_s=60.0, allowance=allowance)
