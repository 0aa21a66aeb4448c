"""A number that grows, and that a task can wait for."""

from __future__ import annotations

import asyncio


class Revision:
    """A growing number with waiters; wakes all of them at every growth."""

    def __init__(self, value: int = 0) -> None:
        self._value = value
        self._grown = asyncio.Event()

    @property
    def value(self) -> int:
        """The number now."""
        return self._value

    def move_to(self, value: int) -> None:
        """Grows to a value; a smaller one changes nothing."""
        if value > self._value:
            self._value = value
            self._grown.set()
            self._grown = asyncio.Event()

    async def past(self, value: int) -> int:
        """Returns the number as soon as it is above a value."""
        while self._value <= value:
            await self._grown.wait()
        return self._value
