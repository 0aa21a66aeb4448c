"""How people and programs come in: by password, by the one-time link, by an API token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from console import metrics
from console.accounts import LINK_USER, User
from console.backoff import Backoff
from console.bodies import body_of
from console.config import ConsoleSettings
from console.problems import ApiError, json_response
from console.proxy import address_of
from console.roles import Identity
from console.sessions import Sessions
from telemetry.clock import Clock

COOKIE = "greenbridge_session"
MAX_WAITING = 16
"""Attempts with a password that wait for their turn; more are refused."""
_AGAIN = "sign in with name and password, or with the address that was printed at the start"


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a sign-in: a name with its password, or the one-time token of the sign-in link."""

    token: str = ""
    name: str = ""
    password: str = ""


class SetUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body that makes the first user."""

    token: str
    name: str
    password: str


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a change of one's own password."""

    old: str
    new: str


class SessionView(msgspec.Struct, frozen=True):
    """Who is signed in, and what they may do."""

    who: str
    role: str
    """Empty for an API token."""
    permissions: list[str]
    user: bool
    """They have a password and can have API tokens."""


class Entrance:
    """Lets people in and out, and says who a request comes from."""

    def __init__(self, settings: ConsoleSettings, clock: Clock, sessions: Sessions) -> None:
        self._settings = settings
        self._clock = clock
        self._sessions = sessions
        self._accounts = sessions.accounts
        self._backoff = Backoff()
        self._turn = asyncio.Lock()
        self._waiting = 0

    def identity(self, request: Request) -> Identity | None:
        """Who a request comes from. With an ``Authorization`` header that alone counts, never a cookie."""
        given = request.headers.getlist("authorization")
        if not given:
            return self._sessions.identity(request.cookies.get(COOKIE))
        scheme, _, secret = given[0].partition(" ")
        if len(given) > 1 or scheme.lower() not in {"token", "bearer"}:
            return None
        return self._accounts.by_token(secret.strip())

    async def seen(self, request: Request) -> None:
        """Notes that somebody is there: their session is idle from now on."""
        session = request.cookies.get(COOKIE)
        if session and "authorization" not in request.headers:
            await self._sessions.seen(session)

    async def sign_in(self, request: Request) -> Response:
        """POST /api/v1/session: exchanges a password, or the one-time token, for a session."""
        body = await body_of(request, SignIn)
        async with self._attempt(request, body.name):
            if body.token:
                session = await self._sessions.sign_in(body.token, LINK_USER)
                if session is None:
                    raise _WrongError("this sign-in token is unknown, already used or too old")
                await self._accounts.note(LINK_USER, "sign in", "by the sign-in link")
                user = None
            else:
                user = await self._accounts.check(body.name, body.password)
                if user is None:
                    raise _WrongError("name or password is wrong")
                session = await self._begun(user)
        return self._welcome(session)

    async def set_up(self, request: Request) -> Response:
        """POST /api/v1/setup: makes the first user with the token that was printed at the first start."""
        body = await body_of(request, SetUp)
        async with self._attempt(request, ""):
            user = await self._accounts.set_up(body.token, body.name, body.password)
            if user is None:
                raise _WrongError("this token is not that of the newest start, or there is a user already")
            session = await self._begun(user)
        return self._welcome(session)

    async def change_password(self, request: Request) -> Response:
        """POST /api/v1/password: another password for whoever asks; their other sessions are over."""
        body = await body_of(request, NewPassword)
        user = self.user(request)
        async with self._attempt(request, user.name):
            if await self._accounts.check(user.name, body.old) is None:
                raise _WrongError("the old password is wrong")
            changed = await self._accounts.set_password(user.name, body.new, user.name)
            session = await self._sessions.begin(changed)
        return self._welcome(session)

    async def sign_out(self, request: Request) -> Response:
        """DELETE /api/v1/session."""
        session = request.cookies.get(COOKIE)
        if session is None:
            raise ApiError(409, "an API token has no session", "end it at /api/v1/tokens")
        identity = self.identity(request)
        await self._sessions.sign_out(session)
        if identity is not None:
            await self._accounts.note(identity.name, "sign out", "ended the session")
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    async def session(self, request: Request) -> Response:
        """GET /api/v1/session: who is signed in."""
        return json_response(_view(self.identity(request)))

    def user(self, request: Request) -> User:
        """The account of whoever is signed in.

        Raises
        ------
        ApiError
            They came by the sign-in link, or by an API token.

        """
        identity = self.identity(request)
        user = self._accounts.find(identity.user) if identity is not None and identity.user else None
        if user is None:
            raise ApiError(403, "this needs a user who signed in with a password", "sign in with one")
        return user

    @asynccontextmanager
    async def _attempt(self, request: Request, name: str) -> AsyncIterator[None]:
        """One attempt at a time, each after the waits that its address and name have earned."""
        sources = [f"address {address_of(request, self._settings)}"]
        if name:
            sources.append(f"user {name[:64]}")
        self._check_wait(sources)
        if self._waiting >= MAX_WAITING:
            metrics.SIGN_INS.labels("busy").inc()
            raise ApiError(429, "many sign in at this moment", "try again in a second", {"retry-after": "1"})
        self._waiting += 1
        try:
            async with self._turn:
                # those who waited their turn meet what others have failed in between
                self._check_wait(sources)
                try:
                    yield
                except _WrongError as wrong:
                    for source in sources:
                        self._backoff.failed(source, self._clock.monotonic())
                    metrics.SIGN_INS.labels("refused").inc()
                    # a name that nobody has may be a password in the wrong field
                    who = name if self._accounts.find(name) is not None else "somebody"
                    await self._accounts.note(who, "sign in", f"from {sources[0]}: {wrong}", "refused")
                    raise ApiError(401, str(wrong), _AGAIN) from None
                for source in sources:
                    self._backoff.succeeded(source)
                metrics.SIGN_INS.labels("ok").inc()
        finally:
            self._waiting -= 1

    def _check_wait(self, sources: list[str]) -> None:
        now = self._clock.monotonic()
        wait_s = max(self._backoff.wait_s(source, now) for source in sources)
        if wait_s > 0:
            metrics.SIGN_INS.labels("backoff").inc()
            raise ApiError(
                429,
                "too many wrong attempts",
                f"wait {wait_s:.0f} s, then {_AGAIN}",
                {"retry-after": str(int(wait_s) + 1)},
            )

    async def _begun(self, user: User) -> str:
        session = await self._sessions.begin(user)
        await self._accounts.note(user.name, "sign in", "by password")
        return session

    def _welcome(self, session: str) -> Response:
        response = json_response(_view(self._sessions.identity(session)))
        response.set_cookie(
            COOKIE,
            session,
            max_age=round(self._settings.session_hours * 3600),
            path="/",
            secure=self._settings.secure,
            httponly=True,
            samesite="strict",
        )
        return response


class _WrongError(Exception):
    """What somebody shows does not let them in; it counts against their address and name."""


def _view(identity: Identity | None) -> SessionView:
    if identity is None:
        return SessionView("", "", [], user=False)
    role = "" if identity.role is None else identity.role.value
    return SessionView(identity.name, role, sorted(identity.rights), identity.user is not None)
