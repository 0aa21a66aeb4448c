"""Replay: a store that lost its data is given again what the embedded store holds."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from greenbridge.backup import JOURNAL, STORE
from greenbridge.claim import claimed
from greenbridge.exporting import Span
from ingest.config import EmbeddedSettings
from ingest.journal.cursors import Cursors
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.errors import StorageError


class Replay(NamedTuple):
    """What will be given again, at the next start."""

    store: str
    first: int
    """Offset of the first record."""
    last: int
    """Offset of the last one: whole records are given, also what is in them of other times."""
    readings: int
    """Readings of the wanted times."""


async def replay(state: Path, store: str, start: datetime | None, end: datetime | None) -> Replay:
    """Notes in a state directory that nobody uses what a store is to be given again.

    The next ``greenbridge run`` does it beside live data, which come first. What the store still has is
    written once more, which changes nothing.

    Raises
    ------
    ClaimedError
        A process uses the directory.
    StorageError
        There is nothing to be given again.

    """
    span = Span.of(start, end)
    if not (state / STORE).exists():
        raise StorageError(f"{state} holds no readings; set state_dir, or run greenbridge first")
    with claimed(state):
        async with (
            Cursors(state / JOURNAL / "cursors.sqlite") as cursors,
            EmbeddedStore(state / STORE, EmbeddedSettings()) as embedded,
        ):
            reached = (await cursors.load(store)).offset
            first, last, readings = await embedded.query.records(span.start, span.end)
            last = min(last, reached)
            if not readings:
                raise StorageError("the embedded store holds no readings of that time; widen --from and --to")
            if first > last:
                raise StorageError(
                    f"store {store} has not come to these readings yet: it gets them when greenbridge runs"
                )
            await cursors.give_again(store, first, last)
    return Replay(store, first, last, readings)
