"""The chain of an audit: each entry carries the digest of the one before it; pure.

An entry that is changed, taken out or put in breaks the chain at that place. That the newest entries are
missing shows only against a digest that was noted elsewhere: every one is in the structured log too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256

from telemetry.errors import StorageError

BEGINNING = "0" * 64
"""What the first entry follows."""


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did, or tried to do."""

    who: str
    """The person or process: ``operator``, ``uid 1000 (anna), process 4711``."""
    action: str
    """``reload``, ``acknowledge`` ..."""
    subject: str
    """What it was done to: a file, an alarm."""
    outcome: str
    """``done`` or ``refused``."""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An act in its place in the chain."""

    number: int
    """From 1, without a gap."""
    t: int
    """[ns, UTC]."""
    act: Act
    before: str
    """Digest of the entry before it."""
    digest: str
    """SHA-256 of everything else in this entry, in hexadecimal digits."""


def chained(number: int, t: int, act: Act, before: str) -> AuditEntry:
    """An entry that follows another."""
    return AuditEntry(number, t, act, before, digest_of(number, t, act, before))


def digest_of(number: int, t: int, act: Act, before: str) -> str:
    """Digest of an entry: of its JSON with sorted keys, so that it can be checked with other tools."""
    content = {"number": number, "t": t, "before": before, **asdict(act), "details": dict(act.details)}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


def verify(entries: Iterable[AuditEntry]) -> AuditEntry | None:
    """Checks a whole chain, oldest entry first; returns the newest entry, None for an empty chain.

    Raises
    ------
    StorageError
        An entry was changed, or one is missing; it names the first such place.

    """
    newest: AuditEntry | None = None
    for entry in entries:
        number, before = (1, BEGINNING) if newest is None else (newest.number + 1, newest.digest)
        if entry.number != number:
            raise StorageError(f"audit: entry {number} is missing, {entry.number} follows {number - 1}")
        if entry.before != before or entry.digest != digest_of(number, entry.t, entry.act, before):
            raise StorageError(f"audit: entry {number} is not what was written: it was changed afterwards")
        newest = entry
    return newest
