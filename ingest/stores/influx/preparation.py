"""From records of the journal to lines: all that can be done while the records before are being written.

Pure. A store that waits for its server knows already, if nothing of what it writes is refused, how it will
stand afterwards (:class:`Standing`), and can prepare what follows from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ingest.ports import JournalRecord
from ingest.stages.continuity import missed
from ingest.stages.deadband import Deadbands, References, handed_on
from ingest.stages.deduplication import HighWaterMarks, Keyed, Resolution, Rows, keyed, resolve
from ingest.stores.influx.encoding import Encoder, Lines
from telemetry.batch import Columns

NO_ROWS: Rows = np.zeros(0, np.intp)
NO_VALUES = np.zeros(0)
NO_QUALITIES = np.zeros(0, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """What a store goes by when it takes the next records; never changed."""

    accounted: int
    """Readings up to and including its position."""
    references: References
    marks: HighWaterMarks | None
    """None for a store that takes every key for new."""

    def without(self, point: NDArray[np.uint32]) -> Standing:
        """The same without the references of some points; itself if there are none."""
        return replace(self, references=self.references.without(point)) if len(point) else self


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Records, ready to be written by a store that stands as it did when they were prepared."""

    records: Sequence[JournalRecord]
    before: Standing
    after: Standing
    """How the store stands when they are written and nothing was refused."""
    batch: Keyed
    suspects: Rows
    """Rows at or below the mark of their point: the server has to be asked whether it has their keys."""
    suppressed: int
    """Readings that a deadband held back."""
    missed: int
    """Readings that came before and between the records and are in none."""
    outcome: Outcome | None
    """What is to be written; None as long as there are suspects."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a batch comes to."""

    plan: Resolution
    columns: Columns
    """Readings to be written: those to insert, then those to update."""
    lines: Lines


def prepare(
    records: Sequence[JournalRecord], before: Standing, deadbands: Deadbands, encoder: Encoder
) -> Prepared:
    """Sorts, thins and, where nothing has to be asked first, encodes the readings of records.

    Raises
    ------
    StorageError
        The records are of another journal.

    """
    gaps = missed(records, before.accounted)
    columns, suppressed, references = handed_on(records, before.accounted, deadbands, before.references)
    batch = keyed(columns)
    suspects, marks = NO_ROWS, before.marks
    if marks is not None:
        suspects = np.flatnonzero(batch.first & ~marks.above(batch.columns))
        newest = batch.columns.where(batch.newest)
        marks = marks.raised_to(newest.point, newest.t_source)
    after = Standing(records[-1].readings_before + len(records[-1].batch), references, marks)
    outcome = None
    if not len(suspects):
        outcome = settle(batch, NO_ROWS, NO_VALUES, NO_QUALITIES, encoder, marked=marks is not None)
    return Prepared(records, before, after, batch, suspects, suppressed, gaps, outcome)


def settle(
    batch: Keyed,
    held: Rows,
    value: NDArray[np.float64],
    quality: NDArray[np.uint8],
    encoder: Encoder,
    *,
    marked: bool = True,
) -> Outcome:
    """What a batch comes to, with what the server holds of its keys (as :func:`resolve`).

    With ``marked``, a line says of each reading of which an earlier value may be on the server whether that
    one is void.
    """
    plan = resolve(batch, held, value, quality)
    columns = batch.columns.where(np.concatenate([plan.insert, plan.update]))
    revises = None
    if marked:
        # also a new key that came several times: before a crash its first value may have been written
        repeated = batch.last & ~batch.first
        revises = np.append(repeated[plan.insert], np.ones(len(plan.update), bool))
    return Outcome(plan, columns, encoder.encode(columns, revises))
