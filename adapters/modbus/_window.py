"""How many requests may be in flight on a connection, shared among the polls that use it."""

from __future__ import annotations

import asyncio
from collections import deque

from adapters.modbus._connection import Link


class Window:
    """A connection with places for requests in flight; who waits for one gets it in turn.

    Parameters
    ----------
    connection
        The connection.
    size
        Number of places.

    """

    def __init__(self, connection: Link, size: int) -> None:
        self.connection = connection
        self.size = size
        self._free = size
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, most: int) -> int:
        """Takes as many places as there are, at most ``most`` and at least one; returns how many."""
        if not self._free or self._waiting:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._waiting.remove(turn)
                self._call()
                raise
            self._waiting.popleft()
        taken = min(most, self._free)
        self.give_back(-taken)
        return taken

    def give_back(self, places: int) -> None:
        """Frees places."""
        self._free += places
        self._call()

    def _call(self) -> None:
        if self._free and self._waiting and not self._waiting[0].done():
            self._waiting[0].set_result(None)
