"""The point registry on disk: an index is durable before it is first used, and never given again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from ingest.databases import DatabaseKind, damaged, open_database, transaction
from telemetry.errors import RegistryError
from telemetry.points import PointKey
from telemetry.registry import PointRegistry

POINTS = DatabaseKind(
    "point registry",
    0x47425031,
    1,
    "CREATE TABLE point (id INTEGER PRIMARY KEY, device TEXT NOT NULL, name TEXT NOT NULL, "
    "unit TEXT NOT NULL, UNIQUE (device, name, unit))",
    "only it tells stored readings apart: stop greenbridge, run `greenbridge restore BACKUP --state NEW` with"
    " the newest backup, set state_dir to NEW and start again; never start without it on the old readings",
)


def declare(path: Path, keys: Iterable[PointKey] = ()) -> PointRegistry:
    """Opens or creates the registry file, appends the keys that it lacks, and returns the whole registry.

    Raises
    ------
    StorageError
        The file is damaged, or of a newer version.
    RegistryError
        The stored indices have a gap.

    """
    with closing(open_database(path, POINTS)) as connection:
        try:
            rows = connection.execute("SELECT id, device, name, unit FROM point ORDER BY id").fetchall()
        except sqlite3.DatabaseError as error:
            raise damaged(path, POINTS, error) from error
        if any(row[0] != i for i, row in enumerate(rows)):
            raise RegistryError(f"{path}: indices are not contiguous; {POINTS.recovery}")
        registry = PointRegistry(PointKey(*row[1:]) for row in rows)
        missing = registry.missing(keys)
        if missing:
            with transaction(connection):
                connection.executemany(
                    "INSERT INTO point VALUES (?, ?, ?, ?)",
                    [(i, *key) for i, key in enumerate(missing, start=len(registry))],
                )
            registry.extend(missing)
        return registry
