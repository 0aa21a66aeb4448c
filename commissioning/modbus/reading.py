"""Reads spans of addresses as they are, and shows what they may mean; pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters.modbus.codec import Request
from commissioning.modbus.faults import exception_name, exception_text
from commissioning.modbus.target import Span
from commissioning.modbus.walk import Reply, Walk
from commissioning.tables import aligned, number
from telemetry.profiles import RegisterTable


@dataclass(frozen=True, slots=True)
class Part:
    """One read and its reply."""

    span: Span
    reply: Reply


@dataclass(frozen=True, slots=True)
class Reading:
    """What stood in a table of a unit."""

    unit: int
    table: RegisterTable
    parts: tuple[Part, ...]

    @property
    def sound(self) -> bool:
        """True when every read was answered with data."""
        return all(part.reply.ok for part in self.parts)

    @property
    def words(self) -> dict[int, int]:
        """Word, or bit, of each address that was read."""
        return {
            address: word
            for part in self.parts
            if part.reply.ok
            for address, word in enumerate(part.reply.words, part.span.start)
        }

    @property
    def faults(self) -> list[str]:
        """Reads without data, in words; what to do is said once for all that failed alike."""
        failed = [part for part in self.parts if not part.reply.ok]
        told: list[str] = []
        for i, part in enumerate(failed):
            code = part.reply.code
            again = any(later.reply.code == code for later in failed[i + 1 :])
            why = exception_name(code) if again and code is not None else reason(part.reply)
            told.append(f"{self.table} {part.span}: {why}")
        return told

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "unit": self.unit,
            "table": self.table.value,
            "reads": [
                {"address": part.span.start, "count": part.span.count, "words": list(part.reply.words)}
                if part.reply.ok
                else {
                    "address": part.span.start,
                    "count": part.span.count,
                    "exception": part.reply.code,
                    "error": reason(part.reply),
                }
                for part in self.parts
            ],
        }

    def text(self) -> str:
        """For people: each register, alone and as the beginning of a longer value."""
        heading = f"Unit {self.unit}, {self.table}:"
        words = self.words
        shown = [heading]
        if words and self.table.is_bits:
            rows = [[str(address), "on" if bit else "off"] for address, bit in sorted(words.items())]
            shown.append(aligned(["address", "state"], rows, {0}))
        elif words:
            rows = [_row(address, words) for address in sorted(words)]
            shown.append(aligned(_COLUMNS, rows, {0, 2, 3, 4, 5, 6}))
        return "\n".join([*shown, *(f"  {fault}" for fault in self.faults)])


_COLUMNS = ("address", "hex", "uint16", "int16", "uint32 abcd", "float32 abcd", "float32 cdab", "text")


def reason(reply: Reply) -> str:
    """Why a reply holds no data."""
    return "no answer" if reply.code is None else exception_text(reply.code)


def _row(address: int, words: dict[int, int]) -> list[str]:
    word = words[address]
    alone = bytes(divmod(word, 256))
    row = [str(address), f"{word:04x}", str(word), str(struct.unpack(">h", alone)[0])]
    following = words.get(address + 1)
    if following is None:
        row += ["", "", ""]
    else:
        other = bytes(divmod(following, 256))
        row.append(str(struct.unpack(">I", alone + other)[0]))
        row += [_float(struct.unpack(">f", octets)[0]) for octets in (alone + other, other + alone)]
    return [*row, "".join(chr(octet) if 32 <= octet < 127 else "." for octet in alone)]


def _float(value: float) -> str:
    """A number of a size that is measured; the others are told as what they are not."""
    return number(value) if value == 0 or 1e-6 <= abs(value) < 1e12 else "-"


def reads(spans: Sequence[Span], most: int) -> list[Span]:
    """Spans cut into reads that a device takes."""
    return [
        Span(start, min(most, span.end - start))
        for span in spans
        for start in range(span.start, span.end, most)
    ]


def read_spans(unit: int, table: RegisterTable, spans: Sequence[Span], most: int) -> Walk[Reading]:
    """Reads spans in order, at most so many addresses at a time."""
    parts = []
    for span in reads(spans, most):
        reply = yield Request(0, unit, table, span.start, span.count)
        parts.append(Part(span, reply))
    return Reading(unit, table, tuple(parts))
