"""Gaps in a sequence of records: readings of damaged or dropped records are counted, never ignored."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.ports import JournalRecord
from telemetry.errors import StorageError


def missed(records: Sequence[JournalRecord], accounted: int) -> int:
    """Number of readings before and between records that a consumer with ``accounted`` readings never got.

    Raises
    ------
    StorageError
        The records begin before what the consumer has: they are of another journal.

    """
    gaps = 0
    for record in records:
        gap = record.readings_before - accounted
        if gap < 0:
            raise StorageError(
                f"record {record.offset} says that {record.readings_before} readings came before it, but "
                f"{accounted} are accounted for: journal and store are of different states; "
                "restore both from one backup"
            )
        gaps += gap
        accounted = record.readings_before + len(record.batch)
    return gaps
