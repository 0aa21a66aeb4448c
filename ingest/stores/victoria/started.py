"""Telling whether a VictoriaMetrics server is still the same process."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Self

import aiohttp

from ingest.retry import RetryLaterError
from telemetry.errors import StorageError

_START = re.compile(rb"^process_start_time_seconds ([0-9.e+]+)$", re.MULTILINE)


class ServerStart:
    """Asks a server when its process began; ``async with`` opens and closes the connections."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = f"{url.rstrip('/')}/metrics"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self) -> float:
        """When the process began [s since 1970, UTC].

        Raises
        ------
        RetryLaterError
            The server does not say.

        """
        if self._session is None:
            raise StorageError(f"the connection for {self._url} is not open")
        try:
            async with self._session.get(self._url) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise RetryLaterError(f"VictoriaMetrics {self._url}: {reason}", "unreachable") from error
        found = _START.search(body)
        if found is None:
            raise RetryLaterError(
                f"{self._url} does not say when the server was started (status {response.status}); "
                "give the address of VictoriaMetrics itself, with its /metrics page",
                "no_start_time",
            )
        return float(found[1])
