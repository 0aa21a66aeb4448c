"""Users and API tokens: what is kept of them, until when they count, and what is refused."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from console.accounts import FILE, MAX_TOKENS, AccountError, Accounts
from console.passwords import Scrypt, hashed, matches
from console.roles import RIGHTS, Right, Role
from console.sessions import Sessions
from ingest.audit_chain import Act
from telemetry.clock import ManualClock
from telemetry.errors import StorageError
from tests.console.rig import FAST

PASSWORD = "correct horse battery"
OTHER = "another long password"


class Heard:
    """An audit in memory that can be broken."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.broken = False

    async def __call__(self, act: Act) -> None:
        if self.broken:
            raise StorageError("audit cannot be written")
        self.acts.append(act)


@pytest.fixture
def audit() -> Heard:
    return Heard()


def content(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.iterdir())


def test_the_usual_parameters_hash_and_check() -> None:
    kept = hashed(PASSWORD, Scrypt())
    assert matches(PASSWORD, kept)
    assert not matches(PASSWORD + " ", kept)
    assert hashed(PASSWORD, FAST).salt != hashed(PASSWORD, FAST).salt


async def test_users_outlive_the_process_and_their_passwords_do_not_stand_in_the_file(
    tmp_path: Path, clock: ManualClock, audit: Heard
) -> None:
    path = tmp_path / FILE
    async with Accounts(path, clock, audit, FAST) as accounts:
        await accounts.add("anna", Role.ADMIN, PASSWORD, "test")
        _, secret = await accounts.add_token("anna", "grafana", {Right.READ}, 1, "anna")
    stored = await asyncio.to_thread(content, tmp_path)
    assert PASSWORD.encode() not in stored
    assert secret.encode() not in stored
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # other parameters count for passwords from then on: those that were kept still open
    async with Accounts(path, clock, audit, Scrypt(n=4, r=1, p=1)) as accounts:
        assert (user := await accounts.check("anna", PASSWORD)) is not None
        assert user.role is Role.ADMIN
        assert await accounts.check("anna", OTHER) is None
        assert await accounts.check("nobody", PASSWORD) is None
        assert await accounts.check("anna", "x" * 10_000) is None
        identity = accounts.by_token(secret)
        assert identity is not None
        assert (identity.name, sorted(identity.rights)) == ("anna by token grafana", [Right.READ])
    assert [act.action for act in audit.acts] == ["add user", "add token"]
    assert PASSWORD not in repr(audit.acts)
    assert secret not in repr(audit.acts)


@pytest.mark.parametrize(
    ("name", "password", "why"),
    [
        ("anna", "short", "12 to 256"),
        ("anna", "x" * 257, "12 to 256"),
        ("anna", "aaaaaaaaaaaaaaa", "different characters"),
        ("anna-of-the-night", "anna-of-the-night1", "name"),
        ("Anna", PASSWORD, "cannot be a name"),
        ("", PASSWORD, "cannot be a name"),
        ("<b>anna</b>", PASSWORD, "cannot be a name"),
        ("x" * 64, PASSWORD, "cannot be a name"),
        ("operator", PASSWORD, "sign-in link"),
        ("taken", PASSWORD, "there is a user"),
    ],
)
async def test_what_cannot_be_a_user(
    tmp_path: Path, clock: ManualClock, audit: Heard, name: str, password: str, why: str
) -> None:
    async with Accounts(tmp_path / FILE, clock, audit, FAST) as accounts:
        await accounts.add("taken", Role.VIEWER, PASSWORD, "test")
        with pytest.raises(AccountError, match=why) as caught:
            await accounts.add(name, Role.VIEWER, password, "test")
        assert password not in str(caught.value)
        assert [user.name for user in accounts.users] == ["taken"]


async def test_the_first_user_is_made_once(tmp_path: Path, clock: ManualClock, audit: Heard) -> None:
    async with Accounts(tmp_path / FILE, clock, audit, FAST) as accounts:
        assert await accounts.set_up("t" * 40, "anna", PASSWORD) is None
        accounts.offer_setup("t" * 40)
        assert await accounts.set_up("u" * 40, "anna", PASSWORD) is None
        with pytest.raises(AccountError):
            await accounts.set_up("t" * 40, "anna", "short")
        names = [f"anna{i}" for i in range(4)]
        made = await asyncio.gather(
            *(accounts.set_up("t" * 40, name, PASSWORD) for name in names), return_exceptions=True
        )
        assert len(accounts.users) == 1
        assert accounts.users[0].role is Role.ADMIN
        assert sum(not isinstance(user, BaseException | None) for user in made) == 1
        assert await accounts.set_up("t" * 40, "late", PASSWORD) is None


async def test_the_last_admin_stays(tmp_path: Path, clock: ManualClock, audit: Heard) -> None:
    async with Accounts(tmp_path / FILE, clock, audit, FAST) as accounts:
        await accounts.add("anna", Role.ADMIN, PASSWORD, "test")
        await accounts.add("boris", Role.VIEWER, PASSWORD, "test")
        for act in (accounts.remove("anna", "anna"), accounts.set_role("anna", Role.ENGINEER, "anna")):
            with pytest.raises(AccountError, match="last admin"):
                await act
        await accounts.set_role("boris", Role.ADMIN, "anna")
        await accounts.remove("anna", "boris")
        assert [user.name for user in accounts.users] == ["boris"]
        with pytest.raises(AccountError, match="no user"):
            await accounts.set_role("anna", Role.VIEWER, "boris")


async def test_nothing_is_done_that_cannot_be_audited(
    tmp_path: Path, clock: ManualClock, audit: Heard
) -> None:
    async with Accounts(tmp_path / FILE, clock, audit, FAST) as accounts:
        anna = await accounts.add("anna", Role.ADMIN, PASSWORD, "test")
        boris = await accounts.add("boris", Role.VIEWER, PASSWORD, "test")
        token, secret = await accounts.add_token("anna", "grafana", {Right.READ}, 1, "anna")
        audit.broken = True
        for act in (
            accounts.add("carla", Role.VIEWER, PASSWORD, "test"),
            accounts.set_role("boris", Role.ADMIN, "test"),
            accounts.set_password("boris", OTHER, "test"),
            accounts.remove("boris", "test"),
            accounts.add_token("anna", "more", {Right.READ}, 1, "anna"),
            accounts.end_token(token.id, "anna"),
        ):
            with pytest.raises(StorageError):
                await act
        assert accounts.users == [anna, boris]
        assert await accounts.check("boris", PASSWORD) == boris
        assert accounts.by_token(secret) is not None
        assert len(accounts.tokens()) == 1


async def test_a_token_has_a_part_of_its_owners_rights_for_a_time(
    tmp_path: Path, clock: ManualClock, audit: Heard
) -> None:
    async with Accounts(tmp_path / FILE, clock, audit, FAST) as accounts:
        await accounts.add("root", Role.ADMIN, PASSWORD, "test")
        await accounts.add("anna", Role.OPERATOR, PASSWORD, "test")
        for label, scope, days, why in (
            ("x", {Right.USERS}, 1.0, "role has no right to users"),
            ("x", set(), 1.0, "without a right"),
            ("x", {Right.READ}, 0.0, "730 days"),
            ("x", {Right.READ}, float("nan"), "730 days"),
            ("x", {Right.READ}, 731.0, "730 days"),
            ("<i>", {Right.READ}, 1.0, "label"),
        ):
            with pytest.raises(AccountError, match=why):
                await accounts.add_token("anna", label, scope, days, "anna")
        token, secret = await accounts.add_token("anna", "ack", {Right.READ, Right.ALARMS}, 1.0, "anna")

        def rights() -> set[Right]:
            identity = accounts.by_token(secret)
            return set() if identity is None else set(identity.rights)

        assert rights() == {Right.READ, Right.ALARMS}
        await accounts.set_role("anna", Role.VIEWER, "test")
        assert rights() == {Right.READ}
        await clock.advance(86_399.0)
        assert rights() == {Right.READ}
        await clock.advance(1.0)
        assert rights() == set()
        assert accounts.by_token("") is None
        assert accounts.by_token("gb_\udc80é") is None

        _, secret = await accounts.add_token("anna", "again", {Right.READ}, 1.0, "anna")
        with pytest.raises(AccountError, match="no token"):
            await accounts.end_token(accounts.tokens("anna")[-1].id, "root", "root")
        await accounts.end_token(accounts.tokens("anna")[-1].id, "root")
        assert rights() == set()
        _, secret = await accounts.add_token("anna", "third", {Right.READ}, 1.0, "anna")
        await accounts.remove("anna", "root")
        assert rights() == set()
        assert token not in accounts.tokens()


async def test_tokens_are_bounded(tmp_path: Path, clock: ManualClock, audit: Heard) -> None:
    async with Accounts(tmp_path / FILE, clock, audit, FAST) as accounts:
        await accounts.add("root", Role.ADMIN, PASSWORD, "test")
        for _ in range(MAX_TOKENS):
            await accounts.add_token("root", "x", RIGHTS[Role.ADMIN], 1, "root")
        with pytest.raises(AccountError, match="end one"):
            await accounts.add_token("root", "x", {Right.READ}, 1, "root")
        await clock.advance(86_400.0)
        await accounts.add_token("root", "x", {Right.READ}, 1, "root")
        assert len(accounts.tokens()) == 1


async def test_a_session_ends_with_its_users_password_and_follows_their_role(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "console.sqlite"
    async with Sessions(path, clock, scrypt=FAST) as sessions:
        accounts = sessions.accounts
        await accounts.add("root", Role.ADMIN, PASSWORD, "test")
        anna = await accounts.add("anna", Role.VIEWER, PASSWORD, "test")
        session = await sessions.begin(anna)
        await accounts.set_role("anna", Role.ENGINEER, "root")
    async with Sessions(path, clock, scrypt=FAST) as sessions:
        accounts = sessions.accounts
        identity = sessions.identity(session)
        assert identity is not None
        assert (identity.role, identity.user) == (Role.ENGINEER, "anna")
        await clock.advance(1.0)
        changed = await accounts.set_password("anna", OTHER, "root")
        assert sessions.identity(session) is None
        session = await sessions.begin(changed)
        assert sessions.who(session) == "anna"
        await accounts.remove("anna", "root")
        assert sessions.who(session) is None
        # somebody else of the same name does not get the old session
        await clock.advance(1.0)
        await accounts.add("anna", Role.ADMIN, PASSWORD, "root")
        assert sessions.who(session) is None


async def test_an_idle_session_is_over(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "console.sqlite"
    async with Sessions(path, clock, idle_hours=1.0, scrypt=FAST) as sessions:
        anna = await sessions.accounts.add("anna", Role.ADMIN, PASSWORD, "test")
        session = await sessions.begin(anna)
        await clock.advance(3599.0)
        await sessions.seen(session)
        await clock.advance(3599.0)
    async with Sessions(path, clock, idle_hours=1.0, scrypt=FAST) as sessions:
        assert sessions.who(session) == "anna"
        await clock.advance(1.0)
        assert sessions.who(session) is None
        await sessions.begin(anna)
        assert sessions.who(session) is None
