"""The answers under /api/v1/users and /api/v1/tokens."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from console.accounts import Accounts, ApiToken, User
from console.bodies import body_of
from console.entrance import Entrance
from console.problems import json_response
from console.roles import Right, Role
from console.views import ms


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body that adds a user."""

    name: str
    role: Role
    password: str


class NewRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body that gives a user another role."""

    role: Role


class SetPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body that gives a user another password."""

    password: str


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body that makes an API token."""

    label: str
    rights: list[Right]
    days: float = 90.0


class UserView(msgspec.Struct, frozen=True):
    """A user."""

    name: str
    role: Role
    password_set: int
    """[ms since 1970]."""


class TokenView(msgspec.Struct, frozen=True):
    """An API token, without its secret."""

    id: str
    owner: str
    label: str
    rights: list[Right]
    created: int
    """[ms since 1970]."""
    expires: int
    """[ms since 1970]."""
    secret: str = ""
    """Only in the answer that makes it."""


class People:
    """Who can sign in, and what they have given to programs."""

    def __init__(self, accounts: Accounts, entrance: Entrance) -> None:
        self._accounts = accounts
        self._entrance = entrance

    async def users(self, _: Request) -> Response:
        """GET /api/v1/users: everybody who can sign in."""
        return json_response([user_view(user) for user in self._accounts.users])

    async def add(self, request: Request) -> Response:
        """POST /api/v1/users: adds a user."""
        body = await body_of(request, NewUser)
        user = await self._accounts.add(body.name, body.role, body.password, self._who(request))
        return json_response(user_view(user), 201)

    async def set_role(self, request: Request) -> Response:
        """POST /api/v1/users/NAME/role: gives a user another role, at once."""
        body = await body_of(request, NewRole)
        user = await self._accounts.set_role(request.path_params["user"], body.role, self._who(request))
        return json_response(user_view(user))

    async def set_password(self, request: Request) -> Response:
        """POST /api/v1/users/NAME/password: gives a user another password; their sessions are over."""
        body = await body_of(request, SetPassword)
        name = request.path_params["user"]
        user = await self._accounts.set_password(name, body.password, self._who(request))
        return json_response(user_view(user))

    async def remove(self, request: Request) -> Response:
        """DELETE /api/v1/users/NAME: removes a user with their tokens; their sessions are over."""
        await self._accounts.remove(request.path_params["user"], self._who(request))
        return Response(status_code=204)

    async def tokens(self, request: Request) -> Response:
        """GET /api/v1/tokens: one's own API tokens, an admin's view holds everybody's."""
        found = self._accounts.tokens(self._whose(request))
        return json_response([token_view(token) for token in found])

    async def add_token(self, request: Request) -> Response:
        """POST /api/v1/tokens: makes an API token for oneself; the secret is in this answer only."""
        body = await body_of(request, NewToken)
        owner = self._entrance.user(request).name
        token, secret = await self._accounts.add_token(owner, body.label, body.rights, body.days, owner)
        return json_response(token_view(token, secret), 201)

    async def end_token(self, request: Request) -> Response:
        """DELETE /api/v1/tokens/ID: ends one's own API token, an admin anybody's."""
        who = self._entrance.user(request).name
        await self._accounts.end_token(request.path_params["token"], who, self._whose(request))
        return Response(status_code=204)

    def _who(self, request: Request) -> str:
        identity = self._entrance.identity(request)
        return "" if identity is None else identity.name

    def _whose(self, request: Request) -> str | None:
        """Whose tokens somebody may see and end; None for everybody's."""
        user = self._entrance.user(request)
        return None if user.role is Role.ADMIN else user.name


def user_view(user: User) -> UserView:
    """A user as the API shows them."""
    return UserView(user.name, user.role, ms(user.changed_at))


def token_view(token: ApiToken, secret: str = "") -> TokenView:
    """An API token as the API shows it."""
    return TokenView(
        token.id,
        token.owner,
        token.label,
        sorted(token.rights),
        ms(token.created_at),
        ms(token.expires_at),
        secret,
    )
