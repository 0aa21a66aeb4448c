"""Batches for the tests of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence

from telemetry.batch import ReadingBatch

T0 = 1_700_000_000_000_000_000


def batch(
    values: Sequence[float] = (1.0,),
    *,
    source: str = "modbus/SHY",
    session: int = 1,
    seq: int = 1,
    at: int = 0,
) -> ReadingBatch:
    """One reading for each value, of points 0, 1, ... at a time [ns after T0]."""
    n = len(values)
    return ReadingBatch.of(
        source,
        session,
        seq,
        T0 + at,
        point=range(n),
        t_source=[T0 + at] * n,
        value=values,
        quality=[0] * n,
    )
