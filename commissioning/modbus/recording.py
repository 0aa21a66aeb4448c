"""Keeps what a device answered in the form that simulators serve again (simulators/README.md); pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby

from adapters.modbus.codec import Query, Request
from commissioning.modbus.walk import Reply
from telemetry.profiles import RegisterTable

_SERVED = (RegisterTable.HOLDING, RegisterTable.INPUT)


class Recorder:
    """Listens to a prober. A register that was read again holds what was read last."""

    def __init__(self) -> None:
        self._words: dict[tuple[int, RegisterTable], dict[int, int]] = {}
        self._objects: dict[int, dict[int, str]] = {}
        self.left_out = 0
        """Single bits that were read: recordings hold registers only."""

    @property
    def size(self) -> int:
        """Registers in the recording."""
        return sum(map(len, self._words.values()))

    def note(self, query: Query, reply: Reply) -> None:
        """Takes the registers of a reply."""
        if not isinstance(query, Request) or not reply.ok:
            return
        if query.table not in _SERVED:
            self.left_out += query.count
            return
        words = self._words.setdefault((query.unit, query.table), {})
        words.update(enumerate(reply.words, query.address))

    def identified(self, unit: int, objects: dict[int, str]) -> None:
        """Takes what a unit says of itself."""
        if objects:
            self._objects[unit] = objects

    def text(self) -> str:
        """The recording, one JSON object in each line."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for unit, objects in sorted(self._objects.items()):
            told = {str(key): text for key, text in sorted(objects.items())}
            yield json.dumps({"unit": unit, "identification": told}, ensure_ascii=False)
        for (unit, table), words in sorted(self._words.items()):
            # consecutive addresses keep their distance to their place in the sorted list
            placed = enumerate(sorted(words))
            for _, run in groupby(placed, key=lambda pair: pair[1] - pair[0]):
                addresses = [address for _, address in run]
                held = [words[address] for address in addresses]
                yield json.dumps({"unit": unit, "table": table.value, "address": addresses[0], "words": held})
