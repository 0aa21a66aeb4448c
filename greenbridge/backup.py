"""Backup and restore of a state directory: journal, stores' files, registry, alarms, dead letters, audit.

The order of the copies makes a backup of a running site whole: whatever has a position in the journal (store,
alarms, cursors) is copied before the journal, and the point registry, which everything refers to, last.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import msgspec

from greenbridge.claim import LOCK, claimed
from greenbridge.control import SOCKET
from ingest.journal.segments import SUFFIX
from ingest.ports import OnFull, Position
from telemetry.errors import StorageError

MANIFEST = "backup.json"
STORE, REGISTRY, JOURNAL = "store.duckdb", "points.sqlite", "journal"
_CONSUMER = "backup"
_LEFT_OUT = {LOCK, SOCKET}
_CHUNK = 1 << 20


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds."""

    greenbridge: str
    """Version of the program that made it."""
    taken: str
    """UTC, ISO 8601."""
    files: dict[str, str]
    """SHA-256 of each file, by its path in the backup."""


class CopiedStore(Protocol):
    """An open embedded store."""

    async def position(self) -> Position:
        """How far it has come."""
        ...

    async def back_up(self, path: Path) -> None:
        """Writes a complete store, as of one commit, into a new file."""
        ...


class Pinned(Protocol):
    """The journal's cursors: a registered consumer holds back what it has not passed."""

    def register(self, name: str, on_full: OnFull) -> None:
        """Declares a consumer."""
        ...

    def unregister(self, name: str) -> None:
        """Takes it back."""
        ...

    async def save(self, name: str, position: Position) -> None:
        """Makes a position durable."""
        ...


async def back_up_running(
    state: Path, store: CopiedStore, cursors: Pinned, target: Path, now_ns: int
) -> Manifest:
    """Copies the state of the running process that calls it; it goes on meanwhile. ``now_ns`` [ns, UTC].

    Raises
    ------
    StorageError, UnavailableError
        The target exists, or cannot be written.

    """
    partial = await asyncio.to_thread(_begun, target)
    # the copy of the store begins where it is now: no record from here on may be deleted until it is copied
    await cursors.save(_CONSUMER, Position((await store.position()).offset))
    cursors.register(_CONSUMER, OnFull.STOP)
    try:
        await store.back_up(partial / STORE)
        await asyncio.to_thread(_copy_databases, state, partial)
    finally:
        cursors.unregister(_CONSUMER)
    return await asyncio.to_thread(_finished, partial, target, now_ns)


def back_up_stopped(state: Path, target: Path, now_ns: int) -> Manifest:
    """Copies a state directory that no process uses. ``now_ns`` [ns, UTC].

    Raises
    ------
    ClaimedError
        A process uses it.
    StorageError
        There is no state, or the target exists or cannot be written.

    """
    if not (state / REGISTRY).exists():
        raise StorageError(f"{state} holds no state of greenbridge; set state_dir, or run greenbridge first")
    with claimed(state):
        partial = _begun(target)
        try:
            for file in _files(state):
                copy = partial / file.relative_to(state)
                copy.parent.mkdir(exist_ok=True)
                shutil.copy2(file, copy)
        except OSError as error:
            raise StorageError(f"backup {partial}: {error}") from error
        return _finished(partial, target, now_ns)


def restore(backup: Path, state: Path) -> Manifest:
    """Makes a state directory from a backup, after every file was checked.

    Raises
    ------
    StorageError
        The backup is not whole or was altered, or the state directory holds something already.
    ClaimedError
        A process uses the state directory.

    """
    try:
        manifest = msgspec.json.decode((backup / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise StorageError(f"{backup} is no backup: it has no {MANIFEST}") from None
    except (OSError, msgspec.DecodeError) as error:
        raise StorageError(f"backup {backup}: {MANIFEST} cannot be read: {error}") from error
    there = sorted(path.name for path in state.glob("*") if path.name not in _LEFT_OUT)
    if there:
        raise StorageError(
            f"{state} holds {', '.join(there[:3])}{' ...' if len(there) > 3 else ''} already; "
            "move it aside or give another --state"
        )
    for name, digest in manifest.files.items():
        file = backup / name
        if not file.is_file():
            raise StorageError(f"backup {backup} is not whole: {name} is missing; nothing was restored")
        if _digest(file) != digest:
            raise StorageError(f"backup {backup}: {name} was altered; nothing was restored")
    with claimed(state):
        for name in manifest.files:
            copy = state / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(backup / name, copy)
    return manifest


def _begun(target: Path) -> Path:
    partial = target.with_name(f"{target.name}.partial")
    for path in (target, partial):
        if path.exists():
            raise StorageError(f"{path} exists; a backup overwrites nothing: remove it or give another path")
    try:
        (partial / JOURNAL).mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"backup {partial} cannot be made: {error.strerror}") from error
    return partial


def _copy_databases(state: Path, partial: Path) -> None:
    databases = [path for path in state.glob("*.sqlite") if path.name != REGISTRY]
    journal = state / JOURNAL
    positions, segments = sorted(journal.glob("*.sqlite")), sorted(journal.glob(f"*{SUFFIX}"))
    for file in (*databases, *positions, *segments, state / REGISTRY):
        try:
            with (
                closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as source,
                closing(sqlite3.connect(partial / file.relative_to(state))) as copy,
            ):
                source.backup(copy)
        except sqlite3.Error as error:
            if file.parent.name == JOURNAL and not file.exists():
                continue  # a segment that everybody, this backup included, has passed
            raise StorageError(f"backup of {file}: {error}") from error


def _finished(partial: Path, target: Path, now_ns: int) -> Manifest:
    files = {str(file.relative_to(partial)): _digest(file) for file in _files(partial)}
    taken = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).isoformat()
    manifest = Manifest(version("greenbridge"), taken, files)
    (partial / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    partial.rename(target)
    return manifest


def _files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.name not in _LEFT_OUT:
            yield path


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
