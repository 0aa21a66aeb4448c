"""``greenbridge users``, over the file of a site that does not run and over one that does."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console.accounts import FILE, Accounts
from console.roles import Right, Role
from greenbridge import control
from greenbridge.claim import claimed
from greenbridge.cli import app
from greenbridge.ledger_answers import AUDIT
from greenbridge.user_answers import USERS, UserAnswers
from ingest.audit import AuditLog, entries
from telemetry.clock import SystemClock
from telemetry.errors import GreenbridgeError

PASSWORD = "correct horse battery"


def users(*arguments: str, password: str = "") -> tuple[int, str]:
    found = CliRunner().invoke(app, ["users", *arguments], input=password)
    # tests leave logs where they are: on standard output
    lines = [line for line in found.stdout.splitlines() if "audited" not in line]
    return found.exit_code, "\n".join([*lines, found.stderr])


def test_users_before_the_first_start(tmp_path: Path) -> None:
    state = str(tmp_path)
    assert "no users yet" in users("list", state)[1]
    stdin = ("--password-file", "-")
    code, said = users("add", state, "anna", "--role", "admin", *stdin, password=f"{PASSWORD}\n")
    assert (code, said) == (0, "anna can sign in as admin.\n")
    assert users("add", state, "anna", "--role", "admin", *stdin, password=f"{PASSWORD}\n")[0] == 2
    code, said = users("add", state, "boris", "--role", "king", *stdin, password=f"{PASSWORD}\n")
    assert (code, "viewer, operator, engineer, admin" in said) == (2, True)
    code, said = users("add", state, "boris", "--role", "viewer", password=f"{PASSWORD}\n")
    assert (code, "--password-file" in said) == (2, True)
    code, said = users("remove", state, "anna")
    assert (code, "last admin" in said) == (2, True)
    code, secret = users("token", state, "anna", "--label", "grafana", "--right", "read", "--days", "30")
    assert (code, secret.startswith("gb_")) == (0, True)
    code, listed = users("list", state, "--json")
    found = json.loads(listed)
    assert [user["name"] for user in found["users"]] == ["anna"]
    assert (found["tokens"][0]["label"], found["tokens"][0]["secret"]) == ("grafana", "")
    assert users("end-token", state, found["tokens"][0]["id"])[0] == 0
    assert PASSWORD not in listed
    acts = [entry.act for entry in entries(tmp_path / AUDIT)]
    assert [act.action for act in acts] == ["add user", "add token", "end token"]
    assert all(act.who.startswith("uid ") for act in acts)
    assert PASSWORD not in repr(acts)
    assert secret.strip() not in repr(acts)


async def test_users_of_a_site_that_runs(tmp_path: Path) -> None:
    clock = SystemClock()
    with claimed(tmp_path):
        async with (
            AuditLog(tmp_path / AUDIT, clock) as audit,
            Accounts(tmp_path / FILE, clock, audit.append) as accounts,
            control.listening(tmp_path, partial(control.routed, {USERS: UserAnswers(accounts).answer})),
        ):
            ask = partial(control.ask, tmp_path)
            request = {"command": USERS, "name": "anna"}
            await ask(request | {"do": "add", "role": "admin", "password": PASSWORD})
            assert await accounts.check("anna", PASSWORD) is not None
            made = await ask(request | {"do": "token", "label": "x", "rights": ["read"], "days": 1})
            identity = accounts.by_token(made["tokens"][0]["secret"])
            assert identity is not None
            assert identity.rights == {Right.READ}
            await ask(request | {"do": "add", "name": "boris", "role": "viewer", "password": PASSWORD})
            await ask(request | {"do": "role", "name": "boris", "role": "engineer"})
            await ask(request | {"do": "password", "password": PASSWORD[::-1]})
            assert await accounts.check("anna", PASSWORD) is None
            boris = accounts.find("boris")
            assert boris is not None
            assert boris.role is Role.ENGINEER
            await ask(request | {"do": "remove", "name": "boris"})
            for wrong in (
                {"do": "add", "name": "carla", "password": PASSWORD},
                {"do": "token", "rights": ["everything"], "days": 1},
                {"do": "fly"},
                {},
            ):
                with pytest.raises(GreenbridgeError):
                    await ask(request | wrong)
            assert [user.name for user in accounts.users] == ["anna"]
