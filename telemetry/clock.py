"""The one place that knows the time. Monotonic time schedules, wall time labels."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Time as every shell receives it."""

    def now_ns(self) -> int:
        """Wall time [ns, UTC]: for labels only."""
        ...

    def monotonic(self) -> float:
        """Time that never jumps [s]: for schedules and durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits for a duration [s]; returns at the next turn of the loop if it is not positive."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How a clock relates to real time: at real wall time ``epoch_ns`` it showed ``wall_ns``.

    Processes whose clocks have the same pace share one time.
    """

    speed: float
    """Seconds of the clock for each real second, above 0."""
    wall_ns: int
    """[ns, UTC]."""
    epoch_ns: int
    """Real wall time [ns, UTC]."""

    def __post_init__(self) -> None:
        if not (self.speed > 0 and math.isfinite(self.speed)):
            raise ValueError(f"a speed of {self.speed} is not above 0")

    def at(self, real_ns: int) -> int:
        """Wall time of the clock at a real wall time [ns, UTC]."""
        return self.wall_ns + round((real_ns - self.epoch_ns) * self.speed)


class SystemClock:
    """The machine's clock; with a pace it runs faster or slower than real time and shows another date.

    Time-outs of network connections are the machine's, whatever the pace.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace
        self._next: Pace | None = None
        self._begun = self._shown = time.monotonic()

    @property
    def pace(self) -> Pace:
        """How it runs now."""
        self._turn()
        real = time.time_ns()
        return self._pace or Pace(1.0, real, real)

    @property
    def upcoming(self) -> Pace:
        """How it will run from the epoch of this pace on; how it runs now if no change is due."""
        pace = self.pace
        return self._next or pace

    def set_pace(self, pace: Pace) -> None:
        """Runs differently from the epoch of a pace on, at once if that is over.

        Monotonic time does not jump; sleeps under way keep their length.
        """
        self._turn()
        self._next = pace if pace.epoch_ns > time.time_ns() else None
        if self._next is None:
            self._change(pace, time.monotonic())

    def set_speed(self, speed: float, after_s: float = 0.0) -> None:
        """Runs at another speed, without a jump, when so much real time has passed [s]."""
        real = time.time_ns() + round(after_s * 1e9)
        self.set_pace(Pace(speed, self.pace.at(real), real))

    def now_ns(self) -> int:
        """Wall time [ns, UTC]."""
        self._turn()
        return time.time_ns() if self._pace is None else self._pace.at(time.time_ns())

    def monotonic(self) -> float:
        """Monotonic time [s]."""
        self._turn()
        return self._shown + (time.monotonic() - self._begun) * self._speed

    async def sleep(self, seconds: float) -> None:
        """Waits, at the clock's own speed."""
        self._turn()
        await asyncio.sleep(max(0.0, seconds) / self._speed)

    @property
    def _speed(self) -> float:
        return 1.0 if self._pace is None else self._pace.speed

    def _turn(self) -> None:
        """Changes to the next pace when its time has come."""
        pace = self._next
        if pace is not None and (late_ns := time.time_ns() - pace.epoch_ns) >= 0:
            self._next = None
            self._change(pace, time.monotonic() - late_ns / 1e9)

    def _change(self, pace: Pace, at: float) -> None:
        """``at`` in real monotonic time [s]."""
        self._shown += (at - self._begun) * self._speed
        self._begun, self._pace = at, pace


class ManualClock:
    """A clock that moves only when told to; for tests and for playing scenarios."""

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = start_ns
        self._elapsed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now_ns(self) -> int:
        """Wall time [ns, UTC]."""
        return self._now_ns

    def monotonic(self) -> float:
        """Seconds that the clock was advanced by [s]."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Waits until the clock was advanced far enough."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), woken))
        await woken

    def set_wall(self, now_ns: int) -> None:
        """Steps the wall clock, as a time server might; monotonic time is not touched."""
        self._now_ns = now_ns

    async def advance(self, seconds: float) -> None:
        """Moves time on [s], waking sleepers in order and letting each run before the next.

        Raises
        ------
        ValueError
            The duration is negative: this time never goes back, only :meth:`set_wall` does.

        """
        if seconds < 0:
            raise ValueError(f"a clock cannot be advanced by {seconds} s")
        end = self._elapsed + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, woken = heapq.heappop(self._sleepers)
            self._move_to(max(due, self._elapsed))
            if not woken.done():
                woken.set_result(None)
            await settle()
        self._move_to(end)
        await settle()

    def _move_to(self, elapsed: float) -> None:
        self._now_ns += round((elapsed - self._elapsed) * 1e9)
        self._elapsed = elapsed


async def settle(turns: int = 20) -> None:
    """Gives every ready task some turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
