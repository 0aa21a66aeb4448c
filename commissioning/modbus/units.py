"""Finds the units behind a gateway; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.modbus.codec import Request
from commissioning.modbus.faults import UNREACHED
from commissioning.modbus.walk import Reply, Walk
from commissioning.tables import aligned
from telemetry.profiles import RegisterTable


@dataclass(slots=True)
class FoundUnit:
    """A unit that answers."""

    unit: int
    reply: Reply
    identification: dict[int, str] = field(default_factory=dict)
    """What it says of itself, by object."""

    @property
    def answer(self) -> str:
        """How it answered the read."""
        return "data" if self.reply.ok else f"exception {self.reply.code}"

    @property
    def name(self) -> str:
        """Vendor, product and revision, as far as it tells them."""
        told = self.identification
        product = told.get(4) or told.get(1, "")
        return " ".join(part for part in (told.get(0, ""), product, told.get(2, "")) if part)


@dataclass(slots=True)
class UnitScan:
    """A scan under way.

    A read of one address is asked of each unit; any reply but "gateway path unavailable" and "gateway target
    failed to respond" (V1.1b3, 7: exceptions 10 and 11) comes from a unit that is there.
    """

    units: Sequence[int]
    table: RegisterTable
    address: int
    found: list[FoundUnit] = field(default_factory=list)
    asked: int = 0
    silent: int = 0
    """Units that did not answer at all."""

    def walk(self) -> Walk[None]:
        """Asks each unit once."""
        for unit in self.units:
            reply = yield Request(0, unit, self.table, self.address, 1)
            self.asked += 1
            self.silent += reply.silent
            if not reply.silent and reply.code not in UNREACHED:
                self.found.append(FoundUnit(unit, reply))

    @property
    def sound(self) -> bool:
        """True when a unit was found."""
        return bool(self.found)

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "asked": self.asked,
            "silent": self.silent,
            "units": [
                {
                    "unit": found.unit,
                    "answer": found.answer,
                    "identification": {str(key): text for key, text in found.identification.items()},
                }
                for found in self.found
            ],
        }

    def text(self) -> str:
        """For people."""
        head = f"Units {self.units[0]}-{self.units[-1]}: {len(self.found)} of {self.asked} answer"
        if not self.found:
            return f"{head}; check wiring and the gateway's own unit table (--units 0:255 asks more)"
        rows = [[str(one.unit), one.answer, one.name or "does not identify itself"] for one in self.found]
        return f"{head}\n{aligned(['unit', 'answer', 'device'], rows, {0})}"
