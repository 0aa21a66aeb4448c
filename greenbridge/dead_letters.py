"""``greenbridge deadletter``: dead letters for people, beside a running greenbridge or without one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from greenbridge.settings import Configuration
from ingest.deadletters import DeadLetters, Selection, StoredLetter
from telemetry.errors import StorageError

_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Listing:
    """Some letters and what is held in all."""

    letters: Sequence[StoredLetter]
    counts: Sequence[tuple[str, str, int]]
    dropped: int

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "held": sum(count for _, _, count in self.counts),
            "dropped_for_space": self.dropped,
            "by_reason": [{"source": s, "reason": r, "count": n} for s, r, n in self.counts],
            "letters": [document(letter) for letter in self.letters],
        }

    def text(self) -> str:
        """For people."""
        lines = [f"{count:>8}  {source:<24} {reason}" for source, reason, count in self.counts]
        if self.dropped:
            lines.append(f"{self.dropped:>8}  dropped for space, oldest first")
        if not lines:
            return "no dead letters"
        lines.append("")
        for stored in self.letters:
            letter = stored.letter
            lines.append(
                f"{stored.id:>8}  {_iso(letter.t_received)}  {letter.source}  {letter.address}  "
                f"{letter.reason}: {letter.detail}"
            )
        return "\n".join(lines)


def document(stored: StoredLetter, *, payload: bool = False) -> dict[str, Any]:
    """A letter for machines; its payload as text where it is UTF-8, and always in hexadecimal digits."""
    letter = stored.letter
    fields: dict[str, Any] = {
        "id": stored.id,
        "origin": stored.origin,
        "received": _iso(letter.t_received),
        "source": letter.source,
        "address": letter.address,
        "reason": letter.reason,
        "detail": letter.detail,
        "size": letter.size,
        "kept": len(letter.payload),
    }
    if payload:
        fields["payload_hex"] = letter.payload.hex()
        fields["payload_text"] = _text(letter.payload)
    return fields


def text(stored: StoredLetter) -> str:
    """A letter for people."""
    lines = [f"{name:<9} {value}" for name, value in document(stored).items()]
    shown = _text(stored.letter.payload)
    lines += ["", shown if shown is not None else stored.letter.payload.hex(" ")]
    return "\n".join(lines)


def nanoseconds(moment: datetime | None) -> int | None:
    """Time of a command-line option, UTC unless it says otherwise [ns]."""
    if moment is None:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * _SECOND)


async def listing(configuration: Configuration, chosen: Selection, before: int | None, limit: int) -> Listing:
    """Newest letters that are meant, and the sums of all."""
    async with _opened(configuration) as letters:
        return Listing(await letters.newest(before, limit, chosen), await letters.counts(), letters.dropped)


async def one(configuration: Configuration, number: int) -> StoredLetter:
    """A letter by its number.

    Raises
    ------
    StorageError
        There is none.

    """
    async with _opened(configuration) as letters:
        found = await letters.show(number)
    if found is None:
        raise StorageError(f"there is no dead letter {number}: it never was, or left; see deadletter list")
    return found


async def request(configuration: Configuration, chosen: Selection) -> int:
    """Asks for letters to be decoded again; returns how many."""
    async with _opened(configuration) as letters:
        return await letters.request(chosen)


async def purge(configuration: Configuration, chosen: Selection) -> int:
    """Deletes letters; returns how many."""
    async with _opened(configuration) as letters:
        return await letters.purge(chosen)


@asynccontextmanager
async def _opened(configuration: Configuration) -> AsyncIterator[DeadLetters]:
    settings = configuration.settings
    path = Path(settings.state_dir) / "deadletters.sqlite"
    if not path.exists():
        raise StorageError(f"{path} does not exist; set state_dir, or run greenbridge first")
    async with DeadLetters(path, settings.dead_letters) as letters:
        yield letters


def _text(payload: bytes) -> str | None:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def _iso(ns: int) -> str:
    return datetime.fromtimestamp(ns / _SECOND, UTC).isoformat(timespec="milliseconds")
