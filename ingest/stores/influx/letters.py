"""Dead letters of lines that a server refuses, and of readings that have no line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ingest.ports import DeadLetter
from ingest.stores.influx.encoding import Block, Lines
from ingest.stores.influx.writer import RefusedLine
from telemetry.batch import Columns


class LetterBox(Protocol):
    """Where refused lines go."""

    async def add(self, letters: Sequence[DeadLetter], origin: str = ...) -> None:
        """Makes letters durable."""
        ...


def refused_lines(store: str, now_ns: int, lines: Block, refused: Sequence[RefusedLine]) -> list[DeadLetter]:
    """A letter for each line that a server refused, with its reason; ``now_ns`` [ns, UTC]."""
    letters = []
    for one in refused:
        line = lines.body(one.index, one.index + 1)
        measurement = line.partition(b",")[0].decode(errors="replace")
        reason = "line_too_large" if one.status == 413 else "line_refused"
        letters.append(DeadLetter(now_ns, store, measurement, reason, one.reason, line, len(line)))
    return letters


def undeclared_points(store: str, now_ns: int, columns: Columns, encoded: Lines) -> list[DeadLetter]:
    """A letter for each point that the registry does not know; ``now_ns`` [ns, UTC]."""
    return [
        DeadLetter(
            now_ns,
            store,
            f"point {index}",
            "unknown_point",
            f"the point registry never gave index {index}; restore points.sqlite from a backup",
            b"",
            0,
        )
        for index in np.unique(columns.point[encoded.unknown]).tolist()
    ]
