"""Talking to InfluxDB: the write endpoint through influxdb-client, the InfluxQL endpoint over HTTP.

Status codes: InfluxDB 2.7 API documentation, ``POST /api/v2/write`` and ``GET /query``.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService

from ingest.config import InfluxSettings
from ingest.retry import RetryLaterError
from telemetry.errors import GreenbridgeError, StorageError, UnavailableError

_SLOW_S = 30.0
_LOOK = {
    401: ("unauthorized", "the token is not accepted; check token_file or token_env"),
    403: ("forbidden", "the token does not allow this; give it read and write rights for the bucket"),
    404: ("bucket_missing", "organisation or bucket does not exist; create them or correct org and bucket"),
}


class RefusedLinesError(GreenbridgeError):
    """The server refuses what is in a request (status 400, 413, 422); fewer lines may pass."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"status {status}: {reason}")
        self.status = status
        self.reason = reason


class _Answer(msgspec.Struct):
    results: list[dict[str, Any]]


def read_token(settings: InfluxSettings, environment: Mapping[str, str]) -> str:
    """The token from the file or environment variable that the settings name.

    Raises
    ------
    StorageError
        There is none; the message does not hold what was found.

    """
    if settings.token_file is not None:
        try:
            token = settings.token_file.read_text().strip()
        except OSError as error:
            raise StorageError(f"InfluxDB token file {settings.token_file}: {error.strerror}") from error
        where = f"file {settings.token_file}"
    else:
        token = environment.get(settings.token_env or "", "").strip()
        where = f"environment variable {settings.token_env}"
    if not token or not token.isprintable():
        raise StorageError(f"InfluxDB token: {where} holds none; write the token there")
    return token


@dataclass(frozen=True, slots=True)
class Target:
    """Where to write and whom to ask."""

    url: str
    org: str
    bucket: str
    timeout_s: float
    title: str = "InfluxDB"
    """The server's product, for messages."""


class InfluxClient:
    """One server, organisation and bucket; ``async with`` opens and closes the connections."""

    def __init__(self, target: Target, token: str) -> None:
        self._target = target
        self._token = token
        self._url = target.url.rstrip("/")
        self._name = f"{target.title} {self._url}"
        self._client: InfluxDBClientAsync | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=self._target.timeout_s)
        self._client = InfluxDBClientAsync(
            self._url, self._token, self._target.org, timeout=timeout, allow_redirects=False
        )
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Token {self._token}"}, timeout=timeout
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
        if self._client is not None:
            await self._client.close()  # type: ignore[no-untyped-call]

    async def write(self, body: bytes) -> None:
        """Writes line protocol; on return it is durable as far as the server says so (status 204).

        Raises
        ------
        RefusedLinesError
            Something in the request is refused; part of it may be stored.
        RetryLaterError
            The server cannot be reached, is overloaded, or does not let this client write.

        """
        if self._client is None:
            raise StorageError(f"client for {self._name} is not open")
        compressed = await asyncio.to_thread(gzip.compress, body, 1)
        try:
            service = WriteService(self._client.api_client)  # type: ignore[no-untyped-call]
            await service.post_write_async(  # type: ignore[no-untyped-call]
                org=self._target.org,
                bucket=self._target.bucket,
                body=compressed,
                precision="ns",
                content_encoding="gzip",
            )
        except ApiException as error:
            raise self._fault(error.status or 0, error.body or b"", error.headers or {}) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    async def query(self, statements: str) -> list[dict[str, Any]]:
        """Result of each InfluxQL statement, times in nanoseconds.

        Raises
        ------
        UnavailableError
            The server cannot be reached or refuses the query.

        """
        if self._session is None:
            raise StorageError(f"client for {self._name} is not open")
        parameters = {"db": self._target.bucket, "epoch": "ns", "q": statements}
        try:
            async with self._session.get(f"{self._url}/query", params=parameters) as response:
                body = await response.read()
                if response.status != 200:
                    fault = self._fault(response.status, body, response.headers)
                    if isinstance(fault, RefusedLinesError):
                        raise UnavailableError(f"{self._name} refuses a query: {fault}")
                    raise fault
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error
        try:
            results = msgspec.json.decode(body, type=_Answer).results
        except msgspec.DecodeError as error:
            raise UnavailableError(f"{self._name} answers a query with no result: {error}") from error
        for result in results:
            if "error" in result:
                raise UnavailableError(f"{self._name} refuses a query: {result['error']}")
        return results

    def _fault(
        self, status: int, body: bytes | str, headers: Mapping[str, str]
    ) -> RefusedLinesError | RetryLaterError:
        reason = _reason(body)
        if status in {400, 413, 422}:
            return RefusedLinesError(status, reason or "no reason given")
        if status in _LOOK:
            state, fix = _LOOK[status]
            return RetryLaterError(f"{self._name}: {fix} (status {status}: {reason})", state, _SLOW_S)
        state = "overloaded" if status in {429, 503} else "server_error"
        after = headers.get("Retry-After", "")
        after_s = min(float(after), 3600.0) if after.isdecimal() else None
        return RetryLaterError(f"{self._name}: status {status}: {reason}", state, after_s)

    def _unreachable(self, error: Exception) -> RetryLaterError:
        reason = str(error) or type(error).__name__
        return RetryLaterError(f"{self._name} cannot be reached: {reason}", "unreachable")


def _reason(body: bytes | str) -> str:
    """The reason in an error's body: ``message`` in 2.x, ``error`` in 1.x."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    try:
        document = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text.strip()[:500]
    if isinstance(document, dict):
        return str(document.get("message") or document.get("error") or text)[:500]
    return text[:500]
