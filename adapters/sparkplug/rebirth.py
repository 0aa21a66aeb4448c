"""When to ask an edge node for its births: at once the first time, then ever more rarely; never a storm."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Node = TypeVar("Node", bound=Hashable)


@dataclass(slots=True)
class _Wish:
    not_before_s: float
    pause_s: float
    wanted: bool = True


class Rebirths(Generic[Node]):
    """Wishes for births, and which of them may be sent now.

    Parameters
    ----------
    first_s
        Pause between the first two requests to one node [s]; it doubles.
    max_s
        Longest pause between two requests to one node [s].
    per_s
        Requests to all nodes together [1/s].

    """

    def __init__(self, first_s: float, max_s: float, per_s: float) -> None:
        self._first_s, self._max_s, self._per_s = first_s, max_s, per_s
        self._wishes: dict[Node, _Wish] = {}
        self._next_s = 0.0

    def want(self, node: Node, now_s: float) -> None:
        """A node's births are needed."""
        wish = self._wishes.get(node)
        if wish is None or (not wish.wanted and now_s >= wish.not_before_s):
            self._wishes[node] = _Wish(now_s, self._first_s)
        else:
            wish.wanted = True

    def born(self, node: Node) -> None:
        """A node sent its births: nothing is wanted of it any more."""
        wish = self._wishes.get(node)
        if wish is not None:
            wish.wanted = False

    def forget(self) -> None:
        """Drops every wish, for example when the connection is lost."""
        self._wishes.clear()

    def due(self, now_s: float) -> list[Node]:
        """The nodes to ask now, each with its next pause begun."""
        asked: list[Node] = []
        for node, wish in self._wishes.items():
            if not wish.wanted or now_s < wish.not_before_s:
                continue
            if self._next_s > now_s:
                break
            self._next_s = max(self._next_s, now_s - 1.0) + 1.0 / self._per_s
            wish.not_before_s = now_s + wish.pause_s
            wish.pause_s = min(2 * wish.pause_s, self._max_s)
            asked.append(node)
        return asked

    def next_s(self) -> float | None:
        """When the next request may be due [s, monotonic]; None without a wish."""
        times = [wish.not_before_s for wish in self._wishes.values() if wish.wanted]
        return max(min(times), self._next_s) if times else None
