"""SQLite files with a purpose, a version and full durability: how all of them are opened."""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from telemetry.errors import StorageError

_HEADER_BYTES = 100


@dataclass(frozen=True, slots=True)
class DatabaseKind:
    """What a file is for; written into its header, so that files cannot be mixed up."""

    title: str
    """For people: ``journal segment``."""
    application_id: int
    version: int
    schema: str
    """Statements that create version ``version``."""
    recovery: str
    """What to do when the file is damaged."""


def open_database(path: Path, kind: DatabaseKind, *, create: bool = True) -> sqlite3.Connection:
    """Opens a file in WAL mode with ``synchronous=FULL``; creates it if there is none and ``create`` is set.

    The connection is in autocommit mode; transactions are explicit (:func:`transaction`).

    Raises
    ------
    StorageError
        The file is of a newer version or another kind (it is not touched), or it is damaged.

    """
    new = _check_header(path, kind)
    if new and not create:
        raise StorageError(f"{kind.title} {path} does not exist")
    try:
        connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StorageError(f"{kind.title} {path}: cannot be opened: {error}") from error
    try:
        connection.execute("PRAGMA synchronous = FULL")
        if new:
            with transaction(connection):
                for statement in filter(str.strip, kind.schema.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {kind.application_id}")
                connection.execute(f"PRAGMA user_version = {kind.version}")
            sync_directory(path.parent)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        raise StorageError(f"{kind.title} {path}: {error}; check the disk's free space and rights") from error
    except sqlite3.Error as error:
        connection.close()
        raise damaged(path, kind, error) from error
    return connection


def damaged(path: Path, kind: DatabaseKind, error: Exception) -> StorageError:
    """The error for a file that SQLite cannot read."""
    return StorageError(f"{kind.title} {path} is damaged: {error}; {kind.recovery}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One write transaction: committed at the end, rolled back by any error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def sync_directory(directory: Path) -> None:
    """Makes the creation and deletion of files in a directory durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_header(path: Path, kind: DatabaseKind) -> bool:
    """Reads version and kind from the file itself, without SQLite, which could alter it; True if it is new.

    Offsets 60 and 68: SQLite, Database File Format, section 1.3.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise StorageError(f"{kind.title} {path}: cannot be read: {error}") from error
    if not header:
        return True
    if len(header) < _HEADER_BYTES or not header.startswith(b"SQLite format 3\0"):
        raise damaged(path, kind, ValueError("it does not begin as a SQLite database does"))
    (version,) = struct.unpack_from(">I", header, 60)
    (application_id,) = struct.unpack_from(">I", header, 68)
    if application_id == version == 0:
        return True  # the process died while it created the file
    if application_id != kind.application_id:
        raise StorageError(f"{path} is no {kind.title}: it belongs to another program or purpose")
    if version > kind.version:
        raise StorageError(
            f"{kind.title} {path} has format version {version}, this program knows up to {kind.version}; "
            "it was left untouched: start the newer greenbridge, or give another state directory"
        )
    return False
