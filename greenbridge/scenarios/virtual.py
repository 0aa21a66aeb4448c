"""Virtual time: an event loop whose clock stands still while there is work, and jumps when there is none.

There is one thread. What would be done in another one (a database's transactions) is done inline, so that no
commit can be under way while time passes; what would be a TCP connection is one to a device in memory.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable
from typing import Any, Protocol

_TICKS = 1_000_000
"""Time moves in whole microseconds: more digits than a float has left after weeks would stop it."""


def whole(now_s: float, seconds: float) -> float:
    """When a wait ends that begins now [s].

    Not before the time that was asked for, so that whoever waits for a moment does not wait twice.
    """
    if seconds <= 0:
        return now_s
    return max(math.ceil((now_s + seconds) * _TICKS - 5e-4) / _TICKS, now_s + 1 / _TICKS)


class Host(Protocol):
    """What answers at an address."""

    def connect(self, protocol: asyncio.BufferedProtocol) -> asyncio.Transport:
        """Accepts a connection.

        Raises
        ------
        ConnectionRefusedError
            It takes none now.

        """
        ...


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs tasks in virtual seconds; the first is 0."""

    def __init__(self) -> None:
        self._elapsed_s = 0.0
        super().__init__(_Nothing(self._skip))
        self.hosts: dict[tuple[str, int], Host] = {}
        """What answers where."""

    def time(self) -> float:
        """Virtual time since the beginning [s]."""
        return self._elapsed_s

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], Any], host: str = "", port: int = 0, **_options: Any
    ) -> tuple[asyncio.Transport, Any]:
        """Connects to what :attr:`hosts` holds; nothing leaves the process."""
        if (host, port) not in self.hosts:
            raise ConnectionRefusedError(f"nothing answers at {host}:{port} in memory")
        protocol = protocol_factory()
        return self.hosts[host, port].connect(protocol), protocol

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Does the work at once, in this thread."""
        return self.create_task(_inline(func, args))

    def _skip(self, seconds: float) -> None:
        self._elapsed_s = whole(self._elapsed_s, seconds)


class VirtualClock:
    """The :class:`telemetry.clock.Clock` of a :class:`VirtualLoop`.

    Parameters
    ----------
    loop
        The loop.
    zero_ns
        Wall time at the loop's beginning [ns, UTC].

    """

    def __init__(self, loop: VirtualLoop, zero_ns: int) -> None:
        self._loop = loop
        self._zero_ns = zero_ns

    def now_ns(self) -> int:
        """Wall time [ns, UTC]."""
        return self._zero_ns + round(self._loop.time() * 1e9)

    def monotonic(self) -> float:
        """Seconds since the loop's beginning [s]."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Waits for a duration [s]."""
        woken = self._loop.create_future()
        timer = self._loop.call_at(whole(self._loop.time(), seconds), woken.set_result, None)
        try:
            await woken
        finally:
            timer.cancel()


class _Nothing(selectors.SelectSelector):
    """Waits for nothing from outside: a wait is a jump of the time."""

    def __init__(self, skip: Callable[[float], None]) -> None:
        super().__init__()
        self._skip = skip

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits for something that cannot come in virtual time")
        if timeout > 0:
            self._skip(timeout)
        return []


async def _inline(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return work(*arguments)
