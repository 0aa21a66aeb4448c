"""The order of an edge node's messages: a reorder buffer without clock or wires (5.10.2).

Whatever is out of order waits, for at most the reorder timeout, until the messages before it have come
(tck-id-operational-behavior-host-reordering-start, -success, -rebirth).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

LIMIT = 128
"""Messages that may wait: half of the numbers, so that before and after stay apart."""
_WRAP = 256

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _Held(Generic[Item]):
    item: Item
    since_s: float


class Sequence(Generic[Item]):
    """Expects numbers one by one; what comes out of turn is held.

    ``timeout_s`` is how long a gap may last [s].
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._held: dict[int, _Held[Item]] = {}
        self.expected: int | None = None
        """The next number; None while the order is not known."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def deadline_s(self) -> float | None:
        """When the oldest gap has lasted too long [s, monotonic]; None without a gap."""
        if not self._held:
            return None
        return min(held.since_s for held in self._held.values()) + self._timeout_s

    def begin(self, seq: int, belongs: Callable[[Item], bool]) -> list[Item]:
        """A birth has this number; what waits and belongs to it goes on waiting, the rest is given back."""
        self.expected = (seq + 1) % _WRAP
        others = [held.item for held in self._held.values() if not belongs(held.item)]
        self._held = {number: held for number, held in self._held.items() if belongs(held.item)}
        return others

    def take(self, seq: int) -> bool:
        """True when this number is the next one, which it then no longer is."""
        if seq != self.expected:
            return False
        self.expected = (seq + 1) % _WRAP
        return True

    def hold(self, seq: int, item: Item, now_s: float) -> bool:
        """Keeps what came out of turn; False when there is no room or the number waits already."""
        if seq in self._held or len(self._held) >= LIMIT:
            return False
        self._held[seq] = _Held(item, now_s)
        return True

    def ready(self) -> Iterator[Item]:
        """What waits and is next, one after the other."""
        while self.expected is not None and self.expected in self._held:
            held = self._held.pop(self.expected)
            self.expected = (self.expected + 1) % _WRAP
            yield held.item

    def drain(self) -> list[Item]:
        """Gives up the order: everything that waits, in the order of its numbers from the expected one on."""
        start = self.expected or 0
        waiting = sorted(self._held.items(), key=lambda entry: (entry[0] - start) % _WRAP)
        self._held.clear()
        return [held.item for _, held in waiting]
