"""A thread that owns what must not be touched from anywhere else, such as a database connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class OwnerThread:
    """Runs calls one after the other in a thread of its own; the thread starts with the first call."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self._executor = ThreadPoolExecutor(threads, name)

    async def call(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """Runs a call and returns what it returns; cancelling does not interrupt a call that began."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)

    def wait(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """The same for a caller in another thread that has no event loop: blocks until the call is done."""
        return self._executor.submit(function, *arguments).result()

    async def close(self) -> None:
        """Waits for the calls under way and ends the thread."""
        await asyncio.get_running_loop().run_in_executor(None, self._executor.shutdown)
