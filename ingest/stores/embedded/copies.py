"""Copies of the embedded store: backup of the file, export of readings to Parquet and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import duckdb
import numpy as np

from ingest.stores.embedded.database import fetch_one, view
from ingest.stores.embedded.partitions import RAW, SECOND, catalogue, overlapping
from telemetry.batch import POINT_DTYPE
from telemetry.errors import StorageError
from telemetry.quality import Quality


class ExportFormat(StrEnum):
    """File format of an export."""

    PARQUET = "parquet"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class ExportedPoint:
    """How a point is named in an export."""

    index: int
    device: str
    name: str
    unit: str


def back_up(cursor: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Writes a complete store, as of one commit, into a new file; writing goes on meanwhile.

    Raises
    ------
    StorageError
        The file exists.

    """
    if path.exists():
        raise StorageError(f"backup {path} exists; give a new path, a backup overwrites nothing")
    (source,) = fetch_one(cursor, "SELECT current_database()")
    cursor.execute(f"ATTACH {_text(str(path))} AS backup")
    try:
        cursor.execute(f'COPY FROM DATABASE "{source}" TO backup')
    finally:
        cursor.execute("DETACH backup")


def export(
    cursor: duckdb.DuckDBPyConnection,
    path: Path,
    form: ExportFormat,
    points: Sequence[ExportedPoint],
    span: tuple[int, int],
) -> int:
    """Writes readings with start <= t_source < end, ``span`` [ns, UTC], into a file; returns their number.

    Columns: device, point, unit, time (UTC, nanoseconds), value (empty where not known), quality (name),
    code; ordered by device, point and time.
    """
    start, end = span
    tables = ["hot", *(day.table for day in overlapping(catalogue(cursor, RAW), start, end))]
    readings = " UNION ALL ".join(
        f"SELECT point, t_source, value, quality FROM {table} WHERE t_source >= {start} AND t_source < {end}"
        for table in tables
    )
    if form is ExportFormat.CSV:
        part = f"(t_source % {SECOND} + {SECOND}) % {SECOND}"
        whole = f"strftime(make_timestamp((t_source - {part}) // 1000), '%Y-%m-%dT%H:%M:%S')"
        time = f"{whole} || '.' || lpad(({part})::VARCHAR, 9, '0') || 'Z'"
    else:
        time = "make_timestamp_ns(t_source)"
    labels = {
        "index": np.array([point.index for point in points], POINT_DTYPE),
        "device": np.array([point.device for point in points], object),
        "name": np.array([point.name for point in points], object),
        "unit": np.array([point.unit for point in points], object),
    }
    codes = {
        "code": np.array([int(quality) for quality in Quality], np.uint8),
        "word": np.array([quality.name.lower() for quality in Quality], object),
    }
    options = "FORMAT csv, HEADER" if form is ExportFormat.CSV else "FORMAT parquet, COMPRESSION zstd"
    with view(cursor, "label", labels), view(cursor, "code", codes):
        (count,) = fetch_one(
            cursor,
            f"COPY (SELECT l.device, l.name AS point, l.unit, {time} AS time, r.value, "
            "coalesce(c.word, 'unknown') AS quality, r.quality AS code "
            f"FROM ({readings}) r JOIN label l ON r.point = l.index LEFT JOIN code c ON r.quality = c.code "
            f"ORDER BY l.device, l.name, r.t_source) TO {_text(str(path))} ({options})",
        )
    return int(count)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
