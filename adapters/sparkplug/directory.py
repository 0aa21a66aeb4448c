"""What births say there is: the directory of a broker's edge nodes, and points that could be configured.

Births are the directory of a Sparkplug infrastructure (tck-id-topics-nbirth-metric-reqs,
tck-id-topics-dbirth-metric-reqs). Nothing here becomes a point by itself: the proposal is for people to read,
to name and to put into their configuration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.sparkplug.codec import Definition
from adapters.sparkplug.plan import NodeKey
from adapters.sparkplug.values import DataType

MAX_SHOWN = 2000
"""Metrics of one device that are listed."""


@dataclass(slots=True)
class Entry:
    """The latest birth of an edge node or of one of its devices."""

    definitions: Sequence[Definition] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    """Numbers of that birth, by metric."""
    mapped: frozenset[str] = frozenset()
    """Metrics that are points already."""
    device: str = ""
    """Id in the configuration; empty for one that is not configured."""
    born_ns: int = 0
    """Wall time of the birth [ns, UTC]."""
    weight: int = 1
    """Metrics that it counts as, see :func:`adapters.sparkplug.allowance.weight`."""


class Directory:
    """The edge nodes and devices that were born since the start.

    Parameters
    ----------
    most
        Metrics that are kept in all; beyond it the birth that is longest ago is forgotten.

    """

    def __init__(self, most: int) -> None:
        self._entries: dict[tuple[NodeKey, str | None], Entry] = {}
        self._most = most
        self._metrics = 0
        self.version = 0
        """Grows with every birth that says something new."""

    def __len__(self) -> int:
        return len(self._entries)

    def born(self, node: NodeKey, device: str | None, entry: Entry) -> None:
        """Notes a birth."""
        before = self._entries.pop((node, device), None)
        self._entries[node, device] = entry
        self._metrics += entry.weight - (0 if before is None else before.weight)
        while self._metrics > self._most and len(self._entries) > 1:
            self._metrics -= self._entries.pop(next(iter(self._entries))).weight
        if before is None or list(before.definitions) != list(entry.definitions):
            self.version += 1

    @property
    def proposed(self) -> tuple[int, int]:
        """Number of devices, and of their metrics in all, that could be points and are none."""
        counts = [
            sum(_state(definition, entry) == "proposed" for definition in entry.definitions)
            for entry in self._entries.values()
        ]
        return sum(count > 0 for count in counts), sum(counts)

    def entries(self) -> list[tuple[NodeKey, str | None, Entry]]:
        """Everything, by group, edge node and device."""
        found = [(node, device, entry) for (node, device), entry in self._entries.items()]
        return sorted(found, key=lambda row: (row[0], row[1] or ""))

    def document(self) -> dict[str, Any]:
        """For a file of state: what is there, and which of it is proposed."""
        return {
            "version": 1,
            "devices": [
                {
                    "group": group,
                    "edge": edge,
                    "device": device,
                    "configured_as": entry.device,
                    "born_ns": entry.born_ns,
                    "metrics": [
                        _metric(definition, entry)
                        for definition in entry.definitions[:MAX_SHOWN]
                        if not definition.is_control
                    ],
                }
                for (group, edge), device, entry in self.entries()
            ],
        }


def _metric(definition: Definition, entry: Entry) -> dict[str, Any]:
    known = definition.datatype in set(DataType)
    value = entry.values.get(definition.name, math.nan)
    return {
        "name": definition.name,
        "datatype": DataType(definition.datatype).name if known else definition.datatype,
        "unit": definition.unit,
        "value": value if math.isfinite(value) else None,
        "state": _state(definition, entry),
        "refused": definition.refused or ("transient" if definition.transient else ""),
    }


def _state(definition: Definition, entry: Entry) -> str:
    if definition.name in entry.mapped:
        return "mapped"
    if definition.is_control:
        return "control"
    return "refused" if definition.refused or definition.transient else "proposed"
