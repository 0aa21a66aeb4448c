"""Waking those who wait for a sequence to grow."""

from __future__ import annotations

import asyncio


class Growth:
    """Wakes everybody who waits now; a later waiter waits for the next notification."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Wakes all who wait."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Returns at the next :meth:`notify`."""
        await self._event.wait()
