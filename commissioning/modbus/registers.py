"""Finds which addresses of a device can be read, by halves; pure.

A device answers a read only if every address in it exists. So a read that is answered proves all its
addresses, and one that is refused says that at least one is missing: it is halved. What lies beside a range
that is known goes first, since maps are blocks; then the largest halves. So a scan that is ended early knows
the most.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as counted
from typing import Any

from adapters.modbus.codec import Request
from commissioning.modbus.faults import UNREACHED, exception_text
from commissioning.modbus.target import Span
from commissioning.modbus.walk import Walk
from commissioning.tables import aligned
from telemetry.errors import UnavailableError
from telemetry.profiles import RegisterTable

ABSENT = frozenset({2, 3, 4})
"""Exceptions of a read that may succeed in halves: not every device tells a missing register by 2."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How many requests a scan takes."""

    least: int
    """If the device answers every read."""
    most: int
    """If it refuses every read, or the limit that was set."""

    def text(self, pause_s: float, round_trip_s: float) -> str:
        """For people, with the time that it takes at a round trip [s]."""
        each = pause_s + round_trip_s
        return (
            f"{self.least} to {self.most} requests, {duration(self.least * each)} to "
            f"{duration(self.most * each)} at {1e3 * each:.0f} ms each"
        )


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def effort(within: Span, most: int, limit: int) -> Effort:
    """What a scan takes; a read of n that is refused down to single addresses makes 2n - 1 of it."""
    whole, rest = divmod(within.count, most)
    worst = whole * (2 * most - 1) + (2 * rest - 1 if rest else 0)
    least = whole + bool(rest)
    return Effort(min(least, limit), min(worst, limit))


class NoSuchTableError(UnavailableError):
    """The device does not know the function that reads a table."""


class RegisterScan:
    """A scan under way: what is known of the addresses so far.

    Parameters
    ----------
    unit
        Unit identifier.
    table
        Which table.
    within
        Where to look.
    most
        Addresses in the largest read.
    limit
        Requests after which the scan ends.

    """

    def __init__(self, unit: int, table: RegisterTable, within: Span, most: int, limit: int) -> None:
        self.unit = unit
        self.table = table
        self.within = within
        self.requests = 0
        self.widest = 0
        """Addresses in the largest read that was answered."""
        self.silent: list[Span] = []
        """Reads that nobody answered, and that were not repeated."""
        self._most = most
        self._limit = limit
        self._starts: dict[int, Span] = {}
        """Spans to be asked for, by first address and by the one behind the last."""
        self._ends: dict[int, Span] = {}
        self._found: dict[int, Span] = {}
        """Readable ranges, by both."""
        self._found_ends: dict[int, Span] = {}
        self._large: list[tuple[int, int, Span]] = []
        self._beside: list[Span] = []
        self._order = counted()

    def walk(self) -> Walk[None]:
        """Asks, until everything or the limit is reached.

        Raises
        ------
        NoSuchTableError
            The device does not know the table.
        UnavailableError
            A gateway answers that it does not reach the unit.

        """
        for start in range(self.within.start, self.within.end, self._most):
            self._add(Span(start, min(self._most, self.within.end - start)))
        while self.requests < self._limit and (span := self._next()) is not None:
            self.requests += 1
            reply = yield Request(0, self.unit, self.table, span.start, span.count)
            if reply.ok:
                self.widest = max(self.widest, span.count)
                self._readable(span)
            elif reply.silent:
                self.silent.append(span)
            elif reply.code == 1 and not self._found:
                text = f"unit {self.unit} does not know {self.table} registers (exception 1)"
                raise NoSuchTableError(f"{text}; try another --table")
            elif reply.code in UNREACHED:
                raise UnavailableError(f"unit {self.unit}: {exception_text(reply.code)}")
            elif span.count > 1 and reply.code in ABSENT:
                half = span.count // 2
                self._add(Span(span.start, half))
                self._add(Span(span.start + half, span.count - half))

    @property
    def sound(self) -> bool:
        """True when something was found."""
        return bool(self._found)

    @property
    def found(self) -> list[Span]:
        """Ranges that can be read, in order."""
        return sorted(self._found.values())

    @property
    def unresolved(self) -> int:
        """Addresses of which is not known whether they can be read."""
        return sum(span.count for span in self._starts.values()) + sum(span.count for span in self.silent)

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "unit": self.unit,
            "table": self.table.value,
            "within": {"address": self.within.start, "count": self.within.count},
            "ranges": [{"address": span.start, "count": span.count} for span in self.found],
            "requests": self.requests,
            "unresolved": self.unresolved,
            "silent": [{"address": span.start, "count": span.count} for span in self.silent],
        }

    def text(self) -> str:
        """For people."""
        found = self.found
        total = sum(span.count for span in found)
        head = f"Unit {self.unit}, {self.table} {self.within}: {total} readable in {len(found)} ranges"
        lines = [f"{head} ({self.requests} requests)"]
        if found:
            rows = [[str(span.start), str(span.end - 1), str(span.count)] for span in found]
            lines.append(aligned(["first", "last", "count"], rows, {0, 1, 2}))
        if self.silent:
            shown = ", ".join(map(str, self.silent[:5])) + (" ..." if len(self.silent) > 5 else "")
            lines.append(f"  no answer to reads of {shown}")
        if self.unresolved:
            lines.append(
                f"  {self.unresolved} addresses are not resolved: look at fewer with --within, "
                "or allow more with --max-requests"
            )
        return "\n".join(lines)

    def _add(self, span: Span) -> None:
        self._starts[span.start] = self._ends[span.end] = span
        if span.start in self._found_ends or span.end in self._found:
            self._beside.append(span)
        else:
            heapq.heappush(self._large, (-span.count, next(self._order), span))

    def _next(self) -> Span | None:
        for span in self._candidates():
            if self._starts.get(span.start) is span:
                del self._starts[span.start], self._ends[span.end]
                return span
        return None

    def _candidates(self) -> Iterator[Span]:
        """Best first; a span may have been asked for already, by the other way into the list."""
        while self._beside or self._large:
            yield self._beside.pop() if self._beside else heapq.heappop(self._large)[2]

    def _readable(self, span: Span) -> None:
        before = self._found_ends.pop(span.start, None)
        if before is not None:
            del self._found[before.start]
            span = Span(before.start, before.count + span.count)
        behind = self._found.pop(span.end, None)
        if behind is not None:
            del self._found_ends[behind.end]
            span = Span(span.start, span.count + behind.count)
        self._found[span.start] = self._found_ends[span.end] = span
        for neighbour in (self._starts.get(span.end), self._ends.get(span.start)):
            if neighbour is not None:
                self._beside.append(neighbour)
