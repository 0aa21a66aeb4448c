from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from console.sessions import Sessions
from telemetry.clock import ManualClock
from telemetry.errors import StorageError

TOKEN = "x" * 43


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "console.sqlite"


async def test_a_token_works_once(path: Path, clock: ManualClock) -> None:
    async with Sessions(path, clock) as sessions:
        await sessions.offer(TOKEN)
        session = await sessions.sign_in(TOKEN, "operator")
        assert sessions.who(session) == "operator"
        assert await sessions.sign_in(TOKEN, "operator") is None
        assert await sessions.sign_in("y" * 43, "operator") is None
        assert sessions.who("y" * 43) is None
        assert sessions.who(None) is None
        assert sessions.who("") is None


async def test_of_many_at_once_one_gets_in(path: Path, clock: ManualClock) -> None:
    async with Sessions(path, clock) as sessions:
        await sessions.offer(TOKEN)
        got = await asyncio.gather(*(sessions.sign_in(TOKEN, "operator") for _ in range(8)))
        assert sum(session is not None for session in got) == 1


async def test_a_restart_keeps_sessions_and_used_tokens(path: Path, clock: ManualClock) -> None:
    async with Sessions(path, clock) as sessions:
        await sessions.offer(TOKEN)
        session = await sessions.sign_in(TOKEN, "operator")
    async with Sessions(path, clock) as again:
        await again.offer(TOKEN)
        assert again.who(session) == "operator"
        assert await again.sign_in(TOKEN, "operator") is None


async def test_signing_out_lasts(path: Path, clock: ManualClock) -> None:
    async with Sessions(path, clock) as sessions:
        await sessions.offer(TOKEN)
        session = await sessions.sign_in(TOKEN, "operator")
        assert session is not None
        await sessions.sign_out(session)
        assert sessions.who(session) is None
    async with Sessions(path, clock) as again:
        assert again.who(session) is None


async def test_tokens_and_sessions_end(path: Path, clock: ManualClock) -> None:
    async with Sessions(path, clock, session_hours=2.0, token_hours=1.0) as sessions:
        await sessions.offer(TOKEN)
        await clock.advance(3600.0)
        assert await sessions.sign_in(TOKEN, "operator") is None
        await sessions.offer("z" * 43)
        session = await sessions.sign_in("z" * 43, "operator")
        await clock.advance(7199.0)
        assert sessions.who(session) == "operator"
        await clock.advance(1.0)
        assert sessions.who(session) is None


async def test_the_file_holds_no_secret_and_is_private(path: Path, clock: ManualClock) -> None:
    async with Sessions(path, clock) as sessions:
        await sessions.offer(TOKEN)
        session = await sessions.sign_in(TOKEN, "operator")
        assert session is not None
        stored = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert TOKEN.encode() not in stored
        assert session.encode() not in stored
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in path.parent.iterdir())


@pytest.fixture
def broken(path: Path) -> Path:
    path.write_bytes(b"not a database" * 100)
    return path


async def test_short_tokens_are_refused(path: Path, clock: ManualClock) -> None:
    async with Sessions(path, clock) as sessions:
        with pytest.raises(ValueError, match="32"):
            await sessions.offer("short")


async def test_a_file_that_cannot_be_used_is_named(broken: Path, clock: ManualClock) -> None:
    for path, words in (
        (broken, "start again"),
        (broken / "missing" / "console.sqlite", "check the directory"),
    ):
        with pytest.raises(StorageError, match=rf"console\.sqlite.*{words}"):
            async with Sessions(path, clock):
                pass
