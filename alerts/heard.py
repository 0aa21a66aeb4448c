"""Readings of several batches as one, each with the receipt of its own batch; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from telemetry.batch import Columns, ReadingBatch


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """Columns of readings that were not received together."""

    point: NDArray[np.uint32]
    t_source: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]
    t_received: NDArray[np.int64]
    """[ns, UTC]."""

    @classmethod
    def of(cls, batches: Sequence[ReadingBatch]) -> Heard:
        """The readings of batches, one after the other."""
        columns = Columns.joined(batches)
        received = np.array([batch.t_received for batch in batches], np.int64)
        sizes = [len(batch) for batch in batches]
        return cls(
            columns.point, columns.t_source, columns.value, columns.quality, np.repeat(received, sizes)
        )

    def __len__(self) -> int:
        return len(self.point)
