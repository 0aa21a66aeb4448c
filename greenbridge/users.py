"""``greenbridge users``: who can sign in at the console, also while greenbridge does not run.

Exit codes: 0 done, 2 wrong use or refused, 3 its files cannot be used.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenbridge.changing import EXIT_CANNOT_RUN, EXIT_USAGE, state_of
from telemetry.errors import GreenbridgeError, StorageError, UnavailableError

if TYPE_CHECKING:
    from telemetry.clock import Clock

# what a command needs is imported when it runs, as in greenbridge.cli

users = typer.Typer(no_args_is_help=True, help="Users of the console and their API tokens.")

Site = Annotated[
    str,
    typer.Argument(
        help='Path of a greenbridge.toml, the built-in site "corridor", or a state directory.', metavar="SITE"
    ),
]
Name = Annotated[
    str, typer.Argument(help="Of the user: small letters, digits, dots, dashes.", metavar="NAME")
]
Role = Annotated[str, typer.Option(help="viewer, operator, engineer or admin.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        help='File whose first line is the password; "-" for standard input. Without it you are asked.'
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@users.command("list")
def _list(site: Site, as_json: Json = False) -> None:
    """Lists users with their roles, and API tokens with what they may do and until when."""
    found = _answer(site, {"do": "list"})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for user in found["users"]:
        typer.echo(f"{user['name']:<24} {user['role']:<10} password of {_day(user['password_set'])}")
    if not found["users"]:
        typer.echo("no users yet: add one, or open the address that greenbridge prints at its start")
    for token in found["tokens"]:
        rights = ", ".join(token["rights"])
        typer.echo(
            f"token {token['id']} of {token['owner']}, {token['label']}: {rights}; until "
            f"{_day(token['expires'])}"
        )


@users.command("add")
def _add(site: Site, name: Name, role: Role, password_file: PasswordFile = None) -> None:
    """Adds a user."""
    password = _password(password_file)
    _answer(site, {"do": "add", "name": name, "role": role, "password": password})
    typer.echo(f"{name} can sign in as {role}.")


@users.command("remove")
def _remove(site: Site, name: Name) -> None:
    """Removes a user with their API tokens; their sessions are over."""
    _answer(site, {"do": "remove", "name": name})
    typer.echo(f"{name} is removed.")


@users.command("role")
def _role(site: Site, name: Name, role: Annotated[str, typer.Argument(metavar="ROLE")]) -> None:
    """Gives a user another role, at once."""
    _answer(site, {"do": "role", "name": name, "role": role})
    typer.echo(f"{name} is {role}.")


@users.command("password")
def _set_password(site: Site, name: Name, password_file: PasswordFile = None) -> None:
    """Gives a user another password; their sessions are over."""
    _answer(site, {"do": "password", "name": name, "password": _password(password_file)})
    typer.echo(f"{name} has another password.")


@users.command("token")
def _token(
    site: Site,
    name: Name,
    label: Annotated[str, typer.Option(help="What it is for: grafana.")],
    right: Annotated[
        list[str],
        typer.Option(help="What it may do, given once or more: read, metrics, alarms, schedules ..."),
    ],
    days: Annotated[float, typer.Option(min=0.01, help="How long it lives [d].")] = 90.0,
) -> None:
    """Makes an API token in a user's name and prints it, this once: the site keeps only its hash."""
    found = _answer(site, {"do": "token", "name": name, "label": label, "rights": right, "days": days})
    typer.echo(found["tokens"][0]["secret"])


@users.command("end-token")
def _end_token(
    site: Site, token: Annotated[str, typer.Argument(help="Id, as list shows it.", metavar="TOKEN")]
) -> None:
    """Ends an API token."""
    _answer(site, {"do": "end-token", "token": token})
    typer.echo(f"Token {token} is over.")


def _password(file: Path | None) -> str:
    """A password from a file, standard input or the person at the terminal."""
    if file is not None:
        try:
            text = sys.stdin.readline() if str(file) == "-" else file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"cannot be read: {error}", param_hint="--password-file") from None
        return (text.splitlines() or [""])[0]
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            "nobody can be asked for the password here; give --password-file, or - and pipe it",
            param_hint="--password-file",
        )
    password = getpass.getpass("Password: ")
    if password != getpass.getpass("Again: "):
        raise typer.BadParameter("the two differ", param_hint="Password")
    return password


def _answer(site: str, request: dict[str, Any]) -> dict[str, Any]:
    """The answer of whatever runs on the site, else of its file."""
    from greenbridge.claim import ClaimedError

    state = _state(site)
    try:
        return asyncio.run(_asked(state, request))
    except (StorageError, UnavailableError, ClaimedError) as error:
        typer.echo(f"greenbridge: {error}", err=True)
        raise typer.Exit(EXIT_CANNOT_RUN) from None
    except GreenbridgeError as error:
        typer.echo(f"greenbridge: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from None


async def _asked(state: Path, request: dict[str, Any]) -> dict[str, Any]:
    from greenbridge.claim import ClaimedError, claimed
    from greenbridge.control import ask
    from greenbridge.user_answers import USERS
    from telemetry.clock import SystemClock

    try:
        with claimed(state):
            return await _answered(state, SystemClock(), request)
    except ClaimedError:
        return await ask(state, {"command": USERS, **request})


async def _answered(state: Path, clock: Clock, request: dict[str, Any]) -> dict[str, Any]:
    from console.accounts import FILE, Accounts
    from greenbridge import logs
    from greenbridge.ledger_answers import AUDIT
    from greenbridge.user_answers import UserAnswers
    from ingest.audit import AuditLog

    logs.configure("text", "warning", sys.stderr)  # standard output is for the answer
    async with (
        AuditLog(state / AUDIT, clock) as audit,
        Accounts(state / FILE, clock, audit.append) as accounts,
    ):
        return await UserAnswers(accounts).answer(request, f"uid {os.getuid()} at the command line")


def _state(site: str) -> Path:
    directory = Path(site)
    if directory.is_dir() and not (directory / "greenbridge.toml").exists():
        return directory
    return state_of(site, None, as_json=False)


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d}"
