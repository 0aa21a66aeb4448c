"""Users and their API tokens, in a SQLite file of their own.

Passwords are kept as scrypt hashes. API tokens are random, of 256 bits, so that a plain SHA-256 of them is
enough and a copy of the file lets nobody in.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from console.passwords import MAX_PASSWORD, MIN_PASSWORD, HashedPassword, Scrypt, hashed, matches, nobody
from console.roles import RIGHTS, Identity, Right, Role
from ingest.audit_chain import Act
from ingest.databases import DatabaseKind, transaction
from ingest.owned import OwnedDatabase
from telemetry.clock import Clock
from telemetry.errors import GreenbridgeError, StorageError

FILE = "users.sqlite"
"""Name of the file in the state directory."""

USERS = DatabaseKind(
    "users",
    0x47425553,
    1,
    """CREATE TABLE user (
         name TEXT PRIMARY KEY, role TEXT NOT NULL, changed_at INTEGER NOT NULL,
         n INTEGER NOT NULL, r INTEGER NOT NULL, p INTEGER NOT NULL, salt BLOB NOT NULL, digest BLOB NOT NULL
       ) STRICT;
       CREATE TABLE api_token (
         id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, owner TEXT NOT NULL, label TEXT NOT NULL,
         rights TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL
       ) STRICT""",
    "stop greenbridge, run `{set_aside}` and start again: it prints the address at which the first user is "
    "made anew",
)

LINK_USER = "operator"
"""Name of those who came by the sign-in link of the process's environment; no user can have it."""
TOKEN_PREFIX = "gb_"  # noqa: S105 - says what a token is for, to people and to scanners for leaked secrets
MAX_USERS, MAX_TOKENS = 1000, 50
"""Users of a site, and tokens of a user."""
MAX_TOKEN_DAYS = 730
"""Longest life of an API token [d]."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}")
_DAY = 86_400_000_000_000

Audit = Callable[[Act], Awaitable[object]]
"""Makes durable what somebody does."""


class AccountError(GreenbridgeError):
    """What is asked of the users cannot be done; the message says why and what can."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who can sign in."""

    name: str
    role: Role
    changed_at: int
    """When the password was set [ns, UTC]: sessions from before are over."""
    password: HashedPassword

    def __repr__(self) -> str:
        return f"User({self.name!r}, {self.role.value!r})"


@dataclass(frozen=True, slots=True)
class ApiToken:
    """What a script or Grafana shows in place of a password; the secret itself is not kept."""

    id: str
    """Names it, to end it."""
    owner: str
    label: str
    """What it is for."""
    rights: frozenset[Right]
    """Its scope; of it, what its owner's role has at the time of use counts."""
    created_at: int
    """[ns, UTC]."""
    expires_at: int
    """[ns, UTC]."""


class Accounts(OwnedDatabase):
    """Who can sign in. ``async with`` opens and closes the file; reads come from memory.

    Every change is audited before it is made.

    Parameters
    ----------
    path
        The file; made if it is not there.
    clock
        Time.
    audit
        Takes what is done.
    parameters
        Of scrypt, for passwords from now on.

    """

    def __init__(self, path: Path, clock: Clock, audit: Audit, parameters: Scrypt | None = None) -> None:
        super().__init__(path, USERS)
        self._clock = clock
        self._audit = audit
        self._parameters = parameters or Scrypt()
        self._nobody = nobody(self._parameters)
        self._users: dict[str, User] = {}
        self._tokens: dict[bytes, ApiToken] = {}
        self._setup: bytes | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        # made with the right mode before SQLite opens it, so that it is never readable by others
        try:
            await asyncio.to_thread(self._path.touch, 0o600)
        except OSError as error:
            raise StorageError(f"{self._path}: users cannot be kept there ({error.strerror})") from None
        await super().__aenter__()
        for name, role, changed_at, n, r, p, salt, digest in await self._rows("SELECT * FROM user"):
            self._users[name] = User(
                name, Role(role), changed_at, HashedPassword(Scrypt(n, r, p), salt, digest)
            )
        for id_, digest, owner, label, rights, created_at, expires_at in await self._rows(
            "SELECT * FROM api_token"
        ):
            scope = frozenset(map(Right, rights.split()))
            self._tokens[digest] = ApiToken(id_, owner, label, scope, created_at, expires_at)
        return self

    @property
    def users(self) -> list[User]:
        """Everybody, by name."""
        return sorted(self._users.values(), key=lambda user: user.name)

    def find(self, name: str) -> User | None:
        """The user of a name; None if there is none."""
        return self._users.get(name)

    def offer_setup(self, token: str) -> None:
        """Lets whoever holds a token make the first user, as long as there is none."""
        self._setup = _digest(token)

    async def set_up(self, token: str, name: str, password: str) -> User | None:
        """Makes the first user, an admin; None if the token is wrong or there is a user already.

        Raises
        ------
        AccountError
            Name or password cannot be used.
        StorageError
            It cannot be kept.

        """
        offered = self._setup
        if offered is None or self._users or not secrets.compare_digest(_digest(token), offered):
            return None
        user = await self.add(name, Role.ADMIN, password, "first start", first=True)
        self._setup = None
        return user

    async def add(self, name: str, role: Role, password: str, who: str, *, first: bool = False) -> User:
        """Adds a user; with ``first`` only if there is none.

        Raises
        ------
        AccountError
            Name or password cannot be used, or the name is taken.
        StorageError
            It cannot be kept.

        """
        _check_name(name)
        kept = await self._hashed(name, password)
        async with self._turn:
            if name in self._users or (first and self._users):
                raise AccountError(f"there is a user {name if name in self._users else 'already'}")
            if len(self._users) >= MAX_USERS:
                raise AccountError(f"there are {MAX_USERS} users; remove one")
            user = User(name, role, self._clock.now_ns(), kept)
            await self._audit(Act(who, "add user", name, "done", {"role": role.value}))
            await self._store(user)
        return user

    async def set_role(self, name: str, role: Role, who: str) -> User:
        """Gives a user another role, at once; errors as :meth:`remove`."""
        async with self._turn:
            user = self._known(name)
            if role is not Role.ADMIN:
                self._check_not_last(user)
            changed = replace(user, role=role)
            details = {"role": role.value, "before": user.role.value}
            await self._audit(Act(who, "set role", name, "done", details))
            await self._store(changed)
        return changed

    async def set_password(self, name: str, password: str, who: str) -> User:
        """Gives a user another password; their sessions are over.

        Raises
        ------
        AccountError
            There is no such user, or the password cannot be used.
        StorageError
            It cannot be kept.

        """
        self._known(name)
        kept = await self._hashed(name, password)
        async with self._turn:
            changed = replace(self._known(name), password=kept, changed_at=self._clock.now_ns())
            await self._audit(Act(who, "set password", name, "done"))
            await self._store(changed)
        return changed

    async def remove(self, name: str, who: str) -> None:
        """Removes a user with their tokens; their sessions are over.

        Raises
        ------
        AccountError
            There is no such user, or it is the last admin.
        StorageError
            It cannot be kept.

        """
        async with self._turn:
            self._check_not_last(self._known(name))
            await self._audit(Act(who, "remove user", name, "done"))
            await self._write(
                ("DELETE FROM api_token WHERE owner = ?", (name,)),
                ("DELETE FROM user WHERE name = ?", (name,)),
            )
            del self._users[name]
            self._tokens = {digest: token for digest, token in self._tokens.items() if token.owner != name}

    async def check(self, name: str, password: str) -> User | None:
        """The user whose name and password these are; None for a wrong one, after the same time."""
        user = self._users.get(name)
        kept = self._nobody if user is None else user.password
        if len(password) > MAX_PASSWORD or not await asyncio.to_thread(matches, password, kept):
            return None
        # they may have been removed, or have another password, since
        return user if user is not None and self._users.get(name, user).password is user.password else None

    async def add_token(
        self, owner: str, label: str, rights: Collection[Right], days: float, who: str
    ) -> tuple[ApiToken, str]:
        """Makes an API token; gives it with its secret, which is shown this once.

        Raises
        ------
        AccountError
            There is no such user, the scope is more than their role has, or the life is too long.
        StorageError
            It cannot be kept.

        """
        async with self._turn:
            lacking = sorted(set(rights) - RIGHTS[self._known(owner).role])
            if lacking:
                raise AccountError(f"{owner}'s role has no right to {', '.join(lacking)}; ask for less")
            if not rights:
                raise AccountError(f"a token without a right is of no use; name some of {', '.join(Right)}")
            if not 0 < days <= MAX_TOKEN_DAYS:
                raise AccountError(f"a token lives up to {MAX_TOKEN_DAYS} days, not {days:g}")
            if _LABEL.fullmatch(label) is None:
                raise AccountError("a label has 1 to 63 letters, digits, blanks, dots, dashes or underscores")
            now = self._clock.now_ns()
            theirs = [token for token in self.tokens(owner) if token.expires_at > now]
            if len(theirs) >= MAX_TOKENS:
                raise AccountError(f"{owner} has {MAX_TOKENS} tokens; end one")
            secret = TOKEN_PREFIX + secrets.token_urlsafe()
            token = ApiToken(
                secrets.token_hex(6), owner, label, frozenset(rights), now, now + round(days * _DAY)
            )
            scope = " ".join(sorted(token.rights))
            details = {"label": label, "rights": scope, "days": f"{days:g}", "owner": owner}
            await self._audit(Act(who, "add token", token.id, "done", details))
            row = (token.id, _digest(secret), owner, label, scope, token.created_at, token.expires_at)
            await self._write(
                ("DELETE FROM api_token WHERE expires_at <= ?", (now,)),
                ("INSERT INTO api_token VALUES (?, ?, ?, ?, ?, ?, ?)", row),
            )
            self._tokens = {d: held for d, held in self._tokens.items() if held.expires_at > now}
            self._tokens[_digest(secret)] = token
        return token, secret

    def tokens(self, owner: str | None = None) -> list[ApiToken]:
        """API tokens, also those that are over, oldest first; of one user or of all."""
        found = [token for token in self._tokens.values() if owner in {None, token.owner}]
        return sorted(found, key=lambda token: (token.created_at, token.id))

    async def end_token(self, id_: str, who: str, owner: str | None = None) -> None:
        """Ends an API token, of one user only if ``owner`` is given.

        Raises
        ------
        AccountError
            There is no such token.
        StorageError
            It cannot be kept.

        """
        async with self._turn:
            token = next((token for token in self.tokens(owner) if token.id == id_), None)
            if token is None:
                raise AccountError(f"there is no token {id_[:80]!r}")
            await self._audit(
                Act(who, "end token", id_, "done", {"label": token.label, "owner": token.owner})
            )
            await self._write(("DELETE FROM api_token WHERE id = ?", (id_,)))
            self._tokens = {digest: held for digest, held in self._tokens.items() if held is not token}

    def by_token(self, secret: str) -> Identity | None:
        """Whom an API token speaks for; None if it is unknown or over."""
        token = self._tokens.get(_digest(secret))
        user = None if token is None else self._users.get(token.owner)
        if token is None or user is None or token.expires_at <= self._clock.now_ns():
            return None
        return Identity(f"{user.name} by token {token.label}", token.rights & RIGHTS[user.role])

    async def note(self, who: str, action: str, subject: str, outcome: str = "done") -> None:
        """Audits an act that changes no user: a sign-in, also a refused one, or a sign-out."""
        await self._audit(Act(who, action, subject, outcome))

    def _known(self, name: str) -> User:
        user = self._users.get(name)
        if user is None:
            raise AccountError(f"there is no user {name[:80]!r}")
        return user

    def _check_not_last(self, user: User) -> None:
        admins = [each for each in self._users.values() if each.role is Role.ADMIN]
        if admins == [user]:
            raise AccountError(f"{user.name} is the last admin; make another one first")

    async def _hashed(self, name: str, password: str) -> HashedPassword:
        check_password(name, password)
        return await asyncio.to_thread(hashed, password, self._parameters)

    async def _store(self, user: User) -> None:
        kept = user.password
        scrypt = (kept.parameters.n, kept.parameters.r, kept.parameters.p)
        row = (user.name, user.role.value, user.changed_at, *scrypt, kept.salt, kept.digest)
        await self._write(("INSERT OR REPLACE INTO user VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row))
        self._users[user.name] = user

    async def _write(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        def write() -> None:
            connection: sqlite3.Connection = self._open_connection
            with transaction(connection):
                for statement, values in statements:
                    connection.execute(statement, values)

        await self._call(write)


def check_password(name: str, password: str) -> None:
    """Refuses a password that is easily guessed.

    Raises
    ------
    AccountError
        It is too short, too long, or the name.

    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise AccountError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters, not {len(password)}")
    if name in password.lower() and len(password) < len(name) + MIN_PASSWORD // 2:
        raise AccountError("a password is not the name with a few characters")
    if len(set(password)) < 5:
        raise AccountError("a password has at least five different characters")


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise AccountError(
            f"{name[:80]!r} cannot be a name: use 1 to 63 small letters, digits and any of . - _ @"
        )
    if name == LINK_USER:
        raise AccountError(f"the name {name!r} is that of the sign-in link; take another")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="backslashreplace")).digest()
