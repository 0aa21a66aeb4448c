"""A SQLite file that belongs to one thread, opened by ``async with``: what small journals are made of."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from ingest.databases import DatabaseKind, damaged, is_damage, open_database
from ingest.threads import OwnerThread
from telemetry.errors import StorageError

Result = TypeVar("Result")


class OwnedDatabase:
    """A file and the thread that alone touches it.

    Parameters
    ----------
    path
        File; created if there is none.
    kind
        What it is for.

    """

    def __init__(self, path: Path, kind: DatabaseKind) -> None:
        self._path = path
        self._kind = kind
        self._thread: OwnerThread | None = None
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        """Opens the file.

        Raises
        ------
        StorageError
            It cannot be opened, is damaged or was written by a newer version.

        """
        self._thread = OwnerThread(self._kind.title.replace(" ", "-"))
        try:
            await self._call(self._open)
        except StorageError:
            await self._thread.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file after the call that is under way."""
        if self._thread is not None:
            await self._call(self._close)
            await self._thread.close()
            self._thread = None

    async def _rows(self, query: str, *values: int | str) -> list[tuple[Any, ...]]:
        return await self._call(self._fetch, query, values)

    async def _call(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Runs a call in the thread; an error of SQLite becomes a StorageError."""
        if self._thread is None:
            raise self._not_open()
        try:
            return await self._thread.call(work, *arguments)
        except sqlite3.Error as error:
            if is_damage(error):
                raise damaged(self._path, self._kind, error) from error
            raise StorageError(
                f"{self._kind.title} {self._path}: {error}; check the disk's free space"
            ) from error

    @property
    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise self._not_open()
        return self._connection

    def _not_open(self) -> StorageError:
        return StorageError(f"{self._kind.title} {self._path}: not open")

    def _open(self) -> None:
        self._connection = open_database(self._path, self._kind)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fetch(self, query: str, values: Sequence[int | str]) -> list[tuple[Any, ...]]:
        return self._open_connection.execute(query, values).fetchall()
