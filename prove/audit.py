"""The audit: what is stored after a fault, against the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alerts.journal import AlarmJournal
from ingest.config import DeadLetterSettings, JournalSettings
from ingest.conservation import Conservation, conservation
from ingest.deadletters import DeadLetters
from ingest.journal.journal import Journal
from ingest.stores.embedded.store import EmbeddedStore
from prove.ledger import POINTS, SOURCES, STORE, Ledger, Message, values
from telemetry.batch import Columns
from telemetry.clock import SystemClock
from telemetry.quality import Quality

_ROOMY = STORE.model_copy(update={"memory_mb": 2048})
"""To read all of it in order at once."""
_SPAN = 1 << 40
"""More than a source sends messages."""
_ALL_TIME = (-(1 << 62), 1 << 62)


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found; every number but the first three must be 0."""

    acknowledged: int
    """Readings with different keys that the subject confirmed."""
    stored: int
    replayed: int
    """Records that the store lacked when the process died."""
    missing: int
    """Confirmed and not stored."""
    corrupted: int
    """Stored with another value or quality than was sent."""
    stale: int
    """Stored as an older version than the one that was confirmed."""
    spurious: int
    """Stored and never sent."""
    duplicate_keys: int
    unaccounted: int
    """Readings that the conservation sum does not account for."""
    letters_missing: int
    alarms_missing: int
    damaged: int = 0
    """Records that the journal passed over."""

    @property
    def holds(self) -> bool:
        """True if nothing is wrong."""
        return not self.faults

    @property
    def faults(self) -> dict[str, int]:
        """What is wrong."""
        names = (
            "missing",
            "corrupted",
            "stale",
            "spurious",
            "duplicate_keys",
            "unaccounted",
            "letters_missing",
            "alarms_missing",
        )
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def audit(state: Path, ledger: Ledger, settings: dict[str, Any]) -> Audit:
    """Opens what the dead process left, as the next one would, lets the store catch up, and compares."""
    return asyncio.run(_audit(state, ledger, settings))


async def _audit(state: Path, ledger: Ledger, settings: dict[str, Any]) -> Audit:
    async with (
        Journal(state / "journal", JournalSettings(**settings), SystemClock()) as journal,
        EmbeddedStore(state / "store.duckdb", _ROOMY) as store,
        DeadLetters(state / "deadletters.sqlite", DeadLetterSettings()) as letters,
        AlarmJournal(state / "alarms.sqlite", ["log"]) as alarms,
    ):
        before = (await store.position()).offset
        while records := await journal.read((await store.position()).offset):
            await store.apply(records)
        sums = await conservation(journal, store)
        found = await store.query.range(range(SOURCES * POINTS), *_ALL_TIME, limit=1 << 40)
        shown = {alarm.id for alarm in await alarms.history(1 << 40)}
        # a link that is lost is told in readings that nobody sent
        found = found.where(found.quality != Quality.LINK_LOST)
        result = compared(found, ledger, sums, replayed=journal.head - before)
        return replace(
            result,
            letters_missing=max(0, ledger.letters - letters.total()),
            alarms_missing=len(ledger.alarms - shown),
            damaged=journal.damaged,
        )


def compared(
    found: Columns,
    ledger: Ledger,
    sums: Conservation,
    *,
    replayed: int,
    excused: Collection[tuple[int, int]] = (),
) -> Audit:
    """What a store holds, against the ledger and the conservation sum.

    ``excused`` names messages by source and time [ns, UTC] that need not be there in their last version,
    or at all.
    """
    keys = found.point.astype(np.int64) * _SPAN + _place(found.t_source)
    sources = np.array([source for source, _ in excused], np.int64)
    places = _place(np.array([time for _, time in excused], np.int64))
    may_lack = _keys(sources, places)
    missing = np.setdiff1d(_expected(ledger), np.concatenate([keys, may_lack]))
    unknown, wrong, stale = _judged(found, ledger, np.isin(keys, may_lack))
    accounted = sums.totals.accounted + sums.pending + sums.detached
    rows = 0 if sums.rows is None else abs(sums.rows - sums.totals.stored)
    return Audit(
        acknowledged=ledger.readings,
        stored=len(found),
        replayed=replayed,
        missing=len(missing),
        corrupted=wrong,
        stale=stale,
        spurious=unknown,
        duplicate_keys=len(keys) - len(np.unique(keys)),
        unaccounted=abs(sums.received - accounted) + rows,
        letters_missing=0,
        alarms_missing=0,
    )


def _place(time: Any) -> Any:
    """Number of a message within its source, from its time."""
    return (time - Message(0, 0, 0, 0).time) // 1000


def _expected(ledger: Ledger) -> Any:
    places = np.array([_place(Message(*key, 0).time) for key in ledger.versions], np.int64)
    sources = np.array([source for source, _, _ in ledger.versions], np.int64)
    return _keys(sources, places)


def _keys(sources: Any, places: Any) -> Any:
    """One number for each reading of messages."""
    points = sources[:, None] * POINTS + np.arange(POINTS)
    return (points * _SPAN + places[:, None]).ravel()


def _judged(found: Columns, ledger: Ledger, excused: Any) -> tuple[int, int, int]:
    """Number of readings that were never sent, that were sent otherwise, and that were revised since.

    Each source has at most one message under way: it may be stored although nobody was told.
    """
    time, value, quality = found.t_source, found.value, found.quality
    source, offset = found.point.astype(np.int64) // POINTS, found.point.astype(np.int64) % POINTS
    place = _place(time)
    names = np.stack([source, place], axis=1)
    unique, inverse = np.unique(names, axis=0, return_inverse=True)
    allowed = np.zeros((len(unique), 2), bool)
    for row, (its_source, its_place) in enumerate(unique.tolist()):
        session, seq = divmod(its_place, Message(0, 1, 0, 0).time // 1000 - Message(0, 0, 0, 0).time // 1000)
        version = ledger.versions.get((its_source, session, seq))
        newest = ledger.newest.get((its_source, session), -1)
        under_way = seq in {newest, newest + 1}
        if version is None:
            allowed[row] = (under_way and seq == newest + 1 and session < ledger.sessions, False)
        else:
            allowed[row] = (version == 0, version == 1 or (under_way and seq % 7 == 6))
    sent = allowed[inverse.ravel()]
    matches = np.stack([values(time, offset, version) == value for version in (0, 1)], axis=1)
    known = sent.any(axis=1)
    right = (sent & matches).any(axis=1) & (quality == 0)
    stale = known & ~right & matches[:, 0] & (quality == 0)
    return int((~known).sum()), int((known & ~right & ~stale).sum()), int((stale & ~excused).sum())
