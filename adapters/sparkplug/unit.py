"""A device of an edge node, or the node itself: the names, aliases and datatypes that its birth gave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.sparkplug.codec import Definition, text
from adapters.sparkplug.payload_pb2 import Metric
from adapters.sparkplug.plan import UnitPlan
from adapters.sparkplug.values import quick

Quick = tuple[int, str, int, int]
"""Row of the point (-1 when it is none) and how a plain value is read, see :func:`values.quick`."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One metric of a birth."""

    row: int
    """Row of the point; -1 when it is not configured, or no number."""
    datatype: int
    is_number: bool


@dataclass(slots=True)
class Unit:
    """The node itself (no name) or one of its devices."""

    rows: Mapping[str, int]
    """Row of each configured metric by its name."""
    device: str = ""
    """Id in the configuration; empty for one that is not configured."""
    born: bool = False
    weight: int = 0
    """What its birth takes of the allowance of its node."""
    quick: dict[int, Quick] = field(default_factory=dict)
    """By alias; 0 is left out, because a metric without alias reads as 0."""
    slots: dict[str, Slot] = field(default_factory=dict)
    """By name."""
    aliases: dict[int, str] = field(default_factory=dict)
    """Name by alias."""

    def forget(self) -> None:
        """Forgets what its birth said."""
        self.born, self.weight = False, 0
        self.quick, self.slots, self.aliases = {}, {}, {}

    def define(self, definition: Definition) -> None:
        """Takes the name, alias and datatype of a metric of a birth."""
        row = -1 if definition.refused else self.rows.get(definition.name, -1)
        self.slots[definition.name] = Slot(row, definition.datatype, not definition.refused)
        alias = definition.alias
        if alias is None:
            return
        self.aliases[alias] = definition.name
        if alias:
            how = ("", 0, 0) if definition.refused else quick(definition.datatype)
            self.quick[alias] = (row, *how)

    def disown(self, alias: int) -> None:
        """Takes the meaning from an alias that several metrics have: what it stands for cannot be told."""
        self.quick.pop(alias, None)
        self.aliases.pop(alias, None)

    def configure(self, plan: UnitPlan | None) -> None:
        """Reads other points from now on, or none; what the birth said goes on counting."""
        self.rows, self.device = ({}, "") if plan is None else (plan.rows, plan.device)
        row_of = self.rows.get
        self.slots = {
            name: Slot(row_of(name, -1) if slot.is_number else -1, slot.datatype, slot.is_number)
            for name, slot in self.slots.items()
        }
        self.quick = {
            alias: (self.slots[self.aliases[alias]].row, kind, half, wrap)
            for alias, (_, kind, half, wrap) in self.quick.items()
        }

    def slot(self, metric: Metric) -> tuple[Slot | None, bool, str]:
        """The slot that a metric means, whether its name says so, and what is wrong when there is none."""
        name = text(metric)
        has_alias = metric.HasField("alias")
        if not name and not has_alias:
            return None, False, "a metric with neither name nor alias"
        if not name:
            known = self.aliases.get(metric.alias)
            if known is None:
                return None, False, f"alias {metric.alias} that no birth of it has"
            return self.slots[known], False, ""
        slot = self.slots.get(name)
        if slot is None:
            return None, True, f'metric "{name[:64]}" that no birth has'
        if has_alias and self.aliases.get(metric.alias, name) != name:
            return None, True, f'metric "{name[:64]}" with the alias of another'
        return slot, True, ""
