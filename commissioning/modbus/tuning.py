"""Finds how a device is best read: the largest read that it takes, and what a gap may cost; pure.

A round trip is taken as a fixed part and a part for each register, fitted to the medians of several sizes.
Their quotient is what a request costs in registers: reading across a gap of fewer unused registers is cheaper
than a request of its own.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from adapters.modbus.codec import Query, Request
from commissioning.modbus.registers import ABSENT
from commissioning.modbus.target import Span
from commissioning.modbus.walk import Reply, Walk
from commissioning.tables import aligned
from telemetry.profiles import RegisterTable

MAX_GAP = 124
"""Largest gap that a profile can name."""
MAX_REQUEST_COST = 1000.0
"""Largest cost of a request that a gateway's settings can name."""
_TIMES_SLOWEST = 5
"""Time-outs are this often the slowest round trip seen."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a device answers reads of different sizes, and what follows."""

    span: Span
    max_registers: int
    limited: bool
    """True when the device refused a larger read; else the readable range or the protocol ended there."""
    refused_code: int | None
    """Exception of the smallest read that was too large."""
    medians_ms: Mapping[int, float]
    """Median round trip by number of registers [ms]."""
    slowest_ms: float
    fixed_ms: float
    """Part of a round trip that does not depend on its size [ms]."""
    register_ms: float
    """Part for each register [ms]; 0 where none can be measured."""

    @property
    def sound(self) -> bool:
        """True when there were answers."""
        return bool(self.medians_ms)

    @property
    def request_cost(self) -> float:
        """What a request costs besides its registers, in registers."""
        if self.register_ms <= 0:
            return MAX_REQUEST_COST
        return min(MAX_REQUEST_COST, round(self.fixed_ms / self.register_ms, 1))

    @property
    def max_gap(self) -> int:
        """Largest gap that is worth reading across."""
        return max(0, min(MAX_GAP, self.max_registers - 2, math.floor(self.request_cost)))

    @property
    def timeout_s(self) -> float:
        """A time-out with room [s], in steps of 0.5."""
        return max(0.5, math.ceil(_TIMES_SLOWEST * self.slowest_ms / 500) / 2)

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "address": self.span.start,
            "count": self.span.count,
            "max_registers": self.max_registers,
            "limited_by_device": self.limited,
            "exception": self.refused_code,
            "median_ms": {str(size): round(value, 3) for size, value in self.medians_ms.items()},
            "fixed_ms": round(self.fixed_ms, 3),
            "register_ms": round(self.register_ms, 5),
            "recommended": {
                "max_registers": self.max_registers,
                "max_gap": self.max_gap,
                "request_cost": self.request_cost,
                "timeout_s": self.timeout_s,
            },
        }

    def text(self) -> str:
        """For people."""
        if not self.sound:
            return f"Tuning: registers {self.span} cannot be read; name a readable range with --read"
        if self.limited:
            limit = f"{self.max_registers} registers in one read (more is exception {self.refused_code})"
        else:
            limit = f"at least {self.max_registers} registers in one read"
        rows = [[str(size), f"{value:.2f}"] for size, value in self.medians_ms.items()]
        slope = f"{1e3 * self.register_ms:.1f} us" if self.register_ms > 0 else "nothing measurable"
        profile = f"max_registers = {self.max_registers}, max_gap = {self.max_gap}"
        gateway = f"request_cost = {self.request_cost:g}, timeout_s = {self.timeout_s:g}"
        return "\n".join(
            [
                f"Tuning at {self.span}: {limit}",
                aligned(["registers", "median ms"], rows, {0, 1}),
                f"  a request costs {self.fixed_ms:.2f} ms, each register {slope}",
                f"  recommended: {profile} in the profile; {gateway} at the gateway",
            ]
        )


def tune(unit: int, table: RegisterTable, span: Span, most: int, samples: int = 10) -> Walk[Tuning]:
    """Measures reads within a span.

    Parameters
    ----------
    unit
        Unit identifier.
    table
        Which table.
    span
        A range that can be read; the wider, the better the outcome.
    most
        Largest read that may be tried.
    samples
        Round trips of each size.

    """
    ceiling = min(most, span.count)
    largest, code = yield from _largest(unit, table, span.start, ceiling)
    if largest == 0:
        return Tuning(span, 0, True, code, {}, 0.0, 0.0, 0.0)
    sizes = sorted({1, max(1, largest // 4), max(1, largest // 2), largest})
    took: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(samples):
        for size in sizes:  # in turn, so that a change of the network's mood meets all sizes
            reply = yield Request(0, unit, table, span.start, size)
            if reply.ok:
                took[size].append(1e3 * reply.took_s)
    medians = {size: median(times) for size, times in took.items() if times}
    fixed, slope = fitted(medians)
    slowest = max((max(times) for times in took.values() if times), default=0.0)
    return Tuning(span, largest, code is not None, code, medians, slowest, fixed, slope)


def fitted(medians: Mapping[int, float]) -> tuple[float, float]:
    """Fixed part and part for each register of round trips, by least squares; neither below 0."""
    sizes, times = list(medians), list(medians.values())
    if not sizes:
        return 0.0, 0.0
    mean_size, mean_time = sum(sizes) / len(sizes), sum(times) / len(times)
    spread = sum((size - mean_size) ** 2 for size in sizes)
    if spread == 0:
        return mean_time, 0.0
    products = ((size - mean_size) * (time - mean_time) for size, time in zip(sizes, times, strict=True))
    slope = max(0.0, sum(products) / spread)
    return max(0.0, mean_time - slope * mean_size), slope


def _largest(
    unit: int, table: RegisterTable, start: int, ceiling: int
) -> Generator[Query, Reply, tuple[int, int | None]]:
    """The largest read that is answered, and the exception of the next larger one; by halves."""
    low, high, code = 0, ceiling + 1, None
    size = ceiling
    while low + 1 < high:
        reply = yield Request(0, unit, table, start, size)
        if reply.ok:
            low = size
        else:
            high = size
            if reply.code is not None and (reply.code in ABSENT or code is None):
                code = reply.code
        size = (low + high) // 2
    return low, code


def widest(spans: Sequence[Span]) -> Span | None:
    """The largest of several ranges, the first of equal ones; None without any."""
    return max(spans, key=lambda span: span.count, default=None)
