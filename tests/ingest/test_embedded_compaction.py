"""Compaction sorts in pieces, which must not show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.config import EmbeddedSettings
from ingest.stores.embedded.compaction import compact
from ingest.stores.embedded.database import open_store, transaction, view
from ingest.stores.embedded.partitions import RAW, catalogue

NOW = 1_767_225_600_000_000_000


@pytest.mark.parametrize("piece", [1, 7, 30, 1000])
def test_a_partition_is_sorted_whatever_is_sorted_at_once(tmp_path: Path, piece: int) -> None:
    rng = np.random.default_rng(piece)
    point = np.repeat(np.arange(12, dtype=np.uint32), rng.integers(1, 25, 12))
    rng.shuffle(point)
    # some of the day, some of the day before, some of a wrong clock
    time = NOW + rng.choice([0, 0, -RAW.span, 4000 * RAW.span], len(point)) + np.arange(len(point)) * 1000
    rows: dict[str, NDArray[Any]] = {"point": point, "t_source": time, "value": rng.random(len(point))}
    db = open_store(tmp_path / "store.duckdb", EmbeddedSettings())
    try:
        with view(db, "fresh", rows):
            db.execute("INSERT INTO hot SELECT point, t_source, value, 0, 1 FROM fresh")
        given = sorted(db.execute("SELECT * FROM hot").fetchall())
        with transaction(db):
            compact(db, NOW, piece)
        days = [day.table for day in catalogue(db, RAW)]
        kept = [db.execute(f"SELECT * FROM {day} ORDER BY rowid").fetchall() for day in days]  # noqa: S608  names of numbers
        assert len(kept) == 3
        assert all(part == sorted(part) for part in kept)
        assert sorted(row for part in kept for row in part) == given
        assert db.execute("SELECT count(*) FROM hot").fetchone() == (0,)
    finally:
        db.close()
