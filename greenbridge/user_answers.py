"""What ``greenbridge users`` asks, answered by a running greenbridge or over its file."""

from __future__ import annotations

from typing import Any

import msgspec

from console.accounts import AccountError, Accounts
from console.people import TokenView, UserView, token_view, user_view
from console.roles import Right, Role
from telemetry.errors import GreenbridgeError

USERS = "users"
"""Name of the command."""


class UserAnswers:
    """Lists and changes users and their API tokens."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def answer(self, request: dict[str, Any], who: str) -> dict[str, Any]:
        """One answer; what is done is audited in the name of ``who``.

        Raises
        ------
        GreenbridgeError
            It is refused, with the reason.

        """
        accounts, name = self._accounts, str(request.get("name", ""))
        users: list[UserView] = []
        tokens: list[TokenView] = []
        match request.get("do"):
            case "list":
                users = [user_view(user) for user in accounts.users]
                tokens = [token_view(token) for token in accounts.tokens()]
            case "add":
                password = str(request.get("password", ""))
                users = [user_view(await accounts.add(name, _role(request), password, who))]
            case "role":
                users = [user_view(await accounts.set_role(name, _role(request), who))]
            case "password":
                password = str(request.get("password", ""))
                users = [user_view(await accounts.set_password(name, password, who))]
            case "remove":
                await accounts.remove(name, who)
            case "token":
                label, days = str(request.get("label", "")), float(request.get("days", 0))
                made = await accounts.add_token(name, label, _rights(request), days, who)
                tokens = [token_view(*made)]
            case "end-token":
                await accounts.end_token(str(request.get("token", "")), who)
            case do:
                raise GreenbridgeError(f"users cannot {str(do)[:80]!r}")
        return {"users": msgspec.to_builtins(users), "tokens": msgspec.to_builtins(tokens)}


def _role(request: dict[str, Any]) -> Role:
    try:
        return Role(str(request.get("role")))
    except ValueError:
        raise AccountError(
            f"there is no role {str(request.get('role'))[:80]!r}; use {', '.join(Role)}"
        ) from None


def _rights(request: dict[str, Any]) -> list[Right]:
    named = request.get("rights") or []
    try:
        return [Right(right) for right in named]
    except ValueError as error:
        raise AccountError(f"{error}; use some of {', '.join(Right)}") from None
