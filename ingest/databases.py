"""SQLite files with a purpose, a version and full durability: how all of them are opened."""

from __future__ import annotations

import os
import shlex
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from telemetry.errors import StorageError

_HEADER_BYTES = 100
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNREADABLE = {
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}
"""Extended result codes of a medium that gives something back no longer (SQLite, Result and Error Codes)."""


class DamagedFileError(StorageError):
    """A file whose content SQLite cannot make sense of; it will not get better by itself."""


class MissingFileError(StorageError):
    """A file that is not there."""


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
    """What to do when the file is damaged; ``{set_aside}`` stands for the command that moves it away."""


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
        raise MissingFileError(f"{kind.title} {path} does not exist")
    try:
        connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StorageError(f"{kind.title} {path}: cannot be opened: {error}") from error
    try:
        connection.execute("PRAGMA synchronous = FULL")
        # the first look rolls back what a power cut left of its creation, whatever the header said before
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables and not create:
            connection.close()
            raise MissingFileError(f"{kind.title} {path} was never finished")
        if not tables:
            with transaction(connection):
                for statement in filter(str.strip, kind.schema.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {kind.application_id}")
                connection.execute(f"PRAGMA user_version = {kind.version}")
            sync_directory(path.parent)
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        connection.close()
        if is_damage(error):
            raise damaged(path, kind, error) from error
        raise StorageError(f"{kind.title} {path}: {error}; check the disk's free space and rights") from error
    return connection


def open_sealed(path: Path, kind: DatabaseKind) -> sqlite3.Connection:
    """Opens a file that nobody writes any more for reading; needs no space on the disk and takes no lock.

    Raises
    ------
    StorageError
        As :func:`open_database`.

    """
    if _check_header(path, kind):
        raise MissingFileError(f"{kind.title} {path} does not exist")
    address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    try:
        return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StorageError(f"{kind.title} {path}: cannot be opened: {error}") from error


def is_damage(error: sqlite3.Error) -> bool:
    """True if what is stored is broken; false if it cannot be reached now, for want of space or rights."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF in _DAMAGE or code in _UNREADABLE


def damaged(path: Path, kind: DatabaseKind, error: Exception) -> DamagedFileError:
    """The error for a file that SQLite cannot read; names the command that gets greenbridge running again."""
    return DamagedFileError(f"{kind.title} {path} is damaged: {error}; {recovery(path, kind)}")


def recovery(path: Path, kind: DatabaseKind) -> str:
    """What to do when a file is damaged, with the command for a shell."""
    return kind.recovery.format(set_aside=set_aside(path))


def set_aside(path: Path) -> str:
    """The command for a shell that moves a database, and the files that belong to it, out of the way."""
    quoted, aside = shlex.quote(str(path)), shlex.quote(str(path.parent / "damaged"))
    return f"mkdir -p {aside} && mv {quoted}* {aside}/"


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
    if version < kind.version:
        raise StorageError(
            f"{kind.title} {path} has format version {version}, this program knows only {kind.version}; "
            f"it was left untouched: {recovery(path, kind)}"
        )
    return False
