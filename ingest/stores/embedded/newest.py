"""The newest reading of every point, in memory: the answer to "last", and the marks of deduplication."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import duckdb
import numpy as np

from ingest.stages.deduplication import HighWaterMarks
from ingest.stores.embedded.database import columns_of, view
from telemetry.batch import POINT_DTYPE, Columns


class Newest:
    """Changed by the writing thread after each commit, read by any thread.

    The table ``newest`` holds it as of the last compaction; the fresh readings hold what came since.
    """

    def __init__(self) -> None:
        self.marks = HighWaterMarks()
        self._value = np.zeros(0)
        self._quality = np.zeros(0, np.uint8)
        self._lock = threading.Lock()

    def load(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Reads the table, and what lies above it in the fresh readings."""
        self.put(columns_of(connection.execute("SELECT point, t_source, value, quality FROM newest")))
        self.put(
            columns_of(
                connection.execute(
                    "SELECT point, max(t_source) AS t_source, arg_max_null(value, t_source) AS value, "
                    "arg_max(quality, t_source) AS quality FROM hot GROUP BY point"
                )
            )
        )

    def save(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Writes the table anew."""
        points = np.flatnonzero(self.marks.known(np.arange(len(self._value), dtype=POINT_DTYPE)))
        columns = self.of(points.astype(POINT_DTYPE))
        connection.execute("DELETE FROM newest")
        with view(
            connection,
            "fresh",
            {
                "point": columns.point,
                "t_source": columns.t_source,
                "value": columns.value,
                "quality": columns.quality,
            },
        ):
            connection.execute("INSERT INTO newest SELECT point, t_source, value, quality FROM fresh")

    def put(self, columns: Columns) -> None:
        """Takes readings, one for each point; those older than what is known change nothing."""
        top = columns.where(self.marks.reached_by(columns))
        if not len(top):
            return
        with self._lock:
            more = int(top.point.max()) + 1 - len(self._value)
            if more > 0:
                self._value = np.append(self._value, np.full(more, np.nan))
                self._quality = np.append(self._quality, np.zeros(more, np.uint8))
            self.marks.raise_to(top.point, top.t_source)
            self._value[top.point] = top.value
            self._quality[top.point] = top.quality

    def of(self, points: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.uint32]]) -> Columns:
        """Newest readings of points; those without one are left out."""
        wanted = np.unique(np.asarray(points, POINT_DTYPE))
        with self._lock:
            wanted = wanted[wanted < len(self._value)]
            wanted = wanted[self.marks.known(wanted)]
            return Columns(wanted, self.marks.of_points(wanted), self._value[wanted], self._quality[wanted])
