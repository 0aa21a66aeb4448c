"""Recordings: what a real device answered, served again by a simulated one.

A recording is a file with one JSON object in each line, either words that were read,

    {"unit": 1, "table": "holding", "address": 3059, "words": [17318, 26214]}

(``table`` is ``holding`` or ``input``, ``address`` the one on the wire), or the device's identification,

    {"unit": 1, "identification": {"0": "Vendor", "1": "Product"}}

Other members, such as a time, may stand beside these and are not used. A later line must not contradict an
earlier one: blocks that overlap have to agree, since nothing tells which word the device would show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from simulators.devices.identification import Identification, Refusal
from simulators.devices.registers import Held
from telemetry.errors import ConfigError, Problem

FUNCTIONS = {"holding": 3, "input": 4}
MAX_BYTES = 64 * 1024 * 1024

Word = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
UnitId = Annotated[int, msgspec.Meta(ge=0, le=255)]


class Block(msgspec.Struct, frozen=True):
    """Words that were read."""

    unit: UnitId
    table: Literal["holding", "input"]
    address: Word
    words: Annotated[list[Word], msgspec.Meta(min_length=1)]


class Identified(msgspec.Struct, frozen=True):
    """What the device said of itself."""

    unit: UnitId
    identification: dict[Annotated[str, msgspec.Meta(pattern=r"^\d{1,3}$")], str]


@dataclass(slots=True)
class Recorded:
    """One unit of a recording."""

    words: dict[int, dict[int, int]] = field(default_factory=lambda: {3: {}, 4: {}})
    """Word of each address, for each function code."""
    objects: dict[int, str] = field(default_factory=dict)


class RecordedUnit:
    """A simulated device that answers with the words of a recording."""

    def __init__(self, recorded: Recorded, *, exception: Refusal | None = None) -> None:
        self.exception = exception
        self._recorded = recorded
        self._identification = Identification(recorded.objects)

    @property
    def identification(self) -> Identification:
        """What the recorded device said of itself."""
        return self._identification

    def read(self, function: int, address: int, count: int) -> list[int] | Refusal:
        """The recorded words; what was not recorded is an illegal address."""
        words = self._recorded.words.get(function)
        if not words:
            return Refusal.ILLEGAL_FUNCTION
        found = [words[a] for a in range(address, address + count) if a in words]
        return found if len(found) == count else Refusal.ILLEGAL_ADDRESS

    def registers(self) -> list[Held]:
        """Every recorded word; a recording does not tell what it means."""
        return [
            Held(table, address, f"{table} {address}", (word,), word, "")
            for table, function in FUNCTIONS.items()
            for address, word in sorted(self._recorded.words[function].items())
        ]


def load(path: Path) -> Mapping[int, Recorded]:
    """Reads a recording: what each of its units answered.

    Raises
    ------
    ConfigError
        The file cannot be read or is no recording; every faulty line is named.

    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError([Problem(str(path), "", "", f"is larger than {MAX_BYTES >> 20} MiB")])
        content = path.read_bytes()
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise ConfigError([Problem(str(path), "", "", reason)]) from None
    units: dict[int, Recorded] = {}
    problems = [
        Problem(str(path), f"line {number}", "", reason, "see simulators/README.md")
        for number, reason in _faults(content, units)
    ]
    if not problems and not units:
        problems = [Problem(str(path), "", "", "holds no unit")]
    if problems:
        raise ConfigError(problems)
    return units


def _faults(content: bytes, units: dict[int, Recorded]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = _decoded(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            yield number, str(error)
            continue
        recorded = units.setdefault(row.unit, Recorded())
        if isinstance(row, Identified):
            recorded.objects.update({int(key): text for key, text in row.identification.items()})
            continue
        if row.address + len(row.words) > 0x10000:
            yield number, f"{len(row.words)} words from {row.address} on leave the address space"
            continue
        words = recorded.words[FUNCTIONS[row.table]]
        for address, word in enumerate(row.words, row.address):
            if words.setdefault(address, word) != word:
                yield (
                    number,
                    f"{row.table} {address} of unit {row.unit} overlaps an earlier line that differs",
                )
                break


def _decoded(line: bytes) -> Block | Identified:
    members = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    if "identification" in members:
        return msgspec.json.decode(line, type=Identified)
    return msgspec.json.decode(line, type=Block)
