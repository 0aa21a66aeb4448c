from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from console.sessions import Sessions
from telemetry.clock import SystemClock
from telemetry.site import Site
from tests.console.rig import TOKEN, Rig, build_site, connected, console_of


@pytest.fixture(scope="session")
def corridor() -> Site:
    """The whole corridor."""
    return build_site()


@pytest.fixture(scope="session")
def site() -> Site:
    """One tie between two nodes: enough for what does not draw."""
    return build_site(nodes=("SHY", "TAS"))


@pytest.fixture
def rig(tmp_path: Path, site: Site) -> Rig:
    return Rig.of(SystemClock(), tmp_path / "console.sqlite", site)


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    """A stranger at the application, without a server in between."""
    async with Sessions(rig.path, rig.clock) as sessions:
        await sessions.offer(TOKEN)
        async with connected(console_of(rig, sessions)[0]) as client:
            yield client


@pytest.fixture
async def operator(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same, signed in."""
    answer = await client.post("/api/v1/session", json={"token": TOKEN})
    assert answer.status_code == 200, answer.text
    return client
