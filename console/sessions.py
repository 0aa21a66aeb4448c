"""One-time sign-in tokens and sessions, kept in a small SQLite file.

Only SHA-256 hashes are stored: tokens and session ids are random, of 256 bits, so that a plain hash is enough
and a copy of the file lets nobody in. A used token stays used and a session stays open when the process
restarts.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from telemetry.clock import Clock
from telemetry.errors import StorageError

MIN_TOKEN_LENGTH = 32
"""Shortest token that is taken; 43 characters of ``secrets.token_urlsafe()`` are the usual ones."""

_SCHEMA = """
create table if not exists token (
    hash blob primary key, offered_at integer not null, used_at integer
) strict, without rowid;
create table if not exists session (
    hash blob primary key, who text not null, created_at integer not null, expires_at integer not null
) strict, without rowid;
"""

T = TypeVar("T")


class Sessions:
    """Who is signed in. ``async with`` opens and closes the file; reads come from memory.

    Arguments
    ---------
    path
        The SQLite file, for example ``console.sqlite`` in the state directory; made if it is not there.
    clock
        Time.
    session_hours, token_hours
        Lifetimes [h].

    """

    def __init__(
        self, path: Path, clock: Clock, session_hours: float = 168.0, token_hours: float = 24.0
    ) -> None:
        self._path = path
        self._clock = clock
        self._session_ns = round(session_hours * 3600e9)
        self._token_ns = round(token_hours * 3600e9)
        self._database: sqlite3.Connection | None = None
        self._turn = asyncio.Lock()
        self._open: dict[bytes, tuple[str, int]] = {}

    async def __aenter__(self) -> Self:
        self._database = await asyncio.to_thread(self._connect)
        self._open = await self._do(self._load)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._turn:
            if self._database is not None:
                await asyncio.to_thread(self._database.close)
                self._database = None

    async def offer(self, token: str) -> None:
        """Makes a token good for one sign-in. One that was offered before keeps its state: used stays used.

        Raises
        ------
        ValueError
            The token is too short to be safe.
        StorageError
            The file cannot be written.

        """
        if len(token) < MIN_TOKEN_LENGTH:
            raise ValueError(
                f"a sign-in token has at least {MIN_TOKEN_LENGTH} random characters; "
                "use secrets.token_urlsafe()"
            )
        now = self._clock.now_ns()

        def insert(database: sqlite3.Connection) -> None:
            database.execute("delete from token where offered_at <= ?", (now - 4 * self._token_ns,))
            database.execute("insert or ignore into token values (?, ?, null)", (_hash(token), now))

        await self._do(insert)

    async def sign_in(self, token: str, who: str) -> str | None:
        """Exchanges an unused token for a new session id; None if the token is unknown, used or too old.

        Raises
        ------
        StorageError
            The file cannot be written; the token is still unused.

        """
        now = self._clock.now_ns()
        session = secrets.token_urlsafe()
        expires_at = now + self._session_ns

        def exchange(database: sqlite3.Connection) -> bool:
            used = database.execute(
                "update token set used_at = ? where hash = ? and used_at is null and offered_at > ?",
                (now, _hash(token), now - self._token_ns),
            )
            if used.rowcount != 1:
                return False
            database.execute("delete from session where expires_at <= ?", (now,))
            database.execute(
                "insert into session values (?, ?, ?, ?)", (_hash(session), who, now, expires_at)
            )
            return True

        if not await self._do(exchange):
            return None
        self._open = {h: held for h, held in self._open.items() if held[1] > now}
        self._open[_hash(session)] = (who, expires_at)
        return session

    def who(self, session: str | None) -> str | None:
        """Who a session id belongs to; None if it is unknown or over."""
        held = self._open.get(_hash(session)) if session else None
        return held[0] if held is not None and held[1] > self._clock.now_ns() else None

    async def sign_out(self, session: str) -> None:
        """Ends a session; open streams of it end too.

        Raises
        ------
        StorageError
            The file cannot be written.

        """

        def remove(database: sqlite3.Connection) -> None:
            database.execute("delete from session where hash = ?", (_hash(session),))

        self._open.pop(_hash(session), None)
        await self._do(remove)

    def _connect(self) -> sqlite3.Connection:
        try:
            # made with the right mode before SQLite opens it, so that it is never readable by others
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            database = sqlite3.connect(self._path, check_same_thread=False, timeout=5.0)
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = full")
            database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"{self._path}: sessions cannot be kept there ({error}); check the directory and its rights, "
                "or move the file away to start with nobody signed in"
            ) from error
        return database

    def _load(self, database: sqlite3.Connection) -> dict[bytes, tuple[str, int]]:
        rows = database.execute("select hash, who, expires_at from session").fetchall()
        return {bytes(hashed): (str(who), int(expires_at)) for hashed, who, expires_at in rows}

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._turn:
            database = self._database
            if database is None:
                raise StorageError(f"{self._path}: sessions are closed")

            def transaction() -> T:
                with database:
                    return work(database)

            try:
                return await asyncio.to_thread(transaction)
            except sqlite3.Error as error:
                raise StorageError(f"{self._path}: {error}; check free space and rights") from error


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
