"""One device behind a gateway and what was last told of each of its reads; pure.

A failure is told once, when it begins: a value that is not known is never sent again with a fresh time.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from adapters.modbus.codec import DeviceRefusedError
from adapters.modbus.plan import DevicePlan, Read
from telemetry.batch import Columns
from telemetry.quality import Quality


class ReadState:
    """A read and the bad quality last reported for its points."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.reported: Quality | None = None

    def answered(self, data: bytes, now_ns: int) -> Columns:
        """The readings of a verified reply, stamped at its receipt [ns, UTC]."""
        self.reported = None
        value, quality = self.read.decoder.decode(data)
        return Columns.of(self.read.point, np.full(len(value), now_ns), value, quality)

    def failed(self, quality: Quality, now_ns: int) -> Columns:
        """The points as bad from now on [ns, UTC]; empty when that is known already."""
        if self.reported is quality:
            return Columns.empty()
        self.reported = quality
        n = len(self.read.point)
        return Columns.of(self.read.point, np.full(n, now_ns), np.full(n, np.nan), np.full(n, quality))


class Unit:
    """One device with the reads of its plan."""

    def __init__(self, plan: DevicePlan) -> None:
        self.plan = plan
        self.reads = [ReadState(read) for read in plan.reads]
        self.failing = False

    def split(self, state: ReadState) -> list[ReadState]:
        """Replaces a read by reads without gaps; returns those, or nothing if it has no gap."""
        parts = [ReadState(read) for read in state.read.without_gaps()]
        if len(parts) < 2:
            return []
        at = self.reads.index(state)
        self.reads[at : at + 1] = parts
        return parts


class Poll:
    """One poll of a unit: which read is due next, and what its outcome means for the others."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._waiting = deque(unit.reads)

    def next(self) -> ReadState | None:
        """The read to ask for; None when the poll is over."""
        return self._waiting.popleft() if self._waiting else None

    def refused(self, state: ReadState, refusal: DeviceRefusedError) -> list[ReadState]:
        """The reads that take the place of one that the device refused; empty if it stays refused."""
        parts = self._unit.split(state) if refusal.is_address else []
        self._waiting.extendleft(reversed(parts))
        return parts

    def unanswered(self, state: ReadState, quality: Quality, now_ns: int) -> list[Columns]:
        """Ends the poll: what its outcome makes of this read and of those that were not asked any more."""
        failed = [s.failed(quality, now_ns) for s in (state, *self._waiting)]
        self._waiting.clear()
        return failed
