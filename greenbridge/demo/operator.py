"""A client of the console that does what an operator does: signs in, watches, acknowledges."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from telemetry.errors import UnavailableError


class ConsoleClient:
    """The console's HTTP API, signed in."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def sign_in(self, token: str) -> None:
        """Exchanges the one-time token for a session, whose cookie the client keeps."""
        await self.post("/api/v1/session", {"token": token})

    def share_cookies(self, jar: aiohttp.CookieJar) -> None:
        """Lets another client use this session."""
        jar.update_cookies({cookie.key: cookie.value for cookie in self._session.cookie_jar})

    async def get(self, path: str) -> Any:
        """Answer of an address, decoded.

        Raises
        ------
        UnavailableError
            The console cannot be reached or refuses.

        """
        return await self._ask("GET", path, None)

    async def post(self, path: str, body: dict[str, object]) -> Any:
        """Sends a body as JSON; errors as :meth:`get`."""
        return await self._ask("POST", path, msgspec.json.encode(body))

    async def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        headers = {"Content-Type": "application/json", "Origin": self._url} if body is not None else {}
        try:
            async with self._session.request(
                method, self._url + path, data=body, headers=headers
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnavailableError(f"the console at {self._url} does not answer: {error!r}") from None
        if response.status >= 400:
            raise UnavailableError(f"{method} {path}: {response.status} {raw[:300].decode(errors='replace')}")
        return msgspec.json.decode(raw) if raw else None


@asynccontextmanager
async def console_client(url: str) -> AsyncIterator[ConsoleClient]:
    """A client of the console at an address."""
    # cookies of a bare IP address are refused by default; the demonstration has no host name
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield ConsoleClient(session, url)
