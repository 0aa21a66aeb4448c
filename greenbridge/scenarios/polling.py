"""Polls of a gateway whose link and devices are sound, without the cost of a connection.

Plan, schedule, polls, frames, checks and decoding are the source's own parts. What
:class:`adapters.modbus.source.ModbusSource` adds is there for what can go wrong; where something may, the
source itself plays. A test holds the readings of both equal.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

from adapters.modbus.codec import MbapFramer, framed, verified
from adapters.modbus.config import GatewaySettings
from adapters.modbus.planner import planned
from adapters.modbus.schedule import Schedule
from adapters.modbus.unit import Answer, Poll, Unit
from greenbridge.scenarios.virtual import whole
from telemetry.backoff import Backoff
from telemetry.batch import ReadingBatch
from telemetry.clock import Clock
from telemetry.errors import GreenbridgeError
from telemetry.site import SitePoint


class CalmPolls:
    """The units behind one gateway, polled up to a time in one go.

    Parameters
    ----------
    gateway
        Settings of the gateway.
    points
        Every point of every device behind it.
    answer
        Makes a frame of a reply from one of a request.
    clock
        Time; the first poll is after its present.
    step_s
        Time between two steps of the world [s]. Above 1, all polls of a step are made in the second after it:
        later ones would show what was true some seconds before.

    """

    def __init__(
        self,
        gateway: GatewaySettings,
        points: Sequence[SitePoint],
        answer: Callable[[bytes], bytes],
        clock: Clock,
        step_s: float = 1.0,
    ) -> None:
        self.name = f"modbus/{gateway.id}"
        self._answer = answer
        self._clock = clock
        self._at_s = self._heard_s = self._begun_s = clock.monotonic()
        by_device: dict[str, list[SitePoint]] = {}
        for point in points:
            by_device.setdefault(point.key.device, []).append(point)
        self._units = [Unit(planned(members, gateway.planning_cost)) for members in by_device.values()]
        periods = {
            i: [max(1.0, own / step_s) for own in unit.periods_s] for i, unit in enumerate(self._units)
        }
        self._periods_s = [own for unit in self._units for own in unit.periods_s]
        longest = gateway.backoff_max_s
        never = {i: Backoff(longest, longest, lambda: 0.0) for i in periods}
        self._schedule = Schedule(periods, never, self._at_s, zlib.crc32(self.name.encode()) / 2**32)
        self._framer = MbapFramer()
        self._transaction = 0
        self._session, self._seq = clock.now_ns(), 0
        self._answers: list[Answer] = []

    def advance(self) -> None:
        """Polls everything that was due in the last second, each unit at its own time."""
        end_s, now_ns = self._clock.monotonic(), self._clock.now_ns()
        schedule = self._schedule
        if end_s - 1.0 > self._begun_s:
            schedule.resume(end_s - 1.0)
            self._at_s = end_s - 1.0
        self._begun_s = end_s
        while True:
            due_s = whole(self._at_s, schedule.wait_s(self._at_s))
            if due_s >= end_s:
                break
            self._at_s = self._heard_s = due_s
            taken = schedule.take(due_s)
            if taken is None:
                continue
            t_ns = now_ns - round((end_s - due_s) * 1e9)
            unit = self._units[taken.unit]
            poll = Poll(unit, self._periods_s[taken.turn])
            for state in poll.next(len(poll)):
                self._transaction = self._transaction % 0xFFFF + 1
                request = state.request.numbered(self._transaction)
                self._framer.feed(self._answer(framed(request)))
                frame = self._framer.next_frame()
                if frame is None or self._framer.pending:
                    raise GreenbridgeError(f"{self.name}: {request} was not answered with one frame")
                poll.answered((state,), (verified(request, frame),), (t_ns,))
            self._answers += poll.answers()
            schedule.answered(taken.turn, due_s)

    def batch(self) -> ReadingBatch | None:
        """What was polled since the last call; None for nothing. Reads of one kind are decoded together."""
        if not self._answers:
            return None
        columns = Answer.joined(self._answers)
        self._answers.clear()
        self._seq += 1
        behind_ns = round((self._clock.monotonic() - self._heard_s) * 1e9)
        return ReadingBatch(
            self.name,
            self._session,
            self._seq,
            self._clock.now_ns() - behind_ns,
            columns.point,
            columns.t_source,
            columns.value,
            columns.quality,
        )
