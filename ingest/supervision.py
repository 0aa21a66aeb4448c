"""Supervision: named coroutines that are restarted one by one when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

import structlog

from ingest import metrics
from telemetry.backoff import Backoff
from telemetry.clock import Clock

log = structlog.get_logger(__name__)

Run = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """How a supervised task fares."""

    name: str
    state: str
    """``waiting`` (not started), ``running``, ``failed`` (it will be restarted) or ``ended``."""
    restarts: int
    error: str
    """Last error, empty when it never failed."""
    since_ns: int
    """When the state began [ns, UTC]."""


class Supervisor:
    """Runs coroutines side by side; one that fails is logged, counted and restarted with backoff.

    The others are not touched. A coroutine that ran for ``stable_s`` begins again with the shortest backoff.
    """

    def __init__(self, clock: Clock, *, stable_s: float = 60.0, longest_s: float = 30.0) -> None:
        self._clock = clock
        self._stable_s = stable_s
        self._longest_s = longest_s
        self._runs: dict[str, Run] = {}
        self._status: dict[str, TaskStatus] = {}
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def add(self, name: str, run: Run) -> None:
        """Adds a coroutine function to run; it starts with :meth:`run`, or at once when that is under way.

        Raises
        ------
        ValueError
            The name is taken.

        """
        if name in self._runs:
            raise ValueError(f"a supervised task is named {name} already")
        self._runs[name] = run
        self._status[name] = TaskStatus(name, "waiting", 0, "", self._clock.now_ns())
        if self._group is not None:
            self._start(self._group, name)

    async def remove(self, name: str) -> None:
        """Ends a coroutine and forgets it; returns when it has ended.

        Raises
        ------
        KeyError
            No task has this name.

        """
        del self._runs[name]
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        del self._status[name]

    @property
    def status(self) -> list[TaskStatus]:
        """Status of every task, in the order in which they were added."""
        return list(self._status.values())

    async def run(self) -> None:
        """Runs everything; returns when all have ended, and ends all when it is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for name in self._runs:
                    self._start(group, name)
        finally:
            self._group = None

    def _start(self, group: asyncio.TaskGroup, name: str) -> None:
        self._tasks[name] = group.create_task(self._keep(name, self._runs[name]), name=f"keep/{name}")

    async def _keep(self, name: str, run: Run) -> None:
        backoff = Backoff(longest_s=self._longest_s)
        while True:
            started = self._clock.monotonic()
            self._enter(name, "running")
            error = await self._outcome(name, run)
            if error is None:
                self._enter(name, "ended")
                return
            if self._clock.monotonic() - started >= self._stable_s:
                backoff.reset()
            wait = backoff.next()
            log.error("task_failed", task=name, retry_in_s=round(wait, 1), exc_info=error)
            metrics.TASK_RESTARTS.labels(name).inc()
            self._enter(name, "failed", f"{type(error).__name__}: {error}")
            await self._clock.sleep(wait)

    async def _outcome(self, name: str, run: Run) -> BaseException | None:
        """Runs the coroutine as a task of its own: whatever it raises is inspected, not caught."""
        task = asyncio.create_task(run(), name=name)
        try:
            await asyncio.wait({task})
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if task.cancelled():
            return asyncio.CancelledError("the task was cancelled from inside")
        return task.exception()

    def _enter(self, name: str, state: str, error: str | None = None) -> None:
        before = self._status[name]
        self._status[name] = replace(
            before,
            state=state,
            since_ns=self._clock.now_ns(),
            error=before.error if error is None else error,
            restarts=before.restarts + (error is not None),
        )
