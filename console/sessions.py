"""One-time sign-in tokens and sessions, kept in a small SQLite file; users are in one beside it.

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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from console.accounts import FILE, Accounts, Audit, User
from console.passwords import Scrypt
from console.roles import RIGHTS, Identity, Role
from ingest.audit_chain import Act
from ingest.databases import is_damage, set_aside
from telemetry.clock import Clock
from telemetry.errors import StorageError

MIN_TOKEN_LENGTH = 32
"""Shortest token that is taken; 43 characters of ``secrets.token_urlsafe()`` are the usual ones."""

_SCHEMA = """
create table if not exists token (
    hash blob primary key, offered_at integer not null, used_at integer
) strict, without rowid;
create table if not exists visit (
    hash blob primary key, who text not null, role text, created_at integer not null,
    seen_at integer not null, expires_at integer not null
) strict, without rowid;
"""
_SEEN_EVERY_NS = 60_000_000_000
"""How exactly it is kept across a restart when a session was last used [ns]."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody's open session."""

    who: str
    role: Role | None
    """Of one who came by the sign-in link; None for a user, whose role is that of their account."""
    created_at: int
    """[ns, UTC]."""
    expires_at: int
    """[ns, UTC]."""


async def unaudited(_: Act) -> None:
    """Takes acts where there is no audit."""


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
    idle_hours
        A session that nobody uses for so long is over [h].
    audit
        Takes what is done to users.
    scrypt
        Parameters for passwords from now on; the usual ones if not given.

    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        session_hours: float = 168.0,
        token_hours: float = 24.0,
        *,
        idle_hours: float = 8.0,
        audit: Audit = unaudited,
        scrypt: Scrypt | None = None,
    ) -> None:
        self.accounts = Accounts(path.with_name(FILE), clock, audit, scrypt)
        """Those who can sign in with a password, in a file beside."""
        self._path = path
        self._clock = clock
        self._session_ns = round(session_hours * 3600e9)
        self._token_ns = round(token_hours * 3600e9)
        self._idle_ns = round(idle_hours * 3600e9)
        self._database: sqlite3.Connection | None = None
        self._turn = asyncio.Lock()
        self._open: dict[bytes, Visit] = {}
        self._seen: dict[bytes, int] = {}
        self._kept: dict[bytes, int] = {}

    async def __aenter__(self) -> Self:
        self._database = await asyncio.to_thread(self._connect)
        try:
            await self._do(self._load)
            await self.accounts.__aenter__()
        except StorageError:
            await asyncio.to_thread(self._database.close)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._turn:
            if self._database is not None:
                await asyncio.to_thread(self._database.close)
                self._database = None
        await self.accounts.__aexit__(kind, error, trace)

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

    async def sign_in(self, token: str, who: str, role: Role = Role.ENGINEER) -> str | None:
        """Exchanges an unused token for a new session id; None if the token is unknown, used or too old.

        Raises
        ------
        StorageError
            The file cannot be written; the token is still unused.

        """
        now = self._clock.now_ns()

        def used(database: sqlite3.Connection) -> bool:
            changed = database.execute(
                "update token set used_at = ? where hash = ? and used_at is null and offered_at > ?",
                (now, _hash(token), now - self._token_ns),
            )
            return changed.rowcount == 1

        return await self._opened(Visit(who, role, now, now + self._session_ns), used)

    async def begin(self, user: User) -> str:
        """A new session id for a user who has shown their password.

        Raises
        ------
        StorageError
            The file cannot be written.

        """
        now = self._clock.now_ns()
        session = await self._opened(Visit(user.name, None, now, now + self._session_ns), lambda _: True)
        assert session is not None  # noqa: S101 - nothing stands in the way
        return session

    def identity(self, session: str | None) -> Identity | None:
        """Whom a session id belongs to; None if it is unknown or over."""
        key = _hash(session) if session else b""
        visit = self._open.get(key)
        now = self._clock.now_ns()
        if visit is None or visit.expires_at <= now or self._seen[key] + self._idle_ns <= now:
            return None
        if visit.role is not None:
            return Identity(visit.who, RIGHTS[visit.role], visit.role)
        user = self.accounts.find(visit.who)
        if user is None or visit.created_at < user.changed_at:
            return None
        return Identity(user.name, RIGHTS[user.role], user.role, user.name)

    def who(self, session: str | None) -> str | None:
        """Name of whom a session id belongs to; None if it is unknown or over."""
        identity = self.identity(session)
        return None if identity is None else identity.name

    async def seen(self, session: str) -> None:
        """Notes that somebody uses their session: it is idle from now on.

        Raises
        ------
        StorageError
            The file cannot be written.

        """
        key, now = _hash(session), self._clock.now_ns()
        if key not in self._open:
            return
        self._seen[key] = now
        if now - self._kept[key] < _SEEN_EVERY_NS:
            return
        self._kept[key] = now

        def update(database: sqlite3.Connection) -> None:
            database.execute("update visit set seen_at = ? where hash = ?", (now, key))

        await self._do(update)

    async def sign_out(self, session: str) -> None:
        """Ends a session; open streams of it end too.

        Raises
        ------
        StorageError
            The file cannot be written.

        """

        def remove(database: sqlite3.Connection) -> None:
            database.execute("delete from visit where hash = ?", (_hash(session),))

        self._forget(_hash(session))
        await self._do(remove)

    async def _opened(self, visit: Visit, allowed: Callable[[sqlite3.Connection], bool]) -> str | None:
        """A new session id, if what is asked in the same transaction allows it."""
        session, now = secrets.token_urlsafe(), visit.created_at
        idle_since = now - self._idle_ns

        def insert(database: sqlite3.Connection) -> bool:
            if not allowed(database):
                return False
            database.execute("delete from visit where expires_at <= ? or seen_at <= ?", (now, idle_since))
            role = None if visit.role is None else visit.role.value
            row = (_hash(session), visit.who, role, now, now, visit.expires_at)
            database.execute("insert into visit values (?, ?, ?, ?, ?, ?)", row)
            return True

        if not await self._do(insert):
            return None
        for key, held in list(self._open.items()):
            if held.expires_at <= now or self._seen[key] <= idle_since:
                self._forget(key)
        key = _hash(session)
        self._open[key], self._seen[key], self._kept[key] = visit, now, now
        return session

    def _forget(self, key: bytes) -> None:
        for held in (self._open, self._seen, self._kept):
            held.pop(key, None)

    def _connect(self) -> sqlite3.Connection:
        try:
            # made with the right mode before SQLite opens it, so that it is never readable by others
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            database = sqlite3.connect(self._path, check_same_thread=False, timeout=5.0)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = full")
            database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            database.close()
            raise self._unusable(error) from error
        return database

    def _unusable(self, error: Exception) -> StorageError:
        if isinstance(error, sqlite3.Error) and is_damage(error):
            return StorageError(
                f"sessions {self._path} are damaged: {error}; stop greenbridge, run "
                f"`{set_aside(self._path)}` and start again: nobody is signed in then"
            )
        return StorageError(
            f"sessions {self._path} cannot be kept: {error}; check the directory, its free space and rights"
        )

    def _load(self, database: sqlite3.Connection) -> None:
        for hashed, who, role, created_at, seen_at, expires_at in database.execute("select * from visit"):
            visit = Visit(who, None if role is None else Role(role), created_at, expires_at)
            self._open[hashed], self._seen[hashed], self._kept[hashed] = visit, seen_at, seen_at

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
                raise self._unusable(error) from error


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="backslashreplace")).digest()
