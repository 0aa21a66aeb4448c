"""The DuckDB file of the embedded store: schema, opening, columns in and out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from ingest.config import EmbeddedSettings
from ingest.databases import set_aside
from ingest.ports import Totals
from telemetry.batch import Columns
from telemetry.errors import StorageError

SCHEMA_VERSION = 2
TERMS = tuple(field.name for field in fields(Totals))
"""Columns of the table ``state`` that count what became of the readings."""

READING_COLUMNS = (
    "point UINTEGER NOT NULL, t_source BIGINT NOT NULL, value DOUBLE, quality UTINYINT NOT NULL, "
    "record UBIGINT NOT NULL"
)
"""Columns of every table of readings. A value that is not known is NULL. There is no primary key: it costs
seven times the insert rate; the high-water marks keep keys unique."""
HOT_TABLE = f"CREATE TABLE hot ({READING_COLUMNS});"
_SCHEMA = f"""
{HOT_TABLE}
CREATE TABLE newest (
  point UINTEGER NOT NULL, t_source BIGINT NOT NULL, value DOUBLE, quality UTINYINT NOT NULL
);
CREATE TABLE partition (level UTINYINT NOT NULL, slot BIGINT NOT NULL);
CREATE TABLE horizon (level UTINYINT NOT NULL, time BIGINT NOT NULL);
CREATE TABLE event (
  kind VARCHAR NOT NULL, key VARCHAR NOT NULL, t BIGINT NOT NULL, tags VARCHAR NOT NULL,
  fields VARCHAR NOT NULL
);
CREATE TABLE state (
  version INTEGER NOT NULL, record UBIGINT NOT NULL, event UBIGINT NOT NULL, dropped UBIGINT NOT NULL,
  {", ".join(f"{term} UBIGINT NOT NULL" for term in TERMS)}
);
"""


def recovery(path: Path) -> str:
    """What to do when the file is damaged, with the command for a shell."""
    return (
        f"stop greenbridge, run `{set_aside(path)}` and start again: a new one is filled from what the "
        "journal still holds; earlier readings stay in the file moved aside, or in a backup"
    )


def open_store(path: Path, settings: EmbeddedSettings) -> duckdb.DuckDBPyConnection:
    """Opens the file, creating it if there is none.

    Raises
    ------
    StorageError
        The file is damaged, in use by another process, or of a newer version.

    """
    try:
        connection = duckdb.connect(
            str(path),
            config={"threads": settings.threads, "memory_limit": f"{settings.memory_mb}MB"},
        )
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        if "Conflicting lock" in reason:
            raise StorageError(
                f"embedded store {path} is in use by another process; stop that one: {reason}"
            ) from error
        raise StorageError(f"embedded store {path} cannot be opened: {reason}; {recovery(path)}") from error
    try:
        _prepare(connection, path)
    except duckdb.Error as error:
        connection.close()
        raise StorageError(f"embedded store {path} is damaged: {error}; {recovery(path)}") from error
    except StorageError:
        connection.close()
        raise
    return connection


def _prepare(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not tables:
        with transaction(connection):
            connection.execute(_SCHEMA)
            zeros = ", 0" * (3 + len(TERMS))
            connection.execute(f"INSERT INTO state VALUES ({SCHEMA_VERSION}{zeros})")
        return
    if "state" not in tables:
        raise StorageError(f"{path} is a DuckDB file of something else; give another path")
    (version,) = fetch_one(connection, "SELECT version FROM state")
    if version > SCHEMA_VERSION:
        raise StorageError(
            f"embedded store {path} has version {version}, this program knows up to {SCHEMA_VERSION}; "
            "start the newer greenbridge, or give another state directory"
        )
    if version < SCHEMA_VERSION:
        raise StorageError(
            f"embedded store {path} has version {version}, this program knows only {SCHEMA_VERSION}; "
            f"{recovery(path)}"
        )


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """One transaction: committed at the end, rolled back by any error."""
    connection.execute("BEGIN")
    done = False
    try:
        yield
        connection.execute("COMMIT")
        done = True
    finally:
        if not done:
            _roll_back(connection)


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    with suppress(duckdb.TransactionException):  # a failed COMMIT has rolled back by itself
        connection.execute("ROLLBACK")


@contextmanager
def view(
    connection: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, NDArray[Any]]
) -> Iterator[None]:
    """Makes numpy columns readable as a table for the duration of the block."""
    connection.register(name, dict(columns))
    try:
        yield
    finally:
        with suppress(duckdb.TransactionException):  # of a failed statement; the next use replaces the view
            connection.unregister(name)


def columns_of(connection: duckdb.DuckDBPyConnection) -> Columns:
    """The result of a query for point, t_source, value, quality."""
    found = connection.fetchnumpy()
    return Columns.of(found["point"], found["t_source"], filled(found["value"]), found["quality"])


def filled(values: Any) -> NDArray[np.float64]:
    """Values with NaN for NULL."""
    return np.asarray(np.ma.filled(np.ma.asarray(values, np.float64), np.nan))


def fetch_one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The only row of a query."""
    row = connection.execute(query).fetchone()
    if row is None:
        raise duckdb.Error(f"no row: {query}")
    return tuple(row)
